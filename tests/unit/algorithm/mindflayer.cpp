// SPDX-License-Identifier: MIT
// MindFlayer SGD against the plainest loop over rounds and trials, with the durations that the simulator draws.
#include <rubato/algorithm/mindflayer.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/rennala_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"
#include "support/server_scenes.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using host = backend::host<double>;
using node = mindflayer<host>;
using vec = std::vector<double>;

auto of_three(std::vector<double> deadlines, std::vector<std::uint64_t> counts, std::vector<double> chances = {}) {
  auto o = with_step<node>(0.2);
  o.trials = {.deadlines = std::move(deadlines), .chances = std::move(chances), .counts = std::move(counts)};
  return o;
}

struct after {
  vec x;
  std::chrono::nanoseconds ended{};
  std::vector<std::uint64_t> in_time;
};

/// Whole rounds of three workers whose durations are drawn as the simulator draws them.
auto plain_rounds(problem::quadratic const& p, environment::scenario const& s, node::options const& o,
                  std::uint64_t rounds) -> after {
  auto const& t = o.trials;
  auto all = after{vec(p.dimension(), 0.0), {}, std::vector<std::uint64_t>(p.nodes(), 0)};
  std::vector<std::uint64_t> draws(p.nodes(), 0), made(p.nodes(), 0);
  for (std::uint64_t k = 0; k < rounds; ++k) {
    vec sum(p.dimension(), 0.0);
    double expected = 0;
    auto longest = 0ns;
    auto const before = all.in_time;
    for (std::size_t i = 0; i < p.nodes(); ++i) {
      auto const limit = std::chrono::nanoseconds{std::llround(t.deadlines[i] * 1e9)};
      auto took = 0ns;
      for (std::uint64_t b = 0; b < t.counts[i]; ++b) {
        auto const d = s.compute.duration(s.seed, to_node(i), draws[i]++);
        took += std::min(d, limit + 1ns);
        if (d > limit) continue;
        ++all.in_time[i];
        for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += p.curvature(i, c) * (all.x[c] - p.centre(i, c));
      }
      longest = std::max(longest, took);
      auto const learned = static_cast<double>(1 + before[i]) / static_cast<double>(1 + made[i]);
      auto const chance = t.chances.empty() ? std::max(learned, 0.05) : t.chances[i];
      expected += static_cast<double>(t.counts[i]) * chance;
      made[i] += t.counts[i];
    }
    all.ended += longest;
    for (std::size_t c = 0; c < sum.size(); ++c) all.x[c] -= 0.2 * sum[c] / expected;
  }
  return all;
}

TEST_CASE("(Mf.T) (Mf.G) (Mf.X) (Mf.P) rounds of trials with deadlines are those of a plain loop") {
  auto const p = problem::quadratic::random(3, 4, 9);
  auto const s = environment::scenario{.compute = environment::lognormal(1s, 1.5).slow(1, 3.0),
                                       .measure_every = std::chrono::hours{1}};
  for (auto const& chances : {vec{}, vec{0.7, 0.4, 0.9}}) {
    for (auto const& counts : {std::vector<std::uint64_t>{4, 1, 3}, std::vector<std::uint64_t>{2, 0, 5}}) {
      auto const o = of_three({0.8, 2.5, 0.3}, counts, chances);
      auto const expected = plain_rounds(p, s, o, 30);
      auto const r = simulate(assemble<node>(topology::star(3), p, o), s, {.time = expected.ended + 1us});
      REQUIRE(r.nodes[3].iterations == 30);
      auto const x = r.models[0].view<double>();
      for (std::size_t c = 0; c < 4; ++c) CHECK(x[c] == Approx(expected.x[c]).epsilon(1e-12));
      std::vector<std::uint64_t> counted(3, 0);
      for (auto const& e : r.edges)
        if (e.channel == channel_id::gradient) counted[to_index(e.from)] = e.weights.uses;
      CHECK(counted == expected.in_time);
      auto const all = std::uint64_t{30} * (counts[0] + counts[1] + counts[2]);
      CHECK(r.nodes[3].gradients < all * 9 / 10);  // the scene has something to cut off
      CHECK(r.nodes[3].gradients > all / 4);
    }
  }
}

