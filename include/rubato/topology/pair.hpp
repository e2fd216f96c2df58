// SPDX-License-Identifier: MIT
// What tracking methods run on: a pull graph, along which models flow, and a push graph, along which gradients flow.
//   pull: edge j -> i means that i averages j's model        (w_ij > 0); a pull root reaches every node
//   push: edge i -> j means that i pushes its gradient to j  (a_ji > 0); a push root is reached by every node
// Legal if some node is both (R-FAST's and Push-Pull's condition): checked once, here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/reachability.hpp>

namespace rubato::topology {

class pair;
namespace detail {
/// The trees of these parents, by node: away from the root and towards it.
auto trees_of(digraph const& graph, node_id root, std::vector<node_id> const& away, std::vector<node_id> const& towards)
    -> pair;
}  // namespace detail

/// Two breadth-first trees of the graph with one root: pull edges lead away from it, push edges towards it.
/// Throws config_error naming the node that the root does not reach, or that does not reach the root.
[[nodiscard]] auto spanning_trees(digraph const& graph, node_id root) -> pair;
/// The same graph for models and gradients: it must be strongly connected, or hold a single node.
/// Takes the root hint as the root.
[[nodiscard]] auto both(digraph const& graph) -> pair;

/// A pull graph and a push graph over the same nodes, with at least one common root.
class pair {
 public:
  /// An undirected tree (line, star, binary tree, anything of two nodes) becomes spanning_trees() from its root hint;
  /// any other graph serves both ways. Implicit, so that a graph can be given wherever a pair is wanted.
  pair(digraph const& graph);  // NOLINT(google-explicit-constructor)

  /// Throws config_error, naming a node and why, if no node is a root of both; takes the lowest common root.
  pair(digraph pull, digraph push) : pair{std::move(pull), std::move(push), std::nullopt, {}} {}
  /// The same with a given root, which must be a common one.
  pair(digraph pull, digraph push, node_id root) : pair{std::move(pull), std::move(push), std::optional{root}, {}} {}

  auto nodes() const -> std::size_t { return pull_.nodes(); }
  auto pull() const -> digraph const& { return pull_; }
  auto push() const -> digraph const& { return push_; }
  auto root() const -> node_id { return root_; }
  auto name() const -> std::string const& { return name_; }

  /// The roots of the pull graph that are roots of the push graph, sorted; never empty. O(nodes + edges).
  auto common_roots() const -> std::vector<node_id>;

  /// All edges of both graphs, in both directions: for methods that need a symmetric graph.
  [[nodiscard]] auto underlying() const -> digraph;

  /// All edges of both graphs, each in its own direction: for methods whose mass flows both ways of a tree.
  [[nodiscard]] auto joined() const -> digraph;

  /// Whether both graphs are trees of the same root: with a common root, n - 1 edges leave no other possibility.
  auto is_tree_pair() const -> bool { return pull_.edge_count() == nodes() - 1 && push_.edge_count() == nodes() - 1; }

 private:
  pair(digraph pull, digraph push, std::optional<node_id> root, std::string name);
  friend auto detail::trees_of(digraph const& graph, node_id root, std::vector<node_id> const& away,
                               std::vector<node_id> const& towards) -> pair;

  void require_same_size() const;
  /// Finds out why there is no common root and says so.
  [[noreturn]] void refuse() const;

