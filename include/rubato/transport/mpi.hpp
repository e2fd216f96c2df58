// SPDX-License-Identifier: MIT
// Edges between the ranks of an MPI run: two-sided and non-blocking, on a communicator of its own whose errors are
// values. A node's id is its rank. MPI makes progress only inside its calls, so the owner must poll.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <mpi.h>

#include <rubato/core/errors.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/transport/send_queue.hpp>
#include <rubato/wire/hello.hpp>

namespace rubato::transport {

/// What a user may set of the MPI transport.
struct mpi_options {
  std::chrono::nanoseconds arrival = std::chrono::seconds{10};  ///< in which all peers must have come
  std::chrono::nanoseconds silence = std::chrono::seconds{5};   ///< after which an open edge counts as dead
  std::size_t event_bound = 64;  ///< events a peer that wait before gradients are held back
};

/// **Thread safety:** one owner, which must be the thread that initialised MPI (funneled); wake() from any thread.
/// **Models:** endpoint.
class mpi {
 public:
  static constexpr bool lossless = true;
  static constexpr bool ordered = true;

  /// Collective over `ranks`, which it duplicates. Throws config_error with one sentence if MPI is not initialised for
  /// threads, this is not its main thread, or the rank is not the node's id.
  mpi(identity me, mpi_options o, MPI_Comm ranks = MPI_COMM_WORLD)
      : me_{std::move(me)}, options_{o}, door_{me_} {
    refuse_what_cannot_be(ranks);
    if (MPI_Comm_dup(ranks, &ours_) != MPI_SUCCESS) throw config_error{"MPI cannot duplicate the communicator of this run"};
    MPI_Comm_set_errhandler(ours_, MPI_ERRORS_RETURN);
    begin_ = last_tick_ = clock::now();
    for (auto const id : me_.peers) {
      auto& p = peers_.emplace_back();
      p.id = id;
      p.queue = send_queue{options_.event_bound};
      p.out = wire::encode_hello({run_, me_.self, id, 0, me_.time.began, 0, 0}, me_.agreed.text());
      p.in.resize(wire::hello_bytes + wire::agreement::most_bytes);
      post(p, p.sending, direction::out, p.out);
      post(p, p.receiving, direction::in, p.in);
    }
  }
  mpi(mpi const&) = delete;
  auto operator=(mpi const&) -> mpi& = delete;
  /// What is still being sent is given up.
  ~mpi() {
    for (auto& p : peers_) {
      for (auto& r : p.receiving) {
        if (r == MPI_REQUEST_NULL) continue;
        MPI_Cancel(&r);
        MPI_Wait(&r, MPI_STATUS_IGNORE);
      }
      auto const pending = std::any_of(p.sending.begin(), p.sending.end(), [](auto r) { return r != MPI_REQUEST_NULL; });
      if (!pending) continue;
      for (auto& r : p.sending) {
        if (r != MPI_REQUEST_NULL) MPI_Request_free(&r);
      }
      // MPI may still read these bytes, for as long as the process lives.
      new std::pair<std::vector<std::byte>, shared_buffer>{std::move(p.out), std::move(p.body)};
    }
    MPI_Comm_free(&ours_);
  }

  auto send(channel_kind kind, packet p) -> send_status {
    auto* const to = find(p.to);
    RUBATO_EXPECTS(to != nullptr, "a node sends to its peers only");
    p.body = p.body.on_host();
    auto& count = detail::count_of(counts_, p.to, p.lane);
    if (to->at != stage::open || to->left || leaving_) {
      ++count.lost;
      return send_status::closed;
    }
    auto const status = to->queue.put(kind, std::move(p));
    if (status == send_status::replaced) ++count.replaced;
    pump(*to);
    return status;
  }
  [[nodiscard]] auto congested() const -> bool {
    return std::any_of(peers_.begin(), peers_.end(), [](auto const& p) { return p.at == stage::open && p.queue.full(); });
  }

