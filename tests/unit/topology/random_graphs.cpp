// SPDX-License-Identifier: MIT
#include <rubato/topology/random_graphs.hpp>

#include <cmath>
#include <string>
#include <vector>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::topology;
using rubato::test::refusal;
using rubato::test::says;

TEST_CASE("random graphs are undirected, connected, and equal for equal arguments") {
  for (auto n = std::size_t{1}; n <= 24; ++n)
    for (auto const seed : {0, 1, 2}) {
      auto const key = static_cast<std::uint64_t>(seed);
      auto const again = [&] {
        return std::vector{erdos_renyi(n, n < 3 ? 1.0 : 0.6, key), small_world(n, 4, 0.3, key),
                           newman_watts(n, 2, 0.3, key), geometric(n, connecting_radius(n), key)};
      };
      auto const graphs = again();
      CHECK(graphs == again());
      for (auto const& graph : graphs) {
        INFO(graph.name());
        CHECK(graph.nodes() == n);
        CHECK(graph.is_undirected());
        CHECK(search_from(graph, node_id{0}).reaches_all());
      }
    }
  CHECK_FALSE(erdos_renyi(20, 0.4, 1) == erdos_renyi(20, 0.4, 2));
  CHECK_FALSE(small_world(20, 4, 0.4, 1) == small_world(20, 4, 0.4, 2));
  CHECK_FALSE(geometric(20, 0.6, 1) == geometric(20, 0.6, 2));
}

TEST_CASE("probability 1 joins all, and rewiring nothing leaves the ring of neighbours") {
  CHECK(erdos_renyi(6, 1, 3) == complete(6));
  CHECK(small_world(9, 2, 0, 3) == ring(9));
  CHECK(small_world(5, 4, 0.5, 3) == complete(5));
  CHECK(newman_watts(9, 2, 0, 3) == ring(9));
}

TEST_CASE("rewiring keeps the number of edges and one end of each, adding keeps the ring") {
  for (auto seed = std::uint64_t{0}; seed < 20; ++seed) {
    auto const rewired = small_world(30, 4, 0.5, seed);
    CHECK(rewired.edge_count() == 2 * 60);
    // Each node keeps its own ends of two edges of the lattice.
    for (auto i = std::size_t{0}; i < 30; ++i) CHECK(rewired.out_of(to_node(i)).size() >= 2);
    auto const added = newman_watts(30, 4, 0.5, seed);
    CHECK(added.edge_count() > 2 * 60);
    for (auto const e : small_world(30, 4, 0, 0).edges()) CHECK(added.has_edge(e.from, e.to));
  }
}

TEST_CASE("the mean number of edges is that of the probability, and degrees in a square that of its area") {
  auto edges = 0.0, near = 0.0;
  for (auto seed = std::uint64_t{0}; seed < 50; ++seed) {
    edges += static_cast<double>(erdos_renyi(40, 0.3, seed).edge_count()) / 2;
    near += static_cast<double>(geometric(100, 0.25, seed).edge_count()) / 100;
  }
  CHECK(edges / 50 == Approx(0.3 * 40 * 39 / 2).epsilon(0.03));
  // Less than n pi r^2 by what lies outside of the square.
  CHECK(near / 50 < 99 * 3.14159 * 0.0625);
  CHECK(near / 50 > 0.7 * 99 * 3.14159 * 0.0625);
}

TEST_CASE("nodes of a geometric graph are joined exactly if their places are near") {
  auto const made = geometric_with_places(30, 0.4, 5);
  for (auto i = std::size_t{0}; i < 30; ++i)
    for (auto j = std::size_t{0}; j < 30; ++j) {
      auto const away = std::hypot(made.places[i].x - made.places[j].x, made.places[i].y - made.places[j].y);
      CHECK(made.graph.has_edge(to_node(i), to_node(j)) == (i != j && away <= 0.4));
    }
}

TEST_CASE("a graph that took several draws says how many, and one that is never connected is refused") {
  auto told = false;
  for (auto seed = std::uint64_t{0}; seed < 30; ++seed)
    told = told || says(erdos_renyi(12, 0.2, seed).name(), ", draw ");
  CHECK(told);
  CHECK(says(refusal([] { (void)erdos_renyi(20, 0, 1); }), "was not connected in 1000 draws"));
  CHECK(says(refusal([] { (void)geometric(20, 1e-3, 1); }), "take more edges, or another seed"));
}

TEST_CASE("random graphs refuse parameters that make no sense") {
  CHECK(says(refusal([] { (void)erdos_renyi(5, 1.5, 1); }), "from 0 to 1"));
  CHECK(says(refusal([] { (void)erdos_renyi(5, std::nan(""), 1); }), "from 0 to 1"));
  CHECK(says(refusal([] { (void)small_world(8, 3, 0.1, 1); }), "even number of neighbours"));
  CHECK(says(refusal([] { (void)small_world(8, 0, 0.1, 1); }), "even number of neighbours"));
  CHECK(says(refusal([] { (void)newman_watts(8, 2, -1, 1); }), "from 0 to 1"));
  CHECK(says(refusal([] { (void)geometric(8, 0, 1); }), "above 0"));
  CHECK(says(refusal([] { (void)geometric(0, 1, 1); }), "no node"));
}

}  // namespace
