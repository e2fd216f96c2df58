// SPDX-License-Identifier: MIT
#include <rubato/algorithm/extra.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/topology/builders.hpp>

#include "support/alone.hpp"
#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using node_type = extra<space>;
using problem::quadratic;

auto networks() -> std::vector<topology::pair> {
  return {topology::binary_tree(7), topology::star(5), topology::ring(6),
          topology::exponential(6), topology::line(2), topology::line(1)};
}

auto four() -> quadratic { return {{{1}, {2}, {0.5}, {3}}, {{0}, {1}, {4}, {10}}}; }

/// The models of each round, as the difference form of the paper has them.
auto dense_models(matrix const& w, quadratic const& q, double gamma, std::uint64_t rounds) -> std::vector<matrix> {
  std::vector<matrix> all{matrix::Zero(w.rows(), index_of(q.dimension()))};
  matrix const one = matrix::Identity(w.rows(), w.cols());
  for (std::uint64_t k = 0; k < rounds; ++k) {
    auto const& x = all.back();
    if (k == 0) {
      all.emplace_back(w * x - gamma * gradients(q, x));
      continue;
    }
    auto const& old = all[k - 1];
    all.emplace_back((one + w) * x - 0.5 * (one + w) * old - gamma * (gradients(q, x) - gradients(q, old)));
  }
  return all;
}

TEST_CASE("extra in lock-step is x+ = (I + W) x - (I + W) x_old / 2 - gamma (g - g_old) (EX.Y) (EX.X) (EX.R)") {
  for (auto const& network : networks()) {
    auto const q = quadratic::random(network.nodes(), 5, 42);
    auto made = assemble<node_type>(network, q, {.step = 0.05});
    auto const dense = dense_models(dense_network{node_type::make_plan(network)}.w, q, made.raw_step, 100);
    auto nodes = lockstep{std::move(made)};
    auto worst = 0.0;
    for (auto const& x : dense) {
      for (std::size_t i = 0; i < q.nodes(); ++i) worst = std::max(worst, distance(nodes.point(i), row(x, i)));
      nodes.round();
    }
    INFO(network.name());
    CHECK(worst < 1e-12);
    CHECK(dense.back().cwiseAbs().maxCoeff() > 0.01);
  }
}

TEST_CASE("extra on a ring of four walks the path that was computed elsewhere, to the optimum") {
  auto const q = four();
  auto nodes = lockstep{assemble<node_type>(topology::ring(4), q, {.step = 0.2})};
  auto const at = [&](std::vector<double> const& x) {
    for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(nodes.point(i)[0] - x[i]) < 1e-12);
  };
  nodes.round();
  at({0, 0.4, 0.4, 6});
  nodes.round();
  at({2.133333333333333, 0.506666666666667, 2.626666666666667, 4.533333333333333});
  nodes.round();
  at({3.031111111111111, 1.886222222222222, 3.626222222222222, 4.444444444444444});
  for (int k = 3; k < 50; ++k) nodes.round();
  auto worst = 0.0;
  for (std::size_t i = 0; i < 4; ++i) worst = std::max(worst, std::abs(nodes.point(i)[0] - 68.0 / 13));
  CHECK((worst > 2e-8 && worst < 2.4e-8));
  for (int k = 50; k < 110; ++k) nodes.round();
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(nodes.point(i)[0] - 68.0 / 13) < 1e-13);
}

