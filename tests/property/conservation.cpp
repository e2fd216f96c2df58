// SPDX-License-Identifier: MIT
// Figure 1: the tracking law after every event of 1,000 random scenarios (100 under a sanitizer): what is tracked,
// consumed and pushed neither appears nor vanishes, in any order of updates and on any backend. (Checks that must fail:
// tests/sim/negative_controls.cpp.)
#include <cstdio>
#include <cstdlib>
#include <string>

#include <rubato/algorithm/asy_sonata.hpp>
#include <rubato/algorithm/dsgt.hpp>
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/push_diging.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/conservation_checker.hpp"
#include "support/for_all.hpp"
#include "support/short_runs.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;

struct drawn {
  topology::pair network;
  environment::scenario weather;
  std::size_t dimension;
  std::size_t block_values;
  double step;
};

auto draw_network(random_stream& gen) -> topology::pair {
  auto const n = 1 + gen.below(16);
  switch (gen.below(9)) {
    case 0:
      return topology::binary_tree(n);
    case 1:
      return topology::line(n);
    case 2:
      return topology::star(n);
    case 3:
      return topology::ring(n);
    case 4:
      return topology::directed_ring(n);
    case 5:
      return topology::exponential(n);
    case 6:
      return {topology::directed_ring(n), topology::exponential(n)};
    case 7:
      return topology::spanning_trees(topology::exponential(n), to_node(gen.below(n)));
    default:
      break;
  }
  auto const even = 6 + 2 * gen.below(6);
  return topology::random_regular(even, 2 + gen.below(3), gen.bits());
}

