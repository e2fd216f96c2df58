// SPDX-License-Identifier: MIT
// Random graphs: what holds for every graph holds for these.
#include <rubato/topology.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

#include <rubato/mixing.hpp>

#include "support/catch.hpp"
#include "support/for_all.hpp"
#include "support/plans.hpp"

namespace {
using namespace rubato;
using namespace rubato::topology;
using rubato::test::for_all;

/// Each possible edge with one probability, itself random: from nearly empty to nearly complete.
auto any_graph(random_stream& gen) -> digraph {
  auto const n = static_cast<std::size_t>(1 + gen.below(16));
  auto const density = gen.uniform();
  auto edges = std::vector<edge>{};
  for (auto i = std::size_t{0}; i < n; ++i)
    for (auto j = std::size_t{0}; j < n; ++j)
      if (i != j && gen.chance(density)) edges.push_back({to_node(i), to_node(j)});
  return from_edges(n, edges, "random");
}

auto shuffled_ids(std::size_t n, random_stream& gen) -> std::vector<node_id> {
  auto ids = std::vector<node_id>(n);
  for (auto i = std::size_t{0}; i < n; ++i) ids[i] = to_node(i);
  for (auto i = n; i > 1; --i) std::swap(ids[i - 1], ids[gen.below(i)]);
  return ids;
}

auto permuted(digraph const& graph, std::vector<node_id> const& ids) -> digraph {
  auto edges = graph.edges();
  for (auto& e : edges) e = {ids[to_index(e.from)], ids[to_index(e.to)]};
  return from_edges(graph.nodes(), edges, graph.name());
}

/// A random graph with a directed cycle through all nodes, so that everyone reaches everyone.
auto strongly_connected(random_stream& gen) -> digraph {
  auto const graph = any_graph(gen);
  auto edges = permuted(directed_ring(graph.nodes()), shuffled_ids(graph.nodes(), gen)).edges();
  for (auto const e : graph.edges()) edges.push_back(e);
  return from_edges(graph.nodes(), edges, "strongly connected");
}

/// The slow definition of who reaches whom: Warshall, n cubed.
auto closure(digraph const& graph) -> std::vector<std::vector<char>> {
  auto const n = graph.nodes();
  auto reach = std::vector<std::vector<char>>(n, std::vector<char>(n, 0));
  for (auto i = std::size_t{0}; i < n; ++i) reach[i][i] = 1;
  for (auto const e : graph.edges()) reach[to_index(e.from)][to_index(e.to)] = 1;
  for (auto k = std::size_t{0}; k < n; ++k)
    for (auto i = std::size_t{0}; i < n; ++i)
      for (auto j = std::size_t{0}; j < n; ++j)
        if (reach[i][k] != 0 && reach[k][j] != 0) reach[i][j] = 1;
  return reach;
}

auto roots_by_closure(digraph const& graph) -> std::vector<node_id> {
  auto const reach = closure(graph);
  auto found = std::vector<node_id>{};
  for (auto i = std::size_t{0}; i < graph.nodes(); ++i)
    if (std::find(reach[i].begin(), reach[i].end(), 0) == reach[i].end()) found.push_back(to_node(i));
  return found;
}

TEST_CASE("roots agree with the transitive closure") {
  for_all(400, [](random_stream& gen, std::uint64_t) {
    auto const graph = any_graph(gen);
    CHECK(roots(graph) == roots_by_closure(graph));
    CHECK(roots(graph.reversed()) == roots_by_closure(graph.reversed()));
  });
}

TEST_CASE("a pair is accepted exactly if some node is a root of both graphs, and lists all of them") {
  for_all(400, [](random_stream& gen, std::uint64_t) {
    auto const pull = any_graph(gen);
    auto push = any_graph(gen);
    if (push.nodes() != pull.nodes()) push = permuted(pull, shuffled_ids(pull.nodes(), gen));
    auto const reaching = roots_by_closure(pull);
    auto const reached = roots_by_closure(push.reversed());
    auto common = std::vector<node_id>{};
    for (auto const id : reaching)
      if (test::holds(reached, id)) common.push_back(id);
    if (common.empty()) {
      CHECK_THROWS_AS((topology::pair{pull, push}), config_error);
    } else {
      CHECK(topology::pair{pull, push}.common_roots() == common);
    }
  });
}

TEST_CASE("every pair of spanning trees is two trees of the graph with one root") {
  for_all(200, [](random_stream& gen, std::uint64_t) {
    auto const graph = strongly_connected(gen);
    auto const root = to_node(gen.below(graph.nodes()));
    auto const trees = spanning_trees(graph, root);
    CHECK(trees.is_tree_pair());
    CHECK(trees.root() == root);
    CHECK(trees.common_roots() == std::vector{root});
    for (auto i = std::size_t{0}; i < graph.nodes(); ++i) {
      auto const parents = to_node(i) == root ? std::size_t{0} : std::size_t{1};
      CHECK(trees.pull().into(to_node(i)).size() == parents);
      CHECK(trees.push().out_of(to_node(i)).size() == parents);
    }
    for (auto const e : trees.pull().edges()) CHECK(graph.has_edge(e.from, e.to));
    for (auto const e : trees.push().edges()) CHECK(graph.has_edge(e.from, e.to));
  });
}

/// The slow definition of distances: Floyd.
auto distances(digraph const& graph, tree_costs const& costs) -> std::vector<std::vector<double>> {
  auto const n = graph.nodes();
  auto d = std::vector<std::vector<double>>(n, std::vector<double>(n, 1e9));
  for (auto i = std::size_t{0}; i < n; ++i) d[i][i] = 0;
  for (auto const e : graph.edges()) d[to_index(e.from)][to_index(e.to)] = costs.link[to_index(e.from)][to_index(e.to)];
  for (auto k = std::size_t{0}; k < n; ++k)
    for (auto i = std::size_t{0}; i < n; ++i)
      for (auto j = std::size_t{0}; j < n; ++j) d[i][j] = (std::min)(d[i][j], d[i][k] + d[k][j]);
  return d;
}

TEST_CASE("the best root is the first with the least depth and time, and its trees are cheapest paths") {
  for_all(150, [](random_stream& gen, std::uint64_t) {
    auto const graph = strongly_connected(gen);
    auto const n = graph.nodes();
    auto costs = tree_costs{.link = std::vector<std::vector<double>>(n, std::vector<double>(n)), .kappa = 0.5};
    for (auto& row : costs.link)
      for (auto& cost : row) cost = static_cast<double>(1 + gen.below(9));
    for (auto i = std::size_t{0}; i < n; ++i) costs.gradient.push_back(static_cast<double>(gen.below(5)));
    auto const d = distances(graph, costs);
    auto best = std::size_t{0};
    auto least = 1e9;
    for (auto r = std::size_t{0}; r < n; ++r) {
      auto depth = 0.0;
      for (auto i = std::size_t{0}; i < n; ++i) depth = (std::max)({depth, d[r][i], d[i][r]});
      CHECK(tree_depth(graph, to_node(r), costs) == depth);
      auto const score = depth + 0.5 * static_cast<double>(n) * costs.gradient[r];
      if (score < least) best = r, least = score;
    }
    auto const trees = spanning_trees(graph, best_root, costs);
    CHECK(trees.root() == to_node(best));
    for (auto const e : trees.pull().edges()) {
      auto const from = to_index(e.from), to = to_index(e.to);
      CHECK(graph.has_edge(e.from, e.to));
      CHECK(d[best][to] == d[best][from] + costs.link[from][to]);
    }
    for (auto const e : trees.push().edges()) {
      auto const from = to_index(e.from), to = to_index(e.to);
      CHECK(graph.has_edge(e.from, e.to));
      CHECK(d[from][best] == d[to][best] + costs.link[from][to]);
    }
  });
}

TEST_CASE("plans on random graphs have sums of one, ends that agree, and a gain of n on trees") {
  for_all(150, [](random_stream& gen, std::uint64_t) {
    auto const graph = strongly_connected(gen);
    test::check_plan(mixing::tracking_plan(both(graph)));
    test::check_plan(mixing::gossip_plan(graph));
    auto const trees = mixing::tracking_plan(spanning_trees(graph, to_node(gen.below(graph.nodes()))));
    test::check_plan(trees);
    CHECK(trees.gain == static_cast<double>(graph.nodes()));
  });
}

TEST_CASE("Perron vectors are fixed points, positive on the roots and zero elsewhere") {
  for_all(200, [](random_stream& gen, std::uint64_t) {
    auto const graph = any_graph(gen);
    auto const found = roots(graph);
    if (found.empty()) {
      CHECK_THROWS_AS(mixing::perron_left(mixing::uniform_pull(graph)), config_error);
      return;
    }
    auto const weights = mixing::uniform_pull(graph);
    auto const u = mixing::perron_left(weights);
    auto next = std::vector<double>(u.size(), 0.0);
    for (auto i = std::size_t{0}; i < u.size(); ++i) {
      CHECK((u[i] > 0) == test::holds(found, to_node(i)));
      for (auto const& w : weights.row(to_node(i))) next[to_index(w.peer)] += w.weight * u[i];
    }
    for (auto i = std::size_t{0}; i < u.size(); ++i) CHECK(next[i] == Approx(u[i]).margin(1e-13));
  });
}

TEST_CASE("a permuted graph has permuted roots and weights, and the same gain and spectrum") {
  for_all(150, [](random_stream& gen, std::uint64_t) {
    auto const graph = strongly_connected(gen);
    auto const ids = shuffled_ids(graph.nodes(), gen);
    auto const other = permuted(graph, ids);
    auto const weights = mixing::uniform_pull(graph);
    auto const other_weights = mixing::uniform_pull(other);
    for (auto i = std::size_t{0}; i < graph.nodes(); ++i)
      for (auto const& w : weights.row(to_node(i))) CHECK(other_weights.at(ids[i], ids[to_index(w.peer)]) == w.weight);
    CHECK(mixing::tracking_plan(both(other)).gain == Approx(mixing::tracking_plan(both(graph)).gain).epsilon(1e-10));
    auto const rho = mixing::second_singular_value(mixing::metropolis_hastings(graph.with_both_directions()));
    auto const other_rho = mixing::second_singular_value(mixing::metropolis_hastings(other.with_both_directions()));
    CHECK(other_rho == Approx(rho).margin(1e-7));
  });
}

TEST_CASE("random regular graphs are regular and connected for every seed") {
  for_all(200, [](random_stream& gen, std::uint64_t seed) {
    auto const n = static_cast<std::size_t>(4 + gen.below(40));
    auto const degree = static_cast<std::size_t>(2 + gen.below(n - 2));
    if (n * degree % 2 == 1) return;
    auto const graph = random_regular(n, degree, seed);
    CHECK(graph.is_undirected());
    CHECK(roots(graph).size() == n);
    for (auto i = std::size_t{0}; i < n; ++i) CHECK(graph.out_of(to_node(i)).size() == degree);
  });
}

TEST_CASE("graphs that are written and read back are equal") {
  for_all(100, [](random_stream& gen, std::uint64_t) {
    auto const graph = any_graph(gen);
    CHECK(parse_edge_list(to_edge_list(graph), "again") == graph);
    CHECK(graph.reversed().reversed() == graph);
    CHECK(graph.with_both_directions().is_undirected());
  });
}

}  // namespace
