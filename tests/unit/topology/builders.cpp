// SPDX-License-Identifier: MIT
#include <rubato/topology/builders.hpp>

#include <cstdio>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::topology;
using rubato::test::refusal;
using rubato::test::says;

auto undirected(std::size_t n, std::vector<edge> const& pairs) -> digraph {
  return from_edges(n, pairs).with_both_directions();
}
auto e(std::uint32_t from, std::uint32_t to) -> edge { return {node_id{from}, node_id{to}}; }

TEST_CASE("builders draw what their names say") {
  CHECK(line(4) == undirected(4, {e(0, 1), e(1, 2), e(2, 3)}));
  CHECK(ring(4) == undirected(4, {e(0, 1), e(1, 2), e(2, 3), e(3, 0)}));
  CHECK(directed_ring(3) == from_edges(3, {e(0, 1), e(1, 2), e(2, 0)}));
  CHECK(star(4) == undirected(4, {e(0, 1), e(0, 2), e(0, 3)}));
  CHECK(complete(3) == undirected(3, {e(0, 1), e(1, 2), e(0, 2)}));
  CHECK(binary_tree(6) == undirected(6, {e(0, 1), e(0, 2), e(1, 3), e(1, 4), e(2, 5)}));
  CHECK(exponential(5) == from_edges(5, {e(0, 1), e(1, 2), e(2, 3), e(3, 4), e(4, 0),     // hop 1
                                         e(0, 2), e(1, 3), e(2, 4), e(3, 0), e(4, 1),     // hop 2
                                         e(0, 4), e(1, 0), e(2, 1), e(3, 2), e(4, 3)}));  // hop 4
  CHECK(binary_tree(6).name() == "binary_tree(6)");
}

TEST_CASE("the static exponential graph has ceil(log2 n) hops") {
  for (auto const& [n, hops] :
       std::vector<std::pair<std::size_t, std::size_t>>{{4, 2}, {5, 3}, {8, 3}, {9, 4}, {33, 6}})
    CHECK(exponential(n).out_of(node_id{0}).size() == hops);
}

TEST_CASE("every builder makes one node without edges and two nodes with one pair, and refuses fewer") {
  for (auto const& known : topology::detail::named_builders) {
    INFO(known.name);
    CHECK(known.build(1).edge_count() == 0);
    CHECK(known.build(2) == undirected(2, {e(0, 1)}));
    CHECK(says(refusal([&] { (void)known.build(0); }), "has no node"));
  }
}

TEST_CASE("random regular graphs are regular, undirected, connected and repeatable") {
  for (auto n = std::size_t{2}; n <= 18; ++n)
    for (auto degree = std::size_t{1}; degree < n; ++degree) {
      if (n * degree % 2 == 1 || (degree == 1 && n > 2)) continue;
      auto const graph = random_regular(n, degree, 7);
      INFO(graph.name());
      CHECK(graph.is_undirected());
      CHECK(search_from(graph, node_id{0}).reaches_all());
      for (auto i = std::size_t{0}; i < n; ++i) CHECK(graph.out_of(to_node(i)).size() == degree);
      CHECK(graph == random_regular(n, degree, 7));
    }
  CHECK_FALSE(random_regular(20, 4, 1) == random_regular(20, 4, 2));
}

TEST_CASE("a random graph of ten thousand nodes of degree four stays sparse") {
  auto const graph = random_regular(10'000, 4, 1);
  CHECK(graph.edge_count() == 40'000);
  CHECK(search_from(graph, node_id{0}).reaches_all());
}

TEST_CASE("regular graphs that cannot exist are refused with the reason") {
  CHECK(says(refusal([] { (void)random_regular(5, 3, 1); }), "odd"));
  CHECK(says(refusal([] { (void)random_regular(4, 4, 1); }), "only 3 others"));
  CHECK(says(refusal([] { (void)random_regular(4, 1, 1); }), "at least 2"));
  CHECK(says(refusal([] { (void)random_regular(4, 0, 1); }), "at least 2"));
  CHECK(says(refusal([] { (void)random_regular(0, 0, 1); }), "no node"));
}

TEST_CASE("command lines name graphs with hyphens or underscores") {
  CHECK(by_name("binary-tree", 5) == binary_tree(5));
  CHECK(by_name("binary_tree", 5) == binary_tree(5));
  CHECK(by_name("directed_ring", 5) == directed_ring(5));
  CHECK(by_name("random-regular:4", 9) == random_regular(9, 4, 0));
  CHECK(by_name("random_regular:4:11", 9) == random_regular(9, 4, 11));
  CHECK(by_name("hypercube", 8) == hypercube(8));
  for (auto const* known : {"ring", "binary_tree", "hypercube", "random-regular:4", "torus:wrong", "file:any"})
    CHECK(knows_name(known));
  for (auto const* unknown : {"moebius", "base-k", "file"}) CHECK_FALSE(knows_name(unknown));
  CHECK(by_name("torus", 12) == torus({3, 4}));
  CHECK(by_name("grid:2x5", 10) == grid({2, 5}));
  CHECK(by_name("torus:3x3", 0) == torus({3, 3}));
  CHECK(by_name("hierarchical:3", 9) == hierarchical(9, 3));
  CHECK(by_name("small_world:4:0.2:7", 20) == small_world(20, 4, 0.2, 7));
  CHECK(by_name("geometric:0.6", 20) == geometric(20, 0.6, 0));
  CHECK(by_name("erdos-renyi:0.3:5", 20) == erdos_renyi(20, 0.3, 5));
}

TEST_CASE("a lattice of named sides must agree about the number of nodes") {
  CHECK(says(refusal([] { (void)by_name("torus:2x5", 8); }), "has 10 nodes, and 8 were asked for"));
  CHECK(says(refusal([] { (void)by_name("grid:0x3", 0); }), "has no node"));
  CHECK(says(refusal([] { (void)by_name("torus:4294967295x4294967295", 0); }), "32 bits"));
}

TEST_CASE("an unknown name is refused with the list of names") {
  for (auto const* const asked : {"moebius", "", "ring ", "ring:3", "random-regular", "random-regular:",
                                  "random-regular:4:", "random-regular:4x", "torus:3", "torus:3x", "grid:x3",
                                  "grid:3x3:1", "small-world:4", "geometric:nan", "erdos-renyi:", "hypercube:3"}) {
    auto const sentence = refusal([&] { (void)by_name(asked, 5); });
    INFO(sentence);
    CHECK(says(sentence, ("'" + std::string{asked} + "'").c_str()));
    for (auto const* const known :
         {"line", "directed-ring", "binary-tree", "exponential", "torus:ROWSxCOLUMNS", "file:PATH"})
      CHECK(says(sentence, known));
  }
}

TEST_CASE("a graph file is named by its path, and must agree about the number of nodes") {
  auto const path = std::string{"by_name_of_a_graph_file.txt"};
  write_edge_list(ring(6), path);
  CHECK(by_name("file:" + path, 6) == ring(6));
  CHECK(by_name("file:" + path, 0) == ring(6));
  CHECK(says(refusal([&] { (void)by_name("file:" + path, 8); }), "has 6 nodes, and 8 were asked for"));
  std::remove(path.c_str());
}

}  // namespace
