// SPDX-License-Identifier: MIT
#include <rubato/algorithm/push_diging.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/step/decayed.hpp>
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
using node_type = push_diging<space>;
using problem::quadratic;

auto edges_of(std::initializer_list<std::pair<std::size_t, std::size_t>> list) -> std::vector<topology::edge> {
  std::vector<topology::edge> all;
  for (auto const& [from, to] : list) all.push_back({to_node(from), to_node(to)});
  return all;
}
/// Nodes whose out-degrees differ, so that v is not 1.
auto uneven() -> topology::digraph {
  return topology::from_edges(4, edges_of({{0, 1}, {0, 2}, {1, 2}, {2, 3}, {3, 0}}), "uneven");
}
auto four() -> quadratic { return {{{1}, {2}, {0.5}, {3}}, {{0}, {1}, {4}, {10}}}; }

auto networks() -> std::vector<topology::pair> {
  return {topology::both(uneven()),
          topology::binary_tree(7),
          topology::star(5),
          topology::exponential(6),
          {topology::directed_ring(5), topology::exponential(5)},
          topology::line(1)};
}

/// The paper's algorithm 2, of all nodes.
struct dense_push_diging {
  matrix a;
  quadratic q;
  double gamma;
  matrix u = matrix::Zero(a.rows(), index_of(q.dimension()));
  matrix x = u;
  matrix v = matrix::Ones(a.rows(), 1);
  matrix g = gradients(q, x);
  matrix y = g;

  void round() {
    u = a * (u - gamma * y);
    v = a * v;
    x = v.col(0).cwiseInverse().asDiagonal() * u;
    matrix const fresh = gradients(q, x);
    y = a * y + fresh - g;
    g = fresh;
  }
};

TEST_CASE("push_diging in lock-step is u+ = A (u - gamma y), v+ = A v, y+ = A y + g(u/v) - g (PD.U) (PD.V) (PD.X)") {
  for (auto const& network : networks()) {
    auto const q = quadratic::random(network.nodes(), 5, 42);
    auto made = assemble<node_type>(network, q, {.step = 0.05});
    auto dense = dense_push_diging{dense_network{node_type::make_plan(network)}.a, q, made.raw_step};
    CHECK(made.raw_step == 0.05);
    auto nodes = lockstep{std::move(made)};
    auto worst = 0.0;
    for (int k = 0; k < 100; ++k) {
      for (std::size_t i = 0; i < q.nodes(); ++i) worst = std::max(worst, distance(nodes.point(i), row(dense.x, i)));
      nodes.round();
      dense.round();
    }
    INFO(network.name());
    CHECK(worst < 1e-12);
    CHECK(dense.x.cwiseAbs().maxCoeff() > 0.01);
  }
}

TEST_CASE("push_diging on a directed graph walks the path that was computed elsewhere, to the optimum") {
  auto const q = four();
  auto nodes = lockstep{assemble<node_type>(topology::both(uneven()), q, {.step = 0.05})};
  auto const at = [&](std::vector<double> const& x) {
    for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(nodes.point(i)[0] - x[i]) < 1e-12);
  };
  nodes.round();
  at({0.9, 0.06, 0.075, 0.8});
  nodes.round();
  at({1.575, 0.76608, 0.463637755102041, 0.719196428571429});
  nodes.round();
  at({1.434706142072214, 1.563025465648855, 1.096821993025987, 0.857533684682664});
  auto const off = [&] {
    auto worst = 0.0;
    for (std::size_t i = 0; i < 4; ++i) worst = std::max(worst, std::abs(nodes.point(i)[0] - 68.0 / 13));
    return worst;
  };
  for (int k = 3; k < 200; ++k) nodes.round();
  CHECK((off() > 2.2e-7 && off() < 2.4e-7));
  for (int k = 200; k < 600; ++k) nodes.round();
  CHECK(off() < 1e-12);
}

/// What travels: u and v of each node and round.
struct messages : simulation_trace {
  struct mass {
    std::vector<double> u;
    double v = 0;
  };
  std::map<std::uint64_t, std::map<std::size_t, mass>> rounds;
  void posted(instant, packet const& p) override {
    if (p.channel != channel_id::model) return;
    auto const u = p.body.view<double>();
    rounds[to_count(p.number)][to_index(p.from)] = {{u.begin(), u.end()}, *p.extra.real(scalar_slot::push_sum_weight)};
  }
};

