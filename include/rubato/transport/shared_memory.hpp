// SPDX-License-Identifier: MIT
// Edges between processes of one machine over memory that they share (Linux): for each session of an edge a ring each
// way, and the hellos, frames and statuses that transport/tcp.hpp has, without a checksum. Of each pair the node with
// the higher id calls: it leaves a link under a name, and the other one takes it and its name away.
//
// Whoever is killed leaves no lock behind, since there is none: a ring has one writer and one reader, and bytes are
// there before the position that says so. The system knows who lives: each end holds a lock of the open file, which
// goes with its process, and the other end asks for it at every tick. Whoever has nothing to do looks for a moment and
// then sleeps on a futex, until the next tick at the latest; so a process that is killed before it could wake a peer
// costs that peer a twentieth of a second. A child that a node forks inherits its open files: while the child lives on
// without exec, a node that was killed counts as alive until the silence ends its edges, and its place stays taken.
//
// What a peer writes is checked before it is used, frames and positions alike. Only one thing it can do cannot be
// borne: to cut the file short, after which any access ends a process. Nobody but the same user can.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/transport/detail/connection/shared_memory.hpp>
#include <rubato/transport/detail/edges.hpp>
#include <rubato/wire/frame.hpp>
#include <rubato/wire/hello.hpp>

namespace rubato::transport {

/// What a user may set of the transport over shared memory.
struct shared_memory_options {
  /// Of the run, the same at all its nodes, and of no other run of this user on this machine at the same time: 1 to 100
  /// letters, digits, '_', '.' and '-'.
  std::string run{};
  /// Of each ring, a power of two from 32 KiB up. An edge takes two rings and 4 KiB, all of it from the beginning.
  std::size_t ring_bytes = std::size_t{512} << 10;
  std::chrono::nanoseconds arrival = std::chrono::seconds{10};  ///< time in which all peers must arrive
  std::chrono::nanoseconds greeting = std::chrono::seconds{2};  ///< time in which who took a link must say its hello
  std::chrono::nanoseconds silence = std::chrono::seconds{5};  ///< time after which an open edge counts as dead
  std::size_t event_bound = 64;  ///< events that may wait for a peer before gradients are held back
  /// Called with a sentence about each peer in whose name a process with other options came before the peer itself.
  void (*says)(std::string_view sentence) = nullptr;
};

namespace detail {

/// A link, and how far it is in what it reads and writes.
struct memory_session {
  enum class awaited : std::uint8_t { hello, hello_text, header, body };

  explicit memory_session(std::unique_ptr<memory_link> l) : link{std::move(l)} {}

  std::unique_ptr<memory_link> link;
  clock::time_point until{};  // of a hello
  clock::time_point heard = clock::now();
  clock::time_point spoke = clock::now();
  bool is_over = false;  // the other end is gone, and sends no more than what is there

  awaited next = awaited::hello;
  std::size_t so_far = 0;  // bytes of it
  std::array<std::byte, wire::hello_bytes> greeting{};
  wire::hello other;
  std::string text;
  std::array<std::byte, wire::header_bytes> header{};
  wire::frame_view frame;
  wire::arriving_body arriving;

  bool writing = false;  // `out`, and then `body`
  std::vector<std::byte> out;
  std::span<std::byte const> body;
  shared_buffer keeps;  // the body's memory
  std::size_t written = 0;  // bytes of both
};

struct memory_edge : queued_edge {
  bool we_call = false;
  std::unique_ptr<memory_session> open;
  std::unique_ptr<memory_session> greeting;  // not open yet
  std::uint32_t session = 0;  // how often the edge has been opened
  clock::time_point call_again{};
  bool was_rung = false;  // for the present call
  bool pumps = false;
  std::string trouble;

  [[nodiscard]] auto is_open() const -> bool { return open != nullptr; }
  [[nodiscard]] auto is_free() const -> bool { return open && !open->writing && !write_closed; }
};

}  // namespace detail

/// **Thread safety:** one owner; wake() from any thread. **Models:** endpoint.
class shared_memory : public detail::queued_edges<shared_memory, detail::memory_edge> {
  friend class detail::queued_edges<shared_memory, detail::memory_edge>;

 public:
  static constexpr bool lossless = true;  // within a session of an edge
  static constexpr bool ordered = true;
  /// When an edge has closed, nobody reads the bodies that were sent over it.
  static constexpr bool lets_go_of_bodies = true;

