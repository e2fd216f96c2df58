// SPDX-License-Identifier: MIT
// State channels over UDP: one block a datagram, so that a lost one costs the freshness of one block (law 5). Hellos
// are repeated until they are answered, senders keep to a rate, and loss can be asked for, keyed, to see what it does.
//
// A session is known by two random numbers, one of each end, and every frame carries both. An end opens a session when
// a hello repeats the number that it offered for it: so its sender is there now. No older datagram can be taken for
// such a hello, whatever the clocks of the two say. An end that is in a session and is offered another one answers with
// a new number of its own. It stays in the old session until that number comes back.
//
// With keys (udp_options::security) all of this is sealed, hellos too: see transport/detail/keys/udp.hpp.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>
#include <rubato/transport/asio.hpp>
#include <rubato/transport/detail/block_stream.hpp>
#include <rubato/transport/detail/connection/udp.hpp>
#include <rubato/transport/detail/datagrams.hpp>
#include <rubato/transport/detail/edges.hpp>
#include <rubato/transport/detail/keys/udp.hpp>
#include <rubato/transport/security.hpp>
#include <rubato/wire/hello.hpp>

namespace rubato::transport {

/// What a user may set of the UDP transport.
struct udp_options {
  std::vector<std::string> addresses{};  ///< host:port of every node of the run, by id
  std::optional<int> socket{};  ///< takes over this bound socket (see open_udp_socket)
  /// Encrypts all datagrams, and keeps out whoever has no key (transport/tls.hpp); empty: plain bytes. All nodes have
  /// the same kind. Each node then also listens on TCP, at the same host and port, where keys are agreed on.
  std::shared_ptr<transport::security const> security{};
  std::optional<int> listener{};  ///< takes over this listening socket for that (see open_udp_sockets)
  std::chrono::nanoseconds greeting = std::chrono::seconds{2};  ///< time in which who calls there must have shown a key
  bool insecure = false;  ///< allows addresses beyond loopback, unencrypted
  std::chrono::nanoseconds arrival = std::chrono::seconds{10};  ///< time in which all peers must arrive
  std::chrono::nanoseconds silence = std::chrono::seconds{5};  ///< time after which an open edge counts as dead
  double bytes_per_second = 64e6;  ///< rate of sending, for all peers together
  std::size_t socket_buffer =
      1U << 20;  ///< requested size, in each direction; a burst is a quarter of what was granted
  double loss = 0;  ///< datagrams thrown away before they are sent, for tests; 0 up to but not 1
  std::uint64_t loss_seed = 0;
  /// Called with a sentence about each peer in whose name a process with other options came before the peer itself.
  void (*says)(std::string_view sentence) = nullptr;
  bool batches = true;  ///< hands many datagrams to the system and takes many from it in one call, where it can (Linux)
};

using udp_socket = bound_socket;
/// Port 0 lets the system choose. Throws config_error with one sentence if the address cannot be bound.
[[nodiscard]] inline auto open_udp_socket(std::string const& text, bool insecure = false) -> udp_socket {
  return detail::open_socket<boost::asio::ip::udp::socket>(address_in(text, insecure), "receive at");
}

/// The two sockets of a node with keys: of UDP, and a listening one of TCP that has the same number of a port.
struct udp_sockets {
  bound_socket datagrams, calls;
};
/// The same for both.
[[nodiscard]] inline auto open_udp_sockets(std::string const& text, bool insecure = false) -> udp_sockets {
  auto const where = address_in(text, insecure);
  for (auto tries = 16;; --tries) {  // a port that the system chooses for one may be taken for the other
    auto const calls = detail::open_socket<boost::asio::ip::tcp::acceptor>(where, detail::listen_for_keys);
    try {
      auto at = where;
      at.port = address_in(calls.address, true).port;
      return {detail::open_socket<boost::asio::ip::udp::socket>(at, "receive at"), calls};
    } catch (config_error const&) {
      ::close(calls.descriptor);
      if (where.port != 0 || tries == 1) throw;
    }
  }
}

/// **Thread safety:** one owner; wake() from any thread. **Models:** endpoint.
class udp : public detail::edges<detail::udp_edge> {
 public:
  static constexpr bool lossless = false;
  static constexpr bool ordered = false;
  /// At most, header and body and what seals them; below any MTU, also of loopback.
  static constexpr std::size_t datagram_bytes = detail::datagram_bytes;
  static constexpr std::size_t sealed_bytes = datagram_bytes - datagram_keys::overhead;  ///< what one holds with keys

