// SPDX-License-Identifier: MIT
// Links on which messages are hundreds of local iterations old: with a pace r_fast reaches the optimum with little more
// than the rounds of lock-step, without one it does not; and where links are fast a pace changes no bit.
#include <rubato/driver/pace.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/synchrony/rounds.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;

using space = backend::host<float>;
constexpr std::size_t n = 8;

auto problem_of_test() -> problem::quadratic { return problem::quadratic::random(n, 16, 1); }

/// Notes when all models had come within 1e-5 of the optimum.
struct arrival_watch : simulation_trace {
  void after_event(instant now, node_id, std::span<any_node const> nodes) override {
    if (iterations > 0) return;
    for (auto const& each : nodes) {
      auto const x = each.estimate();
      auto const values = x.view<float>();
      for (std::size_t k = 0; k < values.size(); ++k) {
        if (std::abs(static_cast<double>(values[k]) - optimum[k]) > 1e-5) return;
      }
    }
    at = now;
    for (auto const& each : nodes) iterations += each.statistics().iterations;
    iterations /= n;
  }
  std::vector<double> optimum = problem_of_test().optimum();
  instant at{};
  std::uint64_t iterations = 0;  // of one node, in the mean
};

struct weather {
  char const* name;
  environment::link_model link;
  std::vector<environment::partition> partitions{};
};

auto weathers() -> std::vector<weather> {
  return {{"200 ms", {.latency = 200ms}},
          {"20 to 40 ms", {.latency = 20ms, .jitter = 20ms}},
          {"ten messages a second", {.latency = 100us, .bits_per_second = 2e4}},
          {"60 % loss", {.latency = 100us, .loss = 0.6}},
          {"a partition of 8 s",
           {.latency = 100us},
           {environment::island({node_id{0}, node_id{1}, node_id{2}, node_id{3}}, n, 50ms, 8050ms)}}};
}

auto scenario_of(weather const& w) -> environment::scenario {
  environment::scenario s;
  s.compute = environment::lognormal(1ms, 0.1);
  s.link = w.link;
  s.partitions = w.partitions;
  s.measure_every = 1h;
  s.seed = 3;
  return s;
}

TEST_CASE(
    "with a pace r_fast reaches the optimum over slow, lossy and parted links, in twice the rounds of lock-step") {
  auto rounds = arrival_watch{};
  using lock_step = gradient_tracking<space, order::r_fast, step::sgd, weighting::constant, synchrony::rounds>;
  auto const gain = assemble<r_fast<space>>(topology::ring(n), problem_of_test(), {}).gain;
  auto in_rounds =
      assemble<lock_step>(topology::ring(n), problem_of_test(), {.step = 0.7 / gain, .scale = step_scale::raw});
  simulate(std::move(in_rounds), scenario_of({}), {.time = 10s}, {.trace = &rounds});
  REQUIRE(rounds.iterations > 0);
  for (auto const& w : weathers()) {
    INFO(w.name << ", lock-step takes " << rounds.iterations);
    auto arrived = arrival_watch{};
    auto a = assemble<r_fast<space>>(topology::ring(n), problem_of_test(), {.step = 0.7});
    pace(a);
    simulate(std::move(a), scenario_of(w), {.time = 60s, .gradients = n * 3000}, {.trace = &arrived});
    CHECK(arrived.iterations > 0);
    CHECK(arrived.iterations <= 2 * rounds.iterations);
  }
}

TEST_CASE("without a pace messages of 200 ms are too old for gradients of 1 ms: the control") {
  auto never = arrival_watch{};
  try {
    simulate(assemble<r_fast<space>>(topology::ring(n), problem_of_test(), {.step = 0.7}),
             scenario_of(weathers().front()), {.time = 60s, .gradients = n * 3000}, {.trace = &never});
  } catch (run_error const&) {  // the ledger's range may be exceeded before that
  }
  CHECK(never.iterations == 0);
}

TEST_CASE("a straggler does not slow its neighbours down: the pace adapts to its rare messages") {
  auto s = scenario_of({"fast", {.latency = 1ms}});
  s.compute = environment::lognormal(10ms, 0.2).slow(n - 1, 50);
  s.measure_every = 1s;
  auto const gradients = [&](pace_options const& o) {
    auto a = assemble<r_fast<space>>(topology::ring(n), problem_of_test(), {.step = 0.05});
    pace(a, o);
    return simulate(std::move(a), s, {.time = 60s}).history.back().gradients;
  };
  auto const unpaced = gradients({.ahead = 0}), paced = gradients({});
  INFO(paced << " gradients with a pace, " << unpaced << " without");
  CHECK(10 * paced > 9 * unpaced);
}

TEST_CASE("if links are faster than gradients, a pace changes no bit of a run") {
  auto s = scenario_of({"fast", {.latency = 1ms, .bits_per_second = 1e9, .loss = 0.1}});
  s.compute = environment::lognormal(10ms, 0.2).slow(n - 1, 4);
  s.measure_every = 100ms;
  for (auto const& network : {topology::pair{topology::binary_tree(n)}, topology::pair{topology::ring(n)}}) {
    auto plain = assemble<r_fast<space>>(network, problem_of_test(), {.step = 0.05});
    auto paced = assemble<r_fast<space>>(network, problem_of_test(), {.step = 0.05});
    pace(paced, {.ahead = 64});
    auto const a = simulate(std::move(plain), s, {.time = 20s});
    auto const b = simulate(std::move(paced), s, {.time = 20s});
    REQUIRE(a.history.size() == b.history.size());
    for (std::size_t k = 0; k < a.history.size(); ++k) {
      CHECK(a.history[k].loss == b.history[k].loss);
      CHECK(a.history[k].gradients == b.history[k].gradients);
    }
  }
}

}  // namespace
