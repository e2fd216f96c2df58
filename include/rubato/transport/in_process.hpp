// SPDX-License-Identifier: MIT
// Edges between nodes of one process: bodies are shared by reference, nothing is lost, and a slow reader bounds its
// senders. The plainest transport there is, and the measure for the others.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
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
    explicit room(std::size_t nodes, std::size_t event_bound = 64) : core_{std::make_shared<core>()} {
      core_->bound = event_bound;
      for (std::size_t i = 0; i < nodes; ++i) core_->places.push_back(std::make_unique<place>());
    }

   private:
    friend class in_process;
    struct core {
      std::mutex mutex;
      std::size_t bound = 0;
      std::vector<std::unique_ptr<place>> places;
    };
    std::shared_ptr<core> core_;
  };

  /// Takes the node's place in the room, and opens the edges to those of its peers that are there. Throws config_error
  /// if the place is taken or a peer that is there agreed on something else.
  in_process(room where, identity me) : room_{std::move(where)}, me_{std::move(me)} {
    auto const lock = std::lock_guard{room_.core_->mutex};
    auto& mine = here();
    if (mine.taken) throw config_error{"node " + std::to_string(to_index(me_.self)) + " is in the room already"};
    for (auto const peer : me_.peers) {
      auto& other = at(peer);
      if (!other.taken) continue;
      auto const why = wire::difference(me_.agreed.text(), other.text, "node " + std::to_string(to_index(peer)));
      if (!why.empty()) throw config_error{why};
    }
    mine.taken = true;
    mine.text = me_.agreed.text();
    mine.began = me_.time.began;
    ++mine.life;
    for (auto const peer : me_.peers) {
      if (at(peer).taken && !at(peer).leaves) meet(peer);
    }
  }
  in_process(in_process const&) = delete;
  auto operator=(in_process const&) -> in_process& = delete;
  ~in_process() {
    auto const lock = std::lock_guard{room_.core_->mutex};
    auto& mine = here();
    mine.taken = false;
    mine.news.clear();
    mine.waiting.clear();
    auto const why = "node " + std::to_string(to_index(me_.self)) + " has gone without a word";
    for (auto const peer : me_.peers) {
      if (!mine.leaves) tell(peer, {incoming::what::closed, me_.self, {}, {}, {}, {}, why});
    }
    mine.leaves = false;
  }

  auto send(channel_kind kind, packet p) -> send_status {
    auto const lock = std::lock_guard{room_.core_->mutex};
    auto& to = at(p.to);
    auto& count = detail::count_of(counts_, p.to, p.lane);
    if (!to.taken || to.leaves || here().leaves) {
      ++count.lost;
      return send_status::closed;
    }
    auto const values = p.body.size();
    auto const bytes = p.body.size_bytes();
    auto const status = to.queue_from(me_.self, room_.core_->bound).put(kind, std::move(p));
    if (status == send_status::refused) return status;
    to.arrived.notify_one();
    if (status == send_status::replaced) {  // the older one was counted, and never left
      ++count.replaced;
      return status;
    }
    ++count.packets;
    count.values += values;
    count.bytes += bytes;
    return status;
  }

  void poll(clock::time_point until, std::vector<incoming>& in) {
    auto lock = std::unique_lock{room_.core_->mutex};
    auto& mine = here();
    mine.arrived.wait_until(lock, until, [&] { return mine.woken || !mine.news.empty() || receive(in); });
    mine.woken = false;
    for (auto& n : mine.news) in.push_back(std::move(n));
    mine.news.clear();
    receive(in);
  }
  void wake() {
    {
      auto const lock = std::lock_guard{room_.core_->mutex};
      here().woken = true;
    }
    here().arrived.notify_one();
  }

  /// Whether some peer has not read its events for long.
  [[nodiscard]] auto congested() const -> bool {
    auto const lock = std::lock_guard{room_.core_->mutex};
    for (auto const peer : me_.peers) {
      for (auto const& [from, queue] : at(peer).waiting) {
        if (from == me_.self && queue.full()) return true;
      }
    }
    return false;
  }

  void leave() {
    auto const lock = std::lock_guard{room_.core_->mutex};
    if (std::exchange(here().leaves, true)) return;
    for (auto const peer : me_.peers) tell(peer, {incoming::what::left, me_.self, {}, {}, {}, {}, {}});
  }
  [[nodiscard]] auto everyone_left() const -> bool {
    auto const lock = std::lock_guard{room_.core_->mutex};
    for (auto const peer : me_.peers) {
      if (at(peer).taken && !at(peer).leaves) return false;
    }
    return true;
  }

  [[nodiscard]] auto traffic_of() const -> std::vector<traffic> { return counts_; }
  [[nodiscard]] auto rejected() const -> rejections { return {}; }

 private:
  struct place {
    bool taken = false;
    bool leaves = false;
    bool woken = false;
    std::uint32_t life = 0;  // how often the place was taken
    std::string text;
    std::int64_t began = 0;
    std::vector<incoming> news;
    std::vector<std::pair<node_id, send_queue>> waiting;
    std::condition_variable arrived;

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

  // The room is locked in all that follows.

  void tell(node_id peer, incoming news) {
    auto& other = at(peer);
    if (!other.taken) return;
    other.news.push_back(std::move(news));
    other.arrived.notify_one();
  }
  void meet(node_id peer) {
    auto const mine = here().life - 1;
    auto const theirs = at(peer).life - 1;
    here().news.push_back({incoming::what::opened, peer, {}, {}, {mine, theirs}, {theirs, mine}, {}});
    tell(peer, {incoming::what::opened, me_.self, {}, {}, {theirs, mine}, {mine, theirs}, {}});
  }

  /// Hands over all that waits here; true if there was anything.
  auto receive(std::vector<incoming>& in) -> bool {
    auto const before = in.size();
    for (auto& [from, queue] : here().waiting) {
      while (auto p = queue.take()) {
        ++detail::count_of(counts_, from, p->lane).delivered;
        p->posted_at = me_.time.from(at(from).began, p->posted_at);
        in.push_back({incoming::what::message, from, std::move(*p), {0, me_.blocks.blocks()}, {}, {}, {}});
      }
    }
    return in.size() > before;
  }

  room room_;
  identity me_;
  std::vector<traffic> counts_;
};

}  // namespace rubato::transport