TEST_CASE("in any weather v sums to n, and u moves by the sum of gradients alone (PD.V) (PD.U)") {
  auto const network = topology::pair{topology::directed_ring(5), topology::exponential(5)};
  auto const q = quadratic::random(5, 3, 7, {.spread = 3, .condition = 5});
  auto const a = dense_network{node_type::make_plan(network)}.a;
  auto const weather = environment::scenario{.compute = environment::lognormal(10ms, 0.8).slow(0, 3.0),
                                             .link = {.latency = 1ms, .jitter = 30ms, .loss = 0.2},
                                             .seed = 4};
  messages sent;
  simulate(assemble<node_type>(network, q, {.step = 0.05}), weather, {.time = 5s}, {.trace = &sent});
  matrix x = matrix::Zero(5, 3);
  std::vector<double> sum(3);
  auto checked = 0;
  for (auto const& [k, round] : sent.rounds) {
    if (round.size() < 5) break;  // the last ones
    matrix u(5, 3);
    Eigen::VectorXd v(5);
    for (auto const& [i, m] : round) {
      v(index_of(i)) = m.v;
      for (std::size_t c = 0; c < 3; ++c) u(index_of(i), index_of(c)) = m.u[c];
    }
    CHECK(std::abs(v.sum() - 5) < 1e-13);
    CHECK(v.minCoeff() > 0);
    matrix const g = gradients(q, x);
    for (std::size_t c = 0; c < 3; ++c) {
      sum[c] -= 0.05 * g.col(index_of(c)).sum();
      CHECK(std::abs(u.col(index_of(c)).sum() - sum[c]) < 1e-12);
    }
    Eigen::VectorXd const next = a * v;
    x = next.cwiseInverse().asDiagonal() * (a * u);
    ++checked;
  }
  CHECK(checked > 50);
  CHECK(std::abs(sum[0]) > 1);
}

TEST_CASE("push_diging on one node is SGD bit for bit (PD.X)") { is_sgd_alone<node_type>(); }

TEST_CASE("push_diging with decay ends at the optimum of the decayed sum, wherever mass gathers") {
  using decayed = step::decayed<step::sgd>;
  auto const q = four();
  auto nodes = lockstep{assemble<push_diging<space, decayed>>(topology::both(uneven()), q,
                                                              {.step = 0.02, .step_rule = decayed{step::sgd{}, 0.1}})};
  for (int k = 0; k < 3000; ++k) nodes.round();
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(nodes.point(i)[0] - 4.927536231884058) < 1e-9);
}

TEST_CASE("push_diging takes weights of your own, and refuses those with which mass does not get everywhere") {
  auto const q = four();
  auto const columns = [](std::vector<std::vector<double>> const& a) {
    return node_type::make_plan(mixing::from_rows(a, mixing::stochasticity::column));
  };
  auto nodes = lockstep{assemble<node_type>(columns({{.1, 0, 0, .8}, {.3, .5, 0, 0}, {.6, .5, .3, 0}, {0, 0, .7, .2}}),
                                            q, {.step = 0.05})};
  for (int k = 0; k < 800; ++k) nodes.round();
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(nodes.point(i)[0] - 68.0 / 13) < 1e-9);
  CHECK_FALSE(refusal([&] {
                static_cast<void>(columns({{.5, .5, 0, 0}, {.5, .5, 0, 0}, {0, 0, .5, .5}, {0, 0, .5, .5}}));
              }).empty());
}

TEST_CASE("a push-sum weight that no node can have, and a round that no sender can have reached, end the run") {
  auto a = assemble<node_type>(topology::directed_ring(3), quadratic::random(3, 4, 5), {.step = 0.3});
  outbox out;
  a.nodes[0].start({}, out);
  auto const asked = *out.request;
  out.clear();
  a.nodes[0].on_gradient({}, a.oracle.evaluate(asked), out);
  auto const model = std::find_if(out.packets.begin(), out.packets.end(),
                                  [](packet const& p) { return p.channel == channel_id::model; });
  REQUIRE(model != out.packets.end());
  auto good = *model;
  auto const said = [&](packet const& p) {
    outbox answer;
    hand_over(a.nodes[1], p, 1, answer);
    return answer.failure ? answer.failure->sentence : "";
  };
  out.clear();
  a.nodes[1].start({}, out);
  auto bad = good;
  bad.extra = {};
  CHECK(says(said(bad), "carries no push-sum weight"));
  bad.extra.set(scalar_slot::push_sum_weight, 3.5);
  CHECK(says(said(bad), "carries a push-sum weight of 3.5, where it must lie in 0 to 3"));
  for (std::uint64_t k = 1; k <= 4; ++k) {  // more than node 0 can send before it needs what node 1 sends
    good.number = iteration{k};
    CHECK(said(good).empty());
  }
  good.number = iteration{5};
  CHECK(says(said(good), "of a round that its sender cannot have reached"));
}

}  // namespace
}  // namespace rubato::test