  /// Removes what processes of a run by that name left that were killed. Throws config_error, also if there is too
  /// little shared memory, or another process is this node of a run by that name.
  shared_memory(identity me, shared_memory_options o)
      : queued_edges{without_checksum(std::move(me)), o.says}, options_{checked(std::move(o))} {
    detail::remove_left_overs(options_.run, std::chrono::seconds{10});
    door_.emplace(options_.run, me_.self, std::min<std::chrono::nanoseconds>(options_.arrival, options_.greeting));
    for (auto const id : me_.peers) {
      auto& p = add_peer(id);
      p.we_call = id < me_.self;
      p.trouble = p.we_call ? "it has not answered" : "it has not called";
      p.queue = send_queue{options_.event_bound};
    }
    for (auto& p : peers_) {
      if (p.we_call) call(p);
      else look_for(p);
    }
  }
  shared_memory(shared_memory const&) = delete;
  auto operator=(shared_memory const&) -> shared_memory& = delete;
  ~shared_memory() = default;

  /// Removes what processes of a run by that name left that were killed, and nothing that a live one uses; to be called
  /// when none begins. (A node does so by itself when it begins, with what is older than ten seconds.)
  static void remove_left_overs(std::string const& run) { detail::remove_left_overs(run, std::chrono::seconds{}); }

  void poll(clock::time_point until, std::vector<incoming>& in) {
    work(until, in, [] { return true; });
  }
  /// As poll, and returns as soon as all that was sent is in the rings.
  void flush(clock::time_point until, std::vector<incoming>& in) {
    work(until, in, [&] { return has_unsent(); });
  }
  void wake() {
    woken_.store(true);
    door_->wake();
  }
  /// Closes the edge to a peer; the next poll reports it.
  void give_up(node_id id, std::string const& why = detail::stalled_words) {
    if (auto* const p = find(id); p != nullptr && p->is_open()) lost(*p, why);
  }

 private:
  template<class Goes>
  void work(clock::time_point until, std::vector<incoming>& in, Goes goes_on) {
    for (auto calm_until = clock::now() + look;;) {
      auto const has_moved = progress();
      auto const now = clock::now();
      if (now >= tick_at_) tick(now);
      if (!news_.empty() || woken_.exchange(false) || now >= until || !goes_on()) break;
      if (has_moved) calm_until = now + look;
      if (now >= calm_until)
        door_->sleep((std::min)(until, tick_at_), [this] { return woken_.load() || is_something_to_do(); });
    }
    take_news(in);
  }

  using peer_state = detail::memory_edge;
  using session = detail::memory_session;
  using awaited = session::awaited;
  static constexpr auto pause = std::chrono::milliseconds{50};  // before a call is tried again
  /// How long it looks before it sleeps: about as long as a sleep and a wake-up take. It does not yield meanwhile, for
  /// on a busy machine that gives others whole time slices, and who is woken comes before them.
  static constexpr auto look = std::chrono::microseconds{20};
  static constexpr std::size_t piece_bytes = std::size_t{64} << 10;  // so that both ends copy at a time

  static auto without_checksum(identity me) -> identity {
    me.check = nullptr;
    return me;
  }
  static auto checked(shared_memory_options o) -> shared_memory_options {
    detail::refuse_run_name(o.run);
    check_silence(o.silence);
    using link = detail::memory_link;
    if (!std::has_single_bit(o.ring_bytes) || o.ring_bytes < link::least_ring || o.ring_bytes > link::most_ring)
      throw config_error{"a ring of shared memory has a power of two of bytes, from 32768 up, not " +
                         std::to_string(o.ring_bytes)};
    return o;
  }
  /// Shared memory that this node makes.
  [[nodiscard]] auto all_bytes() const -> std::uint64_t {
    auto const calls = std::count_if(peers_.begin(), peers_.end(), [](auto const& p) { return p.we_call; });
    return detail::door_words::bytes +
           static_cast<std::uint64_t>(calls) * detail::memory_link::bytes_for(options_.ring_bytes);
  }
  [[nodiscard]] auto hello_to(peer_state const& p) const -> std::vector<std::byte> {
    return wire::encode_hello({run_, me_.self, p.id, me_.opened_before + p.session, me_.time.began, 0, 0},
                              me_.agreed.text());
  }

