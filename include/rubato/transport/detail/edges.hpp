// SPDX-License-Identifier: MIT
// What transports between processes have in common, whatever carries their frames: what is known of each peer, what the
// owner is told of it and, where links keep order and lose nothing, what is sent next.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/transport/send_queue.hpp>

namespace rubato::transport::detail {

struct edge {
  node_id id{};
  std::string name;  // in sentences
  bool reported = false;  // the owner knows whether it has arrived
  /// Of hellos with other options, since it last came with the right ones: from when on, how many, not counting those
  /// that soon follow another one, and in what.
  std::optional<clock::time_point> differs_since{}, differed_last{};
  unsigned differed = 0;
  std::string difference;
  bool write_closed = false;  // it takes nothing more; what it sent may still be under way
  peer_status theirs{};  // in the present session
  std::int64_t clock_began = 0;
  clock::time_point heard_before{};  // at the last tick
  std::chrono::nanoseconds silent{};  // since then, as far as the owner listened
};

/// An `Edge` is an `edge`, and says with is_open() whether frames may be sent on it.
template<class Edge>
class edges {
 public:
  [[nodiscard]] auto traffic_of() const -> std::vector<traffic> { return counts_; }
  [[nodiscard]] auto rejected() const -> rejections { return rejected_; }

 protected:
  /// Between two hellos of a peer that is answered with other options.
  static constexpr auto between_hellos = std::chrono::milliseconds{400};

  explicit edges(identity me, void (*says)(std::string_view) = nullptr) : me_{std::move(me)}, says_{says} {}
  ~edges() = default;

  /// `place` as in "node 1 at 127.0.0.1:5000"; none where the id says it all.
  auto add_peer(node_id id, std::string const& place = {}) -> Edge& {
    auto& p = peers_.emplace_back();
    p.id = id;
    p.name = to_text(id, place);
    return p;
  }
  [[nodiscard]] auto find(node_id id) -> Edge* {
    auto const at = std::find_if(peers_.begin(), peers_.end(), [&](auto const& p) { return p.id == id; });
    return at == peers_.end() ? nullptr : &*at;
  }
  [[nodiscard]] auto seal() const -> wire::seal { return {run_, me_.check}; }

  // --- sending

  /// Brings a packet's body to the host's memory, and returns its edge; none if the edge is closed, and the packet then
  /// counts as lost.
  [[nodiscard]] auto prepare(packet& p) -> Edge* {
    auto* const to = find(p.to);
    RUBATO_EXPECTS(to != nullptr, "a node sends to its peers only");
    if (!to->is_open() || to->write_closed || to->theirs.is_last() || ours_.is_last()) {
      ++count_of(counts_, p.to, p.channel).lost;
      return nullptr;
    }
    p.body = p.body.on_host();
    return to;
  }
  void count_sent(node_id to, packet const& p, wire::piece const& part) {
    auto& count = count_of(counts_, to, p.channel);
    ++count.packets;
    if (!part.body.empty()) count.values += part.body.size() / bytes_of(p.body.kind());
    count.bytes += wire::header_bytes + part.body.size();
  }
  /// Sets the status of this node from now on; false if it is not newer than the present one.
  [[nodiscard]] auto adopt(peer_status const& s) -> bool {
    if (ours_.is_last() || !(ours_ < s)) return false;
    ours_ = s;
    ours_since_ = clock::now();
    return true;
  }
  /// A peer that is told of an error need not answer: after this time no peer is waited for.
  [[nodiscard]] auto needs_no_answer() const -> bool {
    return ours_.at == peer_status::phase::ended && clock::now() > ours_since_ + std::chrono::milliseconds{200};
  }

  // --- what the owner is told

