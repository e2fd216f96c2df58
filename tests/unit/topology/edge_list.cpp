// SPDX-License-Identifier: MIT
#include <rubato/topology/edge_list.hpp>

#include <cstdio>
#include <string>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::topology;
using rubato::test::refusal;
using rubato::test::says;

auto e(std::uint32_t from, std::uint32_t to) -> edge { return {node_id{from}, node_id{to}}; }

TEST_CASE("an edge list reads edges, comments, blanks and foreign line ends") {
  auto const graph = parse_edge_list("# a graph\n\n0 1\r\n  1\t2 # on\n2 0", "text");
  CHECK(graph == from_edges(3, {e(0, 1), e(1, 2), e(2, 0)}));
  CHECK(graph.name() == "text");
}

TEST_CASE("an edge list may name its nodes, its root and both directions") {
  auto const graph = parse_edge_list("nodes 5\nundirected\nroot 2\n0 1\n1 2\n", "text");
  CHECK(graph == from_edges(5, {e(0, 1), e(1, 2)}).with_both_directions());
  CHECK(graph.root_hint() == node_id{2});
  CHECK(parse_edge_list("nodes 1\n", "text").nodes() == 1);
}

TEST_CASE("a wrong line is refused by file and number") {
  auto const refused = [](char const* text) { return refusal([&] { (void)parse_edge_list(text, "g.txt"); }); };
  auto const outside = refused("nodes 3\n0 1\n1 3\n");
  CHECK(says(outside, "'g.txt', line 3"));
  CHECK(says(outside, "node 3 does not exist"));
  CHECK(says(refused("0 1\n\n2 2\n"), "line 3: edge 2 -> 2"));
  CHECK(says(refused("0 1 2\n"), "line 1: '0 1 2' is not an edge"));
  CHECK(says(refused("0\n"), "line 1"));
  CHECK(says(refused("0 x\n"), "'x' is not a whole number"));
  CHECK(says(refused("0 -1\n"), "'-1' is not a whole number"));
  CHECK(says(refused("0 4294967295\n"), "'4294967295' is not a whole number"));
  CHECK(says(refused("0 1\nundirected\n"), "line 2: 'undirected' must stand before"));
  CHECK(says(refused("nodes 3\nnodes 3\n"), "line 2: 'nodes' was given before"));
  CHECK(says(refused("nodes 0\n"), "line 1: 'nodes 0'"));
  CHECK(says(refused("edges 0\n"), "line 1: 'edges 0' is none of"));
  CHECK(says(refused("# nothing\n"), "'g.txt' names no node"));
  CHECK(says(refused("root 5\n0 1\nnodes"), "line 3"));
}

TEST_CASE("written graphs read back equal") {
  for (auto const& graph : {ring(5), directed_ring(4), line(1), binary_tree(7).with_root_hint(node_id{3}), star(2)}) {
    auto const again = parse_edge_list(to_edge_list(graph), "again");
    CHECK(again == graph);
    CHECK(again.root_hint() == graph.root_hint());
  }
  auto const path = std::string{"written_graphs_read_back.txt"};
  write_edge_list(exponential(9), path);
  CHECK(read_edge_list(path) == exponential(9));
  std::remove(path.c_str());
}

TEST_CASE("files that cannot be opened are named") {
  CHECK(says(refusal([] { (void)read_edge_list("no/such/file"); }), "'no/such/file' cannot be opened"));
  CHECK(says(refusal([] { (void)read_edge_list("."); }), "'.'"));
  CHECK(says(refusal([] { write_edge_list(line(2), "no/such/file"); }), "'no/such/file' cannot be written"));
}

}  // namespace
