// SPDX-License-Identifier: MIT
// Schedules: their values, by steps and by time, for any step rule of any algorithm, and across a cut of the run.
#include <rubato/step/schedule.hpp>

#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/snapshot.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/simulator.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/step/decayed.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using problem::quadratic;
using reference = backend::host<double>;
using step::curve, step::schedule, step::schedule_begin, step::schedule_unit;
using vec = std::vector<double>;

auto at(schedule const& s, std::vector<std::uint64_t> const& steps) -> vec {
  vec all;
  for (auto const t : steps) all.push_back(s.factor(t, {}));
  return all;
}
auto after(schedule const& s, std::vector<std::chrono::nanoseconds> const& times) -> vec {
  vec all;
  for (auto const t : times) all.push_back(s.factor(1000, {t}));
  return all;
}

TEST_CASE("a schedule gives the factor of its formula at every step") {
  CHECK(at({}, {0, 1, 1'000'000}) == vec{1, 1, 1});
  CHECK(at({.warmup = 4}, {0, 1, 3, 4, 9}) == vec{0.25, 0.5, 1, 1, 1});
  CHECK(test::distance(at({.warmup = 4, .shape = curve::cosine, .length = 8}, {0, 3, 4, 8, 12}), {0.25, 1, 1, 0.5, 0}) <
        1e-15);
  CHECK(test::distance(at({.shape = curve::cosine, .length = 8, .floor = 0.2}, {0, 4, 8, 80}), {1, 0.6, 0.2, 0.2}) <
        1e-15);
  CHECK(test::distance(at({.drops_at = {2, 5}, .drop = 0.5}, {0, 1, 2, 4, 5, 9}), {1, 1, 0.5, 0.5, 0.25, 0.25}) <
        1e-15);
  CHECK(test::distance(at({.shape = curve::inverse, .length = 10}, {0, 10, 30}), {1, 0.5, 0.25}) < 1e-15);
  CHECK(test::distance(at({.shape = curve::root, .length = 10}, {0, 30, 80}), {1, 0.5, 1 / 3.0}) < 1e-15);
}

TEST_CASE("warmup, drops and curve multiply, and count from the start or from the end of the warmup") {
  auto s = schedule{.warmup = 4, .drops_at = {4}, .drop = 0.5, .shape = curve::inverse, .length = 4};
  CHECK(test::distance(at(s, {0, 4, 8}), {0.25, 1, 0.25}) < 1e-15);
  s.begin = schedule_begin::at_start;
  CHECK(test::distance(at(s, {0, 2, 4, 8}), {0.25, 0.75 / 1.5, 0.25, 1 / 6.0}) < 1e-15);
}

TEST_CASE("by seconds a schedule looks at the clock of the run alone") {
  CHECK(test::distance(after({.unit = schedule_unit::seconds, .warmup = 4}, {0s, 1s, 4s, 9s}), {0, 0.25, 1, 1}) <
        1e-15);
  CHECK(test::distance(after({.unit = schedule_unit::seconds, .shape = curve::root, .length = 0.5}, {0s, 1500ms}),
                       {1, 0.5}) < 1e-15);
}

TEST_CASE("an invalid schedule is refused with its node's options, before the run") {
  auto const why = [](schedule const& s) {
    return test::refusal([&] {
      r_fast<reference>::options o{};
      o.schedule = s;
      static_cast<void>(assemble<r_fast<reference>>(topology::ring(3), quadratic::random(3, 2, 1), o));
    });
  };
  CHECK(test::says(why({.warmup = -1}), "warmup of a schedule"));
  CHECK(test::says(why({.drop = 0}), "drop of a schedule must be a positive number, not 0"));
  CHECK(test::says(why({.length = std::nan("")}), "length of a schedule"));
  CHECK(test::says(why({.floor = 1.5}), "floor of a schedule is a share of the step"));
  CHECK(test::says(why({.drops_at = {5, 5}}),
                   "drops of a schedule must each come at or after 0 and after the one before"));
  CHECK(why({.warmup = 3, .drops_at = {5, 6}}).empty());
}

