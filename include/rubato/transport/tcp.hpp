// SPDX-License-Identifier: MIT
// Edges between processes over TCP: one connection for each pair of nodes, hellos that compare options, checked frames,
// heartbeats that carry a node's status, and a deadline on every wait. Of each pair the node with the higher id calls.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include <rubato/core/errors.hpp>
#include <rubato/transport/asio.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/transport/detail/callers/tcp.hpp>
#include <rubato/transport/detail/connection/tcp.hpp>
#include <rubato/transport/detail/edges.hpp>
#include <rubato/transport/security.hpp>

namespace rubato::transport {

/// What a user may set of the TCP transport.
struct tcp_options {
  std::vector<std::string> addresses{};  ///< host:port of every node of the run, by id
  std::optional<int>
      listener{};  ///< takes over this listening socket (see open_tcp_socket) instead of opening its address
  /// Encrypts all connections, and keeps out whoever has no key (transport/tls.hpp); empty: plain bytes. All nodes have
  /// the same kind. Frames have no checksum then, since nothing damaged is decrypted.
  std::shared_ptr<transport::security const> security{};
  bool insecure = false;  ///< allows addresses beyond loopback, unencrypted
  std::chrono::nanoseconds arrival = std::chrono::seconds{10};  ///< time in which all peers must arrive
  std::chrono::nanoseconds greeting = std::chrono::seconds{2};  ///< time in which a connection must have sent its hello
  std::chrono::nanoseconds silence = std::chrono::seconds{5};  ///< time after which an open connection counts as dead
  std::size_t event_bound = 64;  ///< events that may wait for a peer before gradients are held back
  /// Called with a sentence about each peer in whose name a process with other options came before the peer itself.
  void (*says)(std::string_view sentence) = nullptr;
};

using tcp_socket = bound_socket;
/// Port 0 lets the system choose. Throws config_error with one sentence if the address cannot be listened on.
[[nodiscard]] inline auto open_tcp_socket(std::string const& text, bool insecure = false) -> tcp_socket {
  return detail::open_socket<boost::asio::ip::tcp::acceptor>(address_in(text, insecure), "listen on");
}

namespace detail {

/// It is open while there is a link.
struct tcp_edge : queued_edge, calling_edge {
  [[nodiscard]] auto is_open() const -> bool { return link != nullptr; }
  [[nodiscard]] auto is_free() const -> bool { return link && !link->writing && !write_closed; }
};

}  // namespace detail

/// **Thread safety:** one owner; wake() from any thread. **Models:** endpoint.
class tcp : public detail::queued_edges<tcp, detail::tcp_edge> {
  friend class detail::queued_edges<tcp, detail::tcp_edge>;

 public:
  static constexpr bool lossless = true;  // within a session of an edge
  static constexpr bool ordered = true;
  /// Once flush() has returned, and after a peer has received a body or was given up, nothing reads its memory here.
  static constexpr bool lets_go_of_bodies = true;

  /// Listens and begins to call; peers open while the owner polls. Throws config_error.
  tcp(identity me, tcp_options o)
      : queued_edges{detail::sealed_by(o.security.get(), std::move(me)), o.says},
        options_{std::move(o)},
        callers_{io(), options_.security.get(), options_.greeting, rejected_},
        timer_{io()} {
    check_silence(options_.silence);
    auto const goes_far = options_.insecure || options_.security != nullptr;
    for (auto const id : me_.peers) {
      auto const where = address_of(id, options_.addresses, goes_far);
      auto& p = add_peer(id, where.text());
      p.there = where;
      p.we_call = id < me_.self;
      p.trouble = p.we_call ? "it has not answered" : "it has not called";
      p.queue = send_queue{options_.event_bound};
    }
    auto const own = address_of(me_.self, options_.addresses, goes_far);
    auto const bound_socket = options_.listener
                                  ? *options_.listener
                                  : detail::open_socket<boost::asio::ip::tcp::acceptor>(own, "listen on").descriptor;
    callers_.listen(
        bound_socket, own, [this](auto const& c) { answer(c); },
        [this](std::string const& why, bool is_verdict) { detail::tell_of_stranger(peers_, why, is_verdict, says_); });
    for (auto& p : peers_) {
      if (p.we_call) call(p);
    }
    tick_later();
  }
  tcp(tcp const&) = delete;
  auto operator=(tcp const&) -> tcp& = delete;
  ~tcp() {
    for (auto& p : peers_) p.close();  // handlers of the context refer to them
  }

