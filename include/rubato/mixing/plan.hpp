// SPDX-License-Identifier: MIT
// From graphs and weights to the neighbourhood of each node: one plan per family of algorithms. In every plan the lists
// of the two ends agree: j is in i's pull_from exactly if i is in j's pull_to, and likewise for push.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/mixing/gain.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/neighbourhood.hpp>
#include <rubato/mixing/perron.hpp>
#include <rubato/mixing/spectral.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/topology/reachability.hpp>

namespace rubato::mixing {

/// For gradient tracking (R-FAST, Push-Pull, ...) with weights of your own. A weight of zero removes its edge. Throws
/// config_error if W's rows or A's columns do not sum to one, if a weight is negative or on an edge that the pair does
/// not have, or if the remaining edges have no common root. `ages` are those of mixing::gain; 0 is for
/// rounds.
[[nodiscard]] auto tracking_plan(topology::pair const& graphs, matrix const& pull_weights, matrix const& push_weights,
                                 mean_ages ages = {}) -> plan;

/// The same with the weights' own edges, wherever the weights come from (from_rows, from_entries).
[[nodiscard]] auto tracking_plan(matrix const& pull_weights, matrix const& push_weights, mean_ages ages = {}) -> plan;

/// For gradient tracking with uniform weights.
[[nodiscard]] auto tracking_plan(topology::pair const& graphs, mean_ages ages = {}) -> plan;

/// For gossip (D-PSGD and its variants, pairwise averaging): Metropolis-Hastings weights for pulling on the graph,
/// taken as undirected (the plan's remark says so if it is not); nothing to push, gain 1. Throws config_error naming a
/// node that is not connected to node 0.
[[nodiscard]] auto gossip_plan(topology::digraph const& graph) -> plan;
/// The same on all edges of both graphs of a pair.
[[nodiscard]] auto gossip_plan(topology::pair const& graphs) -> plan;
/// The same with weights of your own. Throws config_error if they are not symmetric, a row or column does not sum to
/// one, or a node is not connected to node 0. With negative weights, or a diagonal that is not positive (signs::any),
/// all eigenvalues but one must lie within (-1, 1), which is all that rounds need (arXiv 1705.09056, assumption 1).
/// Such a plan is for d_psgd, d_psgd_atc, low_precision_d_psgd, extra and orders in rounds that do not track;
/// assemble() refuses it for others: where the absolute values of a row sum to more than one, averages of models of
/// different ages may grow without bound. If an edge closes, each end keeps the edge's weight itself, and the remaining
/// W must still mix.
[[nodiscard]] auto gossip_plan(matrix const& weights) -> plan;

/// Whether node i counts the model of each neighbour with the weight with which that one counts its own, to within
/// 1e-12.
[[nodiscard]] auto pulls_symmetrically(plan const& made, node_id i) -> bool;

/// Rounds by which a neighbour may be behind a node that waits for a message of each node that pushes to it, of that
/// one's last round but `apart - 1`: `apart` where all edges go both ways. Where they do not, a path of them leads
/// back, and the number, n times as large, holds for every two nodes.
[[nodiscard]] auto push_rounds_behind(plan const& made, std::uint64_t apart) -> std::uint64_t;

/// For push-sum: each node divides its mass equally between itself and its out-neighbours, along the edges of both
/// graphs in their own directions; nothing to pull, gain 1. Any pair will do, because its common root reaches all nodes
/// and is reached by all: mass from every node reaches every node.
[[nodiscard]] auto push_sum_plan(topology::pair const& graphs) -> plan;

/// For collectives around a ring: node i receives from i-1 and sends to i+1, mod n. Weights of 1/2 keep the rows valid;
/// collectives do not use them.
[[nodiscard]] auto ring_plan(std::size_t n) -> plan;

/// For collectives in which every node sends to every other: gossip on the complete graph.
[[nodiscard]] auto all_to_all_plan(std::size_t n) -> plan;

/// Joins every two nodes of a plan by edges of weight 0, which carry no models, for short messages to all.
void add_messengers(plan& p);

/// For a server and its workers: workers 0 .. n-1 pull the model from node n and push their whole gradient to it; the
/// server keeps its own. The server is not counted in `nodes`.
[[nodiscard]] auto server_plan(std::size_t n, std::size_t servers = 1) -> plan;

#if RUBATO_BODIES
namespace detail {

/// The weights of a row without its diagonal.
RUBATO_INLINE auto others_in(matrix const& m, node_id i) -> std::vector<weighted_edge> {
  auto others = std::vector<weighted_edge>{};
  for (auto const& w : m.row(i))
    if (w.peer != i) others.push_back(w);
  return others;
}

RUBATO_INLINE auto list_of(std::span<node_id const> ids) -> std::vector<node_id> { return {ids.begin(), ids.end()}; }

/// Nodes that pull along the support of W and push nothing.
RUBATO_INLINE auto pulling_nodes(matrix const& pull_weights) -> std::vector<neighbourhood> {
  auto const graph = support(pull_weights);
  auto nodes = std::vector<neighbourhood>(graph.nodes());
  for (auto i = std::size_t{0}; i < nodes.size(); ++i) {
    nodes[i].self = to_node(i);
    nodes[i].nodes = nodes.size();
    nodes[i].pull_self = pull_weights.diagonal(to_node(i));
    nodes[i].pull_from = others_in(pull_weights, to_node(i));
    nodes[i].pull_to = list_of(graph.out_of(to_node(i)));
  }
  return nodes;
}

RUBATO_INLINE void add_pushing(std::vector<neighbourhood>& nodes, matrix const& push_weights) {
  auto const graph = support(push_weights);
  auto const columns = push_weights.transposed();
  for (auto i = std::size_t{0}; i < nodes.size(); ++i) {
    nodes[i].push_self = columns.diagonal(to_node(i));
    nodes[i].push_to = others_in(columns, to_node(i));
    nodes[i].push_from = list_of(graph.into(to_node(i)));
  }
}

/// In rounds (age 0) a step is along all that node i tracks, v_i of the sum. A free node steps along what it keeps
/// after a push, and the rest is under way for r of its local iterations:
///   share_i = n a_ii v_i / sum_j v_j (a_jj + (1 - a_jj) r)
RUBATO_INLINE void add_push_shares(std::vector<neighbourhood>& nodes, matrix const& push_weights, double age) {
  auto v = perron_right(push_weights);
  auto all = 1.0;
  if (age > 0) {
    all = 0;
    for (auto i = std::size_t{0}; i < nodes.size(); ++i) {
      all += v[i] * (nodes[i].push_self + (1 - nodes[i].push_self) * age);
      v[i] *= nodes[i].push_self;
    }
  }
  for (auto i = std::size_t{0}; i < nodes.size(); ++i) {
    auto const share = static_cast<double>(nodes.size()) * v[i] / all;
    nodes[i].push_share = std::abs(share - 1) < 1e-12 ? 1.0 : share;
  }
}

/// Throws unless each weight off the diagonal is on an edge of the graph.
RUBATO_INLINE void require_on_edges(matrix const& m, topology::digraph const& graph, char const* role_of_graph) {
  for (auto const e : support(m).edges())
    if (!graph.has_edge(e.from, e.to))
      throw config_error("the " + m.name() + " use edge " + topology::detail::to_text(e) + ", which the " +
                         role_of_graph + " graph '" + graph.name() + "' does not have: set its weight to 0 or add it");
}

RUBATO_INLINE void require_connected(topology::digraph const& undirected) {
  if (auto const lost = topology::search_from(undirected, node_id{0}).first_unreached())
    throw config_error("gossip needs a connected graph, and node " + topology::detail::to_text(*lost) + " of '" +
                       undirected.name() + "' is not connected to node 0: add edges until one network is left");
}

/// `given`: how many edges there were before the graph was made undirected.
RUBATO_INLINE auto gossip_on(topology::digraph const& undirected, std::size_t given) -> plan {
  require_connected(undirected);
  auto made = plan{pulling_nodes(metropolis_hastings(undirected)), 1.0,
                   "gossip on " + undirected.name() + ", Metropolis-Hastings weights"};
  if (auto const added = undirected.edge_count() - given; added > 0) {
    made.summary += ", one-way edges used both ways: " + std::to_string(added);
    made.remark =
        "note: " + std::to_string(added) + (added == 1 ? " edge of '" : " edges of '") + undirected.name() +
        (added == 1 ? "' goes one way, and gossip uses it both ways" : "' go one way, and gossip uses them both ways");
  }
  return made;
}

/// Throws unless W is symmetric to within 1e-12, naming the first edge that is not.
RUBATO_INLINE void require_symmetric(matrix const& m, std::string_view advice = "") {
  for (auto i = std::size_t{0}; i < m.nodes(); ++i)
    for (auto const& w : m.row(to_node(i))) {
      auto const back = m.at(w.peer, to_node(i));
      if (std::abs(w.weight - back) <= 1e-12) continue;
      throw config_error("gossip needs symmetric weights, and in the " + m.name() + " entry " +
                         place_of({to_node(i), w.peer}) + " is " + to_text(w.weight) + " where entry " +
                         place_of({w.peer, to_node(i)}) + " is " + to_text(back) + std::string{advice});
    }
}

/// Throws unless all eigenvalues of this symmetric W but one lie within (-1, 1). They always do if weights are not
/// negative, the diagonal is positive and the graph is connected (Perron, Frobenius).
RUBATO_INLINE void require_mixing(matrix const& m) {
  if (is_not_negative(m)) return;
  auto const modulus = second_singular_value(m);
  if (!(modulus <= 1 - 1e-8))
    throw config_error("gossip needs weights under which models come closer, and of the " + m.name() +
                       " a second eigenvalue has the modulus " + with_digits(modulus, 6) + ", which is not below 1");
}

}  // namespace detail

RUBATO_INLINE auto tracking_plan(topology::pair const& graphs, matrix const& pull_weights, matrix const& push_weights,
                                 mean_ages ages) -> plan {
  detail::require_same_nodes(graphs, pull_weights);
  detail::require_same_nodes(graphs, push_weights);
  detail::require_rows(pull_weights);
  detail::require_columns(push_weights);
  detail::require_not_negative(pull_weights, "gradient tracking");
  detail::require_not_negative(push_weights, "gradient tracking");
  detail::require_on_edges(pull_weights, graphs.pull(), "pull");
  detail::require_on_edges(push_weights, graphs.push(), "push");

  auto const in_use = topology::pair{support(pull_weights), support(push_weights)};
  auto result = plan{};
  result.nodes = detail::pulling_nodes(pull_weights);
  detail::add_pushing(result.nodes, push_weights);
  detail::add_push_shares(result.nodes, push_weights, ages.push);
  result.gain = gain(in_use, pull_weights, push_weights, ages);
  result.summary = graphs.name() + ", " + pull_weights.name() + ", " + push_weights.name() + ", gain " +
                   detail::to_text(result.gain);
  return result;
}

RUBATO_INLINE auto tracking_plan(matrix const& pull_weights, matrix const& push_weights, mean_ages ages) -> plan {
  return tracking_plan(topology::pair{support(pull_weights), support(push_weights)}, pull_weights, push_weights, ages);
}

RUBATO_INLINE auto tracking_plan(topology::pair const& graphs, mean_ages ages) -> plan {
  return tracking_plan(graphs, uniform_pull(graphs.pull()), uniform_push(graphs.push()), ages);
}

RUBATO_INLINE auto gossip_plan(topology::digraph const& graph) -> plan {
  return detail::gossip_on(graph.with_both_directions(), graph.edge_count());
}

RUBATO_INLINE auto gossip_plan(topology::pair const& graphs) -> plan {
  return detail::gossip_on(graphs.underlying(), graphs.joined().edge_count());
}

RUBATO_INLINE auto gossip_plan(matrix const& weights) -> plan {
  detail::require_rows(weights);
  detail::require_columns(weights);
  detail::require_symmetric(weights);
  detail::require_connected(support(weights));
  detail::require_mixing(weights);
  return {detail::pulling_nodes(weights), 1.0, "gossip, " + weights.name()};
}

RUBATO_INLINE auto pulls_symmetrically(plan const& made, node_id i) -> bool {
  for (auto const& e : made.nodes[to_index(i)].pull_from)
    if (!(std::abs(weight_of(made.nodes[to_index(e.peer)].pull_from, i) - e.weight) <= 1e-12)) return false;
  return true;
}

RUBATO_INLINE auto push_rounds_behind(plan const& made, std::uint64_t apart) -> std::uint64_t {
  auto const both_ways = std::all_of(made.nodes.begin(), made.nodes.end(), [](neighbourhood const& n) {
    return std::equal(n.push_to.begin(), n.push_to.end(), n.push_from.begin(), n.push_from.end(),
                      [](weighted_edge const& to, node_id from) { return to.peer == from; });
  });
  return both_ways ? apart : apart * (std::max)(made.nodes.size(), std::size_t{2});
}

RUBATO_INLINE auto push_sum_plan(topology::pair const& graphs) -> plan {
  auto result =
      plan{std::vector<neighbourhood>(graphs.nodes()), 1.0, "push-sum on " + graphs.name() + ", uniform weights"};
  for (auto i = std::size_t{0}; i < result.nodes.size(); ++i) {
    result.nodes[i].self = to_node(i);
    result.nodes[i].nodes = result.nodes.size();
  }
  detail::add_pushing(result.nodes, uniform_push(graphs.joined()));
  return result;
}

RUBATO_INLINE auto ring_plan(std::size_t n) -> plan {
  auto const name = "ring of " + std::to_string(n);
  topology::detail::require_nodes(n, name);
  auto result = plan{std::vector<neighbourhood>(n), 1.0, name};
  for (auto i = std::size_t{0}; i < n; ++i) {
    auto& node = result.nodes[i];
    node.self = to_node(i);
    node.nodes = n;
    if (n == 1) continue;
    node.pull_self = 0.5;
    node.pull_from = {{to_node((i + n - 1) % n), 0.5}};
    node.pull_to = {to_node((i + 1) % n)};
  }
  return result;
}

RUBATO_INLINE auto all_to_all_plan(std::size_t n) -> plan {
  auto made = gossip_plan(topology::complete(n));
  made.summary = "all " + std::to_string(n) + " nodes with each other";
  return made;
}

RUBATO_INLINE void add_messengers(plan& p) {
  for (auto& node : p.nodes) {
    for (std::size_t j = 0; j < p.nodes.size(); ++j) {
      auto const other = to_node(j);
      if (other == node.self) continue;
      auto const from = std::lower_bound(node.pull_from.begin(), node.pull_from.end(), other,
                                         [](weighted_edge const& e, node_id id) { return e.peer < id; });
      if (from == node.pull_from.end() || from->peer != other) node.pull_from.insert(from, {other, 0.0});
      auto const to = std::lower_bound(node.pull_to.begin(), node.pull_to.end(), other);
      if (to == node.pull_to.end() || *to != other) node.pull_to.insert(to, other);
    }
  }
}

RUBATO_INLINE auto server_plan(std::size_t n, std::size_t servers) -> plan {
  auto const name = (servers == 1 ? std::string{"server"} : std::to_string(servers) + " servers") + " with " +
                    std::to_string(n) + " workers";
  topology::detail::require_nodes(n, name);
  auto result = plan{std::vector<neighbourhood>(n + servers), 1.0, name};
  for (auto i = std::size_t{0}; i < n + servers; ++i) {
    auto& node = result.nodes[i];
    node.self = to_node(i);
    node.nodes = n;
    node.part = i < n ? role::worker : role::server;
    if (i < n) node.pull_self = node.push_self = 0;
  }
  for (auto s = n; s < n + servers; ++s) {
    for (auto i = std::size_t{0}; i < n; ++i) {
      auto& worker = result.nodes[i];
      worker.pull_from.push_back({to_node(s), 1.0});
      worker.push_to.push_back({to_node(s), 1.0});
      result.nodes[s].pull_to.push_back(to_node(i));
      result.nodes[s].push_from.push_back(to_node(i));
    }
  }
  return result;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