TEST_CASE("a node alone steps by its schedule, whatever the rule") {
  auto const q = quadratic::random(1, 4, 4);
  auto const s = schedule{.warmup = 5, .shape = curve::inverse, .length = 7};
  r_fast<reference, step::decayed<step::sgd>>::options o{};
  o.step = 0.3, o.schedule = s, o.step_rule = step::decayed<step::sgd>{{}, 0.1};
  test::lockstep node{assemble<r_fast<reference, step::decayed<step::sgd>>>(topology::line(1), q, o)};
  vec x(4, 0.0);
  for (std::uint64_t t = 0; t < 20; ++t) {
    node.round();
    auto const gamma = 0.3 * s.factor(t, {});
    for (std::size_t k = 0; k < 4; ++k) x[k] -= gamma * (q.curvature(0, k) * (x[k] - q.centre(0, k)) + 0.1 * x[k]);
    REQUIRE(test::distance(node.point(0), x) < 1e-13);
  }
}

TEST_CASE("with steps that fall by time a noisy run ends nearer to its optimum than with a constant one") {
  auto const q = quadratic::random(4, 20, 2, {.spread = 1, .condition = 2, .noise = 1});
  auto const far = [&](schedule s) {
    ad_psgd<reference>::options o{};
    o.step = 0.2, o.schedule = std::move(s);
    auto const r = simulate<ad_psgd<reference>>(
        topology::ring(4), q, o, {.compute = environment::lognormal(10ms, 0.3), .link = {.latency = 1ms}},
        {.time = 20s});
    return r.history.back().consensus_distance;
  };
  CHECK(far({.unit = schedule_unit::seconds, .shape = curve::inverse, .length = 0.5}) < 0.2 * far({}));
}

struct cutter : simulation_trace {
  void between_events(simulator& s) override {
    if (!kept && s.events() >= at) kept = s.state();
  }
  std::uint64_t at = 0;
  std::optional<snapshot> kept;
};

/// The model at the end of a run, cut after so many events and gone on with elsewhere, or not cut.
template<class Node>
auto at_the_end(std::optional<std::uint64_t> cut_after, schedule_unit unit) -> vec {
  auto const make = [&] {
    typename Node::options o{};
    o.step = 0.05;
    o.schedule = {.unit = unit, .warmup = unit == schedule_unit::seconds ? 0.05 : 5, .shape = curve::cosine};
    o.schedule.length = unit == schedule_unit::seconds ? 0.2 : 20;
    return assemble<Node>(topology::ring(4), quadratic::random(4, 9, 3), o);
  };
  auto const weather = environment::scenario{.compute = environment::lognormal(5ms, 0.3), .link = {.latency = 1ms}};
  auto const values_of = [](run_result const& r) {
    auto const x = r.models[2].template view<double>();
    return vec(x.begin(), x.end());
  };
  simulator first{make(), weather};
  if (!cut_after) return values_of(first.run({.time = 150ms}));
  cutter cut;
  cut.at = *cut_after;
  first.trace(cut);
  static_cast<void>(first.run({.time = 150ms}));
  REQUIRE(cut.kept);
  simulator second{make(), weather};
  second.resume(*cut.kept);
  return values_of(second.run({.time = 150ms}));
}

TEST_CASE("a run that is cut goes on in its schedule to the bit, also between two chunks of one step") {
  for (auto const unit : {schedule_unit::iterations, schedule_unit::seconds}) {
    for (std::uint64_t const cut : {11U, 62U, 63U, 64U, 65U, 66U, 67U, 90U}) {
      CHECK(at_the_end<ring_allreduce_sgd<reference, step::adamw>>(cut, unit) ==
            at_the_end<ring_allreduce_sgd<reference, step::adamw>>({}, unit));
    }
    CHECK(at_the_end<r_fast<reference, step::adamw>>(77, unit) == at_the_end<r_fast<reference, step::adamw>>({}, unit));
  }
}

}  // namespace
