// SPDX-License-Identifier: MIT
// The closed forms of rho(W) that are known for standard graphs.
#include <rubato/mixing/spectral.hpp>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::mixing;
using rubato::test::refusal;
using rubato::test::says;

constexpr auto pi = 3.14159265358979323846;
auto close_to(double value) -> Approx { return Approx(value).margin(1e-6).epsilon(0); }
auto rho_uniform(topology::digraph const& graph) -> double { return second_singular_value(uniform_pull(graph)); }
auto rho_mh(topology::digraph const& graph) -> double { return second_singular_value(metropolis_hastings(graph)); }

TEST_CASE("the second singular value meets its closed forms on complete graphs, rings, lines and stars") {
  for (auto const n : {1, 2, 3, 4, 5, 7, 8, 16, 33, 100}) {
    auto const nodes = static_cast<std::size_t>(n);
    INFO("n = " << n);
    CHECK(rho_uniform(topology::complete(nodes)) == close_to(0));
    if (n >= 3) CHECK(rho_uniform(topology::ring(nodes)) == close_to((1 + 2 * std::cos(2 * pi / n)) / 3));
    if (n >= 2) CHECK(rho_uniform(topology::directed_ring(nodes)) == close_to(std::cos(pi / n)));
    if (n >= 2) CHECK(rho_mh(topology::line(nodes)) == close_to((n == 2 ? 0.0 : (1 + 2 * std::cos(pi / n)) / 3)));
    if (n >= 3) CHECK(rho_mh(topology::star(nodes)) == close_to(1 - 1.0 / n));
  }
}

TEST_CASE("a ring of two nodes averages at once") {
  CHECK(rho_uniform(topology::ring(2)) == close_to(0));
  CHECK(spectral_gap(uniform_pull(topology::ring(2))) == close_to(1));
}

TEST_CASE("the second singular value meets the known figures of binary trees") {
  for (auto const& [n, rho] :
       std::vector<std::pair<std::size_t, double>>{{3, 0.666667}, {7, 0.933013}, {15, 0.975803}, {31, 0.989922}})
    CHECK(rho_mh(topology::binary_tree(n)) == close_to(rho));
}

TEST_CASE("the static exponential graph has gap 2/(1 + hops) for even n and more for odd n") {
  for (auto const n : {2, 4, 6, 8, 10, 12, 16, 24, 32, 64, 100})
    CHECK(spectral_gap(uniform_pull(topology::exponential(static_cast<std::size_t>(n)))) ==
          close_to(2 / (1 + std::ceil(std::log2(n)))));
  for (auto const& [n, gap] : std::vector<std::pair<std::size_t, double>>{
           {5, 0.75}, {7, 0.646447}, {9, 0.558213}, {15, 0.510102}, {33, 0.392200}})
    CHECK(spectral_gap(uniform_pull(topology::exponential(n))) == close_to(gap));
}

TEST_CASE("the second singular value meets its closed forms on tori and hypercubes") {
  for (auto const& [a, b] : std::vector<std::pair<std::size_t, std::size_t>>{{3, 3}, {3, 4}, {4, 4}, {3, 7}, {8, 5}}) {
    INFO(a << " x " << b);
    auto const longer = static_cast<double>((std::max)(a, b));
    CHECK(rho_uniform(topology::torus({a, b})) == close_to((3 + 2 * std::cos(2 * pi / longer)) / 5));
  }
  for (auto const bits : {1, 2, 3, 4, 5, 7})
    CHECK(rho_uniform(topology::hypercube(std::size_t{1} << bits)) == close_to((bits - 1.0) / (bits + 1.0)));
}

TEST_CASE("the second singular value meets the known figures of grids with Metropolis-Hastings weights") {
  for (auto const& [side, rho] :
       std::vector<std::pair<std::size_t, double>>{{3, 0.767423}, {4, 0.868641}, {8, 0.967705}})
    CHECK(rho_mh(topology::grid({side, side})) == close_to(rho));
}

TEST_CASE("a random regular graph mixes nearly as well as Ramanujan's bound allows") {
  for (auto const degree : {3, 4, 6})
    CHECK(rho_uniform(topology::random_regular(400, static_cast<std::size_t>(degree), 1)) <
          (1 + 2 * std::sqrt(degree - 1.0)) / (degree + 1) + 0.04);
}

TEST_CASE("large sparse graphs that mix well have their gap measured") {
  auto const rho = rho_uniform(topology::random_regular(2'000, 4, 3));
  CHECK(rho > 0.7);
  CHECK(rho < (1 + 2 * std::sqrt(3.0)) / 5 + 0.02);
  CHECK(rho_uniform(topology::exponential(1'000)) == close_to(1 - 2.0 / 11));
}

TEST_CASE("large graphs that mix too slowly are refused rather than measured wrongly") {
  auto const sentence = refusal([] { (void)rho_mh(topology::line(1'200)); });
  CHECK(says(sentence, "1200 nodes did not settle"));
}

TEST_CASE("a matrix that is not doubly stochastic has no rho, and the row or column at fault is named") {
  CHECK(says(refusal([] { (void)second_singular_value(uniform_pull(topology::star(4))); }), "column 0"));
  CHECK(says(refusal([] { (void)second_singular_value(uniform_push(topology::star(4))); }), "row 0"));
}

}  // namespace
