// SPDX-License-Identifier: MIT
// A step that goes by the age of answers: a network whose messages become late converges, where a constant step
// diverges, and one whose messages are not late does not change a bit.
#include <rubato/step/by_delay.hpp>

#include <cmath>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using problem::quadratic;
using node_type = r_fast<backend::host<double>>;
using vec = std::vector<double>;

auto eight() -> quadratic {
  return {{{1}, {2}, {0.5}, {3}, {1}, {2}, {0.5}, {3}}, {{0}, {1}, {4}, {10}, {-2}, {3}, {1}, {5}}};
}
auto with(double gamma, step::by_delay delays) -> node_type::options {
  node_type::options o{};
  o.step = gamma, o.scale = step_scale::raw, o.by_delay = delays;
  return o;
}

/// All nodes act together, and every message is used so many rounds after it was posted: `late(round)`.
template<class Late>
auto distance_after(int rounds, node_type::options const& o, Late const& late) -> double {
  auto a = assemble<node_type>(topology::star(8), eight(), o);
  std::vector<gradient_request> requests(8);
  std::vector<std::pair<int, packet>> under_way;
  outbox out;
  auto const drain = [&](std::size_t i, int round) {
    REQUIRE(!out.failure);
    if (out.request) requests[i] = std::move(*out.request);
    for (auto& p : out.packets) under_way.emplace_back(round + late(round), std::move(p));
    out.clear();
  };
  for (std::size_t i = 0; i < 8; ++i) a.nodes[i].start({}, out), drain(i, 0);
  auto worst = 0.0;
  for (int round = 1; round <= rounds; ++round) {
    for (auto& [due, p] : std::exchange(under_way, {})) {
      if (due > round) under_way.emplace_back(due, std::move(p));
      else test::hand_over(a.nodes[to_index(p.to)], p, 1, out), drain(to_index(p.to), round);
    }
    worst = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      auto const asked = std::exchange(requests[i], {});
      worst = std::max(worst, std::abs(asked.point.view<double>()[0] - eight().optimum()[0]));
      a.nodes[i].on_gradient({}, a.oracle.evaluate(asked), out), drain(i, round);
    }
    if (worst > 1e6) return worst;
  }
  return worst;
}

TEST_CASE("a step by delay falls with the round trip beyond the reference, and is never above the step") {
  auto const s = step::by_delay{.exponent = 1};
  vec found;
  for (auto const r : {0.0, 1.0, 3.0, 7.0, 15.0}) found.push_back(0.08 * s.factor(r));
  CHECK(test::distance(found, {0.08, 0.08, 0.04, 0.02, 0.01}) < 1e-15);
  CHECK(step::by_delay{}.factor(1000) == 1);
  CHECK(std::abs(step::by_delay{.exponent = 1.5, .reference = 3}.factor(15) - 0.125) < 1e-15);
}

TEST_CASE("where messages become 16 rounds late, a constant step diverges and a step by delay converges") {
  auto const jumps = [](int round) { return round < 200 ? 1 : 16; };
  CHECK(distance_after(3000, with(0.039, {}), jumps) > 1e6);
  CHECK(distance_after(3000, with(0.039, {.exponent = 1}), jumps) < 1e-9);
}

TEST_CASE("where messages are not late a step by delay is the constant one, to the bit") {
  auto const on_time = [](int) { return 1; };
  CHECK(distance_after(100, with(0.039, {.exponent = 1}), on_time) == distance_after(100, with(0.039, {}), on_time));
}

auto simulated(step::by_delay delays, std::chrono::nanoseconds latency, std::chrono::nanoseconds length)
    -> std::vector<vec> {
  auto const r =
      simulate<node_type>(topology::star(8), eight(), with(0.039, delays),
                          {.compute = environment::fixed(10ms), .link = {.latency = latency}}, {.time = length});
  std::vector<vec> models;
  for (auto const& m : r.models) models.emplace_back(m.view<double>().begin(), m.view<double>().end());
  return models;
}

TEST_CASE("a run over slow links converges by its delays, and one over fast links loses nothing") {
  for (auto const& x : simulated({.exponent = 1}, 160ms, 60s)) CHECK(test::distance(x, eight().optimum()) < 1e-6);
  auto farthest = 0.0;
  for (auto const& x : simulated({}, 160ms, 60s)) farthest = std::max(farthest, test::distance(x, eight().optimum()));
  CHECK(farthest > 1e6);
  CHECK(simulated({.exponent = 1}, 1ms, 2s) == simulated({}, 1ms, 2s));
}

TEST_CASE("a node whose edge opens again counts its answers from there, and not from its first message") {
  auto const plan = node_type::make_plan(topology::star(3));
  detail::round_trips leaf{plan.nodes[1]};  // sends to the root and hears it
  CHECK(leaf.measure(40) == 39);
  leaf.change({.peer = node_id{0}, .what = neighbour_change::edge::closes}, 50);
  for (int k = 0; k < 200; ++k) static_cast<void>(leaf.measure(50));
  CHECK(leaf.measure(50) < 1e-6);
  leaf.change({.peer = node_id{0}, .what = neighbour_change::edge::opens}, 60);
  CHECK(leaf.measure(63) == 3);
}

TEST_CASE("an answer to a message that was never sent ends the run with the sender's name") {
  auto a = assemble<node_type>(topology::star(3), quadratic::random(3, 1, 1), with(0.01, {.exponent = 1}));
  outbox out;
  a.nodes[0].start({}, out);
  out.clear();
  packet p;
  p.from = node_id{2}, p.to = node_id{0}, p.channel = channel_id::tracker, p.number = iteration{1};
  p.based_on = iteration{9};
  auto sums = a.pool.allocate<double>(1);
  sums.data()[0] = 1;
  p.body = std::move(sums).publish();
  test::hand_over(a.nodes[0], p, 1, out);
  REQUIRE(out.failure);
  CHECK(out.failure->sentence == "tracker message 1 of node 2 answers message 9 of node 0, which has sent 1");
}

TEST_CASE("a step by delay has valid settings, and nodes that wait for messages have none") {
  auto const why = [](step::by_delay delays) {
    return test::refusal([&] {
      static_cast<void>(assemble<node_type>(topology::ring(3), quadratic::random(3, 1, 1), with(0.01, delays)));
    });
  };
  CHECK(test::says(why({.exponent = -1}), "exponent of a step by delay"));
  CHECK(test::says(why({.reference = std::nan("")}), "reference of a step by delay"));
  CHECK(why({}).empty());
  CHECK_FALSE(std::is_assignable_v<decltype(push_pull<backend::host<double>>::options::by_delay)&, step::by_delay>);
}

}  // namespace