  // --- how an edge opens

  void call(peer_state& p) {
    auto const name = detail::link_name(options_.run, me_.self, p.id);
    p.greeting = std::make_unique<session>(detail::memory_link::offered(name, options_.ring_bytes, all_bytes()));
    p.was_rung = false;
    begin_hello(*p.greeting, p);
    ring_at(p);
  }
  void begin_hello(session& s, peer_state const& p) {
    s.out = hello_to(p);
    s.writing = true;
    s.until = later(options_.greeting);
    static_cast<void>(write_on(s));
  }
  /// As soon as the peer has a door.
  void ring_at(peer_state& p) {
    if (p.was_rung) return;
    if (auto door = detail::peer_door::of(options_.run, p.id)) {
      door->call();
      p.was_rung = true;
    }
  }
  void hang_up(peer_state& p, std::string why) {
    p.trouble = std::move(why);
    p.call_again = clock::now() + pause;
    p.greeting.reset();
  }

  /// Takes the link that a peer may have left.
  void look_for(peer_state& p) {
    auto link = detail::memory_link::taken(detail::link_name(options_.run, p.id, me_.self));
    if (!link) return;
    link->bell = detail::peer_door::of(options_.run, p.id);
    p.greeting = std::make_unique<session>(std::move(link));
    p.greeting->until = later(options_.greeting);
  }

  /// Goes on with a hello; whether anything has moved.
  auto greet(peer_state& p) -> bool {
    auto& s = *p.greeting;
    auto const is_over = s.link->has_hung_up();
    if (!write_on(s)) return damaged_hello(p);
    auto const before = s.so_far;
    if (s.next == awaited::hello) {
      auto const whole = fill(s, s.greeting);
      if (!whole) return damaged_hello(p);
      if (*whole) {
        auto const said = wire::decode_hello(s.greeting);
        if (!said) return damaged_hello(p);
        s.other = *said;
        s.text.resize(s.other.text_bytes);
        s.next = awaited::hello_text;
        s.so_far = 0;
      }
    }
    if (s.next == awaited::hello_text) {
      auto const whole = fill(s, std::as_writable_bytes(std::span{s.text}));
      if (!whole) return damaged_hello(p);
      if (*whole) return greeted(p);
    }
    if (!is_over) return s.so_far != before;
    if (p.we_call) hang_up(p, "it has hung up");
    else p.greeting.reset();
    return true;
  }
  auto damaged_hello(peer_state& p) -> bool {
    ++rejected_.strangers;
    if (p.we_call) hang_up(p, "what answers there is not a rubato node");
    else p.greeting.reset();
    return true;
  }
  auto greeted(peer_state& p) -> bool {
    auto& s = *p.greeting;
    if (!wire::is_intact(s.greeting, s.text) || s.other.from != p.id || s.other.to != me_.self) return damaged_hello(p);
    auto const why = wire::difference(me_.agreed.text(), s.text, p.name);
    if (p.we_call) {
      if (why.empty()) open(p);
      else differs_from(p, why);
      return true;
    }
    if (ours_.at == peer_status::phase::ended) {  // the session would end at once
      p.greeting.reset();
      return true;
    }
    if (p.open && why.empty()) lost(p, "it has called again");
    begin_hello(s, p);
    if (why.empty()) open(p);
    else differs_from(p, why);  // the caller has its own sentence
    return true;
  }
  void differs_from(peer_state& p, std::string const& why) {
    if (p.we_call) {
      hang_up(p, why);
      p.call_again = clock::now() + between_hellos;
    } else {
      p.greeting.reset();  // its hello can still be read
    }
    differs(p, why);
  }

  void open(peer_state& p) {
    p.open = std::move(p.greeting);
    auto& s = *p.open;
    s.link->bell = detail::peer_door::of(options_.run, p.id);
    s.next = awaited::header;
    s.so_far = 0;
    s.heard = s.spoke = clock::now();
    p.renew();
    auto const mine = me_.opened_before + p.session++;
    opened(p, s.other.clock_began, {mine, s.other.session}, {s.other.session, mine});
    pump(p);
  }

  // --- how it closes

