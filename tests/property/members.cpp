// SPDX-License-Identifier: MIT
// Figure 41: members that come, leave in order and die at random, also the root of trees and several at a time: the
// tracking law holds exactly while they differ about who is there, and the present ones end at the optimum of their
// sum.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <rubato/algorithm/asy_sonata.hpp>
#include <rubato/algorithm/dsgt.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/for_all.hpp"
#include "support/members.hpp"
#include "support/short_runs.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using enum environment::member_event;

/// Six changes a run; after the last one nothing happens for the rest of it.
constexpr std::size_t changes_a_run = 6;

struct churn {
  topology::member_graphs graphs;
  environment::scenario weather;
};

auto draw_graphs(random_stream& gen, std::size_t most) -> topology::member_graphs {
  if (gen.chance(0.5)) return {most, topology::binary_tree};
  if (gen.chance(0.5)) return {most, topology::ring};
  return {most, topology::star};
}

auto draw_changes(random_stream& gen, std::size_t most) -> environment::membership {
  environment::membership m{.suspicion = std::chrono::milliseconds{gen.below(200)},
                            .word = std::chrono::milliseconds{gen.below(100)}};
  std::vector<bool> present(most, true);
  if (gen.chance(0.3)) {
    present[gen.below(most)] = false;
    for (std::size_t i = 0; i < most; ++i)
      if (present[i]) m.first.push_back(to_node(i));
  }
  auto at = std::chrono::nanoseconds{300ms};
  while (m.changes.size() < changes_a_run) {
    auto const i = gen.chance(0.3) ? 0 : gen.below(most);  // node 0 is the root where it is there
    auto const others = std::count(present.begin(), present.end(), true) - (present[i] ? 1 : 0);
    if (others == 0) continue;
    m.changes.push_back({to_node(i), !present[i] ? joins : gen.chance(0.7) ? dies : leaves, at});
    present[i] = !present[i];
    at += std::chrono::milliseconds{gen.below(400)};
  }
  return m;
}

auto draw_churn(random_stream& gen) -> churn {
  auto const most = 2 + gen.below(5);
  churn c{draw_graphs(gen, most), {}};
  auto& w = c.weather;
  w.seed = gen.bits();
  w.compute = environment::lognormal(10ms, 0.5 * gen.uniform());
  w.link.latency = std::chrono::microseconds{100 + gen.below(10'000)};
  w.link.jitter = std::chrono::microseconds{gen.below(5'000)};
  w.link.loss = gen.chance(0.5) ? 0.3 * gen.uniform() : 0.0;
  w.link.duplication = gen.chance(0.3) ? 0.3 * gen.uniform() : 0.0;
  w.link.overtaking = gen.chance(0.3) ? 0.3 * gen.uniform() : 0.0;
  w.members = draw_changes(gen, most);
  return c;
}

struct tally {
  std::uint64_t changes = 0;
  std::uint64_t looks = 0;
  std::uint64_t under_way = 0;
  double law = 0;
  double distance = 0;
};

template<class Node>
void check_one(churn const& c, std::uint64_t seed, tally& total) {
  auto const q = problem::quadratic::random(c.graphs.most(), 2, seed, {.spread = 1, .condition = 2, .noise = 0});
  auto law = test::law_of_members{5};
  auto run = simulator{assemble<Node>(c.graphs, q, {.step = 0.2, .seed = seed}), c.weather};
  run.trace(law);
  auto const changed = run.run({.time = c.weather.members.changes.back().at + 500ms});
  auto nobody = simulation_trace{};
  run.trace(nobody);
  auto const settled = run.run({.time = changed.ended + 8s});
  REQUIRE(settled.history.back().tracking_residual == 0.0);
  auto const off = test::farthest_present(run, q);
  INFO(c.graphs.of(c.graphs.most()).name());
  CHECK(off < 1e-4);
  total.changes += changes_a_run;
  total.looks += law.looks();
  total.under_way += law.with_mass_under_way();
  total.law = std::max(total.law, law.worst());
  total.distance = std::max(total.distance, off);
}

TEST_CASE("after each of 1,000 random changes of members the law holds exactly, and the present find their optimum") {
  tally free, vectors, broadcast, rounds, symmetric, s_ab_rounds;
  test::for_all(test::short_runs() ? 17 : 167, [&](random_stream& gen, std::uint64_t seed) {
    auto const c = draw_churn(gen);
    switch (seed % 6) {
      case 0:
        return check_one<r_fast<backend::host<float>>>(c, seed, free);
      case 1:
        return check_one<r_fast<backend::eigen<float>>>(c, seed, vectors);
      case 2:
        return check_one<asy_sonata<backend::host<float>>>(c, seed, broadcast);
      case 3:
        return check_one<push_pull<backend::host<float>>>(c, seed, rounds);
      case 4:
        return check_one<s_ab<backend::host<float>>>(c, seed, s_ab_rounds);
      default:
        return check_one<dsgt<backend::host<float>>>(c, seed, symmetric);
    }
  });
  for (auto const& [name, t] :
       {std::pair{"r_fast", free}, std::pair{"r_fast on eigen", vectors}, std::pair{"asy_sonata", broadcast},
        std::pair{"push_pull", rounds}, std::pair{"s_ab", s_ab_rounds}, std::pair{"dsgt", symmetric}}) {
    std::printf("members, %s: %llu changes, %llu looks at the law, worst %g, largest distance at the end %.1e\n", name,
                static_cast<unsigned long long>(t.changes), static_cast<unsigned long long>(t.looks), t.law,
                t.distance);
    CHECK(t.law == 0.0);
    if (std::getenv("RUBATO_SEED") == nullptr) CHECK(t.under_way > 100);
  }
}

}  // namespace