  void poll(clock::time_point until, std::vector<incoming>& in) {
    work(until, in, [] { return true; });
  }
  /// As poll, and returns as soon as the system has taken all that was sent.
  void flush(clock::time_point until, std::vector<incoming>& in) {
    work(until, in, [&] { return has_unsent(); });
  }
  void wake() { polled_.wake(); }
  /// Closes the edge to a peer; the next poll reports it.
  void give_up(node_id id, std::string const& why = detail::stalled_words) {
    if (auto* const p = find(id); p != nullptr && p->link) lost(*p, std::shared_ptr<connection>{p->link}, why);
  }

 private:
  template<class Goes>
  void work(clock::time_point until, std::vector<incoming>& in, Goes goes_on) {
    polled_.run(until, [&] { return news_.empty() && goes_on(); }, [&] { return holds_enough(); });
    take_news(in);
  }

  using tcp_protocol = boost::asio::ip::tcp;
  using peer_state = detail::tcp_edge;
  using connection = detail::tcp_connection;
  using error_code = boost::system::error_code;
  static constexpr auto pause = std::chrono::milliseconds{50};  // before a call is tried again

  [[nodiscard]] auto io() -> boost::asio::io_context& { return polled_.context(); }
  [[nodiscard]] auto hello_to(peer_state const& p) const -> wire::hello {
    return {run_, me_.self, p.id, me_.opened_before + p.sessions, me_.time.began, 0, 0};
  }

  // --- how an edge opens

  void call(peer_state& p) {
    auto const c = p.calling = std::make_shared<connection>(connection::socket_type{io()});
    c->peer = p.id;
    c->until = later(
        (std::max)(options_.greeting, options_.arrival));  // a peer may accept connections long before it serves them
    detail::call(c, p.there, options_.security.get(), hello_to(p), me_.agreed.text(),
                 [this, &p, c](std::string const& no) {
                   if (!no.empty()) return hang_up(p, no);
                   auto const why = wire::difference(me_.agreed.text(), c->text, p.name);
                   if (why.empty()) return open(p, c);
                   hang_up(p, why);
                   p.call_again = clock::now() + between_hellos;
                   differs(p, why);
                 });
  }

  void hang_up(peer_state& p, std::string why) {
    p.fails(std::move(why), p.calling && p.calling->is_verdict);
    p.call_again = clock::now() + pause;
    if (p.calling) p.calling->close();
    p.calling.reset();
  }

  void answer(std::shared_ptr<connection> const& c) {
    auto* const p = find(c->other.from);
    if (ours_.at == peer_status::phase::ended) return callers_.forget(c);  // the session would end at once
    if (p == nullptr || p->we_call || c->other.to != me_.self) return callers_.turn_away(c);
    auto const why = wire::difference(me_.agreed.text(), c->text, p->name);
    if (auto const old = p->link; old && why.empty())
      lost(*p, old, "it has called again: it began anew, or two processes are this node");
    c->write_hello(hello_to(*p), me_.agreed.text(), [this, p, c, why](error_code error) {
      if (!why.empty()) {  // the caller knows the options here, and has its own sentence
        differs(*p, why);
        return callers_.forget(c);
      }
      if (error) return callers_.turn_away(c);
      callers_.release(c);
      open(*p, c);
    });
  }

  void open(peer_state& p, std::shared_ptr<connection> const& c) {
    error_code ignored;
    c->socket.set_option(tcp_protocol::no_delay{true}, ignored);
    detail::try_again_soon(c->socket.native_handle(), options_.silence);
    detail::never_pace_within_machine(c->socket);
    c->at = detail::phase::open;
    c->peer = p.id;
    c->heard = c->spoke = clock::now();
    p.calling.reset();
    p.link = c;
    p.told_of_strangers = false;
    p.verdict.clear();
    p.renew();
    auto const mine = me_.opened_before + p.sessions++;
    opened(p, c->other.clock_began, {mine, c->other.session}, {c->other.session, mine});
    read_frame(p, c);
    pump(p);
  }

