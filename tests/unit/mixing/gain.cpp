// SPDX-License-Identifier: MIT
// (gain.tree), (gain.regular), (gain.perron)
#include <rubato/mixing/gain.hpp>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::mixing;
using rubato::test::refusal;
using rubato::test::says;

auto uniform_gain(topology::pair const& graphs, mean_ages ages = {}) -> double {
  return gain(graphs, uniform_pull(graphs.pull()), uniform_push(graphs.push()), ages);
}

TEST_CASE("(gain.tree) a tree pair gains exactly n") {
  CHECK(uniform_gain(topology::line(8)) == 8.0);
  CHECK(uniform_gain(topology::star(5)) == 5.0);
  CHECK(uniform_gain(topology::binary_tree(7)) == 7.0);
  CHECK(uniform_gain(topology::spanning_trees(topology::exponential(9), node_id{4})) == 9.0);
  CHECK(uniform_gain(topology::complete(1)) == 1.0);
}

TEST_CASE("(gain.regular) regular graphs follow their weights and ages") {
  CHECK(uniform_gain(topology::directed_ring(8)) == Approx(8.0 / 15));
  CHECK(uniform_gain(topology::ring(8)) == Approx(3.0 / 8));
  CHECK(uniform_gain(topology::exponential(8)) == Approx(16.0 / 55));
  CHECK(uniform_gain(topology::complete(8)) == Approx(32.0 / 207));
  CHECK(uniform_gain(topology::random_regular(10'000, 4, 1)) == Approx(0.2 / 0.6 / 1.4));
}

TEST_CASE("(gain.regular) agrees within one per cent with the gains measured at regular times") {
  CHECK(uniform_gain(topology::directed_ring(8)) == Approx(0.538).epsilon(0.01));
  CHECK(uniform_gain(topology::ring(8)) == Approx(0.375).epsilon(0.01));
  CHECK(uniform_gain(topology::exponential(8)) == Approx(0.292).epsilon(0.01));
  CHECK(uniform_gain(topology::complete(8)) == Approx(0.154).epsilon(0.01));
}

TEST_CASE("(gain.regular) agrees with the gains measured at random times, where ages are one") {
  CHECK(uniform_gain(topology::directed_ring(8), {1, 1}) == Approx(0.333).margin(1e-3));
  CHECK(uniform_gain(topology::ring(8), {1, 1}) == Approx(0.200).margin(1e-3));
  CHECK(uniform_gain(topology::exponential(8), {1, 1}) == Approx(0.143).margin(1e-3));
  CHECK(uniform_gain(topology::complete(8), {1, 1}) == Approx(0.067).margin(1e-3));
}

TEST_CASE("(gain.perron) any other pair gains n u.v") {
  // On both(line(3)): u = v = (2, 3, 2) / 7.
  CHECK(uniform_gain(both(topology::line(3))) == Approx(3 * 17.0 / 49));
  // Metropolis-Hastings weights on it are even but not equal: u = v = 1/3, so the gain is 1.
  auto const weights = metropolis_hastings(topology::line(3));
  CHECK(gain(both(topology::line(3)), weights, weights) == Approx(1.0));
}

TEST_CASE("a regular graph with unequal weights does not count as regular") {
  auto const a = node_id{0}, b = node_id{1}, c = node_id{2};
  auto const uneven = from_entries(
      3, {{a, a, .5}, {a, b, .3}, {a, c, .2}, {b, b, .5}, {b, a, .2}, {b, c, .3}, {c, c, .5}, {c, a, .3}, {c, b, .2}},
      stochasticity::doubly);
  CHECK(gain(both(topology::complete(3)), uneven, uneven) == Approx(1.0));
}

TEST_CASE("a gain for other nodes or negative ages is refused") {
  auto const weights = metropolis_hastings(topology::ring(4));
  CHECK(says(refusal([&] { (void)gain(topology::ring(5), weights, weights); }), "4 nodes"));
  CHECK(says(refusal([&] { (void)gain(topology::ring(4), weights, weights, {-1, 0}); }), "-1"));
}

}  // namespace
