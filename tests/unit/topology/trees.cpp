// SPDX-License-Identifier: MIT
#include <rubato/topology/trees.hpp>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::topology;
using rubato::test::refusal;
using rubato::test::says;

auto e(std::uint32_t from, std::uint32_t to) -> edge { return {node_id{from}, node_id{to}}; }

/// The five nodes with known depths.
auto five() -> std::pair<digraph, tree_costs> {
  struct link {
    std::size_t a, b;
    double cost;
  };
  auto edges = std::vector<edge>{};
  auto costs = tree_costs{.link = std::vector<std::vector<double>>(5, std::vector<double>(5, -1.0))};
  for (auto const& [a, b, cost] : std::vector<link>{{0, 1, 1},
                                                    {0, 2, 4},
                                                    {0, 3, 9},
                                                    {0, 4, 9},
                                                    {1, 2, 2},
                                                    {1, 3, 6},
                                                    {1, 4, 9},
                                                    {2, 3, 3},
                                                    {2, 4, 5},
                                                    {3, 4, 1}}) {
    edges.push_back({to_node(a), to_node(b)});
    costs.link[a][b] = costs.link[b][a] = cost;
  }
  return {from_edges(5, edges, "five").with_both_directions(), costs};
}

TEST_CASE("the best root has the least depth, and its trees are the cheapest paths") {
  auto const [graph, costs] = five();
  auto const depths = std::vector<double>{7, 6, 4, 6, 7};
  for (auto i = std::size_t{0}; i < 5; ++i) CHECK(tree_depth(graph, to_node(i), costs) == depths[i]);
  auto const trees = spanning_trees(graph, best_root, costs);
  CHECK(trees.root() == node_id{2});
  CHECK(trees.is_tree_pair());
  CHECK(trees.pull() == from_edges(5, {e(1, 0), e(2, 1), e(2, 3), e(3, 4)}));
  CHECK(trees.push() == trees.pull().reversed());
  CHECK(trees.name() == "spanning trees of five, root 2");
}

TEST_CASE("the narrow tree has the fastest slowest link") {
  auto const [graph, costs] = five();
  auto const tree = narrow_tree(graph, costs);
  CHECK(tree == from_edges(5, {e(0, 1), e(3, 4), e(1, 2), e(2, 3)}).with_both_directions());
  CHECK(spanning_trees(tree, best_root, costs).is_tree_pair());
}

TEST_CASE("a root that computes slowly is avoided as far as kappa says") {
  auto [graph, costs] = five();
  costs.gradient = {0, 0, 10, 0, 0};
  CHECK(spanning_trees(graph, best_root, costs).root() == node_id{1});
  costs.gradient = {0, 0, 1, 0, 0};
  CHECK(spanning_trees(graph, best_root, costs).root() == node_id{2});
  costs.kappa = 1;  // counts five times
  CHECK(spanning_trees(graph, best_root, costs).root() == node_id{1});
  costs.kappa = 0;
  costs.gradient = {0, 0, 1e9, 0, 0};
  CHECK(spanning_trees(graph, best_root, costs).root() == node_id{2});
}

TEST_CASE("without costs every edge counts one, and the lowest of equal roots is taken") {
  CHECK(spanning_trees(line(7), best_root).root() == node_id{3});
  CHECK(spanning_trees(binary_tree(15), best_root).root() == node_id{0});
  CHECK(spanning_trees(ring(8), best_root).root() == node_id{0});
  CHECK(spanning_trees(star(9), best_root, {.gradient = {4, 1, 1, 1, 1, 1, 1, 1, 1}}).root() == node_id{1});
  CHECK(spanning_trees(line(1), best_root).is_tree_pair());
  CHECK(tree_depth(directed_ring(5), node_id{0}) == 4.0);
}

TEST_CASE("trees follow the directions of edges and of their costs") {
  auto const graph = from_edges(3, {e(0, 1), e(1, 2), e(2, 0), e(0, 2)});
  auto const costs = tree_costs{.link = {{0, 1, 5}, {0, 0, 1}, {1, 0, 0}}};
  auto const trees = spanning_trees(graph, node_id{0}, costs);
  CHECK(trees.pull() == from_edges(3, {e(0, 1), e(1, 2)}));
  CHECK(trees.push() == from_edges(3, {e(1, 2), e(2, 0)}));
}

TEST_CASE("a tree with few children is as deep as it must be") {
  auto const trees = spanning_trees(complete(7), node_id{0}, {.children_max = 2});
  CHECK(trees.pull() == from_edges(7, {e(0, 1), e(0, 2), e(1, 3), e(1, 4), e(2, 5), e(2, 6)}));
  CHECK(tree_depth(complete(7), node_id{0}, {.children_max = 2}) == 2.0);
  CHECK_FALSE(tree_depth(star(5), node_id{0}, {.children_max = 2}).has_value());
  CHECK(says(refusal([] { (void)spanning_trees(star(5), node_id{0}, {.children_max = 2}); }), "at most 2 children"));
  CHECK(says(refusal([] { (void)spanning_trees(star(5), best_root, {.children_max = 2}); }), "at most 2 children"));
}

TEST_CASE("the cost of a message is the latency and the time of its bytes") {
  auto const costs = message_costs({{0, 1}, {2, 0}}, {{0, 10}, {0, 0}}, 50);
  CHECK(costs == std::vector<std::vector<double>>{{0, 6}, {2, 0}});
  CHECK(message_costs({}, {{0, 10}, {5, 0}}, 50) == std::vector<std::vector<double>>{{0, 5}, {10, 0}});
  CHECK(says(refusal([] { (void)message_costs({{0, 1}}, {}, 50); }), "latencies are no square matrix of 1 rows"));
}

TEST_CASE("costs and graphs without a tree are refused by name") {
  auto const refused = [](digraph const& graph, tree_costs const& costs) {
    return refusal([&] { (void)spanning_trees(graph, best_root, costs); });
  };
  CHECK(says(refused(ring(3), {.link = {{0, 1}, {1, 0}}}), "no square matrix of 3 rows"));
  CHECK(says(refused(line(2), {.link = {{0, -1}, {1, 0}}}), "edge 0 -> 1 is -1"));
  CHECK(says(refused(line(2), {.gradient = {1}}), "gradient times of 1 nodes"));
  CHECK(says(refused(line(2), {.gradient = {1, std::numeric_limits<double>::infinity()}}), "node 1 is inf"));
  CHECK(says(refused(from_edges(2, {e(0, 1)}, "chain"), {}),
             "no node of the graph 'chain' both reaches all others and is reached by all"));
  CHECK(
      says(refusal([] { (void)spanning_trees(from_edges(2, {e(0, 1)}), node_id{0}, tree_costs{}); }), "cannot reach"));
  CHECK(says(refusal([] { (void)narrow_tree(directed_ring(3), {}); }), "without a reverse"));
  CHECK(says(refusal([] { (void)narrow_tree(from_edges(2, {}, "apart"), {}); }), "no spanning tree"));
}

}  // namespace
