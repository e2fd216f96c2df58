// SPDX-License-Identifier: MIT
// The members of the simulator through whose hands a packet goes, from the node that posts it over its link to the node
// that takes it. A part of simulator.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/driver/simulator.hpp>
#include <rubato/wire/frame.hpp>

namespace rubato {

/// Takes the packet's body.
inline void simulator::send(packet& p) {
  channels_.check(p);
  auto& e = network_.edge_between(p.from, p.to);
  auto& l = network_.channel_of(e, p.channel, channels_.kind_of(p.channel));
  if (!network::must_wait(e, l, now_.since_start)) {
    put_on_link(e, l, p);
    return;
  }
  auto const from = p.from;
  network::keep_waiting(l, std::move(p));
  if (e.departure_scheduled) return;
  e.departure_scheduled = true;
  queue_.push(
      {e.free_at.count(), event_kind::departure, static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(e.to)});
  ++live_;
  ++carried_;
}

/// One waiting packet leaves. If a packet of another channel waits too, it is the next when the link is free again.
inline void simulator::depart(event const& due) {
  auto& e = network_.edge_between(to_node(due.node), to_node(due.slot));
  if (auto* const l = network::next_to_leave(e); l != nullptr && e.free_at <= now_.since_start)
    put_on_link(e, *l, *network::take_waiting(e, *l));
  e.departure_scheduled = network::next_to_leave(e) != nullptr;
  if (!e.departure_scheduled) return;
  queue_.push({e.free_at.count(), event_kind::departure, due.node, due.slot});
  ++live_;
  ++carried_;
}

inline void simulator::put_on_link(network::edge& e, network::channel& l, packet& p) {
  auto const torn =
      scenario_.split == environment::delivery::blocks && l.kind == channel_kind::state && who_.blocks.blocks() > 1;
  if (torn) put_blocks_on_link(e, l, p);
  else put_on_way(network_.transmit(e, l, p, p.body.size(), now_.since_start), l, p, network::no_block);
}

[[gnu::noinline]] inline void simulator::put_blocks_on_link(network::edge& e, network::channel& l, packet const& p) {
  for (std::size_t block = 0; block < who_.blocks.blocks(); ++block) {
    auto each = p;
    auto const values = who_.blocks.values_of({block, block + 1}).size();
    put_on_way(network_.transmit(e, l, p, values, now_.since_start), l, each, block);
  }
}

/// Takes the packet's body. It is counted as delivered already here, where its channel is in the cache; arrive() and
/// collect() undo that for a packet that is not handed to a node.
inline void simulator::put_on_way(environment::journey const& j, network::channel& l, packet& p, std::size_t block) {
  if (!j.second) {
    if (!j.arrival) return;
    ++l.counts.delivered;
    return schedule_arrival(*j.arrival, p, block);
  }
  if (auto twin = p; j.arrival) put_on_way({j.arrival, {}}, l, twin, block);
  put_on_way({j.second, {}}, l, p, block);
}

/// Takes the packet's body.
inline void simulator::schedule_arrival(nanoseconds at, packet& p, std::size_t block) {
  auto const slot = parcels_.open();
  auto& c = parcels_.at(slot);
  c.p = std::move(p);
  c.block = block;
  if (scenario_.carried == environment::frames::encoded) encode(c);
  queue_.push({at.count(), event_kind::arrival, static_cast<std::uint32_t>(c.p.to), slot});
  ++live_;
  ++carried_;
}

[[gnu::noinline]] inline void simulator::encode(parcel& c) const {
  c.p.body = c.p.body.on_host();
  c.frame.clear();
  auto const whole = c.block == network::no_block;
  wire::encode(c.p, whole ? wire::uncut(c.p, who_.blocks) : wire::cut(c.p, who_.blocks, {c.block, c.block + 1}),
               c.frame);
  c.p.body = {};
}

inline auto simulator::channel_under(packet const& p) -> network::channel& {
  return network_.channel_of(network_.edge_between(p.from, p.to), p.channel, channels_.kind_of(p.channel));
}

inline void simulator::arrive(event const& e) {
  auto& c = parcels_.at(e.slot);
  if (state_[e.node].down) {
    --channel_under(c.p).counts.delivered;
    c.p.body = {};
    parcels_.close(e.slot);
    return;
  }
  ++events_;
  if (scenario_.carried == environment::frames::encoded) hand_over_frame(e);
  else hand_over(e);
  drain(e.node);
}

inline void simulator::hand_over(event const& e) {
  auto& c = parcels_.at(e.slot);
  auto const number = c.p.number;
  auto const whole = c.block == network::no_block;
  // As separate statements: nvcc 13 crashes if these choices are within the braces.
  auto const blocks = whole ? range{0, who_.blocks.blocks()} : range{c.block, c.block + 1};
  auto p = patch_of(c.p, blocks, std::move(c.p.body));
  p.numbers = {&number, 1};
  if (!whole) {
    c.p.body = std::move(p.body);
    p.body = block_body(std::move(c.p), c.block);
  }
  parcels_.close(e.slot);
  who_.nodes[e.node].on_patch(now_, p, out_);
}

[[gnu::noinline]] inline void simulator::hand_over_frame(event const& e) {
  auto const& c = parcels_.at(e.slot);
  wire::frame_view f;
  auto const error = wire::decode(c.frame, f);
  RUBATO_EXPECTS(!error, "a frame that was encoded here decodes");
  auto const number = f.head.number;
  patch const p{f.head.from,    f.head.to,       f.head.channel,
                f.head.session, f.head.based_on, f.head.posted_at,
                f.blocks,       {&number, 1},    wire::copy_body(f, who_.pool),
                f.head.extra};
  parcels_.close(e.slot);
  who_.nodes[e.node].on_patch(now_, p, out_);
}

/// A datagram carries its block only, so its body is a vector of its own.
[[gnu::noinline]] inline auto simulator::block_body(packet p, std::size_t block) -> shared_buffer {
  p.body = p.body.on_host();
  std::vector<std::byte> frame;
  wire::encode(p, wire::cut(p, who_.blocks, {block, block + 1}), frame);
  wire::frame_view f;
  static_cast<void>(wire::decode(frame, f));
  return wire::copy_body(f, who_.pool);
}

}  // namespace rubato
