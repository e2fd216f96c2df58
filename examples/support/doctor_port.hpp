// SPDX-License-Identifier: MIT
// How nodes talk to each other before a run (support/doctor.hpp): texts, and values as a collective::port has them. It
// goes on with those that are here, whoever is missing, and each wait has a deadline.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/wire/xxhash.hpp>

#include "interrupt.hpp"  // not "support/...", so that a test may include this

namespace rubato::examples {

/// Of one node: it is gone, or has said nothing for too long.
struct link_failed : run_error {
  using run_error::run_error;
};

/// It is here, and what was awaited has not come in time.
struct link_late : link_failed {
  using link_failed::link_failed;
};

/// **Thread safety:** one owner.
class doctor_port {
 public:
  static constexpr std::size_t most_values = std::size_t{1} << 16;  // of a message, and bytes of a text

  /// `peers`: the other nodes that are to be talked to, whose addresses are known here. Throws config_error.
  doctor_port(std::size_t self, std::size_t nodes, std::vector<std::size_t> const& peers, transport::tcp_options o)
      : self_{self}, me_{identity_of(self, peers)}, wires_{me_, std::move(o)}, others_(nodes) {
    for (auto const i : peers) others_[i].asked = true;
  }
  doctor_port(doctor_port const&) = delete;
  auto operator=(doctor_port const&) -> doctor_port& = delete;
  /// Ends in order; waits for the others, a second at most.
  ~doctor_port() {
    wires_.announce({transport::peer_status::phase::left});
    auto const latest = transport::later(std::chrono::seconds{1});
    while (!wires_.everyone_left() && transport::clock::now() < latest) {
      news_.clear();
      wires_.poll((std::min)(latest, transport::later(std::chrono::milliseconds{50})), news_);
    }
  }

  [[nodiscard]] auto is_open(std::size_t i) const -> bool { return others_[i].open && others_[i].why.empty(); }
  /// Why a node is not here; empty: it is, or may still come.
  [[nodiscard]] auto why_gone(std::size_t i) const -> std::string const& { return others_[i].why; }
  /// Throws run_error where the program is to stop.
  void listen(transport::clock::time_point until) {
    if (interrupted()) throw run_error{"interrupted"};
    news_.clear();
    wires_.poll(until, news_);
    for (auto& n : news_) take(n);
  }

  // --- texts, in order

  void tell(std::size_t to, std::string_view text) {
    auto bytes = me_.pool.allocate<std::byte>((std::min)(text.size(), most_values));
    std::memcpy(bytes.data(), text.data(), bytes.size());
    send(to, channel_id::chunk, std::move(bytes).publish(), 1);
  }
  /// The k-th text of a node, if it has come.
  [[nodiscard]] auto text_of(std::size_t from, std::size_t k) const -> std::string const* {
    return k < others_[from].texts.size() ? &others_[from].texts[k] : nullptr;
  }

  // --- values, as of a collective::port

  /// Until when waits last.
  void set_deadline(transport::clock::time_point latest) { latest_ = latest; }
  [[nodiscard]] auto piece_values() const -> std::size_t { return std::size_t{1} << 14; }
  [[nodiscard]] auto copy_of(std::span<double const> values) -> shared_buffer {
    auto copy = me_.pool.allocate<double>(values.size());
    std::copy(values.begin(), values.end(), copy.data());
    return std::move(copy).publish();
  }
  [[nodiscard]] auto may_send() const -> bool { return !wires_.congested(); }
  void send(std::size_t to, channel_id channel, shared_buffer body, std::uint64_t) {
    packet p;
    p.from = to_node(self_), p.to = to_node(to);
    p.channel = channel;
    p.number = iteration{1};
    p.body = std::move(body);
    static_cast<void>(wires_.send(channel_kind::event, std::move(p)));
  }
  [[nodiscard]] auto receive(std::size_t from) -> std::optional<packet> {
    auto& waiting = others_[from].waiting;
    if (waiting.empty()) return std::nullopt;
    auto first = std::move(waiting.front());
    waiting.pop_front();
    return first;
  }
  /// Whether receive() would have one.
  [[nodiscard]] auto has_message(std::size_t from) const -> bool { return !others_[from].waiting.empty(); }
  void wait(std::size_t awaited, bool) { look(awaited, std::chrono::milliseconds{100}); }
  /// Listens for so long. Throws link_failed, or link_late: also if the other has left when hardly any time was left,
  /// as it does if it was late first.
  void look(std::size_t awaited, std::chrono::nanoseconds most) {
    auto const& o = others_[awaited];
    if (!o.why.empty()) throw link_failed{o.why};
    auto const now = transport::clock::now();
    if (now > latest_ || (o.left && now + std::chrono::seconds{1} > latest_))
      throw link_late{"node " + std::to_string(awaited) + " is here, and its link was not measured in time"};
    if (o.left) throw link_failed{"node " + std::to_string(awaited) + " has ended before its links were measured"};
    listen((std::min)(latest_, transport::later(most)));
  }

 private:
  struct other {
    bool asked = false;
    bool open = false;
    bool left = false;
    std::string why{};
    std::vector<std::string> texts{};
    std::deque<packet> waiting{};
  };

  static auto identity_of(std::size_t self, std::vector<std::size_t> const& peers) -> transport::identity {
    transport::identity me;
    me.self = to_node(self);
    for (auto const i : peers) me.peers.push_back(to_node(i));
    me.agreed.add("program", "doctor").add("its version", 1);
    me.blocks = block_partition{most_values};
    me.channels = {{channel_id::chunk, channel_kind::event, element::u8, {}, body_form::part},
                   {channel_id::gradient, channel_kind::event, element::f64, {}, body_form::part}};
    me.check = &wire::xxh3_of;
    return me;
  }

  void take(transport::incoming& n) {
    using what = transport::incoming::what;
    auto& o = others_[to_index(n.peer)];
    if (n.kind == what::opened) o.open = true;
    if (n.kind == what::left) o.left = true;
    if (n.kind == what::closed && o.why.empty()) o.why = n.why;
    if (n.kind == what::message) keep(o, to_index(n.peer), std::move(n.p));
  }
  void keep(other& o, std::size_t from, packet p) {
    constexpr auto most_texts = std::size_t{4}, most_waiting = std::size_t{1024};
    if (o.texts.size() > most_texts || o.waiting.size() > most_waiting) {
      o.why = "node " + std::to_string(from) + " says more than a doctor asks for";
    } else if (p.channel == channel_id::chunk) {
      auto const bytes = p.body.view<std::byte>();
      o.texts.emplace_back(reinterpret_cast<char const*>(bytes.data()), bytes.size());
    } else {
      o.waiting.push_back(std::move(p));
    }
  }

  std::size_t self_;
  transport::identity me_;
  transport::tcp wires_;
  std::vector<other> others_;
  std::vector<transport::incoming> news_;
  transport::clock::time_point latest_{};
};

}  // namespace rubato::examples
