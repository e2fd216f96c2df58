// SPDX-License-Identifier: MIT
// Edges between the ranks of an MPI run: two-sided and non-blocking, on a communicator of its own whose errors are
// values. A node's id is its rank. MPI makes progress only inside its calls, so the owner must poll.
//
// An edge has one stream of messages each way for good, since MPI loses nothing and keeps order. Hellos divide it: what
// follows the k-th hello belongs to session k-1. That session is open at an end which has sent its own k-th hello and
// received the peer's. A node that takes a peer for dead sends its next hello, and reads on until the peer has sent the
// same.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <mpi.h>

#include <rubato/core/errors.hpp>
#include <rubato/transport/detail/edges.hpp>
#include <rubato/wire/hello.hpp>

namespace rubato::transport {

/// What a user may set of the MPI transport.
struct mpi_options {
  std::chrono::nanoseconds arrival = std::chrono::seconds{10};  ///< time in which all peers must arrive
  std::chrono::nanoseconds silence = std::chrono::seconds{5};  ///< time after which an open edge counts as dead
  std::size_t event_bound = 64;  ///< events that may wait for a peer before gradients are held back
};

namespace detail {

struct mpi_edge : queued_edge {
  enum class stage : std::uint8_t { greeting, open, closed };  // closed: for good
  enum class awaited : std::uint8_t { head, body };  // head: a hello or a header
  stage at = stage::greeting;
  awaited next = awaited::head;
  std::uint32_t hellos_said = 0, hellos_heard = 0;
  std::uint32_t opened_before = 0;  // by the peer, in former processes
  bool hello_due = true;
  std::vector<MPI_Request> sending;
  std::vector<std::byte> out;
  shared_buffer body;  // of the frame that is being sent
  std::vector<MPI_Request> receiving;
  std::size_t received = 0;  // bytes of the present message
  std::vector<std::byte> in;  // has room for a hello
  wire::frame_view frame;
  wire::arriving_body arriving;
  clock::time_point heard = clock::now();
  clock::time_point spoke = clock::now();

  [[nodiscard]] auto is_open() const -> bool { return at == stage::open; }
  [[nodiscard]] auto is_free() const -> bool { return is_open() && !hello_due && sending.empty(); }
};

/// What distinguishes one transport's messages from all others.
struct mpi_space {
  MPI_Comm comm = MPI_COMM_NULL;
  int tag = 0;
};

/// All ranks must call this within the limit; otherwise those that did throw config_error.
inline auto duplicate_of(MPI_Comm ranks, std::chrono::nanoseconds limit) -> MPI_Comm {
  auto fresh = std::make_unique<MPI_Comm>(MPI_COMM_NULL);
  MPI_Request all_here = MPI_REQUEST_NULL;
  auto is_over = 0;
  auto error = MPI_Comm_idup(ranks, fresh.get(), &all_here);
  for (auto const latest = later(limit); error == MPI_SUCCESS && is_over == 0;) {
    error = MPI_Test(&all_here, &is_over, MPI_STATUS_IGNORE);
    if (is_over != 0 || error != MPI_SUCCESS) break;
    if (clock::now() > latest) {
      static_cast<void>(fresh.release());  // MPI may still write it
      throw config_error{"not all ranks of MPI have begun this run within " + seconds_text(limit) +
                         ", as they all must"};
    }
    std::this_thread::sleep_for(std::chrono::microseconds{50});
  }
  if (error != MPI_SUCCESS) throw config_error{"MPI cannot duplicate the communicator of this run"};
  return *fresh;
}

/// A context that no transport has had. Collective over `ranks`; only MPI's main thread may call it. Throws
/// config_error.
///
/// A message to a transport that is gone is never received. A communicator with such a message must not be freed: MPICH
/// and Open MPI would deliver the message to the next user of the same context, possibly the program itself. So
/// communicators are never freed: one is kept for each group of ranks, and each transport takes its next tag.
inline auto next_space(MPI_Comm ranks, std::chrono::nanoseconds limit = std::chrono::seconds{10}) -> mpi_space {
  constexpr auto most = 32767;  // tags that every MPI has
  static std::vector<mpi_space> newest;
  auto const is_of_these = [ranks](mpi_space const& s) {
    int how = MPI_UNEQUAL;
    MPI_Comm_compare(ranks, s.comm, &how);
    return how == MPI_CONGRUENT && s.tag < most;
  };
  auto at = std::find_if(newest.begin(), newest.end(), is_of_these);
  if (at == newest.end()) {
    mpi_space fresh;
    fresh.comm = duplicate_of(ranks, limit);
    MPI_Comm_set_errhandler(fresh.comm, MPI_ERRORS_RETURN);
    at = newest.insert(at, fresh);
  }
  ++at->tag;
  return *at;
}

}  // namespace detail

/// **Thread safety:** one owner, which must be the thread that initialised MPI (funneled); wake() from any thread.
/// **Models:** endpoint.
class mpi : public detail::queued_edges<mpi, detail::mpi_edge> {
  friend class detail::queued_edges<mpi, detail::mpi_edge>;