TEST_CASE("(Mf.B) the counts of trials suit the deadlines, whatever their order") {
  auto t = server::timed_trials{.deadlines = {4, 1, 2, 8}, .chances = {0.9, 0.5, 0.8, 1}, .noise = 10};
  CHECK(t.suitable_counts() == std::vector<std::uint64_t>{2, 10, 5, 1});
  t = {.deadlines = {1, 2, 4, 8}, .noise = 8};
  CHECK(t.suitable_counts() == std::vector<std::uint64_t>{6, 3, 1, 0});
  t.resolve_options(4);
  CHECK(t.counts == std::vector<std::uint64_t>{6, 3, 1, 0});
  t = {.deadlines = {8, 2, std::numeric_limits<double>::infinity(), 1, 4}, .noise = 8};
  CHECK(t.suitable_counts() == std::vector<std::uint64_t>{0, 3, 0, 6, 1});
}

TEST_CASE("without deadlines mindflayer is synchronous SGD, and its limit weighs workers by their trials") {
  auto const p = problem_of_five();
  auto const plain = watched<m_synchronous_sgd<host>>(p, uneven(), with_step<m_synchronous_sgd<host>>(0.2), 70s);
  auto const same = watched<node>(p, uneven(), with_step<node>(0.2), 70s);
  REQUIRE(same.versions == plain.versions);
  for (std::size_t c = 0; c < 3; ++c) CHECK(same.x[c] == Approx(plain.x[c]).epsilon(1e-12));
  auto o = with_step<node>(0.5);
  o.trials.counts = {8, 4, 2, 1};  // as many as each has time for: the optimum weighted by frequency
  CHECK(watched<node>(four_workers(), four_times(), o, 800s).x[0] == Approx(2.1).epsilon(1e-9));
}

TEST_CASE("a round in which no gradient is in time moves nothing, and costs no body") {
  auto o = of_three({0.5, 0.5, 0.5}, {2, 2, 2});
  auto const p = problem::quadratic::random(3, 4, 9);
  auto const r = simulate(assemble<node>(topology::star(3), p, o), taking({1, 1, 1}, tuned::evenly), {.time = 10500ms});
  CHECK(r.nodes[3].iterations == 10);
  CHECK(r.nodes[3].gradients == 0);
  for (auto const v : r.models[0].view<double>()) CHECK(v == 0.0);
  REQUIRE(r.warnings.size() == 1);
  CHECK(says(r.warnings[0], "got no gradient in time, so its model is still the first one"));
  o.trials.deadlines = {1.0, 0.5, 0.5};  // a gradient that takes just its deadline is in time
  auto const one = simulate(assemble<node>(topology::star(3), p, o), taking({1, 1, 1}, tuned::evenly), {.time = 20s});
  CHECK(one.nodes[3].gradients >= 18);
  CHECK(one.warnings.empty());
}

/// Workers that agree: f_i = sum_c (1 + c)/2 (x_c - centre_c)^2.
auto agreeing(std::size_t workers, double noise) -> problem::quadratic {
  return {std::vector<vec>(workers, {1, 2, 3}), std::vector<vec>(workers, {4, -3, 2}), noise};
}

/// Virtual seconds until the server is within 2e-3 of the least loss, which all workers share.
template<class Node>
auto time_to_optimum(typename Node::options const& o, environment::compute_model const& compute) -> double {
  auto const p = agreeing(8, 0.5);
  auto const s = environment::scenario{.compute = compute, .measure_every = 1s};
  host backend;
  auto const least = p.loss(backend, std::span<double const>{p.optimum()});
  auto const r = simulate(assemble<Node>(topology::star(8), p, o), s, {.time = 4h, .target_loss = least + 2e-3});
  return to_seconds(r.time_to_target.value_or(4h));
}