  /// Binds and begins to greet; edges open while the owner polls. Throws config_error.
  udp(identity me, udp_options o)
      : edges{detail::sealed_by(o.security.get(), std::move(me)), o.says},
        options_{std::move(o)},
        socket_{polled_.context()},
        timer_{polled_.context()} {
    refuse_what_cannot_be();
    auto const goes_far = options_.insecure || options_.security != nullptr;
    auto const own = address_of(me_.self, options_.addresses, goes_far);
    for (auto const id : me_.peers) {
      auto const a = address_of(id, options_.addresses, goes_far);
      auto& p = add_peer(id, a.text());
      p.there = a;
      p.where = {a.host, a.port};
      p.trouble = "nothing was heard of it";
      if (a.host.is_v6() == own.host.is_v6()) continue;
      throw config_error{p.name + " cannot be reached from " + own.text() +
                         " over udp, for one address is IPv4 and the other "
                         "IPv6: give all nodes addresses of one kind, or use tcp"};
    }
    take_socket(own);
    if (options_.security) listen(own);
    receive_later();
    tick_later();
  }
  udp(udp const&) = delete;
  auto operator=(udp const&) -> udp& = delete;

  /// State channels only: an event that is lost is lost work.
  auto send(channel_kind kind, packet p) -> send_status {
    RUBATO_EXPECTS(kind == channel_kind::state, "only state channels travel over udp");
    auto* const to = prepare(p);
    if (to == nullptr) return send_status::closed;
    auto& count = detail::count_of(counts_, p.to, p.channel);
    if (!(p.session == to->session)) {
      ++count.lost;
      return send_status::closed;
    }
    auto const replaced = to->waiting.put(std::move(p), me_.blocks.blocks());
    if (replaced) ++count.replaced;
    pump();
    return replaced ? send_status::replaced : send_status::accepted;
  }
  [[nodiscard]] auto congested() const -> std::optional<node_id> { return std::nullopt; }

  void poll(clock::time_point until, std::vector<incoming>& in) {
    polled_.run(until, [&] { return news_.empty() && arrived_.empty(); }, [] { return false; });
    take_news(in);
    arrived_.hand_over(me_, in);
  }
  void wake() { polled_.wake(); }
  /// Closes the edge to a peer; the next poll reports it.
  void give_up(node_id id, std::string const& why = detail::stalled_words) {
    if (auto* const p = find(id); p != nullptr && p->open) lost(*p, why);
  }

  /// A frame may be lost, so it is repeated as long as a peer may be waiting for it.
  void announce(peer_status const& s) {
    if (!adopt(s)) return;
    for (auto& p : peers_) say_well(p);
  }
  [[nodiscard]] auto everyone_left() const -> bool {
    return needs_no_answer() ||
           std::all_of(peers_.begin(), peers_.end(), [this](auto const& p) { return !p.open || has_parted(p); });
  }

  /// Throws config_error where datagrams of which so many bytes are to be had cannot carry what such nodes say.
  static void refuse_unfit(identity const& me, std::size_t bytes = datagram_bytes) {
    detail::refuse_what_no_datagram_carries(me, bytes);
  }

  /// What the system granted of the receiving buffer that was asked for, in bytes.
  [[nodiscard]] auto receive_buffer() const -> std::size_t { return receive_buffer_; }

 private:
  using peer_state = detail::udp_edge;
  using protocol = boost::asio::ip::udp;
  using error_code = boost::system::error_code;
  static constexpr auto pause = std::chrono::milliseconds{20};  // between two greetings
  static constexpr auto taken_for_dead = "it took this node for dead";

