// SPDX-License-Identifier: MIT
// The two sides of a bipartite network: every edge joins an active node, which asks, and a passive one, which answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/mixing/neighbourhood.hpp>
#include <rubato/mixing/plan.hpp>

namespace rubato::mixing {

/// The same plan of gossip with its two sides: the larger one is active; of two equal ones, that of node 0. Throws
/// config_error, naming a cycle of odd length, if the graph is not bipartite. O(nodes + edges).
[[nodiscard]] auto with_sides(plan gossip) -> plan;

#if RUBATO_BODIES
namespace detail {
/// From both ends of an edge up to where their paths meet: with the edge, a cycle of odd length.
RUBATO_INLINE auto odd_cycle(std::vector<std::size_t> const& parent, std::vector<std::size_t> const& depth,
                             std::size_t i, std::size_t j) -> std::string {
  std::string up, down;
  while (i != j) {
    if (depth[i] >= depth[j]) {
      up += std::to_string(i) + " - ";
      i = parent[i];
    } else {
      down = " - " + std::to_string(j) + down;
      j = parent[j];
    }
  }
  return up + std::to_string(i) + down;
}
}  // namespace detail

RUBATO_INLINE auto with_sides(plan gossip) -> plan {
  auto const n = gossip.nodes.size();
  constexpr auto unseen = ~std::size_t{0};
  std::vector<std::size_t> parent(n, unseen), depth(n, 0), order{0};
  parent[0] = 0;
  for (std::size_t next = 0; next < order.size(); ++next) {
    auto const i = order[next];
    for (auto const& e : gossip.nodes[i].pull_from) {
      auto const j = to_index(e.peer);
      if (parent[j] == unseen) {
        parent[j] = i;
        depth[j] = depth[i] + 1;
        order.push_back(j);
      } else if (depth[j] % 2 == depth[i] % 2) {
        throw config_error{
            "these roles need a bipartite graph, in which every edge joins an active node and a passive "
            "one; " +
            gossip.summary + " has a cycle of odd length: " + detail::odd_cycle(parent, depth, i, j) +
            ". ad_psgd takes any graph"};
      }
    }
  }
  std::size_t odd = 0;
  for (auto const d : depth) odd += d % 2;
  auto const passive = 2 * odd <= n ? 1U : 0U;
  for (std::size_t i = 0; i < n; ++i) gossip.nodes[i].part = depth[i] % 2 == passive ? role::passive : role::peer;
  return gossip;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