TEST_CASE("where a third of the gradients never seem to end, mindflayer is there first") {
  auto const mean = 1s * (0.7 + 0.3 * 500);  // so that the other two thirds take one second
  auto const heavy = environment::two_regime(std::chrono::duration_cast<std::chrono::nanoseconds>(mean), 0.3, 500);
  auto o = with_step<node>(0.1);
  o.trials = {.deadlines = {1.5}, .counts = {4}};
  auto const ours = time_to_optimum<node>(o, heavy);
  auto ren = with_step<rennala_sgd<host>>(0.1);
  ren.aggregation.size = 24;
  ren.acceptance.late = server::late_jobs::stop;
  auto sync = with_step<m_synchronous_sgd<host>>(0.1);
  sync.m = 8;
  CAPTURE(ours, time_to_optimum<rennala_sgd<host>>(ren, heavy), time_to_optimum<m_synchronous_sgd<host>>(sync, heavy));
  CHECK(ours < 600);
  CHECK(ours * 2 < time_to_optimum<rennala_sgd<host>>(ren, heavy));
  CHECK(ours * 10 < time_to_optimum<m_synchronous_sgd<host>>(sync, heavy));
}

TEST_CASE("the counts and deadlines of trials that mean nothing are refused in a sentence") {
  auto const p = problem::quadratic::random(3, 4, 9);
  auto const refused = [&](server::timed_trials t) {
    auto o = with_step<node>(0.2);
    o.trials = std::move(t);
    return refusal([&] { static_cast<void>(assemble<node>(topology::star(3), p, o)); });
  };
  CHECK(refused({}).empty());
  CHECK(refused({.deadlines = {1}, .chances = {0.5}, .counts = {2}}).empty());
  CHECK(says(refused({.deadlines = {1, 2}}), "the deadlines of 2 workers are given, and there are 3"));
  CHECK(says(refused({.counts = {1, 2, 3, 4}}), "the counts of 4 workers are given, and there are 3"));
  CHECK(says(refused({.deadlines = {1, -2, 1}}), "must be above 0 seconds, not -2"));
  CHECK(says(refused({.deadlines = {1}, .chances = {1.5}}), "must lie in (0, 1], not 1.5"));
  CHECK(says(refused({.deadlines = {1}, .noise = -1}), "a number of 0 or more, not -1"));
  CHECK(says(refused({.counts = {1, 1ULL << 63, 1}}), "at most 1000000000 gradients in a round, not 92233"));
  CHECK(says(refused({.counts = {0}}), "no worker tries a gradient"));
  CHECK(says(refused({.deadlines = {std::numeric_limits<double>::infinity()}}), "no worker tries a gradient"));
}

TEST_CASE("a sum of more gradients than a worker tries ends the run, naming the worker") {
  auto a = assemble<node>(topology::star(3), problem::quadratic::random(3, 4, 9), of_three({9, 9, 9}, {1, 2, 1}));
  outbox out;
  a.nodes[0].start({}, out);
  auto g = a.oracle.evaluate(*out.request);
  out.clear();
  a.nodes[0].on_gradient({}, std::move(g), out);
  auto p = out.packets.at(0);
  CHECK(p.extra.count(scalar_slot::sample_count) == 1);
  p.extra.set(scalar_slot::sample_count, std::uint64_t{2});
  out.clear();
  hand_over(a.nodes[3], p, a.blocks.blocks(), out);
  REQUIRE(out.failure);
  CHECK(says(out.failure->sentence, "node 0 sent the sum of 2 gradients, and it tries 1 in a round"));
}