  void poll(clock::time_point until, std::vector<incoming>& in) {
    auto const calm_until = clock::now() + std::chrono::microseconds{50};
    while (true) {
      for (auto& p : peers_) progress(p);
      auto const now = clock::now();
      if (now - last_tick_ > std::chrono::milliseconds{20}) tick(now);
      if (!news_.empty() || woken_.exchange(false) || now >= until) break;
      // Other ranks may want this core.
      if (now < calm_until) std::this_thread::yield();
      else std::this_thread::sleep_for(std::min<clock::duration>(until - now, std::chrono::microseconds{50}));
    }
    for (auto& n : news_) in.push_back(std::move(n));
    news_.clear();
  }
  void wake() { woken_.store(true); }

  void leave() {
    leaving_ = true;
    for (auto& p : peers_) pump(p);
  }
  [[nodiscard]] auto everyone_left() const -> bool {
    return std::all_of(peers_.begin(), peers_.end(), [](auto const& p) {
      return p.at != stage::open || (p.left && p.goodbye && p.sending.empty());
    });
  }

  [[nodiscard]] auto traffic_of() const -> std::vector<traffic> { return counts_; }
  [[nodiscard]] auto rejected() const -> rejections { return rejected_; }

 private:
  enum class stage : std::uint8_t { greeting, open, closed };
  enum class awaited : std::uint8_t { hello, header, body };
  enum class direction : std::uint8_t { in, out };
  static constexpr int tag = 1;
  static constexpr std::size_t most_bytes = std::size_t{1} << 30;  // a message's count is an int

  struct peer_state {
    node_id id{};
    stage at = stage::greeting;
    awaited next = awaited::hello;
    bool left = false;
    bool goodbye = false;  // ours
    bool told = false;
    std::int64_t clock_began = 0;
    send_queue queue;
    std::vector<MPI_Request> sending;
    std::vector<std::byte> out;
    shared_buffer body;  // of the frame that is being sent
    std::vector<MPI_Request> receiving;
    std::vector<std::byte> in;
    wire::frame_view frame;
    wire::arriving_body arriving;
    clock::time_point heard = clock::now();
    clock::time_point spoke = clock::now();

    [[nodiscard]] auto name() const -> std::string { return "node " + std::to_string(to_index(id)); }
  };

  void refuse_what_cannot_be(MPI_Comm ranks) const {
    auto is_initialised = 0, level = 0, is_main = 0, rank = 0, size = 0;
    MPI_Initialized(&is_initialised);
    if (is_initialised == 0) throw config_error{"MPI is not initialised: call MPI_Init_thread before a transport is made"};
    MPI_Query_thread(&level);
    if (level < MPI_THREAD_FUNNELED) {
      throw config_error{"MPI was initialised for one thread; ask MPI_Init_thread for MPI_THREAD_FUNNELED at least"};
    }
    MPI_Is_thread_main(&is_main);
    if (is_main == 0) throw config_error{"an MPI transport belongs to the thread that initialised MPI"};
    MPI_Comm_rank(ranks, &rank);
    MPI_Comm_size(ranks, &size);
    if (static_cast<std::size_t>(rank) != to_index(me_.self)) {
      throw config_error{"node " + std::to_string(to_index(me_.self)) + " must be rank " +
                         std::to_string(to_index(me_.self)) + ", not rank " + std::to_string(rank)};
    }
    for (auto const id : me_.peers) {
      if (to_index(id) < static_cast<std::size_t>(size)) continue;
      throw config_error{"node " + std::to_string(to_index(id)) + " has no rank: MPI runs " + std::to_string(size) +
                         " processes; start one a node (a server is one of them)"};
    }
  }

  [[nodiscard]] auto find(node_id id) -> peer_state* {
    auto const at = std::find_if(peers_.begin(), peers_.end(), [&](auto const& p) { return p.id == id; });
    return at == peers_.end() ? nullptr : &*at;
  }
  [[nodiscard]] auto seal() const -> wire::seal { return {run_, me_.check}; }

  // --- messages of MPI ------------------------------------------------------------------------------------------------