  void lost(peer_state& p, std::string const& why) {
    drop(p);
    gone(p, why);
  }
  void drop(peer_state& p) {
    p.open.reset();
    p.queue.clear();
    p.call_again = clock::now();
  }
  void bad_frame(peer_state& p, char const* why = "it sent something that is not a frame of this run") {
    ++rejected_.frames;
    lost(p, why);
  }
  void damaged(peer_state& p) { bad_frame(p, "the memory that it shares with this node is damaged"); }

  // --- bytes

  static void wake_other(session& s) {
    if (s.link->bell) s.link->bell->wake();
  }
  /// Reads on until `into` is full: whether it is, and nothing if the ring is damaged.
  static auto fill(session& s, std::span<std::byte> into) -> std::optional<bool> {
    while (s.so_far < into.size()) {
      auto const rest = into.subspan(s.so_far);
      auto const n = s.link->in.take(rest.first((std::min)(rest.size(), piece_bytes)));
      if (!n) return std::nullopt;
      if (*n == 0) return false;
      s.so_far += *n;
      if (s.link->in.owes_room()) wake_other(s);
    }
    return true;
  }
  /// Writes on as far as there is room; false if the ring is damaged. `writing` says whether something is left.
  static auto write_on(session& s) -> bool {
    if (!s.writing) return true;
    auto const all = s.out.size() + s.body.size();
    auto const before = s.written;
    while (s.written < all) {
      auto const is_in_head = s.written < s.out.size();
      auto const rest =
          is_in_head ? std::span<std::byte const>{s.out}.subspan(s.written) : s.body.subspan(s.written - s.out.size());
      auto const n = s.link->out.put(rest.first((std::min)(rest.size(), piece_bytes)));
      if (!n) return false;
      if (*n == 0) break;
      s.written += *n;
      if (!is_in_head && s.written < all) wake_other(s);  // it copies meanwhile
    }
    if (s.written > before) {
      s.spoke = clock::now();
      wake_other(s);
    }
    s.writing = s.written < all;
    if (s.writing) {
      s.link->out.want_room();
    } else {
      s.written = 0;
      s.body = {};
      s.keeps = {};
    }
    return true;
  }

  // --- frames

  /// The body is copied once, into the ring, from where it is. Of what waits, as much is written as there is room for.
  void write(peer_state& p, packet const& what, wire::piece const& part) {
    auto& s = *p.open;
    s.out.resize(wire::header_bytes);
    wire::encode_header(what, part, seal(), std::span{s.out}.first<wire::header_bytes>());
    s.body = part.body;
    s.keeps = what.body;
    s.writing = true;
    if (!p.pumps) write_on(p);
  }
  void write_on(peer_state& p) {
    p.pumps = true;
    while (p.open && p.open->writing) {
      if (!write_on(*p.open)) {
        damaged(p);
        break;
      }
      if (p.open->writing) break;
      written(p);  // and begin the next one
    }
    p.pumps = false;
  }

  /// Moves what can be moved, and says whether anything was.
  auto progress() -> bool {
    auto has_moved = false;
    auto const calls = door_->calls();
    auto const was_called = calls != std::exchange(calls_, calls);
    for (auto& p : peers_) {
      if (was_called && !p.we_call) look_for(p);
      if (p.greeting) has_moved = greet(p) || has_moved;
      if (p.open && p.open->writing) {
        auto const before = p.open->written;
        write_on(p);
        has_moved = has_moved || !p.open || !p.open->writing || p.open->written != before;
      }
      if (p.open) has_moved = read_frames(p) || has_moved;
    }
    return has_moved;
  }
  /// Some of them, and none while the owner has enough.
  auto read_frames(peer_state& p) -> bool {
    auto& s = *p.open;
    auto const is_over = s.is_over || s.link->has_hung_up();  // before what it wrote until then is read
    auto has_moved = false;
    for (auto budget = 64; budget > 0; --budget) {
      if (holds_enough()) return has_moved;
      auto const before = s.so_far;
      auto const step = s.next == awaited::header ? read_header(p) : read_body(p);
      if (p.open.get() != &s) return true;  // closed
      has_moved = has_moved || step || s.so_far != before;
      if (has_moved) s.heard = clock::now();
      if (step) continue;
      if (is_over) lost(p, s.is_over ? "its process has ended" : "it has closed the edge");
      break;
    }
    return has_moved;
  }
  /// Whether it was whole, as of read_body.
  auto read_header(peer_state& p) -> bool {
    auto& s = *p.open;
    auto const whole = fill(s, s.header);
    if (!whole) return damaged(p), false;
    if (!*whole) return false;
    s.so_far = 0;
    auto& f = s.frame;
    if (wire::decode_header(s.header, f, seal()) || !wire::is_intact(s.header, {}, seal())) return bad_frame(p), false;
    if (detail::is_status(f)) return stands(p), true;
    if (!filter_.admits(f, p.id)) return bad_frame(p), false;
    s.arriving = {f.kind, f.values, me_.pool};
    s.next = awaited::body;
    return true;
  }
  auto read_body(peer_state& p) -> bool {
    auto& s = *p.open;
    auto const whole = fill(s, s.arriving.bytes());
    if (!whole) return damaged(p), false;
    if (!*whole) return false;
    s.so_far = 0;
    s.next = awaited::header;
    deliver(p, s.frame, std::move(s.arriving).publish());
    return true;
  }
  void stands(peer_state& p) {
    auto const said = detail::status_in(p.open->frame);
    auto const& head = p.open->frame.head;
    if (!said || head.from != p.id || head.to != me_.self) return bad_frame(p);
    auto const last = hears(p, *said);
    if (last == peer_status::phase::ended) return drop(p);
    if (last) p.queue.clear();
  }

