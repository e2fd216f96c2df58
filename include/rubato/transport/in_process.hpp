// SPDX-License-Identifier: MIT
// Edges between nodes of one process: bodies are shared by reference, nothing is lost, and a slow reader holds its
// senders back. This is the plainest transport, and the reference for the others.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/transport/send_queue.hpp>

namespace rubato::transport {

/// **Thread safety:** each endpoint has one owner; endpoints of one room may be owned by different threads.
/// **Models:** endpoint.
class in_process {
  struct place;

 public:
  static constexpr bool lossless = true;
  static constexpr bool ordered = true;

  /// Where the endpoints of one run meet; a handle. Node ids are 0 .. nodes-1.
  class room {
   public:
    /// `arrival`: the time in which all peers of an endpoint must arrive.
    explicit room(std::size_t nodes, std::size_t event_bound = 64,
                  std::chrono::nanoseconds arrival = std::chrono::seconds{10})
        : core_{std::make_shared<core>()} {
      core_->bound = event_bound;
      core_->arrival = arrival;
      for (std::size_t i = 0; i < nodes; ++i) core_->places.push_back(std::make_unique<place>());
    }

   private:
    friend class in_process;
    struct core {
      std::mutex mutex;
      std::size_t bound = 0;
      std::chrono::nanoseconds arrival{};
      std::vector<std::unique_ptr<place>> places;
    };
    std::shared_ptr<core> core_;
  };

  /// Takes the node's place in the room, and opens the edges to its peers that are present. Throws config_error if the
  /// place is taken, or if a peer that is present has other options.
  in_process(room where, identity me) : room_{std::move(where)}, me_{std::move(me)} {
    auto const lock = std::lock_guard{room_.core_->mutex};
    auto& mine = here();
    if (mine.taken) throw config_error{detail::to_text(me_.self) + " is in the room already"};
    for (auto const peer : me_.peers) {
      auto& other = at(peer);
      if (!other.taken) continue;
      auto const why = wire::difference(me_.agreed.text(), other.text, detail::to_text(peer));
      if (!why.empty()) throw config_error{why};
    }
    mine.taken = true;
    mine.text = me_.agreed.text();
    mine.began = me_.time.began;
    mine.awaited = me_.peers;
    ++mine.session;
    for (auto const peer : me_.peers) {
      if (at(peer).taken) meet(peer);
    }
  }
  in_process(in_process const&) = delete;
  auto operator=(in_process const&) -> in_process& = delete;
  ~in_process() {
    auto const lock = std::lock_guard{room_.core_->mutex};
    auto& mine = here();
    mine.taken = false;
    mine.news.clear();
    for (auto const& waits : mine.waiting) at(waits.first).arrived.notify_one();
    mine.waiting.clear();
    if (!std::exchange(mine.stands, {}).is_last()) {
      for (auto const peer : me_.peers) hand_rest(peer);
      tell_all(detail::gone_news(me_.self, detail::to_text(me_.self), "it went without a word"));
    }
  }

  auto send(channel_kind kind, packet p) -> send_status {
    auto const lock = std::lock_guard{room_.core_->mutex};
    auto& to = at(p.to);
    auto& count = detail::count_of(counts_, p.to, p.channel);
    if (!to.is_here() || here().stands.is_last() || is_shut(p.to)) {
      ++count.lost;
      return send_status::closed;
    }
    auto const values = p.body.size();
    auto const bytes = p.body.size_bytes();
    auto const status = waiting_at(p.to).put(kind, std::move(p));
    if (status == send_status::refused) {
      ++count.lost;
      return status;
    }
    to.arrived.notify_one();
    if (status == send_status::replaced) {  // the older one was counted, and was never sent
      ++count.replaced;
      return status;
    }
    ++count.packets;
    count.values += values;
    count.bytes += bytes;
    return status;
  }

  void poll(clock::time_point until, std::vector<incoming>& in) {
    work(until, in, [] { return true; });
  }
  /// As poll, and returns as soon as no peer has too many unread events. (What was sent needs this node no more.)
  void flush(clock::time_point until, std::vector<incoming>& in) {
    work(until, in, [&] { return slow_reader().has_value(); });
  }
  void wake() {
    {
      auto const lock = std::lock_guard{room_.core_->mutex};
      here().woken = true;
    }
    here().arrived.notify_one();
  }

  /// Closes the edge to a peer at both ends, until one of them comes back; the next poll reports it.
  void give_up(node_id peer, std::string const& why = detail::stalled_words) {
    auto const lock = std::lock_guard{room_.core_->mutex};
    if (!at(peer).is_here() || is_shut(peer)) return;
    waiting_at(peer).clear();
    here().queue_from(peer, room_.core_->bound).clear();
    here().closed.push_back(peer);
    at(peer).closed.push_back(me_.self);
    here().news.push_back(detail::gone_news(peer, detail::to_text(peer), why));
    tell(peer, detail::gone_news(me_.self, detail::to_text(me_.self), "it gave this node up"));
  }

  /// A peer that has too many unread events.
  [[nodiscard]] auto congested() const -> std::optional<node_id> {
    auto const lock = std::lock_guard{room_.core_->mutex};
    return slow_reader();
  }

  void announce(peer_status const& s) {
    auto const lock = std::lock_guard{room_.core_->mutex};
    auto& mine = here().stands;
    if (mine.is_last() || !(mine < s)) return;
    mine = s;
    for (auto const peer : me_.peers) {
      if (s.at == peer_status::phase::left) hand_rest(peer);
      if (s.at == peer_status::phase::ended) waiting_at(peer).clear();
    }
    tell_all(said(me_.self, s));
  }
  [[nodiscard]] auto everyone_left() const -> bool {
    auto const lock = std::lock_guard{room_.core_->mutex};
    if (here().stands.at == peer_status::phase::ended) return true;  // the peers have been told
    return std::none_of(me_.peers.begin(), me_.peers.end(),
                        [&](node_id peer) { return at(peer).is_here() && !is_shut(peer); });
  }

