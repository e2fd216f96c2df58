// SPDX-License-Identifier: MIT
#include <rubato/topology/digraph.hpp>

#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::topology;
using rubato::test::refusal;
using rubato::test::says;

auto ids(std::span<node_id const> list) -> std::vector<node_id> { return {list.begin(), list.end()}; }
constexpr auto a = node_id{0}, b = node_id{1}, c = node_id{2}, d = node_id{3};

TEST_CASE("a digraph lists neighbours sorted, both ways, and double edges once") {
  auto const graph = from_edges(4, {{c, a}, {a, d}, {a, b}, {a, d}, {b, d}}, "sample");
  CHECK(graph.nodes() == 4);
  CHECK(graph.edge_count() == 4);
  CHECK(ids(graph.out_of(a)) == std::vector{b, d});
  CHECK(ids(graph.into(d)) == std::vector{a, b});
  CHECK(ids(graph.into(b)) == std::vector{a});
  CHECK(graph.out_of(d).empty());
  CHECK(graph.has_edge(c, a));
  CHECK_FALSE(graph.has_edge(a, c));
  CHECK(graph.edges() == std::vector<edge>{{a, b}, {a, d}, {b, d}, {c, a}});
  CHECK(graph.name() == "sample");
}

TEST_CASE("a digraph reverses, and symmetrises, without losing an edge") {
  auto const graph = from_edges(3, {{a, b}, {b, c}}).with_root_hint(c);
  CHECK(graph.reversed() == from_edges(3, {{b, a}, {c, b}}));
  CHECK(graph.reversed().reversed() == graph);
  CHECK_FALSE(graph.is_undirected());
  auto const symmetric = graph.with_both_directions();
  CHECK(symmetric == from_edges(3, {{a, b}, {b, a}, {b, c}, {c, b}}));
  CHECK(symmetric.is_undirected());
  CHECK(symmetric.root_hint() == c);
  CHECK(symmetric.with_both_directions() == symmetric);
}

TEST_CASE("digraphs are equal by nodes and edges, not by name") {
  CHECK(from_edges(2, {{a, b}}, "one") == from_edges(2, {{a, b}}, "two"));
  CHECK_FALSE(from_edges(2, {{a, b}}) == from_edges(3, {{a, b}}));
  CHECK_FALSE(from_edges(2, {{a, b}}) == from_edges(2, {{b, a}}));
  CHECK(from_edges(2, {}, "one").with_name("two").name() == "two");
}

TEST_CASE("a single node is a graph without edges, and undirected") {
  auto const graph = from_edges(1, {});
  CHECK(graph.edge_count() == 0);
  CHECK(graph.out_of(a).empty());
  CHECK(graph.is_undirected());
}

TEST_CASE("an edge that leaves the graph or joins a node to itself is refused by name") {
  auto const outside = refusal([] { (void)from_edges(3, {{a, b}, {b, node_id{7}}}, "mine"); });
  CHECK(says(outside, "1 -> 7"));
  CHECK(says(outside, "mine"));
  CHECK(says(outside, "0 .. 2"));
  CHECK(says(refusal([] { (void)from_edges(3, {{c, c}}); }), "2 -> 2"));
  CHECK(says(refusal([] { (void)from_edges(0, {}, "mine"); }), "'mine' has no node"));
  CHECK(says(refusal([] { (void)from_edges(std::size_t{1} << 33, {}); }), "32 bits"));
  CHECK(says(refusal([] { (void)from_edges(2, {}).with_root_hint(c); }), "node 2"));
}

}  // namespace