  digraph pull_;
  digraph push_;
  node_id root_{};
  std::string name_;
};

#if RUBATO_BODIES
RUBATO_INLINE void pair::refuse() const {
  auto const of_one = pull_ == push_;  // then nobody has heard of two graphs
  auto const top = candidate_root(pull_);
  if (auto const lost = search_from(pull_, top).first_unreached())
    throw config_error(std::string{"no node can reach every other node in the "} + (of_one ? "" : "pull ") +
                       "graph: node " + detail::to_text(*lost) + " is not reached from node " + detail::to_text(top) +
                       " of '" + pull_.name() +
                       "', nor is there a node that reaches both; add edges until one node reaches all");
  auto const against = push_.reversed();
  auto const sink = candidate_root(against);
  if (auto const lost = search_from(against, sink).first_unreached())
    throw config_error(std::string{"no node can be reached by every other node in the "} + (of_one ? "" : "push ") +
                       "graph: node " + detail::to_text(*lost) + " does not reach node " + detail::to_text(sink) +
                       " of '" + push_.name() +
                       "', nor is there a node that both reach; add edges until all reach one node");
  auto const root = roots(pull_).front();
  auto const lost = search_from(against, root).first_unreached().value_or(sink);
  if (of_one)
    throw config_error("no node of the graph '" + pull_.name() +
                       "' both reaches all others and is reached by all: node " + detail::to_text(root) +
                       " reaches every node, but node " + detail::to_text(lost) + " does not reach it; add edges");
  throw config_error("the pull graph '" + pull_.name() + "' and the push graph '" + push_.name() +
                     "' have no common root: node " + detail::to_text(root) +
                     " reaches every node by pull edges, but node " + detail::to_text(lost) +
                     " does not reach it by push edges");
}

RUBATO_INLINE auto detail::trees_of(digraph const& graph, node_id root, std::vector<node_id> const& away,
                                    std::vector<node_id> const& towards) -> pair {
  auto down = std::vector<edge>{};
  auto up = std::vector<edge>{};
  for (auto i = std::size_t{0}; i < graph.nodes(); ++i) {
    if (to_node(i) == root) continue;
    down.push_back({away[i], to_node(i)});
    up.push_back({to_node(i), towards[i]});
  }
  auto const n = graph.nodes();
  auto const ends = " node " + to_text(root) + " of " + graph.name();
  return pair{from_edges(n, std::move(down), "tree from" + ends).with_root_hint(root),
              from_edges(n, std::move(up), "tree towards" + ends).with_root_hint(root), std::optional{root},
              "spanning trees of " + graph.name() + ", root " + to_text(root)};
}

RUBATO_INLINE auto spanning_trees(digraph const& graph, node_id root) -> pair {
  auto const rooted = graph.with_root_hint(root);
  auto const away = search_from(rooted, root);
  if (auto const lost = away.first_unreached())
    throw config_error("graph '" + graph.name() + "' has no spanning tree from node " + detail::to_text(root) +
                       ": node " + detail::to_text(*lost) +
                       " cannot be reached from it; take another root or add edges");
  auto const towards = search_from(rooted.reversed(), root);
  if (auto const lost = towards.first_unreached())
    throw config_error("graph '" + graph.name() + "' has no spanning tree towards node " + detail::to_text(root) +
                       ": node " + detail::to_text(*lost) + " cannot reach it; take another root or add edges");
  return detail::trees_of(graph, root, away.parent, towards.parent);
}

RUBATO_INLINE auto both(digraph const& graph) -> pair { return pair{graph, graph, graph.root_hint()}; }

RUBATO_INLINE pair::pair(digraph const& graph)
    : pair{is_undirected_tree(graph) ? spanning_trees(graph, graph.root_hint()) : both(graph)} {}

RUBATO_INLINE auto pair::common_roots() const -> std::vector<node_id> {
  auto const reaching = roots(pull_);
  auto const reached = roots(push_.reversed());
  auto common = std::vector<node_id>{};
  std::set_intersection(reaching.begin(), reaching.end(), reached.begin(), reached.end(), std::back_inserter(common));
  return common;
}

RUBATO_INLINE auto pair::underlying() const -> digraph { return joined().with_both_directions().with_root_hint(root_); }

RUBATO_INLINE auto pair::joined() const -> digraph {
  auto all = pull_.edges();
  for (auto const e : push_.edges()) all.push_back(e);
  return from_edges(nodes(), std::move(all), name_);
}

RUBATO_INLINE pair::pair(digraph pull, digraph push, std::optional<node_id> root, std::string name)
    : pull_{std::move(pull)}, push_{std::move(push)}, name_{std::move(name)} {
  if (name_.empty())
    name_ = pull_.name() == push_.name() ? pull_.name() : "pull " + pull_.name() + ", push " + push_.name();
  require_same_size();
  auto const common = common_roots();
  if (common.empty()) refuse();
  root_ = root.value_or(common.front());
  if (!std::binary_search(common.begin(), common.end(), root_))
    throw config_error("node " + detail::to_text(root_) + " is not a common root of '" + name_ + "': node " +
                       detail::to_text(common.front()) + " is");
}

RUBATO_INLINE void pair::require_same_size() const {
  if (pull_.nodes() != push_.nodes())
    throw config_error("the pull graph '" + pull_.name() + "' has " + std::to_string(pull_.nodes()) +
                       " nodes and the push graph '" + push_.name() + "' has " + std::to_string(push_.nodes()) +
                       ": give both the same nodes");
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