  /// For collective::port, as flush().
  [[nodiscard]] static auto has_unsent() -> bool { return false; }
  [[nodiscard]] auto traffic_of() const -> std::vector<traffic> { return counts_; }
  [[nodiscard]] auto rejected() const -> rejections { return {}; }

 private:
  struct place {
    bool taken = false;
    peer_status stands{};
    bool woken = false;
    std::uint32_t session = 0;  // how often the place has been taken
    std::string text;
    std::int64_t began = 0;
    std::vector<node_id> awaited;  // peers that have not arrived yet
    std::vector<node_id> closed;  // peers that are present and to which nothing is sent
    std::vector<incoming> news;  // in order; includes messages that came before a last status
    std::vector<std::pair<node_id, send_queue>> waiting;
    std::condition_variable arrived;

    [[nodiscard]] auto is_here() const -> bool { return taken && !stands.is_last(); }
    auto queue_from(node_id peer, std::size_t bound) -> send_queue& {
      for (auto& [from, queue] : waiting) {
        if (from == peer) return queue;
      }
      return waiting.emplace_back(peer, send_queue{bound}).second;
    }
  };

  [[nodiscard]] auto at(node_id id) const -> place& {
    RUBATO_EXPECTS(to_index(id) < room_.core_->places.size(), "a node of a room has an id below its number of places");
    return *room_.core_->places[to_index(id)];
  }
  [[nodiscard]] auto here() const -> place& { return at(me_.self); }

  template<class Goes>
  void work(clock::time_point until, std::vector<incoming>& in, Goes goes_on) {
    auto lock = std::unique_lock{room_.core_->mutex};
    auto& mine = here();
    auto const latest = mine.awaited.empty() ? until : (std::min)(until, awaited_until_);
    mine.arrived.wait_until(lock, latest,
                            [&] { return mine.woken || !mine.news.empty() || receive(in) || !goes_on(); });
    mine.woken = false;
    if (clock::now() > awaited_until_) stop_awaiting();
    for (auto& n : std::exchange(mine.news, {})) {
      if (n.kind == incoming::what::message) deliver(n.peer, std::move(n.p), in);
      else in.push_back(std::move(n));
    }
    receive(in);
  }

  // All functions below require that the room is locked.

  [[nodiscard]] auto slow_reader() const -> std::optional<node_id> {
    for (auto const peer : me_.peers) {
      for (auto const& [from, queue] : at(peer).waiting) {
        if (from == me_.self && queue.full()) return peer;
      }
    }
    return std::nullopt;
  }

  void tell(node_id peer, incoming news) {
    auto& other = at(peer);
    if (!other.taken) return;
    other.news.push_back(std::move(news));
    other.arrived.notify_one();
  }
  void tell_all(incoming const& news) {
    for (auto const peer : me_.peers) {
      if (!is_shut(peer)) tell(peer, news);
    }
  }
  static auto said(node_id peer, peer_status const& s) -> incoming {
    return detail::status_news(peer, detail::to_text(peer), s);
  }

  /// What the peer has not read yet of this node's messages.
  [[nodiscard]] auto waiting_at(node_id peer) const -> send_queue& {
    return at(peer).queue_from(me_.self, room_.core_->bound);
  }
  /// A last status comes after everything that was sent.
  void hand_rest(node_id peer) {
    while (auto p = waiting_at(peer).take())
      tell(peer, {incoming::what::message, me_.self, std::move(*p), {}, {}, {}, {}});
  }

  [[nodiscard]] auto is_shut(node_id peer) const -> bool {
    auto const& closed = here().closed;
    return std::find(closed.begin(), closed.end(), peer) != closed.end();
  }

  void meet(node_id peer) {
    std::erase(here().closed, peer);
    std::erase(at(peer).closed, me_.self);
    auto const mine = here().session - 1;
    auto const theirs = at(peer).session - 1;
    std::erase(here().awaited, peer);
    std::erase(at(peer).awaited, me_.self);
    here().news.push_back({incoming::what::opened, peer, {}, {}, {mine, theirs}, {theirs, mine}, {}});
    if (at(peer).stands != peer_status{}) here().news.push_back(said(peer, at(peer).stands));
    tell(peer, {incoming::what::opened, me_.self, {}, {}, {theirs, mine}, {mine, theirs}, {}});
  }

  /// The deadline of arrival has passed.
  void stop_awaiting() {
    for (auto const peer : std::exchange(here().awaited, {})) {
      auto why = detail::absence_text(detail::to_text(peer), room_.core_->arrival);
      here().news.push_back(detail::closed_news(peer, std::move(why), {peer, cause::how::absent}));
    }
  }

  /// Hands over all that waits here; true if there was anything.
  auto receive(std::vector<incoming>& in) -> bool {
    auto const before = in.size();
    for (auto& [from, queue] : here().waiting) {
      if (queue.full()) at(from).arrived.notify_one();  // its owner may wait in flush()
      while (auto p = queue.take()) deliver(from, std::move(*p), in);
    }
    return in.size() > before;
  }
  void deliver(node_id from, packet p, std::vector<incoming>& in) {
    ++detail::count_of(counts_, from, p.channel).delivered;
    p.posted_at = me_.time.from(at(from).began, p.posted_at);
    in.push_back({incoming::what::message, from, std::move(p), {0, me_.blocks.blocks()}, {}, {}, {}});
  }

  room room_;
  identity me_;
  clock::time_point awaited_until_ = later(room_.core_->arrival);
  std::vector<traffic> counts_;
};

}  // namespace rubato::transport
