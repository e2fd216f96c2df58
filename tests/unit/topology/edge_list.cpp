// SPDX-License-Identifier: MIT
#include <rubato/topology/edge_list.hpp>

#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <zlib.h>

#include <rubato/topology/builders.hpp>
#include <rubato/topology/zlib.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

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
  CHECK(says(refused("0 1 2 3\n"), "line 1: '0 1 2 3' is not an edge"));
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

TEST_CASE("marks of byte order, other comments, separators, line ends and titles are read") {
  auto const wanted = from_edges(3, {e(0, 1), e(1, 2), e(2, 0)});
  for (auto const* const text :
       {"\xef\xbb\xbf"
        "0 1\n1 2\n2 0\n",
        "% a remark\n0 1 // on\n1 2 % off\n// none\n2 0", "0 1\r1 2\r2 0\r", "0 1\r\n\r\n1 2\r\n2 0",
        "source,target\n0,1\n1, 2\n2 ,0\n", "From;To\n0;1\n1;2\n2;0\n", "\"0\",\"1\"\n1\t2\n2\t0\n",
        "%%MatrixMarket matrix coordinate pattern general\n% by hand\n3 3 3\n1 2\n2 3\n3 1\n",
        "% asym unweighted\n% 3 3 3\n1 2\n2 3 1\n3 1 1 1234567\n"}) {
    INFO(text);
    CHECK(parse_edge_list(text, "text") == wanted);
  }
}

TEST_CASE("files of MatrixMarket and KONECT say how many nodes there are and whether edges go both ways") {
  auto const both_ways = from_edges(4, {e(0, 1), e(1, 2)}).with_both_directions();
  CHECK(parse_edge_list("%%MatrixMarket matrix coordinate pattern symmetric\n4 4 2\n2 1\n3 2\n", "m.mtx") == both_ways);
  CHECK(parse_edge_list("% sym unweighted\n% 2 4 4\n1 2\n2 3\n", "out.k") == both_ways);
  CHECK(parse_edge_list("% sym unweighted\n1 2\n2 3\n", "out.k") ==
        from_edges(3, {e(0, 1), e(1, 2)}).with_both_directions());
  auto const refused = [](char const* text) { return refusal([&] { (void)parse_edge_list(text, "g"); }); };
  auto const banner = std::string{"%%MatrixMarket matrix coordinate pattern general\n"};
  CHECK(says(refused((banner + "3 3 2\n1 2\n").c_str()), "'g' announces 2 edges and lists 1"));
  CHECK(says(refused((banner + "3 3 1\n0 2\n").c_str()), "line 3: node 0 does not exist: nodes are 1 .. 3"));
  CHECK(says(refused((banner + "3 3 1\n1 4\n").c_str()), "line 3: node 4 does not exist: nodes are 1 .. 3"));
  CHECK(says(refused((banner + "3 2 1\n1 2\n").c_str()), "line 2: the matrix of a graph has as many columns as rows"));
  CHECK(says(refused((banner + "0 0 0\n").c_str()), "line 2: a matrix without rows"));
  CHECK(says(refused(banner.c_str()), "'g' ends before its size line"));
  CHECK(says(refused("%%MatrixMarket matrix array real general\n2 2\n"),
             "line 1: 'MatrixMarket matrix array real general' is no graph"));
  CHECK(says(refused("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 0.5\n"),
             "line 3: '1 2 0.5' has a weight, '0.5'"));
  CHECK(says(refused("% bip unweighted\n1 1\n"), "line 1: this is a network of two sorts of nodes"));
  CHECK(says(refused("% sym unweighted\n% 2 3 3\n1 2\n"), "announces 2 edges and lists 1"));
  CHECK(says(refused("% sym positive\n1 2 7\n"), "line 2: '1 2 7' has a weight, '7'"));
}