  /// Adds the requests that move these bytes; MPI keeps the order of one pair's messages.
  void post(peer_state& p, std::vector<MPI_Request>& to, direction d, std::span<std::byte const> bytes) {
    auto const rank = static_cast<int>(to_index(p.id));
    while (!bytes.empty()) {
      auto const n = std::min(bytes.size(), most_bytes);
      auto& r = to.emplace_back(MPI_REQUEST_NULL);
      auto* const at = const_cast<std::byte*>(bytes.data());  // received bytes are ours to write
      auto const error = d == direction::out
                             ? MPI_Isend(at, static_cast<int>(n), MPI_BYTE, rank, tag, ours_, &r)
                             : MPI_Irecv(at, static_cast<int>(n), MPI_BYTE, rank, tag, ours_, &r);
      if (error != MPI_SUCCESS) return failed(p, error);
      bytes = bytes.subspan(n);
    }
  }

  /// Whether all are done; `received` is the size of the last one.
  auto done(peer_state& p, std::vector<MPI_Request>& requests, int* received = nullptr) -> bool {
    if (requests.empty()) return false;
    auto flag = 0;
    std::vector<MPI_Status> statuses(requests.size());
    auto const error = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &flag, statuses.data());
    if (error != MPI_SUCCESS) {
      failed(p, error);
      return false;
    }
    if (flag == 0) return false;
    if (received != nullptr) MPI_Get_count(&statuses.back(), MPI_BYTE, received);
    requests.clear();
    return true;
  }

  void failed(peer_state& p, int error) {
    std::string text(MPI_MAX_ERROR_STRING, ' ');
    auto length = 0;
    MPI_Error_string(error, text.data(), &length);
    lost(p, text.substr(0, static_cast<std::size_t>(length)));
  }

  void progress(peer_state& p) {
    if (done(p, p.sending)) {
      p.body = {};
      p.spoke = clock::now();
      pump(p);
    }
    auto bytes = 0;
    for (auto budget = 16; budget > 0 && p.at != stage::closed && done(p, p.receiving, &bytes); --budget) {
      p.heard = clock::now();
      switch (p.next) {
        case awaited::hello: greeted(p, static_cast<std::size_t>(bytes)); break;
        case awaited::header: begun(p); break;
        case awaited::body: complete(p); break;
      }
    }
  }

  // --- hellos ---------------------------------------------------------------------------------------------------------

  void greeted(peer_state& p, std::size_t bytes) {
    auto const said = bytes < wire::hello_bytes ? std::nullopt : wire::decode_hello(std::span{p.in}.first<wire::hello_bytes>());
    auto const text = said ? std::string_view{reinterpret_cast<char const*>(p.in.data()) + wire::hello_bytes,
                                              bytes - wire::hello_bytes}
                           : std::string_view{};
    if (!said || !wire::is_intact(std::span<std::byte const>{p.in}.first<wire::hello_bytes>(), text) || said->from != p.id) {
      ++rejected_.strangers;
      return lost(p, "it said no hello");
    }
    if (auto const why = wire::difference(me_.agreed.text(), text, p.name()); !why.empty()) {
      ++rejected_.options;
      p.at = stage::closed;
      p.told = true;
      news_.push_back({incoming::what::closed, p.id, {}, {}, {}, {}, why});
      return;
    }
    p.at = stage::open;
    p.told = true;
    p.clock_began = said->clock_began;
    news_.push_back({incoming::what::opened, p.id, {}, {}, {}, {}, {}});
    await_header(p);
    pump(p);
  }

  void lost(peer_state& p, std::string const& why) {
    if (std::exchange(p.at, stage::closed) == stage::closed) return;
    p.queue.clear();
    p.told = true;
    if (!p.left) news_.push_back({incoming::what::closed, p.id, {}, {}, {}, {}, p.name() + " is gone: " + why});
  }

  // --- frames ---------------------------------------------------------------------------------------------------------

  void await_header(peer_state& p) {
    p.next = awaited::header;
    p.in.resize(wire::header_bytes);
    post(p, p.receiving, direction::in, p.in);
  }
  [[nodiscard]] static auto header_of(peer_state const& p) -> std::span<std::byte const, wire::header_bytes> {
    return std::span<std::byte const>{p.in}.first<wire::header_bytes>();
  }

