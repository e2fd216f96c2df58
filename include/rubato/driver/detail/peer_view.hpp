// SPDX-License-Identifier: MIT
// What can be read off one node in a process of its own, at any moment of its life.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/channel_table.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/driver/detail/node_view.hpp>
#include <rubato/driver/detail/peer_neighbours.hpp>
#include <rubato/driver/detail/peer_words.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/result.hpp>
#include <rubato/transport/concepts.hpp>

namespace rubato::detail {

inline auto standing_of(peer_neighbours& others, node_id peer) -> standing {
  auto const& it = others.of(peer);
  if (it.left) return standing::left;
  if (others.is_expected(peer)) return standing::awaited;
  if (others.is_lost(peer)) return standing::lost;
  if (!it.here) return standing::awaited;
  return it.waits ? standing::waiting : standing::here;
}

/// What the driver knows itself.
struct peer_progress {
  node_status::phase at{};
  std::chrono::nanoseconds ran{};
  std::uint64_t gradients = 0;
  bool tracks = false;
};

inline auto status_of(assembly const& a, transport::identity const& me, hosted_node const& host,
                      std::vector<transport::traffic> const& traffic, peer_neighbours& others,
                      peer_progress const& so_far) -> node_status {
  auto s = status_of(a, me.self, host.node(), host.wants_gradient() ? std::nullopt : host.wait(), me.peers);
  s.at = so_far.at;
  s.resident_bytes = resident_bytes();
  s.ran = so_far.ran;
  s.gradients = so_far.gradients;
  s.tracks = so_far.tracks;
  for (auto& n : s.neighbours) {
    n.is = standing_of(others, n.peer);
    if (n.is == standing::lost) n.why = others.of(n.peer).lost_why;
    for (auto const& t : traffic) {
      if (t.peer != n.peer) continue;
      n.packets_sent += t.packets, n.bytes_sent += t.bytes, n.packets_lost += t.lost;
      n.delivered += t.delivered, n.bytes_received += t.bytes_in;
    }
  }
  return s;
}

/// Throws config_error if every message of one of these channels counts: the transport may lose some.
inline void refuse_loss_of(std::vector<channel_spec> const& channels) {
  for (auto const& c : channels) {
    if (c.kind != channel_kind::event) continue;
    throw config_error{"on the channel " + std::string{name_of(c.channel)} +
                       " every message counts, and this transport may lose some: use one that is lossless"};
  }
}

/// Throws config_error if nothing would end a server's run.
inline void refuse_endless_server(node_id self, until const& end) {
  if (end.time != (std::chrono::nanoseconds::max)()) return;
  throw config_error{node_name(self) + " is a server, which computes no gradients: give its run a time to end at"};
}

/// A node that was to send to this one, and of which not one message came.
inline auto silent_sender(assembly const& a, node_id self, std::vector<transport::traffic> const& traffic)
    -> std::optional<node_id> {
  for (auto const from : a.factory ? a.factory.senders(to_index(self)) : std::vector<node_id>{}) {
    auto const heard =
        std::any_of(traffic.begin(), traffic.end(), [&](auto const& t) { return t.peer == from && t.delivered > 0; });
    if (!heard) return from;
  }
  return std::nullopt;
}

}  // namespace rubato::detail
