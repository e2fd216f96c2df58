// SPDX-License-Identifier: MIT
// Spanning trees by measured costs, and the root that suits them: for tracking, which runs on a pair of trees. Ours:
//   depth(r) = the longest path, in cost, from r to a node or from a node to r, over cheapest trees
//   best root = argmin over r of depth(r) + kappa n s_r,  s_r = time of a gradient at r
// On a pair of trees the model moves by n steps whenever the *root* acts (mixing/gain.hpp), so a slow root slows all.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/topology/reachability.hpp>

namespace rubato::topology {

/// What trees cost, in any one unit, such as seconds. Costs are finite and not negative.
struct tree_costs {
  /// link[i][j]: of a message from i to j; read where the graph has that edge. Empty: 1 each.
  std::vector<std::vector<double>> link{};
  std::vector<double> gradient{};  ///< of a gradient, by node: durations that were measured. Empty: 0 each
  std::optional<double> kappa{};  ///< how much a slow root counts, times n; default 1/n
  /// How many children a node may have; a node for which its cheapest parent is full takes the next one.
  std::size_t children_max = (std::numeric_limits<std::size_t>::max)();
};

/// Costs of messages of this many bytes: latency[i][j] + bytes / bandwidth[i][j], in seconds and bytes a second. A
/// bandwidth of 0 means unlimited; an empty matrix stands for zeros. Throws config_error if the shapes differ.
[[nodiscard]] auto message_costs(std::vector<std::vector<double>> const& latency,
                                 std::vector<std::vector<double>> const& bandwidth, double bytes)
    -> std::vector<std::vector<double>>;

/// Asks for the root with the least depth + kappa n s; the lowest id among equals.
struct best_root_t {};
inline constexpr auto best_root = best_root_t{};

/// The trees of cheapest paths from this root and towards it; among equal paths, the parent with the lowest id. With
/// children_max they are grown from the root, cheapest node first. Throws config_error if there are none, or a cost is
/// not valid. O(edges log edges).
[[nodiscard]] auto spanning_trees(digraph const& graph, node_id root, tree_costs const& costs) -> pair;
/// The same from the best root. Throws config_error if no node reaches all others and is reached by them. O(nodes edges
/// log edges).
[[nodiscard]] auto spanning_trees(digraph const& graph, best_root_t, tree_costs const& costs = {}) -> pair;

/// The longest path, in cost, of spanning_trees(graph, root, costs), or nothing if there are no such trees.
[[nodiscard]] auto tree_depth(digraph const& graph, node_id root, tree_costs const& costs = {})
    -> std::optional<double>;

/// The undirected spanning tree whose slowest link is as fast as possible (Kruskal). Opposite edges cost what the
/// slower one does; among equals, lower ids come first. spanning_trees() roots it. Throws config_error unless the
/// graph is undirected and connected.
[[nodiscard]] auto narrow_tree(digraph const& graph, tree_costs const& costs) -> digraph;

#if RUBATO_BODIES
namespace detail {

RUBATO_INLINE auto link_cost(tree_costs const& costs, node_id from, node_id to) -> double {
  return costs.link.empty() ? 1.0 : costs.link[to_index(from)][to_index(to)];
}

RUBATO_INLINE void require_square(std::vector<std::vector<double>> const& m, std::size_t n, char const* what) {
  auto const right = [n](std::vector<double> const& row) { return row.size() == n; };
  if (!m.empty() && (m.size() != n || !std::all_of(m.begin(), m.end(), right)))
    throw config_error(std::string{what} + " are no square matrix of " + std::to_string(n) +
                       " rows: give one number for each two nodes");
}

RUBATO_INLINE void require_cost(double cost, std::string const& what) {
  if (!(std::isfinite(cost) && cost >= 0))
    throw config_error("the cost of " + what + " is " + with_digits(cost, 6) +
                       ": costs are finite numbers of 0 or more");
}

RUBATO_INLINE void require_costs(digraph const& graph, tree_costs const& costs) {
  require_square(costs.link, graph.nodes(), "costs of links");
  if (!costs.link.empty())
    for (auto const e : graph.edges()) require_cost(link_cost(costs, e.from, e.to), "edge " + to_text(e));
  if (!costs.gradient.empty() && costs.gradient.size() != graph.nodes())
    throw config_error("there are gradient times of " + std::to_string(costs.gradient.size()) + " nodes and '" +
                       graph.name() + "' has " + std::to_string(graph.nodes()) + ": make the two agree");
  for (auto i = std::size_t{0}; i < costs.gradient.size(); ++i)
    require_cost(costs.gradient[i], "a gradient of node " + std::to_string(i));
  if (costs.kappa) require_cost(*costs.kappa, "a slow root (kappa)");
}

/// A tree with a root: parents as in breadth_first_tree, and how far each node is.
struct cost_tree {
  std::vector<node_id> parent;
  double depth = 0;
  std::size_t reached = 0;
};

/// Dijkstra's search, away from the root or, with `towards`, against the edges.
RUBATO_INLINE auto cheapest_tree(digraph const& graph, node_id root, tree_costs const& costs, bool towards)
    -> cost_tree {
  struct offer {
    double distance;
    node_id node;
    node_id parent;
  };
  struct is_later {
    auto operator()(offer const& a, offer const& b) const -> bool {
      if (a.distance != b.distance) return a.distance > b.distance;
      return a.node != b.node ? a.node > b.node : a.parent > b.parent;
    }
  };
  auto tree = cost_tree{std::vector<node_id>(graph.nodes(), breadth_first_tree::unreached), 0, 0};
  auto children = std::vector<std::size_t>(graph.nodes(), 0);
  auto offers = std::priority_queue<offer, std::vector<offer>, is_later>{};
  offers.push({0, root, root});
  while (!offers.empty()) {
    auto const [distance, node, parent] = offers.top();
    offers.pop();
    if (tree.parent[to_index(node)] != breadth_first_tree::unreached) continue;
    if (node != root && children[to_index(parent)]++ >= costs.children_max) continue;
    tree.parent[to_index(node)] = parent;
    tree.depth = distance;  // distances never fall
    ++tree.reached;
    for (auto const next : towards ? graph.into(node) : graph.out_of(node))
      if (tree.parent[to_index(next)] == breadth_first_tree::unreached)
        offers.push({distance + (towards ? link_cost(costs, next, node) : link_cost(costs, node, next)), next, node});
  }
  return tree;
}

struct cost_trees {
  cost_tree away;
  cost_tree towards;