  [[nodiscard]] auto is_something_to_do() const -> bool {
    if (door_->calls() != calls_) return true;
    auto const moves = [](session const& s) {
      auto const there = s.link->in.available(), room = s.writing ? s.link->out.room() : std::size_t{0};
      return there != std::size_t{0} || room != std::size_t{0} || s.is_over || s.link->has_hung_up();
    };
    auto const has_some = [&](peer_state const& p) {
      return (p.greeting && moves(*p.greeting)) || (p.open && moves(*p.open));
    };
    return std::any_of(peers_.begin(), peers_.end(), has_some);
  }

  // --- deadlines

  void tick(clock::time_point now) {
    auto const shortest = (std::min)({options_.arrival, options_.greeting, options_.silence});
    tick_at_ = now + std::clamp<std::chrono::nanoseconds>(shortest / 8, std::chrono::milliseconds{1}, pause);
    auto const heeded = listened(now, options_.silence);
    for (auto& p : peers_) {
      if (!p.we_call && !p.greeting && !p.open) look_for(p);
      if (p.greeting) watch_greeting(p, now);
      if (p.open) watch(p, now, heeded);
      else call_again(p, now);
    }
  }
  void watch_greeting(peer_state& p, clock::time_point now) {
    auto& s = *p.greeting;
    if (p.we_call) ring_at(p);
    if (p.we_call && s.link->is_lost()) {
      hang_up(p, "somebody has removed the link that was left for it");
    } else if (p.we_call && !s.link->is_taken()) {
      s.until = later(options_.greeting);
    } else if (!s.link->is_held() && s.link->in.available() == std::size_t{0}) {
      if (p.we_call) hang_up(p, "its process has ended");
      else p.greeting.reset();
    } else if (now > s.until) {
      if (p.we_call) return hang_up(p, "it has not answered");
      ++rejected_.strangers;
      p.greeting.reset();
    }
  }
  void watch(peer_state& p, clock::time_point now, std::chrono::nanoseconds heeded) {
    auto& s = *p.open;
    if (!s.is_over) s.is_over = !s.link->is_held() && !s.link->has_hung_up();
    if (!s.link->bell || !s.link->bell->is_there()) s.link->bell = detail::peer_door::of(options_.run, p.id);
    if (!p.theirs.is_last() && is_silent(p, s.heard, heeded, options_.silence))
      return lost(p, "it has been silent for " + detail::seconds_text(options_.silence));
    beat(p, now - s.spoke, options_.silence);
  }
  void call_again(peer_state& p, clock::time_point now) {
    if (p.we_call && !p.greeting && p.theirs.may_return() && !ours_.is_last() && now >= p.call_again) {
      try {
        call(p);
      } catch (config_error const& e) {
        hang_up(p, e.what());
      }
    }
    await(p, now, options_.arrival, p.trouble);
  }

  shared_memory_options options_;
  std::optional<detail::own_door> door_;
  std::uint32_t calls_ = 0;
  clock::time_point tick_at_ = clock::now();
  std::atomic<bool> woken_{false};
};

}  // namespace rubato::transport