auto draw_scenario(random_stream& gen) -> drawn {
  drawn d{draw_network(gen), {}, 3 + gen.below(6), 0, 0.01 + 0.1 * gen.uniform()};
  auto& w = d.weather;
  w.seed = gen.bits();
  w.compute = environment::lognormal(10ms, gen.uniform());
  if (gen.chance(0.5)) w.compute = w.compute.slow(static_cast<std::uint32_t>(gen.below(d.network.nodes())), 10.0);
  w.link.latency = std::chrono::microseconds{gen.below(40'000)};
  w.link.jitter = std::chrono::microseconds{gen.below(20'000)};
  w.link.loss = 0.6 * gen.uniform();
  w.link.duplication = gen.chance(0.5) ? 0.5 * gen.uniform() : 0.0;
  w.link.overtaking = gen.chance(0.5) ? 0.5 * gen.uniform() : 0.0;
  w.link.bits_per_second = gen.chance(0.2) ? 1e5 : 0.0;
  if (gen.chance(0.25)) w.carried = environment::frames::encoded;
  if (gen.chance(0.12)) {
    d.dimension = 65 + gen.below(90);
    d.block_values = 64;
    w.split = environment::delivery::blocks;
  }
  return d;
}

struct tally {
  std::uint64_t scenarios = 0;
  std::uint64_t events = 0;
  std::uint64_t columns = 0;
  double worst = 0;
};

using after_push = test::conservation_checker::after_push;

template<class Node>
void check_one(drawn const& d, std::uint64_t seed, tally& total, after_push then = after_push::stops) {
  auto const n = d.network.nodes();
  auto const problem = problem::quadratic::random(n, d.dimension, seed, {.spread = 3, .condition = 10, .noise = 0.5});
  typename Node::options options{};
  options.step = d.step;
  options.seed = seed;
  options.block_values = d.block_values;
  auto const plan = Node::make_plan(d.network);
  auto made = assemble<Node>(plan, problem, options);
  auto checker = test::conservation_checker{made.blocks};
  checker.knows(plan, then);
  simulate(std::move(made), d.weather, {.gradients = 25 * n}, {.trace = &checker});
  if (n > 1) REQUIRE(checker.largest_in_flight() > 0);  // an audit of nothing would find nothing
  for (auto const& c : checker.complaints()) FAIL_CHECK(d.network.name() << ": " << c);
  ++total.scenarios;
  total.events += checker.events();
  total.columns += checker.columns_checked();
  total.worst = std::max(total.worst, checker.worst());
}

auto scenario_count() -> std::uint64_t { return test::short_runs() ? 100 : 1000; }

void print(char const* ledger, tally const& t) {
  std::printf("conservation, %s: %llu scenarios, %llu events, %llu pushes, worst residual %g\n", ledger,
              static_cast<unsigned long long>(t.scenarios), static_cast<unsigned long long>(t.events),
              static_cast<unsigned long long>(t.columns), t.worst);
}

TEST_CASE("the tracking law holds exactly after every event in fixed point (G.T) (G.C) (G.A)") {
  tally plain, vectors, late, broadcast, rounds;
  test::for_all(scenario_count(), [&](random_stream& gen, std::uint64_t seed) {
    using late_type = gradient_tracking<backend::eigen<float>, order::late_post>;
    auto const d = draw_scenario(gen);
    switch (gen.below(5)) {
      case 0:
        return check_one<r_fast<backend::host<float>>>(d, seed, plain);
      case 1:
        return check_one<r_fast<backend::eigen<float>>>(d, seed, vectors);
      case 2:
        return check_one<late_type>(d, seed, late);
      case 3:
        return check_one<asy_sonata<backend::host<float>>>(d, seed, broadcast);
      default:
        return check_one<push_pull<backend::host<float>>>(d, seed, rounds, after_push::consumes);
    }
  });
  print("fixed point, r_fast on host", plain);
  print("fixed point, r_fast on eigen", vectors);
  print("fixed point, late_post on eigen", late);
  print("fixed point, asy_sonata on host", broadcast);
  print("fixed point, push_pull on host", rounds);
  for (auto const& t : {plain, vectors, late, broadcast, rounds}) {
    CHECK(t.worst == 0.0);
    if (std::getenv("RUBATO_SEED") == nullptr) CHECK(t.scenarios > scenario_count() / 8);
    CHECK(t.events >= 100 * t.scenarios);
    CHECK(t.columns >= 10 * t.scenarios);
  }
}

TEST_CASE(
    "the law holds exactly for dsgt too, which pushes along the symmetric W, and for push_diging (T.T) (T.A) (T.C)") {
  tally symmetric, directed;
  test::for_all(scenario_count() / 5, [&](random_stream& gen, std::uint64_t seed) {
    auto const d = draw_scenario(gen);
    if (gen.chance(0.5)) return check_one<dsgt<backend::host<float>>>(d, seed, symmetric, after_push::consumes);
    check_one<push_diging<backend::host<float>>>(d, seed, directed, after_push::consumes);
  });
  print("fixed point, dsgt on host", symmetric);
  print("fixed point, push_diging on host", directed);
  for (auto const* t : {&symmetric, &directed}) {
    CHECK(t->worst == 0.0);
    CHECK(t->scenarios > 5);
    CHECK(t->events >= 100 * t->scenarios);
    CHECK(t->columns >= 10 * t->scenarios);
  }
}

TEST_CASE("the tracking law holds to rounding after every event in double (G.T) (G.C) (G.A)") {
  tally plain, rounds;
  test::for_all(scenario_count(), [&](random_stream& gen, std::uint64_t seed) {
    auto const d = draw_scenario(gen);
    if (gen.chance(0.7)) return check_one<r_fast<backend::host<double>>>(d, seed, plain);
    check_one<s_ab<backend::eigen<double>>>(d, seed, rounds);
  });
  print("floating, double, r_fast on host", plain);
  print("floating, double, s_ab on eigen", rounds);
  for (auto const& t : {plain, rounds}) {
    CHECK(t.worst <= 1e-10);
    if (std::getenv("RUBATO_SEED") == nullptr) CHECK(t.scenarios > scenario_count() / 8);
    CHECK(t.events >= 100 * t.scenarios);
    CHECK(t.columns >= 10 * t.scenarios);
  }
}

}  // namespace
