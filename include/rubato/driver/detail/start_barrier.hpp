// SPDX-License-Identifier: MIT
// How all nodes of a run begin together without a master. A node's level is a distance within which all nodes have
// arrived: one more than the least level of its neighbours. The node begins when its level reaches the farthest node.
// Messages that come in before are kept.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <rubato/driver/detail/reach.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/transport/concepts.hpp>

namespace rubato::detail {

class start_barrier {
 public:
  /// `first`: of a run whose members come and go, those that begin; empty: all.
  start_barrier(assembly const& a, transport::identity const& me, std::span<node_id const> first = {})
      : reach_{reach_of(a, me.self)} {
    for (auto const peer : me.peers)
      if (first.empty() || std::find(first.begin(), first.end(), peer) != first.end()) levels_[peer] = absent;
  }

  /// A peer that has begun or ended knows that all nodes arrived. A lost peer without which the run goes on holds up
  /// nobody.
  void hears(transport::incoming const& n) {
    using what = transport::incoming::what;
    if (!levels_.contains(n.peer)) return;
    auto const arriving = n.peer_status.at == transport::peer_status::phase::arriving;
    switch (n.kind) {
      case what::message:
        return;
      case what::opened:
        levels_[n.peer] = 1;
        return;
      case what::stands:
        levels_[n.peer] = arriving ? (std::min)(n.peer_status.level, reach_) + 1 : everyone;
        return;
      case what::closed:
      case what::left:
        levels_[n.peer] = everyone;
        return;
    }
  }

  [[nodiscard]] auto level() const -> std::uint64_t {
    auto least = reach_;
    for (auto const& [peer, beyond] : levels_) least = (std::min)(least, beyond);
    return least;
  }
  [[nodiscard]] auto is_complete() const -> bool { return level() >= reach_; }
  /// The distance, in edges, of the node that is farthest away.
  [[nodiscard]] auto reach() const -> std::uint64_t { return reach_; }

 private:
  static constexpr std::uint64_t absent = 0;
  static constexpr std::uint64_t everyone = (std::numeric_limits<std::uint64_t>::max)();

  std::uint64_t reach_;
  std::map<node_id, std::uint64_t> levels_;  // the level of this node as far as each peer allows
};

/// What came in while its node could not take it, in that order: before it began, or while it waits for a file. A
/// message of a state channel is kept as long as it is the newest for one of its blocks: at most one for each peer,
/// channel and block, however blocks are divided into messages. For each peer, a bounded number of bytes and its last
/// status are kept.
class early_messages {
 public:
  static constexpr std::size_t most_events = 1024;
  static constexpr std::size_t least_most_bytes = std::size_t{64} << 20;

  /// For vectors of that many bytes: sixteen vectors may be kept, or 64 MiB if that is more.
  explicit early_messages(std::size_t vector_bytes = 0)
      : most_bytes_{(std::max)(least_most_bytes, 16 * vector_bytes)} {}

  /// False if too much of that peer is kept already; then this message is dropped. When a peer is gone, what was kept
  /// of it is dropped.
  [[nodiscard]] auto keep(transport::incoming n, channel_kind kind) -> bool {
    using what = transport::incoming::what;
    if (n.kind == what::closed) forget(n.peer);
    if (n.kind == what::stands) return keep_newest(std::move(n));
    auto const is_event = n.kind == what::message && kind == channel_kind::event;
    auto const bytes = n.p.body.size_bytes();
    auto& held = held_[n.peer];
    if (held.bytes + bytes > most_bytes_ || held.events + (is_event ? 1 : 0) > most_events) return false;
    held.bytes += bytes;
    held.events += is_event ? 1 : 0;
    all_.push_back({std::move(n), 0});
    auto const fresh = std::prev(all_.end());
    if (fresh->it.kind == what::message && !is_event) replace_older(fresh);
    return true;
  }

  [[nodiscard]] auto empty() const -> bool { return all_.empty(); }
  /// All of it; none is kept.
  [[nodiscard]] auto take() -> std::vector<transport::incoming> {
    std::vector<transport::incoming> in;
    for (auto& e : all_) in.push_back(std::move(e.it));
    all_.clear();
    newest_.clear();
    held_.clear();
    return in;
  }

 private:
  struct entry {
    transport::incoming it;
    std::size_t newest_of;  // so many blocks
  };
  using place = std::list<entry>::iterator;
  struct amount {
    std::size_t bytes = 0;
    std::size_t events = 0;
    std::optional<place> peer_status{};
  };

  /// The barrier has used this status already. That its peer waits or is parted is not reported again.
  auto keep_newest(transport::incoming n) -> bool {
    auto& held = held_[n.peer];
    if (held.peer_status) all_.erase(*held.peer_status);
    all_.push_back({std::move(n), 0});
    held.peer_status = std::prev(all_.end());
    return true;
  }
  void replace_older(place fresh) {
    auto const& m = fresh->it;
    for (auto b = m.blocks.begin; b < m.blocks.end; ++b) {
      auto const [at, is_first] = newest_.try_emplace({m.peer, m.p.channel, b}, fresh);
      if (!is_first) {
        if (transport::detail::overtakes(at->second->it.p, m.p)) continue;
        if (--at->second->newest_of == 0) drop(at->second);
        at->second = fresh;
      }
      ++fresh->newest_of;
    }
    if (fresh->newest_of == 0) drop(fresh);
  }
  void drop(place old) {
    held_[old->it.peer].bytes -= old->it.p.body.size_bytes();
    all_.erase(old);
  }
  void forget(node_id peer) {
    std::erase_if(newest_, [&](auto const& known) { return std::get<node_id>(known.first) == peer; });
    std::erase_if(all_, [&](entry const& e) { return e.it.peer == peer; });
    held_.erase(peer);
  }

  std::size_t most_bytes_;
  std::list<entry> all_;
  std::map<std::tuple<node_id, channel_id, std::size_t>, place> newest_;
  std::map<node_id, amount> held_;
};

}  // namespace rubato::detail
