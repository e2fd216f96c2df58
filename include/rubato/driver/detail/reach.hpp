// SPDX-License-Identifier: MIT
// How far away the farthest node of a run is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/run/assemble.hpp>

namespace rubato::detail {

/// The distance, in edges of either direction, of the node that is farthest away from that one.
inline auto reach_of(assembly const& a, node_id self) -> std::uint64_t {
  constexpr auto unknown = (std::numeric_limits<std::uint64_t>::max)();
  std::vector<std::uint64_t> distance(a.nodes.size(), unknown);
  std::vector<node_id> found{self};
  distance[to_index(self)] = 0;
  for (std::size_t k = 0; k < found.size(); ++k) {
    for (auto const next : a.factory.neighbours(to_index(found[k]))) {
      if (distance[to_index(next)] != unknown) continue;
      distance[to_index(next)] = distance[to_index(found[k])] + 1;
      found.push_back(next);
    }
  }
  return distance[to_index(found.back())];
}

}  // namespace rubato::detail
