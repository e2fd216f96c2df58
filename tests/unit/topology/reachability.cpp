// SPDX-License-Identifier: MIT
#include <rubato/topology/reachability.hpp>

#include <vector>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"

namespace {
using namespace rubato;
using namespace rubato::topology;

TEST_CASE("a breadth-first tree takes the shortest way to every node") {
  auto const tree = search_from(ring(6), node_id{0});
  CHECK(tree.reaches_all());
  CHECK(tree.parent[1] == node_id{0});
  CHECK(tree.parent[5] == node_id{0});
  CHECK(tree.parent[4] == node_id{5});
  CHECK(tree.parent[0] == node_id{0});
  CHECK(tree.order.front() == node_id{0});
  CHECK(tree.order.back() == node_id{3});
}

TEST_CASE("a search names the lowest node that it misses") {
  auto const tree = search_from(from_edges(4, {{node_id{0}, node_id{2}}}), node_id{0});
  CHECK_FALSE(tree.reaches_all());
  CHECK(tree.first_unreached() == node_id{1});
  CHECK_FALSE(tree.reaches(node_id{3}));
}

TEST_CASE("roots are exactly the nodes that reach all others") {
  // 3 <-> 4 feed 0 -> 1 -> 2: only 3 and 4 reach everyone.
  auto const fed = from_edges(5, {{node_id{0}, node_id{1}},
                                  {node_id{1}, node_id{2}},
                                  {node_id{3}, node_id{4}},
                                  {node_id{4}, node_id{3}},
                                  {node_id{4}, node_id{0}}});
  CHECK(roots(fed) == std::vector{node_id{3}, node_id{4}});
  CHECK(roots(fed.reversed()) == std::vector{node_id{2}});
  CHECK(roots(ring(3)).size() == 3);
  CHECK(roots(from_edges(2, {})).empty());
  CHECK(roots(from_edges(1, {})) == std::vector{node_id{0}});
}

TEST_CASE("undirected trees are distinguished from other graphs") {
  CHECK(is_undirected_tree(line(5)));
  CHECK(is_undirected_tree(star(5)));
  CHECK(is_undirected_tree(binary_tree(10)));
  CHECK(is_undirected_tree(line(1)));
  CHECK_FALSE(is_undirected_tree(ring(3)));
  CHECK_FALSE(is_undirected_tree(directed_ring(4)));
  // n - 1 pairs, but a triangle and a node apart.
  auto const apart = from_edges(4, {{node_id{0}, node_id{1}}, {node_id{1}, node_id{2}}, {node_id{2}, node_id{0}}});
  CHECK_FALSE(is_undirected_tree(apart.with_both_directions()));
}

TEST_CASE("the diameter is the longest of the shortest paths, if there is a path between every two nodes") {
  CHECK(diameter(line(1)) == 0U);
  CHECK(diameter(line(9)) == 8U);
  CHECK(diameter(ring(9)) == 4U);
  CHECK(diameter(directed_ring(9)) == 8U);
  CHECK(diameter(complete(9)) == 1U);
  CHECK(diameter(hypercube(32)) == 5U);
  CHECK(diameter(torus({4, 6})) == 5U);
  CHECK(diameter(binary_tree(15)) == 6U);
  CHECK_FALSE(diameter(from_edges(3, {{node_id{0}, node_id{1}}, {node_id{1}, node_id{2}}})).has_value());
}

TEST_CASE("long lines overflow no stack") {
  auto const n = std::size_t{200'000};
  auto const graph = line(n);
  CHECK(roots(graph).size() == n);
  CHECK(search_from(graph, node_id{0}).order.back() == to_node(n - 1));
}

}  // namespace