TEST_CASE("a third column is read as weights if they are requested, and refused by name otherwise") {
  auto const refused = [](char const* text) { return refusal([&] { (void)parse_edge_list(text, "g"); }); };
  CHECK(says(refused("0 1 0.25\n"), "line 1: '0 1 0.25' has a weight, '0.25', and a graph has none"));
  auto const read = parse_edge_weights("from,to,weight\n0,1,0.25\n1,0,2.5e-1\n1,1,.75\n", "w.csv");
  CHECK(read.nodes == 2);
  CHECK(read.edges == std::vector{e(0, 1), e(1, 0), e(1, 1)});
  CHECK(read.weights == std::vector{0.25, 0.25, 0.75});
  CHECK(read.name == "w.csv");
  CHECK(parse_edge_weights("undirected\n0 1 0.5\n", "w").weights == std::vector{0.5, 0.5});
  CHECK(parse_edge_weights("%%MatrixMarket matrix coordinate real symmetric\n2 2 3\n1 1 .5\n2 1 .5\n2 2 .5\n", "w")
            .edges.size() == 4);
  // An entry of a matrix is told by row and column: (2, 1) is what node 1 gives to what comes from node 0.
  for (auto const* const text :
       {"%%MatrixMarket matrix coordinate real general\n3 3 2\n2 1 .5\n3 2 .25\n", "i,j,w_ij\n1,0,.5\n2,1,.25\n"}) {
    auto const w = parse_edge_weights(text, "w");
    CHECK(w.edges == std::vector<edge>{{node_id{0}, node_id{1}}, {node_id{1}, node_id{2}}});
    CHECK(w.weights == std::vector{0.5, 0.25});
  }
  auto const unweighted = [](char const* text) { return refusal([&] { (void)parse_edge_weights(text, "w"); }); };
  CHECK(says(unweighted("0 1\n"), "line 1: '0 1' has no weight"));
  CHECK(says(unweighted("0 1 heavy\n"), "line 1: 'heavy' is not a weight"));
  CHECK(says(unweighted("0 1 nan\n"), "'nan' is not a weight"));
  CHECK(says(unweighted("0 1 0.5 7\n"), "is not an edge"));
}

TEST_CASE("a file that is no edge list is refused in one line that is safe for a terminal") {
  auto const refused = [](std::string_view text) { return refusal([&] { (void)parse_edge_list(text, "g\n.txt"); }); };
  CHECK(says(refused("\x1b[2J\n"), "graph file 'g\\n.txt', line 1: '\\x1b[2J' is none of"));
  CHECK(refused(std::string(5000, 'x')).size() < 250);
  CHECK(says(refused("\x1f\x8b\x08"), "is gzipped"));
  CHECK(says(refused("\xff\xfe"
                     "0"),
             "is UTF-16"));
  for (auto const* const text : {"0,,1\n", ",0,1\n", "0,1,\n", "0;\n"})
    CHECK(says(refused(text), "has an empty field"));
  CHECK(says(refused("source,target\nsource,target\n0 1\n"), "line 2"));
  CHECK(says(refused("size,colour\n0 1\n"), "line 1: 'size,colour' is none of"));
  CHECK(parse_edge_list("0 1\n", "g\n.txt").name() == "g\\n.txt");
}

TEST_CASE("a gzipped file is read like a plain one, and one that is truncated or damaged is refused") {
  test::scratch_folder const folder{"edge_lists"};
  auto const path = (folder.path() / "g.gz").string();
  auto* const zipped = gzopen(path.c_str(), "wb");
  REQUIRE(gzputs(zipped, "0 1\n1 0\n") > 0);
  REQUIRE(gzclose(zipped) == Z_OK);
  auto const wanted = from_edges(2, {e(0, 1), e(1, 0)});
  CHECK(read_zipped_edge_list(path) == wanted);
  CHECK(by_name("file:" + path, 0, &read_zipped_edge_list) == wanted);
  CHECK(says(refusal([&] { (void)read_edge_list(path); }), "is gzipped"));
  auto bytes = test::content_of(path);
  std::ofstream{path, std::ios::binary} << bytes.substr(0, bytes.size() - 5);
  CHECK(says(refusal([&] { (void)read_zipped_edge_list(path); }), "lacks the end of its gzip stream"));
  bytes[12] = static_cast<char>(bytes[12] ^ 0x55);
  std::ofstream{path, std::ios::binary} << bytes;
  CHECK(says(refusal([&] { (void)read_zipped_edge_list(path); }), "is damaged"));
  std::ofstream{path, std::ios::binary} << "0 1\n1 0\n";
  CHECK(read_zipped_edge_list(path) == wanted);
  CHECK(says(refusal([] { (void)read_zipped_edge_list("no/such/file"); }), "cannot be opened"));
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
