// SPDX-License-Identifier: MIT
// What one process knows of its neighbours besides their messages: who was lost, who has ended its run, who waits, and
// how near to them the network is cut.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/transport/peer_status.hpp>

namespace rubato::detail {

class peer_neighbours {
 public:
  struct one {
    bool here = false;       // it has come
    bool waits = false;      // it has waited for another node for long
    bool met_again = false;  // one of the two came late or was lost: they need not end together
    instant free_since{};    // end of its last such wait
    std::uint64_t parted = 0;   // its peer_status::parted
    int given_up = 0;           // how often this node gave it up after waiting for it
    std::optional<instant> left{};  // when it said that it had ended its run, if it did before this node
    bool told = false;              // it was said that this was early, or need not be
    std::optional<instant> lost_at{};  // when it was lost the last time, if this node did not come later itself
    std::string lost_why{};
    bool without = false;           // its edge is closed for the node because it has ended its run
  };

  /// The distance of the farthest node, in edges.
  void reach(std::uint64_t edges) { reach_ = edges; }
  [[nodiscard]] auto reach() const -> std::uint64_t { return reach_; }
  [[nodiscard]] auto of(node_id peer) -> one& { return all_[peer]; }
  [[nodiscard]] auto all() -> std::map<node_id, one>& { return all_; }

  // --- members that come

  /// Their edges are closed for the node, and nobody misses them.
  void await_newcomer(node_id peer) {
    closed_.erase(peer);
    newcomers_.insert(peer);
  }
  /// Whether it was awaited, and is there now.
  auto joins(node_id peer) -> bool { return newcomers_.erase(peer) > 0; }

  // --- lost, and back

  /// The edges of this node are closed because it resumes itself.
  void resume(std::span<node_id const> peers) {
    resuming_ = {peers.begin(), peers.end()};
    closed_ = resuming_;
  }
  /// False if it was lost before, or has not joined yet.
  auto lose(node_id peer, instant now, std::string const& why) -> bool {
    if (newcomers_.contains(peer) || !closed_.insert(peer).second) return false;
    auto& it = all_[peer];
    it.lost_at = now;
    it.lost_why = why;
    it.waits = false;
    it.met_again = true;
    it.parted = 0;
    resuming_.erase(peer);
    return true;
  }
  /// Whether it was lost, and comes back. (Not so if it was this node that was away.)
  auto comes_back(node_id peer) -> bool {
    all_[peer].parted = 0;
    return closed_.erase(peer) > 0 && resuming_.erase(peer) == 0;
  }
  [[nodiscard]] auto is_lost(node_id peer) const -> bool { return closed_.contains(peer); }
  /// Its edge is closed for the node, which nobody takes for a loss: this node has resumed, and that peer was not there
  /// since; or that peer is a member which has not joined.
  [[nodiscard]] auto is_expected(node_id peer) const -> bool {
    return resuming_.contains(peer) || newcomers_.contains(peer);
  }
  [[nodiscard]] auto lost() const -> std::vector<node_id> { return {closed_.begin(), closed_.end()}; }

  // --- at their end

  void leaves(node_id peer, instant now) {
    auto& it = all_[peer];
    if (!it.left) it.left = now;
  }
  /// Who ended, and when, at least so long before `end`; each is named once.
  [[nodiscard]] auto untold_ends(instant end, std::chrono::nanoseconds before)
      -> std::vector<std::pair<node_id, instant>> {
    std::vector<std::pair<node_id, instant>> all;
    for (auto& [peer, it] : all_) {
      if (!it.left || it.told || end - *it.left < before) continue;
      it.told = true;
      all.emplace_back(peer, *it.left);
    }
    return all;
  }
  /// It is in a new session.
  void opens(node_id peer) {
    auto& it = all_[peer];
    it.here = true;
    it.left.reset();
    it.told = it.without = false;
  }
  [[nodiscard]] auto has_left(node_id peer) const -> bool {
    auto const at = all_.find(peer);
    return at != all_.end() && at->second.left.has_value();
  }

  // --- whether the network is cut

  /// As peer_status::parted: the distance of the nearest node that has lost a peer, by what the neighbours say. What
  /// they repeat of a loss that is over grows with each message, until it exceeds every distance in the network.
  [[nodiscard]] auto parted() const -> std::uint64_t {
    if (!closed_.empty()) return 1;
    auto nearest = std::uint64_t{0};
    for (auto const& [peer, it] : all_) {
      if (it.parted > 0 && (nearest == 0 || it.parted < nearest)) nearest = it.parted;
    }
    return nearest == 0 || nearest > reach_ ? 0 : nearest + 1;
  }

 private:
  std::map<node_id, one> all_;
  std::set<node_id> closed_;  // whose edges are closed for the node
  std::set<node_id> resuming_;  // of these, those whose edges are closed because this node resumed
  std::set<node_id> newcomers_;  // members that have not joined yet, or have left
  std::uint64_t reach_ = 0;
};

/// How long before a node's end another one must have ended for that to be worth a sentence. Where all end at one time,
/// they do so nearly together; where each computes a number of gradients, some are a little faster.
inline auto worth_a_sentence(std::chrono::nanoseconds run, bool ends_at_a_time) -> std::chrono::nanoseconds {
  auto const least =
      std::chrono::nanoseconds{ends_at_a_time ? std::chrono::milliseconds{100} : std::chrono::milliseconds{1}};
  return std::clamp<std::chrono::nanoseconds>(run / 10, least, std::chrono::seconds{1});
}

}  // namespace rubato::detail