  void opened(Edge& p, std::int64_t clock_began, session_id outgoing, session_id theirs) {
    p.reported = true;
    p.differs_since.reset(), p.differed_last.reset();
    p.differed = 0;
    p.write_closed = false;
    p.theirs = {};
    p.clock_began = clock_began;
    news_.push_back({incoming::what::opened, p.id, {}, {}, outgoing, theirs, {}});
  }
  void gone(Edge const& p, std::string const& why) {
    if (!p.theirs.is_last()) news_.push_back(gone_news(p.id, p.name, why));
  }
  /// Reports it once. `why` is a whole sentence.
  void not_coming(Edge& p, std::string why) {
    if (!std::exchange(p.reported, true))
      news_.push_back(closed_news(p.id, std::move(why), {p.id, cause::how::absent}));
  }
  /// Refuses a hello with other options, and says so once. It may come from a stranger, such as a process of another
  /// run that has taken this one for its peer, so the right one is waited for. If who says to be that peer comes again
  /// and still differs, it is that peer: await() then reports it.
  void differs(Edge& p, std::string const& why) {
    ++rejected_.options;
    p.trouble = why;
    auto const now = clock::now();
    if (!p.differs_since) p.differs_since = now;
    if (p.differed_last && now - *p.differed_last < between_hellos / 2) return;
    p.differed_last = now;
    p.difference = why;
    if (++p.differed == 1 && !p.reported && says_ != nullptr)
      says_("a process that takes itself for " + to_text(p.id) + " was refused, since " + why);
  }
  void await(Edge& p, clock::time_point now, std::chrono::nanoseconds limit, std::string const& trouble) {
    auto const keeps_differing = p.differed > 1 && now - *p.differs_since > std::chrono::seconds{1} &&
                                 now - *p.differed_last < between_hellos * 3 / 2;
    if (keeps_differing) not_coming(p, p.difference);
    if (now - begin_ <= limit) return;
    auto const differed = p.differed > 0 && trouble != p.difference ? "; before, " + p.difference : "";
    not_coming(p, absence_text(p.name, limit) + ": " + trouble + differed);
  }
  /// If this is the peer's last status: nothing more is to be sent to it.
  auto hears(Edge& p, peer_status const& s) -> std::optional<peer_status::phase> {
    if (p.theirs.is_last() || !(p.theirs < s)) return std::nullopt;
    p.theirs = s;
    news_.push_back(status_news(p.id, p.name, s));
    return s.is_last() ? std::optional{s.at} : std::nullopt;
  }
  void deliver(Edge const& p, wire::frame_view& f, shared_buffer body) {
    auto message = std::move(f.head);
    message.body = std::move(body);
    message.posted_at = me_.time.from(p.clock_began, message.posted_at);
    auto const kind = filter_.kind_of(message.channel);
    if (kind == channel_kind::event) event_bytes_ += message.body.size_bytes();
    hand_over(news_, kind, {incoming::what::message, p.id, std::move(message), f.blocks, {}, {}, {}}, counts_);
  }
  void take_news(std::vector<incoming>& in) {
    for (auto& n : news_) in.push_back(std::move(n));
    news_.clear();
    event_bytes_ = 0;
  }
  /// Whether so many bytes of events wait for the owner that the rest should stay with the peers. (Messages of state
  /// channels replace each other.)
  [[nodiscard]] auto holds_enough() const -> bool { return event_bytes_ >= me_.most_held; }

  /// Throws config_error if the silence is too short to tell a dead peer from one that is not running at the moment.
  static void check_silence(std::chrono::nanoseconds silence) {
    if (silence >= std::chrono::milliseconds{1}) return;
    throw config_error{"the silence after which a peer counts as dead must be 1 ms at least"};
  }
  /// To be called at each tick, before is_silent(): how much of the time since the last tick counts as silence. Of a
  /// long time only a part counts, for it was the owner who did not listen. So a peer counts as silent after five ticks
  /// at the earliest.
  [[nodiscard]] auto listened(clock::time_point now, std::chrono::nanoseconds silence) -> std::chrono::nanoseconds {
    return std::min<std::chrono::nanoseconds>(now - std::exchange(last_tick_, now), silence / 4);
  }
  /// Whether nothing has come from a peer, last heard of at that time, for longer than it may be silent. Not to be
  /// asked of a peer that has sent its last status, if links keep order: it sends nothing more.
  [[nodiscard]] static auto is_silent(Edge& p, clock::time_point heard, std::chrono::nanoseconds listened,
                                      std::chrono::nanoseconds silence) -> bool {
    p.silent = std::exchange(p.heard_before, heard) == heard ? p.silent + listened : std::chrono::nanoseconds{};
    return p.silent > silence;
  }