TEST_CASE("the mean of extra moves by the mean gradient alone, of samples and with steps of a schedule (EX.X)") {
  auto const q = quadratic::random(6, 4, 3, {.spread = 3, .condition = 5, .noise = 0.5});
  node_type::options const o{
      .step = 0.1, .seed = 9, .schedule = {.warmup = 7, .shape = step::curve::inverse, .length = 20}};
  auto nodes = lockstep{assemble<node_type>(topology::ring(6), q, o)};
  space b;
  auto worst = 0.0;
  auto moved = 0.0;
  for (std::uint64_t k = 0; k < 200; ++k) {
    std::vector<double> before(4), after(4), g(4);
    for (std::size_t i = 0; i < 6; ++i) {
      auto const x = nodes.point(i);
      q.gradient(b, std::span<double const>{x}, {9, to_node(i), k}, std::span<double>{g});
      for (std::size_t c = 0; c < 4; ++c) before[c] += (x[c] - 0.1 * o.schedule.factor(k, {}) * g[c]) / 6;
    }
    nodes.round();
    for (std::size_t i = 0; i < 6; ++i)
      for (std::size_t c = 0; c < 4; ++c) after[c] += nodes.point(i)[c] / 6;
    worst = std::max(worst, distance(before, after));
    moved = std::max(moved, std::abs(after[0]));
  }
  CHECK(worst < 1e-14 * 200);  // each round rounds, and none takes that back
  CHECK(moved > 0.1);
}

template<class Node>
auto off_the_optimum(typename Node::options const& o) -> double {
  auto const q = quadratic::random(6, 5, 42);
  auto nodes = lockstep{assemble<Node>(topology::ring(6), q, o)};
  for (int k = 0; k < 3000; ++k) nodes.round();
  auto worst = 0.0;
  for (std::size_t i = 0; i < 6; ++i) worst = std::max(worst, distance(nodes.point(i), q.optimum()));
  return worst;
}

TEST_CASE("extra ends at the optimum of data that differ, with momentum too") {
  CHECK(off_the_optimum<node_type>({.step = 0.1}) < 1e-9);
  CHECK(off_the_optimum<extra<space, step::momentum>>({.step = 0.02, .step_rule = step::momentum{0.8}}) < 1e-9);
}

TEST_CASE("extra on one node is SGD bit for bit (EX.R)") { is_sgd_alone<node_type>(); }

TEST_CASE("extra is the synchronous method whatever the speeds and links") {
  auto const network = topology::binary_tree(7);
  auto const q = quadratic::random(7, 5, 42);
  auto const weather = environment::scenario{.compute = environment::lognormal(10ms, 0.8).slow(0, 3.0),
                                             .link = {.latency = 1ms, .jitter = 30ms, .loss = 0.2},
                                             .seed = 4};
  auto const r = simulate<node_type>(network, q, {.step = 0.05}, weather, {.time = 2s});
  std::uint64_t most = 0;
  for (auto const& n : r.nodes) most = std::max(most, n.iterations);
  CHECK(most > 10);
  auto const dense = dense_models(dense_network{node_type::make_plan(network)}.w, q, 0.05, most);
  for (std::size_t i = 0; i < 7; ++i) {
    auto const x = r.models[i].template view<double>();
    CHECK(distance({x.begin(), x.end()}, row(dense[r.nodes[i].iterations], i)) < 1e-12);
  }
}

TEST_CASE("extra takes negative weights that mix, and refuses weights and graphs for which it is not defined") {
  auto const rows = [](std::vector<std::vector<double>> const& w) {
    return mixing::from_rows(w, mixing::stochasticity::doubly, "mine", mixing::signs::any);
  };
  auto const q = four();
  auto const opposed = rows({{.3, .4, -.1, .4}, {.4, .3, .4, -.1}, {-.1, .4, .3, .4}, {.4, -.1, .4, .3}});
  auto nodes = lockstep{assemble<node_type>(mixing::gossip_plan(opposed), q, {.step = 0.1})};
  for (int k = 0; k < 500; ++k) nodes.round();
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(nodes.point(i)[0] - 68.0 / 13) < 1e-9);

  auto const refused = [&](mixing::plan const& plan) {
    return refusal([&] { static_cast<void>(assemble<node_type>(plan, q, {})); });
  };
  auto const around = mixing::tracking_plan(topology::directed_ring(4));
  CHECK(says(refused(around), "a symmetric W, and that of node 0 is not"));
  auto const lazy = rows({{.5, .25, 0, .25}, {.25, .5, .25, 0}, {0, .25, .5, .25}, {.25, 0, .25, .5}});
  CHECK(says(refused(mixing::gossip_plan(mixing::schedule::cycle({lazy, lazy}))), "needs a graph that stays the same"));
}

}  // namespace
}  // namespace rubato::test