  void refuse_what_cannot_be() const {
    refuse_unfit(me_, options_.security ? sealed_bytes : datagram_bytes);
    if (!(options_.loss >= 0 && options_.loss < 1)) {
      throw config_error{"a loss must lie in 0 (included) to 1 (excluded), not " + shortest(options_.loss)};
    }
    check_silence(options_.silence);
    if (!(options_.bytes_per_second > 0)) throw config_error{"a rate must be a positive number of bytes a second"};
  }

  void take_socket(address const& own) {
    auto const descriptor =
        options_.socket ? *options_.socket : detail::open_socket<protocol::socket>(own, "receive at").descriptor;
    error_code error;
    socket_.assign(detail::protocol_of<protocol>(own), descriptor, error);
    if (!error) socket_.non_blocking(true, error);
    if (error) throw config_error{"socket " + std::to_string(descriptor) + " cannot be used: " + error.message()};
    auto const wanted = static_cast<int>(options_.socket_buffer);
    error_code ignored;  // what was granted is checked instead
    socket_.set_option(protocol::socket::receive_buffer_size{wanted}, ignored);
    socket_.set_option(protocol::socket::send_buffer_size{wanted}, ignored);
    protocol::socket::receive_buffer_size granted;
    socket_.get_option(granted, error);
    receive_buffer_ = static_cast<std::size_t>((std::max)(granted.value(), 4 * static_cast<int>(datagram_bytes)));
    budget_ = burst();
    if (options_.batches && detail::joins_and_cuts(descriptor)) batch_ = detail::outgoing_datagrams::most;
  }
  /// Where keys are agreed on. The system may have chosen the port.
  void listen(address own) {
    own.port = socket_.local_endpoint().port();
    using acceptor = boost::asio::ip::tcp::acceptor;
    auto const descriptor =
        options_.listener ? *options_.listener : detail::open_socket<acceptor>(own, detail::listen_for_keys).descriptor;
    auto const answer = (std::max)(options_.greeting, options_.arrival);  // a peer may be started long before it polls
    keys_.emplace(polled_.context(), me_.self, own, descriptor,
                  detail::key_exchange::options{options_.security, options_.greeting, answer, says_}, peers_,
                  rejected_);
  }

  // --- sending

  /// The receiver's buffer accounts about twice the bytes of a datagram, and other peers send to it too.
  [[nodiscard]] auto burst() const -> double { return static_cast<double>(receive_buffer_) / 4; }

  /// Blocks leave in turn while the rate allows it.
  void pump() {
    auto const now = clock::now();
    auto const passed = std::chrono::duration<double>(now - refilled_).count();
    refilled_ = now;
    budget_ = (std::min)(burst(), budget_ + passed * options_.bytes_per_second);
    for (std::size_t idle = 0; budget_ > 0 && idle < peers_.size(); ++turn_) {
      auto& p = peers_[turn_ % peers_.size()];
      auto const most = (std::min)(batch_, 1 + static_cast<std::size_t>(budget_) / datagram_bytes);
      auto const next = p.open && p.knows_us ? p.waiting.next(most) : std::nullopt;
      idle = next ? 0 : idle + 1;
      if (next && !send_blocks(p, *next)) return;
    }
  }

  /// False if the socket takes no more for now; then the same blocks are tried next. What the system refuses to carry
  /// at all counts as lost, so that no peer holds up the others.
  auto send_blocks(peer_state& p, detail::block_stream::run const& run) -> bool {
    auto labelled = *run.from;
    labelled.session = p.wire;
    auto drawn = p.drawn;
    for (auto b = run.blocks.begin; b < run.blocks.end; ++b) {
      if (is_dropped(p, 0x75647021ULL, drawn)) continue;
      auto const part = wire::cut(*run.from, me_.blocks, {b, b + 1});
      add(p, labelled, part);
    }
    auto const count = leaving_.size();
    auto const error = count == 0 ? std::errc{} : leave(p);
    auto const is_taken = error == std::errc{};
    if (!is_taken && count > batch_) return true;  // one by one from now on
    using enum std::errc;
    if (error == resource_unavailable_try_again || error == operation_would_block || error == no_buffer_space)
      return false;
    p.drawn = drawn;
    detail::count_of(counts_, p.id, run.from->channel).lost += run.blocks.size() - (is_taken ? count : 0);
    for (auto b = run.blocks.begin; b < run.blocks.end; ++b) {
      auto const part = wire::cut(*run.from, me_.blocks, {b, b + 1});
      count_sent(p.id, *run.from, part);
      budget_ -= static_cast<double>(wire::header_bytes + part.body.size() + (keys_ ? datagram_keys::overhead : 0));
    }
    p.waiting.done(run);
    return true;
  }