 public:
  static constexpr bool lossless = true;
  static constexpr bool ordered = true;

  /// Collective over `ranks`, of which a duplicate is kept for as long as the process lives. Throws config_error with
  /// one sentence if MPI is not initialised for threads, this is not its main thread, or the rank is not the node's id.
  mpi(identity me, mpi_options o, MPI_Comm ranks = MPI_COMM_WORLD) : queued_edges{std::move(me)}, options_{o} {
    refuse_this_process();
    space_ = detail::next_space(
        ranks, options_.arrival);  // before any check that may fail on one rank only, since all ranks must count along
    refuse_ranks(ranks);
    check_silence(options_.silence);
    for (auto const id : me_.peers) {
      auto& p = add_peer(id);
      p.queue = send_queue{options_.event_bound};
      p.in.resize(wire::hello_bytes + wire::agreement::most_bytes);
      say_hello(p);
      await_head(p);
    }
  }
  mpi(mpi const&) = delete;
  auto operator=(mpi const&) -> mpi& = delete;
  /// Cancels what is still being sent and, a tenth of a second later, a body whose sender stopped in the middle.
  ~mpi() {
    auto const latest = clock::now() + std::chrono::milliseconds{100};
    for (auto& p : peers_) {
      for (auto& r : p.receiving) {
        if (r != MPI_REQUEST_NULL) MPI_Cancel(&r);  // without effect if the sender has begun; then it is waited for
      }
    }
    for (auto& p : peers_) {
      for (auto& r : p.receiving) await(r, latest);
      abandon(p.receiving, std::move(p.in), std::move(p.arriving));
      abandon(p.sending, std::move(p.out), std::move(p.body));
    }
  }

  void poll(clock::time_point until, std::vector<incoming>& in) {
    work(until, in, [] { return true; });
  }
  /// As poll, and returns as soon as MPI has sent all that this node did.
  void flush(clock::time_point until, std::vector<incoming>& in) {
    work(until, in, [&] { return has_unsent(); });
  }
  void wake() { woken_.store(true); }
  /// Closes the edge to a peer; the next poll reports it.
  void give_up(node_id id, std::string const& why = detail::stalled_words) {
    if (auto* const p = find(id); p != nullptr && p->is_open()) lost(*p, why);
  }

 private:
  template<class Goes>
  void work(clock::time_point until, std::vector<incoming>& in, Goes goes_on) {
    auto const calm_until = clock::now() + std::chrono::microseconds{50};
    while (true) {
      for (auto& p : peers_) progress(p);
      auto const now = clock::now();
      if (now - last_tick_ > std::chrono::milliseconds{20}) tick(now);
      if (!news_.empty() || woken_.exchange(false) || now >= until || !goes_on()) break;
      // Other ranks may want this core.
      if (now < calm_until) std::this_thread::yield();
      else std::this_thread::sleep_for(std::min<clock::duration>(until - now, std::chrono::microseconds{50}));
    }
    take_news(in);
  }

  using peer_state = detail::mpi_edge;
  using stage = peer_state::stage;
  using awaited = peer_state::awaited;
  enum class direction : std::uint8_t { in, out };
  static constexpr std::size_t piece_bytes = std::size_t{1} << 20;  // each completed piece is a sign of life

