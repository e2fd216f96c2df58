// SPDX-License-Identifier: MIT
// Graphs that change from round to round: which weights a round has, and D-PSGD on them beside its dense form.
#include <rubato/mixing/schedule.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/non_blocking_d_psgd.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using mixing::schedule;
using mixing::stochasticity;

/// These edges, of weight 1/2 each.
auto pairs(std::size_t n, std::vector<std::pair<std::size_t, std::size_t>> const& edges) -> mixing::matrix {
  std::vector<std::vector<double>> rows(n, std::vector<double>(n, 0.0));
  for (std::size_t i = 0; i < n; ++i) rows[i][i] = 1;
  for (auto const& [i, j] : edges) rows[i][i] = rows[j][j] = rows[i][j] = rows[j][i] = 0.5;
  return mixing::from_rows(rows, stochasticity::doubly, "pairs");
}
/// Five nodes; no round is connected, and node 4 is alone in two of three.
auto three_rounds() -> std::vector<mixing::matrix> {
  return {pairs(5, {{0, 1}, {2, 3}}), pairs(5, {{1, 2}}), pairs(5, {{0, 3}, {1, 4}})};
}
auto schedules() -> std::vector<schedule> {
  return {schedule::cycle(three_rounds()), schedule::one_of(three_rounds(), {0.5, 0.25, 0.25}, 7),
          schedule::independent(three_rounds(), {0.4, 0.9, 0.3}, 11)};
}
auto dense(schedule const& s, std::uint64_t round) -> test::matrix {
  auto const n = index_of(s.nodes());
  matrix w = matrix::Identity(n, n);
  for (auto const part : s.active(round)) {
    for (std::size_t i = 0; i < s.nodes(); ++i)
      for (std::size_t j = 0; j < s.nodes(); ++j)
        w(index_of(i), index_of(j)) += s.parts()[part].at(to_node(i), to_node(j)) - (i == j ? 1.0 : 0.0);
  }
  return w;
}

TEST_CASE("the weights of a round are a function of the round and the seed alone") {
  for (auto const& s : schedules()) {
    auto const again = s;
    for (std::uint64_t k = 60; k > 0; --k) {
      auto const w = dense(s, k);
      for (std::size_t i = 0; i < 5; ++i)
        for (std::size_t j = 0; j < 5; ++j)
          CHECK(again.weight(k, to_node(i), to_node(j)) == Approx(w(index_of(i), index_of(j))).margin(1e-15));
    }
  }
  auto const cycle = schedules()[0];
  CHECK(cycle.active(1) == std::vector<std::size_t>{0});
  CHECK(cycle.active(6) == std::vector<std::size_t>{2});
  CHECK(schedule::one_of(three_rounds(), {0.5, 0.25, 0.25}, 8).text() != schedules()[1].text());
}

TEST_CASE("drawn matrices come as often as their probabilities say") {
  constexpr auto rounds = 20'000;
  auto const count = [](schedule const& s) {
    std::vector<double> share(3);
    for (std::uint64_t k = 1; k <= rounds; ++k)
      for (auto const part : s.active(k)) share[part] += 1.0 / rounds;
    return share;
  };
  auto const one = count(schedules()[1]), any = count(schedules()[2]);
  std::vector<double> const p{0.5, 0.25, 0.25}, q{0.4, 0.9, 0.3};
  for (std::size_t j = 0; j < 3; ++j) {
    CHECK(one[j] == Approx(p[j]).margin(0.015));  // four standard deviations
    CHECK(any[j] == Approx(q[j]).margin(0.015));
  }
}

/// Each model that nodes post, and the round that it names.
struct posts : simulation_trace {
  struct model {
    std::size_t from = 0, to = 0;
    std::uint64_t round = 0;
    std::vector<double> values;
  };
  void posted(instant, packet const& p) override {
    auto const body = p.body.view<double>();
    all.push_back({to_index(p.from), to_index(p.to), to_count(p.based_on), {body.begin(), body.end()}});
  }
  std::vector<model> all;
};

/// Random speeds and latencies, so that nodes are in different rounds: each message is on an edge of its round, and is
/// the model of the dense form.
template<class Node>
void compare_with_dense(schedule const& s, bool adapts_first) {
  auto const q = problem::quadratic::random(5, 4, 8);
  posts watch;
  auto const scenario = environment::scenario{.compute = environment::shifted_exponential(10ms, 0.5).slow(3, 4),
                                              .link = {.latency = 1ms, .jitter = 20ms},
                                              .seed = 5};
  auto const r =
      simulate(assemble<Node>(mixing::gossip_plan(s), q, {.step = 0.1}), scenario, {.time = 2s}, {.trace = &watch});
  auto least = r.nodes[0].iterations;
  for (auto const& node : r.nodes) least = (std::min)(least, node.iterations);
  CHECK(least >= 20);
  std::vector<matrix> models(1);  // what round k posts
  matrix x = matrix::Zero(5, 4);
  for (std::uint64_t k = 1; k <= 400; ++k) {
    matrix const stepped = x - 0.1 * gradients(q, x);
    models.push_back(adapts_first ? stepped : x);
    x = adapts_first ? matrix(dense(s, k) * stepped) : matrix(dense(s, k) * x - 0.1 * gradients(q, x));
  }
  auto worst = 0.0;
  auto strays = 0;
  for (auto const& m : watch.all) {
    REQUIRE(m.round < models.size());
    worst = (std::max)(worst, distance(m.values, row(models[m.round], m.from)));
    if (s.weight(m.round, to_node(m.to), to_node(m.from)) == 0) ++strays;
  }
  CHECK(worst < 1e-12);
  CHECK(strays == 0);
  CHECK(watch.all.size() > 50);
}

