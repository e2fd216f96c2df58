// SPDX-License-Identifier: MIT
#include <rubato/topology/lattices.hpp>

#include <vector>

#include <rubato/topology/builders.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/topology/reachability.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::topology;
using rubato::test::refusal;
using rubato::test::says;

auto e(std::uint32_t from, std::uint32_t to) -> edge { return {node_id{from}, node_id{to}}; }
auto undirected(std::size_t n, std::vector<edge> const& pairs) -> digraph {
  return from_edges(n, pairs).with_both_directions();
}

TEST_CASE("lattices join neighbours in rows and in columns, a torus also around") {
  CHECK(grid({2, 3}) == undirected(6, {e(0, 1), e(1, 2), e(3, 4), e(4, 5), e(0, 3), e(1, 4), e(2, 5)}));
  CHECK(torus({2, 3}) ==
        undirected(6, {e(0, 1), e(1, 2), e(2, 0), e(3, 4), e(4, 5), e(5, 3), e(0, 3), e(1, 4), e(2, 5)}));
  CHECK(torus({3, 4}).edge_count() == 4 * 12);
  CHECK(grid({1, 5}) == line(5));
  CHECK(torus({5, 1}) == ring(5));
  CHECK(grid(12).name() == "grid(3 x 4)");
  CHECK(says(refusal([] { (void)torus({3, 0}); }), "has no node"));
}

TEST_CASE("a lattice of n nodes takes the two factors that are closest") {
  CHECK(closest_factors(1) == lattice_shape{1, 1});
  CHECK(closest_factors(12) == lattice_shape{3, 4});
  CHECK(closest_factors(13) == lattice_shape{1, 13});
  CHECK(closest_factors(16) == lattice_shape{4, 4});
}

TEST_CASE("a hypercube joins ids that differ in one bit, and exists for powers of two only") {
  CHECK(hypercube(1).edge_count() == 0);
  CHECK(hypercube(2) == line(2));
  CHECK(hypercube(4) == undirected(4, {e(0, 1), e(0, 2), e(1, 3), e(2, 3)}));
  CHECK(hypercube(8).out_of(node_id{5})[0] == node_id{1});
  CHECK(hypercube(16).edge_count() == 16 * 4);
  CHECK(says(refusal([] { (void)hypercube(6); }), "a power of two"));
  CHECK(says(refusal([] { (void)hypercube(0); }), "has no node"));
}

TEST_CASE("groups are consecutive, of nearly equal sizes, and led by their first nodes") {
  CHECK(group_begins(8, 3) == std::vector<std::size_t>{0, 3, 6, 8});
  CHECK(hierarchical(7, 3, inside_groups::star, among_leaders::ring) ==
        undirected(7, {e(0, 1), e(0, 2), e(3, 4), e(5, 6), e(0, 3), e(3, 5), e(5, 0)}));
  CHECK(hierarchical(6, 2).edge_count() == 2 * (3 + 3 + 1));
  CHECK(hierarchical(5, 1) == complete(5));
  CHECK(hierarchical(5, 5, inside_groups::star, among_leaders::tree) == binary_tree(5));
  CHECK(hierarchical(4, 4, inside_groups::star, among_leaders::complete) == complete(4));
  CHECK(says(refusal([] { (void)hierarchical(4, 5); }), "cannot have 5 groups: take from 1 to 4"));
  CHECK(says(refusal([] { (void)hierarchical(4, 0); }), "cannot have 0 groups"));
}

TEST_CASE("R-FAST's trees on groups with complete leaders lead from the root to leaders to members") {
  auto const trees = spanning_trees(hierarchical(9, 3, inside_groups::complete, among_leaders::complete), node_id{0});
  CHECK(trees.pull() == from_edges(9, {e(0, 1), e(0, 2), e(0, 3), e(0, 6), e(3, 4), e(3, 5), e(6, 7), e(6, 8)}));
  CHECK(trees.push() == trees.pull().reversed());
  auto const star_tree = topology::pair{hierarchical(9, 3, inside_groups::star, among_leaders::tree)};
  CHECK(star_tree.pull() == trees.pull());
}

}  // namespace