TEST_CASE("a worker that answers and leaves drops out of the round, and has to answer again if it returns in it") {
  auto const p = problem::quadratic::random(3, 4, 9);
  for (auto const returns : {false, true}) {
    auto a = assemble<node>(topology::star(3), p, of_three({9, 9, 9}, {1, 1, 1}, {1, 1, 1}));
    outbox out;
    std::vector<packet> answers;
    for (std::size_t i = 0; i < 3; ++i) {
      out.clear();
      a.nodes[i].start({}, out);
      auto g = a.oracle.evaluate(*out.request);
      out.clear();
      a.nodes[i].on_gradient({}, std::move(g), out);
      answers.push_back(out.packets.at(0));
    }
    auto& server = a.nodes[3];
    auto const give = [&](std::size_t i) {
      out.clear();
      hand_over(server, answers[i], a.blocks.blocks(), out);
      REQUIRE(!out.failure);
    };
    auto const change = [&](neighbour_change::edge what, session_id now) {
      out.clear();
      server.on_neighbours({}, {.peer = node_id{0}, .what = what, .outgoing = now, .incoming = now}, out);
    };
    give(0);
    change(neighbour_change::edge::closes, session_id{1});
    if (returns) change(neighbour_change::edge::opens, session_id{2});
    give(1);
    give(2);
    CHECK(server.statistics().iterations == (returns ? 0 : 1));
    answers[0].session = session_id{2};
    if (returns) give(0);
    CHECK(server.statistics().iterations == 1);
    auto const x = server.estimate().view<double>();
    for (std::size_t c = 0; c < 4; ++c) {
      double sum = 0;
      for (std::size_t i = returns ? 0 : 1; i < 3; ++i) sum -= p.curvature(i, c) * p.centre(i, c);
      CHECK(x[c] == Approx(-0.2 * sum / (returns ? 3 : 2)).epsilon(1e-12));
    }
    CHECK(server.statistics().edges[0].weights.uses == (returns ? 1U : 0U));
  }
}

TEST_CASE("a sum of many gradients is counted at once") {
  weight_counter many, one_by_one;
  for (int k = 0; k < 5; ++k) one_by_one.add(0.5, 0.25, 3);
  many.add(0.5, 0.25, 3, 5);
  many.add(1, 1, 9, 0);
  CHECK(many.uses == one_by_one.uses);
  CHECK(many.total == one_by_one.total);
  CHECK(many.capped == one_by_one.capped);
  CHECK(many.delay_total == one_by_one.delay_total);
  CHECK(many.delay_largest == 3);
  auto o = of_three({9, 9, 9}, {1'000'000'000, 1, 1});  // what a peer may say
  auto a = assemble<node>(topology::star(3), problem::quadratic::random(3, 4, 9), o);
  outbox out;
  for (std::uint32_t i = 0; i < 3; ++i) {
    packet p;
    p.from = node_id{i}, p.to = node_id{3}, p.channel = channel_id::gradient, p.number = iteration{1};
    auto ones = a.pool.allocate<double>(4);
    std::fill(ones.view().begin(), ones.view().end(), 1.0);
    p.body = std::move(ones).publish();
    p.extra.set(scalar_slot::sample_count, i == 0 ? std::uint64_t{1'000'000'000} : std::uint64_t{1});
    out.clear();
    hand_over(a.nodes[3], p, a.blocks.blocks(), out);
    REQUIRE(!out.failure);
  }
  CHECK(a.nodes[3].statistics().edges[0].weights.uses == 1'000'000'000);
}

TEST_CASE("a worker that leaves is not waited for, and one that returns takes part again") {
  auto const p = agreeing(3, 0);
  auto const weather = environment::scenario{.compute = environment::lognormal(10ms, 1.0),
                                             .link = {.latency = 1ms},
                                             .restarts = {{node_id{1}, 2s, 1s}, {node_id{2}, 4s, 1h}}};
  auto o = of_three({0.02, 0.02, 0.02}, {2, 2, 2});
  auto const r = simulate(assemble<node>(topology::star(3), p, o), weather, {.time = 10s});
  CHECK(r.nodes[3].iterations > 150);
  CHECK(distance({r.models[0].view<double>().begin(), r.models[0].view<double>().end()}, p.optimum()) < 1e-6);
  CHECK(r.nodes[1].gradients > 150);  // since it returned
}

}  // namespace
}  // namespace rubato::test
