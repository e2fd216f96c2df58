// SPDX-License-Identifier: MIT
// How a pair of nodes agrees on keys for datagrams: over a TCP connection between the same addresses, by the handshake
// of transport/security.hpp. The connection stays, so that a peer that ends is noticed and called again.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/transport/asio.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/transport/detail/callers/tcp.hpp>
#include <rubato/transport/detail/connection/tcp.hpp>
#include <rubato/transport/detail/connection/udp.hpp>
#include <rubato/transport/peer_status.hpp>
#include <rubato/transport/security.hpp>
#include <rubato/wire/agreement.hpp>

namespace rubato::transport::detail {

inline constexpr auto listen_for_keys = "listen (over TCP, to agree on keys) on";

/// The keys of all edges of one node.
class key_exchange {
 public:
  struct options {
    std::shared_ptr<transport::security const> security;
    std::chrono::nanoseconds greeting, answer;  ///< in which a caller says who it is, and a peer answers a call
    void (*says)(std::string_view) = nullptr;
  };

  /// Listens on that socket. `peers` and `counts` outlive it; each peer says where it listens. Throws config_error.
  key_exchange(boost::asio::io_context& io, node_id self, address const& own, int socket, options o,
               std::deque<udp_edge>& peers, rejections& counts)
      : io_{io},
        self_{self},
        options_{std::move(o)},
        peers_{peers},
        callers_{io, options_.security.get(), options_.greeting, counts} {
    callers_.listen(
        socket, own, [this](auto const& c) { answer(c); },
        [this](std::string const& why, bool is_verdict) { tell_of_stranger(peers_, why, is_verdict, options_.says); });
    for (auto& p : peers_) {
      p.we_call = p.id < self_;
      p.trouble = p.we_call ? "it has not answered a call, by which keys are agreed on"
                            : "it has not called, by which keys are agreed on";
    }
  }
  key_exchange(key_exchange const&) = delete;
  auto operator=(key_exchange const&) -> key_exchange& = delete;
  ~key_exchange() {
    for (auto& p : peers_) p.close();
  }

  /// Of a session that has ended: the peer may be another process by now, and its connection may not show that.
  void call_anew(udp_edge& p) {
    if (p.we_call) hang_up(p, p.trouble);
  }

  void tick(clock::time_point now) {
    callers_.tick(now);
    for (auto& p : peers_) {
      if (p.calling && now > p.calling->until) hang_up(p, "it has not answered a call, by which keys are agreed on");
      if (p.we_call && !p.link && !p.calling && p.theirs.at != peer_status::phase::left && now >= p.call_again) call(p);
    }
  }

 private:
  static constexpr auto pause = std::chrono::milliseconds{50};  // before a call is tried again
  using connection = std::shared_ptr<tcp_connection>;

  /// Options are compared by the hellos that are sent as datagrams.
  [[nodiscard]] auto hello_to(udp_edge const& p) const -> wire::hello { return {nothing_.id(), self_, p.id}; }

  void call(udp_edge& p) {
    auto const c = p.calling = std::make_shared<tcp_connection>(tcp_connection::socket_type{io_});
    c->until = later(options_.answer);
    detail::call(c, p.there, options_.security.get(), hello_to(p), nothing_.text(),
                 [this, &p, c](std::string const& no) {
                   if (!no.empty()) return hang_up(p, "no keys could be agreed on over TCP: " + no);
                   p.calling.reset();
                   agree(p, c);
                 });
  }
  void hang_up(udp_edge& p, std::string why) {
    p.fails(std::move(why), p.calling && p.calling->is_verdict);
    p.call_again = clock::now() + pause;
    p.close();
  }

  void answer(connection const& c) {
    auto const at = std::find_if(peers_.begin(), peers_.end(), [&](auto const& p) { return p.id == c->other.from; });
    if (at == peers_.end() || at->we_call || c->other.to != self_) return callers_.turn_away(c);
    callers_.release(c);
    auto& p = *at;
    // First, since its datagrams may come before the system has said that our hello has left.
    agree(p, c);
    c->write_hello(hello_to(p), nothing_.text(), [this, &p, c](boost::system::error_code error) {
      if (error) part(p, c);
    });
  }

  /// The keys of an open session stay in use until a new session opens: who calls ends nothing.
  void agree(udp_edge& p, connection const& c) {
    auto const caller = p.we_call ? self_ : p.id, called = p.we_call ? p.id : self_;
    auto made =
        c->secure->keys_for_datagrams(std::to_string(to_index(caller)) + " to " + std::to_string(to_index(called)));
    if (!made) return hang_up(p, "its connection gives no keys for datagrams");
    if (auto const old = std::exchange(p.link, c)) old->close();
    c->at = phase::open;
    p.told_of_strangers = false;
    p.verdict.clear();
    p.trouble = "keys are agreed on over TCP, but no datagram of it has come that was right";
    p.keys.resize((std::min)(p.keys.size(), std::size_t{p.open ? 1U : 0U}));
    p.keys.push_back(std::move(made));
    c->read(boost::asio::buffer(c->header), [this, &p, c](boost::system::error_code) { part(p, c); });  // it ends
  }
  void part(udp_edge& p, connection const& c) {
    c->close();
    if (p.link != c) return;
    p.link.reset();
    p.call_again = clock::now() + pause;
  }

  boost::asio::io_context& io_;
  node_id self_;
  options options_;
  std::deque<udp_edge>& peers_;
  wire::agreement nothing_;
  callers callers_;
};

}  // namespace rubato::transport::detail
