// SPDX-License-Identifier: MIT
// How all nodes of a run begin together without a master. A node's level is a distance within which all nodes have come:
// one more than the least level of its neighbours. It begins when that is as far as the farthest node.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include <rubato/run/assemble.hpp>
#include <rubato/transport/concepts.hpp>

namespace rubato::detail {

class arrival {
 public:
  arrival(assembly const& a, transport::identity const& me) : reach_{farthest(a, me.self)} {
    for (auto const peer : me.peers) levels_[peer] = absent;
  }

  /// A peer that has begun, or has ended, knows that all came. One that is lost and done without holds up nobody.
  void hears(transport::incoming const& n) {
    using what = transport::incoming::what;
    auto const arriving = n.standing.at == transport::standing::phase::arriving;
    switch (n.kind) {
      case what::message: return;
      case what::opened: levels_[n.peer] = 1; return;
      case what::stands: levels_[n.peer] = arriving ? std::min(n.standing.level, reach_) + 1 : everyone; return;
      case what::closed:
      case what::left: levels_[n.peer] = everyone; return;
    }
  }

  [[nodiscard]] auto level() const -> std::uint64_t {
    auto least = reach_;
    for (auto const& [peer, beyond] : levels_) least = std::min(least, beyond);
    return least;
  }
  [[nodiscard]] auto is_complete() const -> bool { return level() >= reach_; }

 private:
  static constexpr std::uint64_t absent = 0;
  static constexpr std::uint64_t everyone = std::numeric_limits<std::uint64_t>::max();

  /// The distance, in edges, of the node that is farthest away.
  static auto farthest(assembly const& a, node_id self) -> std::uint64_t {
    std::vector<std::uint64_t> distance(a.nodes.size(), everyone);
    std::vector<node_id> found{self};
    distance[to_index(self)] = 0;
    for (std::size_t k = 0; k < found.size(); ++k) {
      for (auto const next : a.again.neighbours(to_index(found[k]))) {
        if (distance[to_index(next)] != everyone) continue;
        distance[to_index(next)] = distance[to_index(found[k])] + 1;
        found.push_back(next);
      }
    }
    return distance[to_index(found.back())];
  }

  std::uint64_t reach_;
  std::map<node_id, std::uint64_t> levels_;  // of this node, as far as each peer goes
};

}  // namespace rubato::detail