  // --- how it closes

  void lost(peer_state& p, std::shared_ptr<connection> const& c, std::string const& why) {
    auto const was_open = p.link == c;
    drop(p, c);
    if (was_open) gone(p, why);
  }
  void drop(peer_state& p, std::shared_ptr<connection> const& c) {
    c->close();
    if (p.link != c) return;
    p.link.reset();
    p.queue.clear();
    p.call_again = clock::now() + pause;
  }

  // --- frames

  void read_frame(peer_state& p, std::shared_ptr<connection> const& c) {
    c->read(boost::asio::buffer(c->header), [this, &p, c](error_code error) {
      if (error) return lost(p, c, error.message());
      auto& f = c->frame;
      if (!c->understands_header(seal())) return bad_frame(p, c);
      if (detail::is_status(f)) return stands(p, c);
      if (!filter_.admits(f, p.id)) return bad_frame(p, c);
      c->read_body(me_.pool, [this, &p, c](error_code cut, bool intact) {
        if (cut) return lost(p, c, cut.message());
        if (!intact) return bad_frame(p, c);
        deliver(p, c->frame, std::move(c->arriving).publish());
        read_frame(p, c);
      });
    });
  }

  void bad_frame(peer_state& p, std::shared_ptr<connection> const& c) {
    ++rejected_.frames;
    lost(p, c, "it sent something that is not a frame of this run");
  }

  void stands(peer_state& p, std::shared_ptr<connection> const& c) {
    auto const said = detail::status_in(c->frame);
    auto const& head = c->frame.head;
    if (!said || head.from != p.id || head.to != me_.self) return bad_frame(p, c);
    auto const last = hears(p, *said);
    if (last == peer_status::phase::ended) return drop(p, c);
    if (last) p.queue.clear();
    read_frame(p, c);
  }

  void write(peer_state& p, packet const& what, wire::piece const& part) {
    p.link->write_frame(what, part, seal(), [this, &p](error_code error) {
      if (error) not_written(p);  // reading will fail too, or the silence will end it
      else written(p);
    });
  }

  // --- deadlines

  void tick_later() {
    auto const shortest = (std::min)({options_.arrival, options_.greeting, options_.silence});
    timer_.expires_after(std::clamp<std::chrono::nanoseconds>(shortest / 8, std::chrono::milliseconds{1}, pause));
    timer_.async_wait([this](error_code error) {
      if (error) return;
      tick(clock::now());
      tick_later();
    });
  }

  void tick(clock::time_point now) {
    auto const heeded = listened(now, options_.silence);
    callers_.tick(now);
    for (auto& p : peers_) {
      if (p.link) watch(p, now, heeded);
      else call_again(p, now);
    }
  }

  void watch(peer_state& p, clock::time_point now, std::chrono::nanoseconds heeded) {
    auto const c = p.link;
    // A peer that has sent its last status sends nothing more. While it lingers, it takes our silence for our end. If
    // it dies, its connection ends.
    if (!p.theirs.is_last() && is_silent(p, c->heard, heeded, options_.silence)) {
      return lost(p, c, "it has been silent for " + detail::seconds_text(options_.silence));
    }
    beat(p, now - c->spoke, options_.silence);
  }

  void call_again(peer_state& p, clock::time_point now) {
    if (p.calling && now > p.calling->until) hang_up(p, "it has not answered");
    if (p.we_call && !p.calling && p.theirs.may_return() && !ours_.is_last() && now >= p.call_again) call(p);
    await(p, now, options_.arrival, p.words());
  }

  tcp_options options_;
  detail::polled_context polled_;  // before the members that refer to it
  detail::callers callers_;
  boost::asio::steady_timer timer_;
};

}  // namespace rubato::transport