  /// Makes a frame of the open session ready to leave.
  void add(peer_state const& p, packet const& head, wire::piece const& part) {
    if (!keys_) return wire::encode_header(head, part, seal(), leaving_.add(part.body));
    std::array<std::byte, wire::header_bytes> header;
    wire::encode_header(head, part, seal(), header);
    p.keys.front()->seal(header, part.body, room_for(header.size() + part.body.size()));
  }
  [[nodiscard]] auto room_for(std::size_t bytes) -> std::span<std::byte> {
    return leaving_.room(bytes + datagram_keys::overhead);
  }

  /// Gives the system the frames that are ready. Returns the error that kept it from taking them, if any.
  auto leave(peer_state& p) -> std::errc {
    auto const together = leaving_.size() > 1;
    auto const error = leaving_.leave(socket_.native_handle(), p.where.data(), p.where.size());
    if (error == std::errc{}) {
      p.spoke = clock::now();
      return error;
    }
    auto const uncut =
        error == std::errc::io_error || error == std::errc::invalid_argument || error == std::errc::message_size;
    if (together && uncut) batch_ = 1;  // this interface cannot split one
    return error;
  }

  [[nodiscard]] auto is_dropped(peer_state const& p, std::uint64_t kind, std::uint64_t& drawn) const -> bool {
    return options_.loss > 0 &&
           random_stream{{options_.loss_seed, kind, to_index(me_.self), to_index(p.id), drawn++}}.chance(options_.loss);
  }

  void say(peer_state& p) {
    if (!p.open) return;
    p.spoke = clock::now();
    if (ours_.is_last() && p.theirs.is_last()) ++p.parting_words;
    if (is_dropped(p, 0x75647322ULL, p.drawn_words)) return;
    auto frame = detail::frame_of(ours_, me_.self, p.id);
    frame.session = p.wire;
    add(p, frame, {});
    leave(p);
  }

  /// A last status is worth more than one datagram.
  void say_well(peer_state& p) {
    for (auto k = 0; k < (ours_.is_last() ? 3 : 1); ++k) say(p);
  }
  /// The last node to leave gets no acknowledgement of its `left`, so it sends so many that one will arrive.
  [[nodiscard]] auto has_parted(peer_state const& p) const -> bool {
    return p.theirs.is_last() && p.parting_words >= 24;
  }

  /// Offers the next session, and says which one is over for us: the peer may be alive and not know it.
  void greet(peer_state const& p) { say_hello(p, p.offer, p.heard_offer, p.keys.size() - 1); }
  /// Tells the peer, which may not be in this session yet, that we are.
  void confirm(peer_state const& p) { say_hello(p, p.wire.sender, p.wire.receiver, 0); }
  void say_hello(peer_state const& p, std::uint32_t mine, std::uint32_t heard, std::size_t under) {
    if (keys_ && p.keys.empty()) return;  // nothing is said before
    auto const open = p.open ? p.wire.receiver : 0U;
    auto const who = wire::hello{run_, me_.self, p.id, mine, me_.time.began, heard, open, p.closed};
    auto const bytes = wire::encode_hello(who, me_.agreed.text());
    if (keys_) {
      p.keys[under]->seal(bytes, {}, room_for(bytes.size()));
      auto to = p.where;
      static_cast<void>(leaving_.leave(socket_.native_handle(), to.data(), to.size()));  // the next one is not far
      return;
    }
    error_code ignored;  // the same
    socket_.send_to(boost::asio::buffer(bytes), p.where, 0, ignored);
  }

