// SPDX-License-Identifier: MIT
// Who can reach whom: breadth-first trees, roots, connectedness. All iterative and O(nodes + edges),
// so that a line of a million nodes overflows no stack.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/topology/digraph.hpp>

namespace rubato::topology {

/// A breadth-first search from `root` along the edges. Parents are as near to the root as possible; among equals, the
/// one that was found first.
struct breadth_first_tree {
  static constexpr node_id unreached{(std::numeric_limits<std::uint32_t>::max)()};

  node_id root{};
  std::vector<node_id> order;   ///< the nodes reached, nearest first; order[0] is the root
  std::vector<node_id> parent;  ///< by node; the root's is itself, `unreached` where no path leads

  auto reaches(node_id id) const -> bool { return parent[to_index(id)] != unreached; }
  auto reaches_all() const -> bool { return order.size() == parent.size(); }
  /// The lowest node that is not reached, if there is one.
  auto first_unreached() const -> std::optional<node_id> {
    for (auto i = std::size_t{0}; i < parent.size(); ++i)
      if (parent[i] == unreached) return to_node(i);
    return std::nullopt;
  }
};

/// *requires* root < graph.nodes()
[[nodiscard]] auto search_from(digraph const& graph, node_id root) -> breadth_first_tree;

/// The only candidate for a node that reaches all others, up to nodes that it reaches and that reach it. Searches start
/// wherever no search has arrived yet, and the last start is the candidate. A node that reaches it was not seen by
/// earlier searches, so it is reached from the candidate. Hence, if the candidate misses a node, no node reaches both.
[[nodiscard]] auto candidate_root(digraph const& graph) -> node_id;

/// The nodes that reach every other node, sorted; empty if there is none.
[[nodiscard]] auto roots(digraph const& graph) -> std::vector<node_id>;

/// Whether the graph is an undirected tree: connected, and n - 1 pairs of opposite edges.
[[nodiscard]] auto is_undirected_tree(digraph const& graph) -> bool;

/// The most edges on a shortest path between two nodes; nothing if one does not reach another. O(nodes edges).
[[nodiscard]] auto diameter(digraph const& graph) -> std::optional<std::size_t>;

#if RUBATO_BODIES
namespace detail {

/// Continues a search: adds to `tree` what can be reached from `start` and was not reached before.
RUBATO_INLINE void extend(breadth_first_tree& tree, digraph const& graph, node_id start) {
  auto next = tree.order.size();
  tree.parent[to_index(start)] = start;
  tree.order.push_back(start);
  for (; next < tree.order.size(); ++next) {
    auto const from = tree.order[next];
    for (auto const to : graph.out_of(from)) {
      if (tree.reaches(to)) continue;
      tree.parent[to_index(to)] = from;
      tree.order.push_back(to);
    }
  }
}

}  // namespace detail

RUBATO_INLINE auto search_from(digraph const& graph, node_id root) -> breadth_first_tree {
  RUBATO_EXPECTS(to_index(root) < graph.nodes(), "search_from() needs a node of the graph");
  auto tree = breadth_first_tree{};
  tree.root = root;
  tree.order.reserve(graph.nodes());
  tree.parent.assign(graph.nodes(), breadth_first_tree::unreached);
  detail::extend(tree, graph, root);
  return tree;
}

RUBATO_INLINE auto candidate_root(digraph const& graph) -> node_id {
  auto seen = breadth_first_tree{};
  seen.order.reserve(graph.nodes());
  seen.parent.assign(graph.nodes(), breadth_first_tree::unreached);
  auto candidate = node_id{0};
  for (auto i = std::size_t{0}; i < graph.nodes(); ++i) {
    if (seen.reaches(to_node(i))) continue;
    candidate = to_node(i);
    detail::extend(seen, graph, candidate);
  }
  return candidate;
}

RUBATO_INLINE auto roots(digraph const& graph) -> std::vector<node_id> {
  auto const candidate = candidate_root(graph);
  if (!search_from(graph, candidate).reaches_all()) return {};
  auto const back = search_from(graph.reversed(), candidate);
  auto found = std::vector<node_id>{};
  for (auto i = std::size_t{0}; i < graph.nodes(); ++i)
    if (back.reaches(to_node(i))) found.push_back(to_node(i));
  return found;
}

RUBATO_INLINE auto is_undirected_tree(digraph const& graph) -> bool {
  return graph.edge_count() == 2 * (graph.nodes() - 1) && graph.is_undirected() &&
         search_from(graph, node_id{0}).reaches_all();
}

RUBATO_INLINE auto diameter(digraph const& graph) -> std::optional<std::size_t> {
  auto longest = std::size_t{0};
  auto depth = std::vector<std::size_t>(graph.nodes(), 0);
  for (auto i = std::size_t{0}; i < graph.nodes(); ++i) {
    auto const tree = search_from(graph, to_node(i));
    if (!tree.reaches_all()) return std::nullopt;
    depth[i] = 0;
    for (auto const id : tree.order)
      if (to_index(id) != i) depth[to_index(id)] = depth[to_index(tree.parent[to_index(id)])] + 1;
    longest = (std::max)(longest, depth[to_index(tree.order.back())]);
  }
  return longest;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