  auto depth() const -> double { return (std::max)(away.depth, towards.depth); }
  auto span() const -> bool { return away.reached == away.parent.size() && towards.reached == towards.parent.size(); }
};

RUBATO_INLINE auto cost_trees_of(digraph const& graph, node_id root, tree_costs const& costs) -> cost_trees {
  return {cheapest_tree(graph, root, costs, false), cheapest_tree(graph, root, costs, true)};
}

[[noreturn]] RUBATO_INLINE void refuse_children(digraph const& graph, tree_costs const& costs) {
  throw config_error("no tree of '" + graph.name() + "' with at most " + std::to_string(costs.children_max) +
                     " children a node was found: allow more of them, or take another root");
}

}  // namespace detail

RUBATO_INLINE auto message_costs(std::vector<std::vector<double>> const& latency,
                                 std::vector<std::vector<double>> const& bandwidth, double bytes)
    -> std::vector<std::vector<double>> {
  auto const n = (std::max)(latency.size(), bandwidth.size());
  detail::require_square(latency, n, "latencies");
  detail::require_square(bandwidth, n, "bandwidths");
  auto costs = std::vector<std::vector<double>>(n, std::vector<double>(n, 0.0));
  for (auto i = std::size_t{0}; i < n; ++i)
    for (auto j = std::size_t{0}; j < n; ++j) {
      if (!latency.empty()) costs[i][j] = latency[i][j];
      if (!bandwidth.empty() && bandwidth[i][j] != 0) costs[i][j] += bytes / bandwidth[i][j];
    }
  return costs;
}

RUBATO_INLINE auto spanning_trees(digraph const& graph, node_id root, tree_costs const& costs) -> pair {
  detail::require_costs(graph, costs);
  static_cast<void>(spanning_trees(graph, root));  // says which node has no path
  auto const trees = detail::cost_trees_of(graph, root, costs);
  if (!trees.span()) detail::refuse_children(graph, costs);
  return detail::trees_of(graph, root, trees.away.parent, trees.towards.parent);
}

RUBATO_INLINE auto spanning_trees(digraph const& graph, best_root_t, tree_costs const& costs) -> pair {
  detail::require_costs(graph, costs);
  auto const n = static_cast<double>(graph.nodes());
  auto const weight = costs.kappa.value_or(1 / n) * n;
  auto best = std::optional<std::pair<double, node_id>>{};
  auto const candidates = both(graph).common_roots();  // says so if there is none
  for (auto const root : candidates) {
    auto const trees = detail::cost_trees_of(graph, root, costs);
    if (!trees.span()) continue;
    auto const score = trees.depth() + (costs.gradient.empty() ? 0.0 : weight * costs.gradient[to_index(root)]);
    if (!best || score < best->first) best = {score, root};
  }
  if (!best) detail::refuse_children(graph, costs);
  auto const trees = detail::cost_trees_of(graph, best->second, costs);
  return detail::trees_of(graph, best->second, trees.away.parent, trees.towards.parent);
}

RUBATO_INLINE auto tree_depth(digraph const& graph, node_id root, tree_costs const& costs) -> std::optional<double> {
  detail::require_costs(graph, costs);
  RUBATO_EXPECTS(to_index(root) < graph.nodes(), "tree_depth() needs a node of the graph");
  auto const trees = detail::cost_trees_of(graph, root, costs);
  return trees.span() ? std::optional{trees.depth()} : std::nullopt;
}

RUBATO_INLINE auto narrow_tree(digraph const& graph, tree_costs const& costs) -> digraph {
  detail::require_costs(graph, costs);
  if (!graph.is_undirected())
    throw config_error("a tree with a fast slowest link needs an undirected graph, and '" + graph.name() +
                       "' has edges without a reverse: use with_both_directions()");
  struct link {
    double cost;
    edge ends;
  };
  auto links = std::vector<link>{};
  for (auto const e : graph.edges())
    if (e.from < e.to)
      links.push_back({(std::max)(detail::link_cost(costs, e.from, e.to), detail::link_cost(costs, e.to, e.from)), e});
  std::sort(links.begin(), links.end(),
            [](link const& a, link const& b) { return a.cost != b.cost ? a.cost < b.cost : a.ends < b.ends; });
  auto part = std::vector<std::size_t>(graph.nodes());  // a forest: roots name parts
  for (auto i = std::size_t{0}; i < part.size(); ++i) part[i] = i;
  auto const part_of = [&part](node_id id) {
    auto at = to_index(id);
    while (part[at] != at) at = part[at] = part[part[at]];
    return at;
  };
  auto kept = std::vector<edge>{};
  for (auto const& l : links) {
    auto const a = part_of(l.ends.from), b = part_of(l.ends.to);
    if (a == b) continue;
    part[a] = b;
    kept.push_back(l.ends);
  }
  if (kept.size() + 1 != graph.nodes())
    throw config_error("graph '" + graph.name() + "' has no spanning tree: add edges until all nodes are connected");
  return from_edges(graph.nodes(), std::move(kept), "narrow tree of " + graph.name())
      .with_both_directions()
      .with_root_hint(graph.root_hint());
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