  // --- receiving

  void receive_later() {
    socket_.async_wait(protocol::socket::wait_read, [this](error_code error) {
      if (error) return;
      for (auto k = 0; k < 256 && arriving_.receive(socket_.native_handle()); ++k) {
        auto sender = protocol::endpoint{};
        std::memcpy(sender.data(), arriving_.address(), (std::min)(arriving_.address_bytes(), sender.capacity()));
        arriving_.for_each([&](std::span<std::byte const> datagram) { received(datagram, sender); });
      }
      receive_later();
    });
  }

  void received(std::span<std::byte const> bytes, protocol::endpoint const& sender) {
    auto const at =
        std::find_if(peers_.begin(), peers_.end(), [&](auto const& p) { return detail::is_from(sender, p.where); });
    if (at == peers_.end()) {
      ++rejected_.strangers;
      return;
    }
    if (!keys_) return read(*at, bytes);
    auto const size = std::clamp(bytes.size(), datagram_keys::overhead, datagram_bytes);
    auto const plain = std::span{plain_}.first(size - datagram_keys::overhead);
    if (size == bytes.size() && at->unseal(bytes, plain)) read(*at, plain);
    else ++rejected_.strangers;
  }
  void read(peer_state& p, std::span<std::byte const> bytes) {
    if (bytes.size() >= wire::hello_bytes && wire::decode_hello(bytes.first<wire::hello_bytes>()))
      return greeted(p, bytes);
    wire::frame_view f;
    if (wire::decode(bytes, f, seal()) || f.head.from != p.id || f.head.to != me_.self) {
      ++rejected_.frames;
      return;
    }
    if (!p.open || !(f.head.session == session_id{p.wire.receiver, p.wire.sender}))
      return;  // of another session, or too early
    p.use_these_keys();
    p.heard = clock::now();
    p.knows_us = true;
    if (detail::is_status(f)) return stands(p, f);
    if (!filter_.admits(f, p.id) || f.blocks.size() != 1) {
      ++rejected_.frames;
      return;
    }
    f.head.session = {p.session.receiver, p.session.sender};
    f.head.posted_at = me_.time.from(p.clock_began, f.head.posted_at);
    if (!arrived_.put(f, me_, counts_)) ++rejected_.frames;
  }

  void greeted(peer_state& p, std::span<std::byte const> bytes) {
    auto const said = wire::decode_whole_hello(bytes);
    if (!said || said->who.from != p.id || said->who.to != me_.self || said->who.session == 0) {
      ++rejected_.strangers;
      return;
    }
    auto const& who = said->who;
    auto const why = wire::difference(me_.agreed.text(), said->text, p.name);
    if (!why.empty()) {
      differs(p, why);
      if (may_answer(p)) greet(p);  // so that it learns the options here
      return;
    }
    if (p.open && who.session == p.wire.receiver) return confirmed(p, who);
    auto const was_only_asked = p.open && who.open == p.wire.sender && who.heard != who.open;
    if (was_only_asked) return;  // it is in this session too
    auto const says_it_is_over = p.open && (who.closed == p.wire.sender || who.open == p.wire.sender);
    if (says_it_is_over) lost(p, taken_for_dead);
    if (ours_.at == peer_status::phase::ended) return;  // the session would end at once
    p.heard_offer = who.session;
    if (who.heard == p.offer) open(p, who);
    else if (may_answer(p)) greet(p);
  }

  /// A peer with which we are in this session may not be in it yet. If it is, it may not know that we are.
  void confirmed(peer_state& p, wire::hello const& who) {
    p.use_these_keys();
    auto const is_in = who.open == p.wire.sender;
    p.knows_us = p.knows_us || is_in;
    if (!may_answer(p)) return;
    if (is_in) say(p);
    else confirm(p);
  }
  /// Answers are answered too, but not within the pause: otherwise two nodes would answer each other without end.
  [[nodiscard]] auto may_answer(peer_state& p) const -> bool {
    auto const now = clock::now();
    if (now < p.answered + pause) return false;
    p.answered = now;
    return true;
  }