  static void refuse_this_process() {
    auto is_initialised = 0, level = 0, is_main = 0;
    MPI_Initialized(&is_initialised);
    if (is_initialised == 0)
      throw config_error{"MPI is not initialised: call MPI_Init_thread before a transport is made"};
    MPI_Query_thread(&level);
    if (level < MPI_THREAD_FUNNELED) {
      throw config_error{"MPI was initialised for one thread; ask MPI_Init_thread for MPI_THREAD_FUNNELED at least"};
    }
    MPI_Is_thread_main(&is_main);
    if (is_main == 0) throw config_error{"an MPI transport belongs to the thread that initialised MPI"};
  }
  void refuse_ranks(MPI_Comm ranks) const {
    auto rank = 0, size = 0;
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

  // --- messages of MPI

  /// Adds the requests that move these bytes. MPI keeps the messages of a pair in order.
  void post(peer_state& p, std::vector<MPI_Request>& to, direction d, std::span<std::byte const> bytes) {
    auto const rank = static_cast<int>(to_index(p.id));
    while (!bytes.empty()) {
      auto const n = (std::min)(bytes.size(), piece_bytes);
      auto& r = to.emplace_back(MPI_REQUEST_NULL);
      auto* const at = const_cast<std::byte*>(bytes.data());  // received bytes are ours to write
      auto const error = d == direction::out
                             ? MPI_Isend(at, static_cast<int>(n), MPI_BYTE, rank, space_.tag, space_.comm, &r)
                             : MPI_Irecv(at, static_cast<int>(n), MPI_BYTE, rank, space_.tag, space_.comm, &r);
      if (error != MPI_SUCCESS) return failed(p, error);
      bytes = bytes.subspan(n);
    }
  }

  static void await(MPI_Request& r, clock::time_point until) {
    auto is_over = 0;
    while (r != MPI_REQUEST_NULL && clock::now() < until) MPI_Test(&r, &is_over, MPI_STATUS_IGNORE);
  }
  /// If some are not done, MPI may still access their bytes for as long as the process lives.
  template<class... Bytes>
  static void abandon(std::vector<MPI_Request>& requests, Bytes&&... bytes) {
    auto pending = false;
    for (auto& r : requests) {
      if (r == MPI_REQUEST_NULL) continue;
      MPI_Request_free(&r);
      pending = true;
    }
    if (pending) new std::tuple<Bytes...>{std::move(bytes)...};
  }

  /// Whether all are done. Sets `moved` to now if one was completed, and adds the bytes of completed ones to
  /// `received`.
  auto done(peer_state& p, std::vector<MPI_Request>& requests, clock::time_point& moved,
            std::size_t* received = nullptr) -> bool {
    if (requests.empty()) return false;
    auto count = 0;
    done_.resize(requests.size());
    statuses_.resize(requests.size());
    auto const error =
        MPI_Testsome(static_cast<int>(requests.size()), requests.data(), &count, done_.data(), statuses_.data());
    if (error != MPI_SUCCESS) {
      failed(p, error);
      return false;
    }
    if (count > 0) moved = clock::now();
    for (auto k = 0; received != nullptr && k < count; ++k) {
      auto bytes = 0;
      MPI_Get_count(&statuses_[static_cast<std::size_t>(k)], MPI_BYTE, &bytes);
      *received += static_cast<std::size_t>((std::max)(bytes, 0));
    }
    auto const pending = [](MPI_Request r) { return r != MPI_REQUEST_NULL; };
    if (std::any_of(requests.begin(), requests.end(), pending)) return false;
    requests.clear();
    return true;
  }

  void failed(peer_state& p, int error) {
    std::string text(MPI_MAX_ERROR_STRING, ' ');
    auto length = 0;
    MPI_Error_string(error, text.data(), &length);
    shut(p, text.substr(0, static_cast<std::size_t>(length)));
  }

  void progress(peer_state& p) {
    if (done(p, p.sending, p.spoke)) {
      p.body = {};
      if (p.hello_due) say_hello(p);
      else written(p);
    }
    for (auto budget = 16; budget > 0 && p.at != stage::closed && done(p, p.receiving, p.heard, &p.received);
         --budget) {
      auto const bytes = std::exchange(p.received, 0);
      if (p.next == awaited::head) headed(p, std::span<std::byte const>{p.in}.first(bytes));
      else if (bytes != p.arriving.bytes().size())
        bad_frame(p);  // no piece can exceed what was posted, so one was shorter
      else complete(p);
    }
  }

  // --- sessions

  /// Sent as soon as the message before it has left.
  void say_hello(peer_state& p) {
    p.hello_due = !p.sending.empty();
    if (p.hello_due) return;
    p.out = wire::encode_hello({run_, me_.self, p.id, me_.opened_before + p.hellos_said++, me_.time.began},
                               me_.agreed.text());
    post(p, p.sending, direction::out, p.out);
    p.spoke = clock::now();
    open_if_met(p);
  }

  void greeted(peer_state& p, std::span<std::byte const> bytes) {
    auto const said = wire::decode_whole_hello(bytes);
    if (p.hellos_heard == 0 && said) p.opened_before = said->who.session;
    if (!said || said->who.from != p.id || said->who.session != p.opened_before + p.hellos_heard) {
      ++rejected_.strangers;
      return shut(p, "it said no hello");
    }
    if (auto const why = wire::difference(me_.agreed.text(), said->text, p.name); !why.empty()) {
      ++rejected_.options;
      p.at = stage::closed;
      return not_coming(p, why);
    }
    ++p.hellos_heard;
    p.clock_began = said->who.clock_began;
    if (p.at == stage::open) close(p, "it took this node for dead");
    if (p.hellos_said < p.hellos_heard && ours_.at != peer_status::phase::ended)
      say_hello(p);  // otherwise it would see a session end
    open_if_met(p);
    await_head(p);
  }

  void open_if_met(peer_state& p) {
    if (p.at != stage::greeting || p.hellos_heard == 0 || p.hellos_said != p.hellos_heard) return;
    auto const session_of = [&](std::uint32_t before) { return before + p.hellos_said - 1; };
    auto const mine = session_of(me_.opened_before), theirs = session_of(p.opened_before);
    p.at = stage::open;
    p.renew();
    opened(p, p.clock_began, {mine, theirs}, {theirs, mine});
    pump(p);
  }

  /// It may come back, in another session.
  void close(peer_state& p, std::string const& why) {
    p.at = stage::greeting;
    p.queue.clear();
    gone(p, why);
  }
  void lost(peer_state& p, std::string const& why) {
    close(p, why);
    if (!ours_.is_last()) say_hello(p);
  }

  /// Nothing that this peer sends can be decoded any more.
  void shut(peer_state& p, std::string const& why) {
    auto const was = p.at;
    drop(p);
    if (was == stage::open || !std::exchange(p.reported, true)) gone(p, why);  // otherwise its loss was reported before
  }

  void drop(peer_state& p) {
    p.at = stage::closed;
    p.queue.clear();
  }

  // --- frames

  void await_head(peer_state& p) {
    p.next = awaited::head;
    post(p, p.receiving, direction::in, p.in);
  }
  [[nodiscard]] static auto header_of(peer_state const& p) -> std::span<std::byte const, wire::header_bytes> {
    return std::span<std::byte const>{p.in}.first<wire::header_bytes>();
  }

  /// Nothing precedes the first hello.
  void headed(peer_state& p, std::span<std::byte const> bytes) {
    auto const may_be_hello = bytes.size() >= wire::hello_bytes && wire::decode_hello(bytes.first<wire::hello_bytes>());
    if (p.hellos_heard == 0 || may_be_hello) greeted(p, bytes);
    else if (bytes.size() != wire::header_bytes) bad_frame(p);
    else begun(p);
  }

  void begun(peer_state& p) {
    auto& f = p.frame;
    if (wire::decode_header(header_of(p), f, seal())) return bad_frame(p);
    if (detail::is_status(f)) return stands(p);
    if (!filter_.admits(f, p.id)) return bad_frame(p);
    p.arriving = {f.kind, f.values, me_.pool};
    p.next = awaited::body;
    if (f.values == 0) return complete(p);
    post(p, p.receiving, direction::in, p.arriving.bytes());
  }

  void complete(peer_state& p) {
    if (!wire::is_intact(header_of(p), p.arriving.bytes(), seal())) return bad_frame(p);
    if (p.is_open()) deliver(p, p.frame, std::move(p.arriving).publish());  // otherwise it belongs to an old session
    await_head(p);
  }

  void bad_frame(peer_state& p) {
    ++rejected_.frames;
    shut(p, "it sent something that is not a frame of this run");
  }

  void stands(peer_state& p) {
    auto const said = detail::status_in(p.frame);
    auto const& head = p.frame.head;
    if (!said || head.from != p.id || head.to != me_.self || !wire::is_intact(header_of(p), {}, seal()))
      return bad_frame(p);
    auto const last = p.is_open() ? hears(p, *said) : std::nullopt;
    if (last == peer_status::phase::ended) return drop(p);
    if (last) p.queue.clear();
    await_head(p);
  }

  /// The body is sent without a copy, and kept until it has left.
  void write(peer_state& p, packet const& what, wire::piece const& part) {
    p.out.resize(wire::header_bytes);
    wire::encode_header(what, part, seal(), std::span{p.out}.first<wire::header_bytes>());
    p.body = what.body;
    post(p, p.sending, direction::out, p.out);
    post(p, p.sending, direction::out, part.body);
  }

  void tick(clock::time_point now) {
    auto const heeded = listened(now, options_.silence);
    for (auto& p : peers_) {
      if (p.hellos_heard == 0 && now - begin_ > options_.arrival)
        not_coming(p, detail::absence_text(p.name, options_.arrival));
      if (p.at != stage::open) continue;
      if (!p.theirs.is_last() && is_silent(p, p.heard, heeded, options_.silence)) {
        lost(p, "it has been silent for " + detail::seconds_text(options_.silence));
      } else beat(p, now - p.spoke, options_.silence);  // also to a peer that has left, while it lingers
    }
  }

  mpi_options options_;
  detail::mpi_space space_;
  std::atomic<bool> woken_{false};
  std::vector<int> done_;  // of one call
  std::vector<MPI_Status> statuses_;
};

}  // namespace rubato::transport
