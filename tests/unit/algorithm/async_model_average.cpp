// SPDX-License-Identifier: MIT
#include <rubato/algorithm/async_model_average.hpp>

#include <cstdint>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node_type = async_model_average<backend::host<double>>;
using bytes = async_model_average<backend::host<float>, codec::minmax_u8>;
using problem::quadratic;
using vector = std::vector<double>;

/// Nodes whose gradients and messages come when the test says so.
struct by_hand {
  explicit by_hand(quadratic const& p, std::uint64_t local_steps = 1)
      : a{assemble<node_type>(topology::ring(p.nodes()), p, {.step = 0.3, .local_steps = local_steps})},
        asked(p.nodes()) {
    for (std::size_t i = 0; i < asked.size(); ++i) {
      a.nodes[i].start({}, out);
      drain(i);
    }
  }
  void step(std::size_t i) {
    auto const g = a.oracle.evaluate(asked[i]);
    a.nodes[i].on_gradient({}, g, out);
    drain(i);
  }
  /// Delivers what has been posted and what that causes; adds up how far models moved.
  void deliver(vector& moved) {
    while (!posted.empty()) {
      for (auto const& p : std::exchange(posted, {})) {
        auto const to = to_index(p.to);
        auto const before = x(to);
        hand_over(a.nodes[to], p, 1, out);
        auto const after = x(to);
        for (std::size_t c = 0; c < moved.size(); ++c) moved[c] += after[c] - before[c];
        drain(to);
      }
    }
  }
  [[nodiscard]] auto x(std::size_t i) const -> vector {
    auto const v = a.nodes[i].estimate().view<double>();
    return {v.begin(), v.end()};
  }
  void drain(std::size_t i) {
    if (out.request) asked[i] = std::move(*out.request);
    for (auto& p : out.packets) posted.push_back(std::move(p));
    out.clear();
  }

  assembly a;
  std::vector<gradient_request> asked;
  std::vector<packet> posted{};
  outbox out{};
};

auto minus(vector a, vector const& b) -> vector {
  for (std::size_t c = 0; c < a.size(); ++c) a[c] -= b[c];
  return a;
}

TEST_CASE("(V.S) if no step is made during an average, all models are equal bit for bit after it") {
  lockstep exact{assemble<node_type>(topology::ring(5), quadratic::random(5, 12, 1), {.step = 0.3})};
  lockstep coarse{assemble<bytes>(topology::ring(5), quadratic::random(5, 12, 1), {.step = 0.3})};
  for (auto* run : {&exact, &coarse}) {
    for (int k = 0; k < 20; ++k) {
      run->round();
      auto const first = run->nodes()[0].estimate();
      for (auto& node : run->nodes()) {
        auto const other = node.estimate();
        REQUIRE(std::equal(first.bytes().begin(), first.bytes().end(), other.bytes().begin(), other.bytes().end()));
      }
    }
  }
}

TEST_CASE("(V.L) (V.C) steps made during an average are kept, and the corrections add up to zero") {
  auto const p = quadratic::random(4, 9, 2);
  by_hand h{p};
  for (std::size_t i = 0; i < 4; ++i) h.step(i);
  std::vector<vector> snapshots;
  for (std::size_t i = 0; i < 4; ++i) snapshots.push_back(h.x(i));
  vector mean(9, 0.0);
  for (auto const& s : snapshots) {
    for (std::size_t c = 0; c < 9; ++c) mean[c] += s[c] / 4;
  }
  for (int k = 0; k < 3; ++k) h.step(0);  // node 0 goes on while its messages travel
  h.step(2);
  auto const learnt = minus(h.x(0), snapshots[0]);
  auto const nothing = minus(h.x(1), snapshots[1]);
  CHECK(distance(learnt, vector(9, 0.0)) > 0.01);
  CHECK(nothing == vector(9, 0.0));
  auto const before = h.x(0);
  vector moved(9, 0.0);
  h.deliver(moved);
  CHECK(distance(moved, vector(9, 0.0)) < 1e-14);
  CHECK(distance(minus(h.x(0), before), vector(9, 0.0)) > 0.01);
  CHECK(distance(minus(h.x(0), mean), learnt) < 1e-14);
  CHECK(distance(h.x(1), mean) < 1e-15);
  CHECK(h.x(1) == h.x(3));
}

TEST_CASE("an average waits for its slowest node, and no node waits for an average") {
  auto const p = quadratic::random(4, 6, 1);
  auto const result =
      simulate(assemble<node_type>(topology::ring(4), p, {.step = 0.1}),
               {.compute = environment::fixed(10ms).slow(3, 20.0), .link = {.latency = 1ms}}, {.time = 10s});
  CHECK(result.nodes[0].gradients >= 999);
  CHECK(result.nodes[3].gradients >= 49);
  CHECK(result.nodes[3].gradients <= 50);
  for (auto const& e : result.edges) {
    CHECK(e.channel == channel_id::chunk);
    CHECK(e.packets_sent >= 2 * 48);  // a part and a mean for every step of the slow node
    CHECK(e.packets_sent <= 2 * 51);
  }
}

TEST_CASE("an average begins after the set number of local steps, and a node further ahead has only one under way") {
  by_hand h{quadratic::random(3, 6, 4), 3};
  for (int k = 0; k < 2; ++k) {
    for (std::size_t i = 0; i < 3; ++i) h.step(i);
  }
  CHECK(h.posted.empty());
  for (int k = 0; k < 5; ++k) h.step(0);
  CHECK(h.posted.size() == 2);  // one average begun, not two
  h.step(1);
  h.step(2);
  CHECK(h.posted.size() == 6);
  vector moved(6, 0.0);
  h.deliver(moved);
  CHECK(distance(moved, vector(6, 0.0)) < 1e-14);
  CHECK(h.posted.empty());
  CHECK(says(refusal([] { by_hand{quadratic::random(3, 6, 4), 0}; }), "after 1 local step or more"));
}

TEST_CASE("with even speeds the models end near the optimum of the sum, in bytes as in doubles") {
  auto const p = quadratic::random(6, 8, 9, {.spread = 1, .condition = 4});
  auto const weather = environment::scenario{
      .compute = environment::lognormal(10ms, 0.2), .link = {.latency = 2ms, .loss = 0.1}, .seed = 3};
  auto const check = [&](run_result const& r) {
    for (auto const& m : r.models) {
      vector x;
      rubato::detail::widen(m, x);
      CHECK(distance(x, p.optimum()) < 0.15);
    }
  };
  check(simulate(assemble<node_type>(topology::ring(6), p, {.step = 0.02}), weather, {.time = 30s}));
  check(simulate(assemble<bytes>(topology::ring(6), p, {.step = 0.02}), weather, {.time = 30s}));
}

TEST_CASE(
    "a node that leaves the averaging ends the run with a sentence, and an unrequested gradient is only counted") {
  by_hand h{quadratic::random(3, 4, 1)};
  auto g = h.a.oracle.evaluate(h.asked[0]);
  g.id = next(g.id);
  h.a.nodes[0].on_gradient({}, g, h.out);
  CHECK(h.out.packets.empty());
  CHECK(h.a.nodes[0].statistics().dropped == 1);
  neighbour_change change;
  change.peer = node_id{1};
  h.a.nodes[0].on_neighbours({}, change, h.out);
  REQUIRE(h.out.failure);
  CHECK(says(h.out.failure->sentence, "node 1 left the averaging"));
}

}  // namespace
}  // namespace rubato::test
