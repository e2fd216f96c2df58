// SPDX-License-Identifier: MIT
#include <rubato/mixing/perron.hpp>

#include <numeric>
#include <vector>

#include <rubato/topology/builders.hpp>
#include <rubato/topology/pair.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::mixing;
using rubato::test::refusal;
using rubato::test::says;

auto e(std::uint32_t from, std::uint32_t to) -> topology::edge { return {node_id{from}, node_id{to}}; }

void check_left(matrix const& m, std::vector<double> const& u) {
  auto next = std::vector<double>(u.size(), 0.0);
  for (auto i = std::size_t{0}; i < u.size(); ++i)
    for (auto const& w : m.row(to_node(i))) next[to_index(w.peer)] += w.weight * u[i];
  for (auto i = std::size_t{0}; i < u.size(); ++i) CHECK(next[i] == Approx(u[i]).margin(1e-12));
  CHECK(std::accumulate(u.begin(), u.end(), 0.0) == Approx(1.0).epsilon(1e-12));
}

TEST_CASE("on a tree pair all weight lies on the root, exactly") {
  auto const trees = topology::pair{topology::binary_tree(7).with_root_hint(node_id{2})};
  auto const wanted = std::vector<double>{0, 0, 1, 0, 0, 0, 0};
  CHECK(perron_left(uniform_pull(trees.pull())) == wanted);
  CHECK(perron_right(uniform_push(trees.push())) == wanted);
}

TEST_CASE("on an undirected graph with uniform weights it is proportional to the degree plus one") {
  auto const u = perron_left(uniform_pull(topology::star(5)));
  CHECK(u[0] == Approx(5.0 / 13));
  CHECK(u[4] == Approx(2.0 / 13));
  CHECK(perron_right(uniform_push(topology::star(5)))[0] == Approx(5.0 / 13));
}

TEST_CASE("doubly stochastic weights count all nodes equally") {
  for (auto const value : perron_left(metropolis_hastings(topology::line(6)))) CHECK(value == Approx(1.0 / 6));
  for (auto const value : perron_left(uniform_pull(topology::directed_ring(1000)))) CHECK(value == Approx(1e-3));
}

TEST_CASE("directed graphs without symmetry are solved, small by elimination and large by repeated averaging") {
  auto const small = topology::from_edges(5, {e(0, 1), e(1, 2), e(2, 0), e(2, 3), e(3, 1), e(0, 4)});
  auto const m = uniform_pull(small);
  auto const u = perron_left(m);
  check_left(m, u);
  CHECK(u[4] == 0.0);  // node 4 is pulled by nobody

  auto edges = topology::exponential(300).edges();
  edges.push_back(e(0, 150));
  auto const large = uniform_push(topology::from_edges(300, edges));
  check_left(large.transposed(), perron_right(large));
}

TEST_CASE("a large directed graph that mixes too slowly for averaging is solved by sparse elimination") {
  auto edges = topology::directed_ring(2'000).edges();
  edges.push_back(e(0, 7));
  edges.push_back(e(900, 20));
  auto const m = uniform_pull(topology::from_edges(2'000, edges));
  check_left(m, perron_left(m));
}

TEST_CASE("elimination and averaging agree where both work") {
  auto edges = topology::exponential(60).edges();
  edges.push_back(e(0, 31));
  auto const part = mixing::detail::recurrent_part_of(uniform_pull(topology::from_edges(60, edges)));
  auto const averaged = mixing::detail::iterated(part);
  REQUIRE(averaged);
  CHECK(mixing::detail::distance(*averaged, mixing::detail::elimination{part}.solved()) < 1e-11);
}

TEST_CASE("ten thousand nodes in a line are solved without a dense matrix") {
  auto const n = std::size_t{10'000};
  auto const u = perron_left(uniform_pull(topology::line(n)));
  CHECK(u[0] == Approx(2.0 / (3.0 * static_cast<double>(n) - 2)));
  CHECK(u[5'000] == Approx(3.0 / (3.0 * static_cast<double>(n) - 2)));
}

TEST_CASE("weights with two separate parts have no unique Perron vector, and say which nodes are apart") {
  auto const apart = uniform_pull(topology::from_edges(4, {e(0, 1), e(1, 0), e(2, 3), e(3, 2)}));
  auto const sentence = refusal([&] { (void)perron_left(apart); });
  CHECK(says(sentence, "node 2 and node 0"));
  CHECK(says(refusal([] { (void)perron_right(uniform_pull(topology::star(4))); }), "column 0"));
}

}  // namespace