  /// Whether the peer repeats the number that was offered for this session, and no older one.
  void open(peer_state& p, wire::hello const& who) {
    auto const mine = std::exchange(p.offer, detail::fresh_nonce());
    if (p.open) {
      drop(p);
      gone(p, who.clock_began == p.clock_began ? taken_for_dead : "it has been started again");
    }
    p.use_these_keys();
    p.wire = {mine, who.session};
    p.heard_offer = 0;
    p.open = true;
    p.knows_us = who.open == p.wire.sender;
    p.session = {p.sessions, p.sessions};
    ++p.sessions;
    p.heard = clock::now();
    p.waiting = {};
    opened(p, who.clock_began, p.session, p.session);
    confirm(p);
    say(p);
  }

  void drop(peer_state& p) {
    p.open = false;
    p.closed = p.wire.receiver;
    p.offer = detail::fresh_nonce();
    p.waiting = {};
  }
  /// If the peer is alive, it learns this at once: this node may end because of it.
  void lost(peer_state& p, std::string const& why) {
    drop(p);
    if (keys_) keys_->call_anew(p);
    gone(p, why);
    for (auto k = 0; k < 3; ++k) greet(p);
  }

  void stands(peer_state& p, wire::frame_view const& f) {
    auto const said = detail::status_in(f);
    if (!said) {
      ++rejected_.frames;
      return;
    }
    auto const last = hears(p, *said);
    if (!last) return;
    if (ours_.is_last()) say_well(p);
    if (last == peer_status::phase::ended) drop(p);
    else p.waiting = {};
  }

  // --- deadlines

  void tick_later() {
    // Short while something waits to be sent: the rate is kept by many small bursts.
    auto const waits = std::any_of(peers_.begin(), peers_.end(), [](auto const& p) { return !p.waiting.empty(); });
    timer_.expires_after(waits ? std::chrono::microseconds{500} : std::chrono::microseconds{pause});
    timer_.async_wait([this](error_code error) {
      if (error) return;
      pump();
      if (auto const now = clock::now(); now - last_tick_ >= pause) tick(now);
      tick_later();
    });
  }

  /// Whether the peer may be waiting for our last status, which may have been lost.
  [[nodiscard]] auto is_unsure_of(peer_state const& p) const -> bool {
    auto const both_run = ours_.at == peer_status::phase::running && p.theirs.at == peer_status::phase::running;
    return !both_run && (!p.theirs.is_last() || (ours_.is_last() && !has_parted(p)));
  }

  void tick(clock::time_point now) {
    auto const heeded = listened(now, options_.silence);
    if (keys_ && ours_.at != peer_status::phase::ended) keys_->tick(now);
    for (auto& p : peers_) {
      if (p.open && !p.knows_us) confirm(p);
      if (!p.open && p.theirs.at != peer_status::phase::left) greet(p);
      // A peer that has left still sends and receives while it lingers. Only silence shows that it is gone. Then we
      // stop sending to it; this is no loss.
      auto const most = (p.theirs.at == peer_status::phase::left ? 8 : 1) * options_.silence;
      if (p.open && is_silent(p, p.heard, heeded, most)) {
        lost(p, "it has been silent for " + detail::seconds_text(options_.silence));
      }
      if (p.open && (is_unsure_of(p) || now - p.spoke > options_.silence / 4)) say(p);
      if (!p.open) await(p, now, options_.arrival, p.words());
    }
  }

  udp_options options_;
  detail::polled_context polled_;
  protocol::socket socket_;
  boost::asio::steady_timer timer_;
  std::optional<detail::key_exchange> keys_;  // empty: nothing is sealed
  std::size_t turn_ = 0;
  std::size_t receive_buffer_ = 0;
  double budget_ = 0;  // bytes that may be sent now
  clock::time_point refilled_ = clock::now();
  std::size_t batch_ = 1;  // datagrams that leave in one call
  detail::outgoing_datagrams leaving_;
  detail::incoming_datagrams arriving_;
  std::array<std::byte, datagram_bytes> plain_;  // of a datagram that is being read
  detail::block_gatherer arrived_;
};

}  // namespace rubato::transport
