// SPDX-License-Identifier: MIT
#include <rubato/topology/pair.hpp>

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

TEST_CASE("an undirected tree becomes a pair of trees, models down and gradients up") {
  auto const trees = topology::pair{binary_tree(5)};
  CHECK(trees.is_tree_pair());
  CHECK(trees.root() == node_id{0});
  CHECK(trees.pull() == from_edges(5, {e(0, 1), e(0, 2), e(1, 3), e(1, 4)}));
  CHECK(trees.push() == trees.pull().reversed());
  CHECK(trees.common_roots() == std::vector{node_id{0}});
  CHECK(trees.name() == "spanning trees of binary_tree(5), root 0");
}

TEST_CASE("a tree is rooted where its graph hints") {
  auto const trees = topology::pair{line(3).with_root_hint(node_id{1})};
  CHECK(trees.root() == node_id{1});
  CHECK(trees.pull() == from_edges(3, {e(1, 0), e(1, 2)}));
  CHECK(trees.push() == from_edges(3, {e(0, 1), e(2, 1)}));
}

TEST_CASE("any other graph is used in both directions") {
  auto const graphs = topology::pair{directed_ring(4)};
  CHECK(graphs.pull() == directed_ring(4));
  CHECK(graphs.push() == directed_ring(4));
  CHECK_FALSE(graphs.is_tree_pair());
  CHECK(graphs.common_roots().size() == 4);
  CHECK(graphs.name() == "directed_ring(4)");
  CHECK_FALSE(both(line(4)).is_tree_pair());
}

TEST_CASE("one node and two nodes are tree pairs") {
  CHECK(topology::pair{line(1)}.is_tree_pair());
  CHECK(topology::pair{ring(2)}.is_tree_pair());
  CHECK(topology::pair{complete(1)}.root() == node_id{0});
}

TEST_CASE("spanning trees follow the directions of the graph") {
  auto const trees = spanning_trees(directed_ring(4), node_id{2});
  CHECK(trees.is_tree_pair());
  CHECK(trees.root() == node_id{2});
  CHECK(trees.pull() == from_edges(4, {e(2, 3), e(3, 0), e(0, 1)}));
  CHECK(trees.push() == from_edges(4, {e(3, 0), e(0, 1), e(1, 2)}));
}

TEST_CASE("spanning trees are refused if a node is cut off, naming it") {
  auto const chain = from_edges(3, {e(0, 1), e(1, 2)}, "chain");
  CHECK(says(refusal([&] { (void)spanning_trees(chain, node_id{1}); }), "node 0 cannot be reached from it"));
  CHECK(says(refusal([&] { (void)spanning_trees(chain, node_id{0}); }), "node 1 cannot reach it"));
  CHECK(says(refusal([&] { (void)spanning_trees(chain, node_id{9}); }), "node 9 cannot be the root"));
}

TEST_CASE("a pair may pull and push on different graphs that share a root") {
  auto const graphs = topology::pair{from_edges(3, {e(1, 0), e(0, 2)}), from_edges(3, {e(0, 1), e(2, 0)})};
  CHECK(graphs.is_tree_pair());
  CHECK(graphs.root() == node_id{1});
  CHECK(graphs.underlying() == from_edges(3, {e(0, 1), e(1, 0), e(0, 2), e(2, 0)}));
  CHECK(topology::pair{ring(5), ring(5), node_id{3}}.root() == node_id{3});
}

TEST_CASE("pairs without a common root are refused with the node and the reason") {
  auto const apart = from_edges(4, {e(0, 1), e(1, 0), e(2, 3), e(3, 2)}, "apart");
  auto const split = refusal([&] { (void)topology::pair{apart}; });
  INFO(split);
  CHECK(says(split, "no node can reach every other node in the graph: node 0 is not reached from node 2"));
  CHECK(says(refusal([&] { (void)topology::pair{ring(4), apart}; }), "no node can be reached by every other node"));

  auto const chain = from_edges(3, {e(0, 1), e(1, 2)}, "chain");
  auto const one_way = refusal([&] { (void)topology::pair{chain}; });
  INFO(one_way);
  CHECK(says(one_way, "no node of the graph 'chain' both reaches all others and is reached by all: node 0"));
  CHECK(says(one_way, "node 1 does not reach it"));
  auto const apart_ways = refusal([&] { (void)topology::pair{chain, from_edges(3, {e(0, 1), e(0, 2)}, "out")}; });
  CHECK(says(apart_ways, "no node can be reached by every other node in the push graph"));

  CHECK(says(refusal([&] { (void)topology::pair{line(3), line(4)}; }), "3 nodes"));
  CHECK(says(refusal([&] { (void)topology::pair{chain, chain.reversed(), node_id{1}}; }), "node 0 is"));
}

}  // namespace