  identity me_;
  void (*says_)(std::string_view);
  std::uint64_t run_ = me_.agreed.id();
  frame_filter filter_{me_};
  peer_status ours_{};
  clock::time_point ours_since_{};
  std::deque<Edge> peers_;  // never moved: handlers point at them
  std::vector<incoming> news_;
  std::size_t event_bytes_ = 0;  // of events among the news
  std::vector<traffic> counts_;
  rejections rejected_;
  clock::time_point begin_ = clock::now();
  clock::time_point last_tick_ = begin_;
};

struct queued_edge : edge {
  enum class word : std::uint8_t { unsaid, begun, said };
  send_queue queue;
  bool untold = true;  // it has not been sent our present status
  word last_word = word::unsaid;  // our last status

  /// A new session begins with an empty queue and our status; nothing of a former session is sent in it.
  void renew() {
    queue.clear();
    untold = true;
    last_word = word::unsaid;
  }
};

/// For links that lose nothing and keep order. `Self` has write(edge, packet, piece) and calls written(edge) when that
/// is done. Its `Edge` is a queued_edge; is_free() says whether it is open and nothing is being written.
template<class Self, class Edge>
class queued_edges : public edges<Edge> {
 public:
  auto send(channel_kind kind, packet p) -> send_status {
    auto* const to = this->prepare(p);
    if (to == nullptr) return send_status::closed;
    auto& count = count_of(this->counts_, p.to, p.channel);
    auto const status = to->queue.put(kind, std::move(p));
    if (status == send_status::replaced) ++count.replaced;
    if (status == send_status::refused) ++count.lost;
    pump(*to);
    return status;
  }
  [[nodiscard]] auto congested() const -> std::optional<node_id> {
    for (auto const& p : this->peers_) {
      if (p.is_open() && p.queue.full()) return p.id;
    }
    return std::nullopt;
  }
  /// Whether something that was sent still waits here, so that it goes out only while the owner polls.
  [[nodiscard]] auto has_unsent() const -> bool {
    return std::any_of(this->peers_.begin(), this->peers_.end(), [](auto const& p) {
      return p.is_open() && !p.write_closed && (!p.is_free() || !p.queue.empty());
    });
  }
  void announce(peer_status const& s) {
    if (!this->adopt(s)) return;
    for (auto& p : this->peers_) {
      p.untold = true;
      if (s.at == peer_status::phase::ended) p.queue.clear();
      pump(p);
    }
  }
  [[nodiscard]] auto everyone_left() const -> bool {
    auto const answered = this->needs_no_answer();
    return std::all_of(this->peers_.begin(), this->peers_.end(), [&](auto const& p) {
      auto const knows = p.write_closed || p.last_word == queued_edge::word::said;
      return !p.is_open() || ((p.theirs.is_last() || answered) && knows);
    });
  }

 protected:
  using edges<Edge>::edges;
  ~queued_edges() = default;

  /// Sends what waits, if nothing is being sent: `left` after all packets, any other status before them.
  void pump(Edge& p) {
    if (!p.is_free() || p.last_word != queued_edge::word::unsaid) return;
    auto const urgent = p.untold && this->ours_.at != peer_status::phase::left;
    if (auto const next = urgent ? std::nullopt : p.queue.take()) {
      auto const part = wire::uncut(*next, this->me_.blocks);
      this->count_sent(p.id, *next, part);
      self().write(p, *next, part);
    } else if (p.untold) {
      say(p);
    }
  }
  /// Nothing can be written any more. What can still be read may say why.
  void not_written(Edge& p) {
    p.write_closed = true;
    p.queue.clear();
  }
  void written(Edge& p) {
    if (p.last_word == queued_edge::word::begun) p.last_word = queued_edge::word::said;
    pump(p);
  }
  /// A heartbeat, where nothing has been sent for long.
  void beat(Edge& p, clock::duration quiet, std::chrono::nanoseconds silence) {
    if (p.is_free() && p.last_word == queued_edge::word::unsaid && quiet > silence / 4) say(p);
  }

 private:
  void say(Edge& p) {
    p.untold = false;
    if (this->ours_.is_last()) p.last_word = queued_edge::word::begun;
    self().write(p, frame_of(this->ours_, this->me_.self, p.id), {});
  }
  [[nodiscard]] auto self() -> Self& { return static_cast<Self&>(*this); }
};

}  // namespace rubato::transport::detail