TEST_CASE("on a graph that changes D-PSGD posts along the edges of each round and mixes with its weights") {
  for (auto const& s : schedules()) {
    INFO(s.name());
    compare_with_dense<d_psgd<space>>(s, false);
    compare_with_dense<d_psgd_atc<space>>(s, true);
  }
}

TEST_CASE("a schedule of one matrix gives the bits of the fixed graph") {
  auto const w = mixing::metropolis_hastings(topology::ring(6));
  auto const q = problem::quadratic::random(6, 4, 8, {.noise = 0.5});
  auto const scenario = environment::scenario{.compute = environment::shifted_exponential(10ms, 0.5), .seed = 5};
  auto const of = [&](mixing::plan const& plan) {
    auto const r = simulate(assemble<non_blocking_d_psgd<space>>(plan, q, {.step = 0.1}), scenario, {.time = 2s});
    std::vector<double> all;
    for (auto const& m : r.models) all.insert(all.end(), m.view<double>().begin(), m.view<double>().end());
    return all;
  };
  CHECK(of(mixing::gossip_plan(w)) == of(mixing::gossip_plan(schedule::cycle({w}))));
}

TEST_CASE("nodes that leave and come back go on, on a graph that changes") {
  auto const q = problem::quadratic::random(5, 4, 8);
  for (auto const& s : schedules()) {
    auto const scenario = environment::scenario{
        .compute = environment::shifted_exponential(10ms, 0.5),
        .link = {.latency = 1ms},
        .restarts = {{.node = node_id{1}, .at = 500ms, .down = 400ms}, {.node = node_id{4}, .at = 1s, .down = 700ms}},
        .seed = 5};
    auto const r =
        simulate(assemble<d_psgd_atc<space>>(mixing::gossip_plan(s), q, {.step = 0.1}), scenario, {.time = 6s});
    INFO(s.name());
    for (auto const& node : r.nodes) CHECK(node.iterations > 100);
    CHECK(r.history.back().loss - q.minimum() < 0.2 * (r.history.front().loss - q.minimum()));
  }
}

TEST_CASE("threads run on a graph that changes") {
  auto const q = problem::quadratic::random(5, 4, 8);
  auto const r = run_threads(assemble<d_psgd<space>>(mixing::gossip_plan(schedules()[2]), q, {.step = 0.1}),
                             {.compute = environment::fixed(1us)}, {.time = 20s, .gradients = 500});
  CHECK(r.stopped == stop_reason::gradients);
}

TEST_CASE("a method that needs a fixed graph, and a schedule that cannot mix, are refused") {
  auto const q = problem::quadratic::random(5, 4, 8);
  auto const plan = mixing::gossip_plan(schedules()[0]);
  CHECK(says(refusal([&] { static_cast<void>(assemble<push_pull<space>>(plan, q, {})); }),
             "needs a graph that stays the same"));
  CHECK(says(refusal([&] { static_cast<void>(schedule::cycle({})); }), "needs at least one"));
  CHECK(says(refusal([&] { static_cast<void>(schedule::cycle({pairs(5, {}), pairs(4, {})})); }), "make all agree"));
  CHECK(
      says(refusal([&] { static_cast<void>(schedule::one_of(three_rounds(), {0.5, 0.25, 0.5}, 1)); }), "and not to 1"));
  CHECK(
      says(refusal([&] { static_cast<void>(schedule::one_of(three_rounds(), {0.5, 0.5}, 1)); }), "give one for each"));
  CHECK(says(refusal([&] { static_cast<void>(schedule::independent(three_rounds(), {0.5, 0.5, 1.5}, 1)); }),
             "must lie in (0, 1]"));
  CHECK(says(refusal([&] { static_cast<void>(mixing::gossip_plan(schedule::cycle({pairs(5, {{0, 1}})}))); }),
             "is not connected"));
  auto const one_way =
      mixing::from_rows({{0, 1, 0}, {0, 0, 1}, {1, 0, 0}}, stochasticity::doubly, "turn", mixing::signs::any);
  CHECK(says(refusal([&] { static_cast<void>(mixing::gossip_plan(schedule::cycle({one_way}))); }), "symmetric"));
  auto const negative = mixing::from_rows({{1.5, -0.5}, {-0.5, 1.5}}, stochasticity::doubly, "odd", mixing::signs::any);
  CHECK(says(refusal([&] { static_cast<void>(mixing::gossip_plan(schedule::cycle({negative}))); }), "not negative"));
}

}  // namespace
}  // namespace rubato::test