  void begun(peer_state& p) {
    auto& f = p.frame;
    if (wire::decode_header(header_of(p), f, seal())) return bad_frame(p);
    if (f.head.lane == channel::control && to_count(f.head.number) == 0 && f.kind == element::none) {
      if (!wire::is_intact(header_of(p), {}, seal()) || f.head.from != p.id) return bad_frame(p);
      if (to_count(f.head.based_on) == 0) return await_header(p);  // a heartbeat
      p.left = true;                                                // a goodbye, after which nothing comes
      p.queue.clear();
      news_.push_back({incoming::what::left, p.id, {}, {}, {}, {}, {}});
      return;
    }
    if (!door_.admits(f, p.id)) return bad_frame(p);
    p.arriving = {f.kind, f.values, me_.pool};
    p.next = awaited::body;
    if (f.values == 0) return complete(p);
    post(p, p.receiving, direction::in, p.arriving.bytes());
  }

  void complete(peer_state& p) {
    if (!wire::is_intact(header_of(p), p.arriving.bytes(), seal())) return bad_frame(p);
    auto message = std::move(p.frame.head);
    message.body = std::move(p.arriving).publish();
    message.posted_at = me_.time.from(p.clock_began, message.posted_at);
    auto const kind = door_.kind_of(message.lane);
    detail::hand_over(news_, kind, {incoming::what::message, p.id, std::move(message), p.frame.blocks, {}, {}, {}}, counts_);
    await_header(p);
  }

  void bad_frame(peer_state& p) {
    ++rejected_.frames;
    lost(p, "it sent what is no frame of this run");
  }

  /// Sends what waits, if nothing is being sent: goodbye comes last.
  void pump(peer_state& p) {
    if (p.at != stage::open || !p.sending.empty() || p.goodbye) return;
    if (auto const next = p.queue.take()) {
      auto const part = wire::uncut(*next, me_.blocks);
      auto& count = detail::count_of(counts_, p.id, next->lane);
      ++count.packets;
      count.values += next->body.size();
      count.bytes += wire::header_bytes + part.body.size();
      write(p, *next, part);
    } else if (leaving_) {
      p.goodbye = true;
      signal(p, 1);
    }
  }
  void signal(peer_state& p, std::uint64_t meaning) {
    packet s;
    s.from = me_.self;
    s.to = p.id;
    s.lane = channel::control;
    s.based_on = iteration{meaning};
    write(p, s, {});
  }
  /// The body is sent from where it lies, and kept until it has gone.
  void write(peer_state& p, packet const& what, wire::piece const& part) {
    p.out.resize(wire::header_bytes);
    wire::encode_header(what, part, seal(), std::span{p.out}.first<wire::header_bytes>());
    p.body = what.body;
    post(p, p.sending, direction::out, p.out);
    post(p, p.sending, direction::out, part.body);
  }

  void tick(clock::time_point now) {
    auto const slept = now - last_tick_ > options_.silence / 2;  // then it is we who heard nothing
    last_tick_ = now;
    for (auto& p : peers_) {
      if (slept) p.heard = now;
      if (p.at == stage::greeting && now - begin_ > options_.arrival) {
        p.at = stage::closed;
        if (std::exchange(p.told, true)) continue;
        news_.push_back({incoming::what::closed, p.id, {}, {}, {}, {},
                         p.name() + " has not come within " + detail::seconds_text(options_.arrival)});
      }
      if (p.at != stage::open || p.left) continue;
      if (now - p.heard > options_.silence) {
        lost(p, "it has been silent for " + detail::seconds_text(options_.silence));
      } else if (p.sending.empty() && !p.goodbye && now - p.spoke > options_.silence / 4) {
        signal(p, 0);
      }
    }
  }

  identity me_;
  mpi_options options_;
  std::uint64_t run_ = me_.agreed.id();
  detail::doorkeeper door_;
  MPI_Comm ours_ = MPI_COMM_NULL;
  std::deque<peer_state> peers_;
  std::vector<incoming> news_;
  std::vector<traffic> counts_;
  rejections rejected_;
  std::atomic<bool> woken_{false};
  clock::time_point begin_;
  clock::time_point last_tick_;
  bool leaving_ = false;
};

}  // namespace rubato::transport
