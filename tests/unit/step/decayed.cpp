// SPDX-License-Identifier: MIT
// Decoupled weight decay and adaptive steps, alone, beside averages, at servers and under gradient tracking.
#include <rubato/step/decayed.hpp>

#include <cmath>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/osgp.hpp>
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
using reference = backend::host<double>;
using vec = std::vector<double>;
using decayed_sgd = step::decayed<step::sgd>;

/// Four nodes, one value each; the optimum is 68/13.
auto four() -> quadratic { return {{{1}, {2}, {0.5}, {3}}, {{0}, {1}, {4}, {10}}}; }
auto id(std::size_t i) -> node_id { return to_node(i); }
/// A directed graph that is not doubly stochastic: v = (3, 2, 4, 4)/13.
auto uneven() -> topology::pair {
  return topology::both(topology::from_edges(
      4, {{id(0), id(1)}, {id(0), id(2)}, {id(1), id(2)}, {id(2), id(3)}, {id(3), id(0)}}, "uneven"));
}

/// Uneven shares; all at the root of two trees; equal shares.
auto pairs() -> std::vector<topology::pair> { return {uneven(), topology::star(4), topology::both(topology::ring(4))}; }

template<class Node>
auto raw(double gamma, decltype(Node::options::step_rule) rule) -> typename Node::options {
  typename Node::options o{};
  o.step = gamma;
  o.scale = step_scale::raw;
  o.step_rule = rule;
  return o;
}
template<class Node>
auto after(int rounds, auto const& network, quadratic const& q, typename Node::options const& o) -> std::vector<vec> {
  test::lockstep nodes{assemble<Node>(network, q, o)};
  for (int k = 0; k < rounds; ++k) nodes.round();
  std::vector<vec> x;
  for (std::size_t i = 0; i < q.nodes(); ++i) x.push_back(nodes.point(i));
  return x;
}
auto farthest(std::vector<vec> const& x, double from) -> double {
  auto worst = 0.0;
  for (auto const& each : x) worst = std::max(worst, test::distance(each, {from}));
  return worst;
}

template<class Step>
auto along(Step const& its, vec const& gradients) -> vec {
  reference b;
  typename Step::template state<reference> state{its, b, 1};
  backend::scalar_lanes<double> at{0};
  vec x;
  for (auto const g : gradients) {
    auto const before = x.empty() ? 1.0 : x.back();
    x.push_back(state.next(0.1)(at, before, g));
  }
  return x;
}

TEST_CASE("AdamW decays the model before the step, apart from the gradient") {
  CHECK(test::distance(along(step::adamw{step::adam{}, 0.01}, {0.5, -1, 2}),
                       {0.899000002, 0.934711354238565, 0.891811081361866}) < 1e-12);
  // The same decay inside the gradient is another method: g + 0.01 x.
  auto x = 1.0;
  vec coupled, g;
  for (auto const each : {0.5, -1.0, 2.0}) {
    g.push_back(each + 0.01 * x);
    coupled = along(step::adam{}, g);
    x = coupled.back();
  }
  CHECK(test::distance(coupled, {0.900000001960784, 0.935523641532151, 0.892965686372328}) < 1e-12);
}

TEST_CASE("a step with decay moves no more bytes than without, and a decay of 0 changes no value") {
  using plain = step::adam::state<reference>::rule;
  using with = step::adamw::state<reference>::rule;
  CHECK(with::bytes_per_value() == plain::bytes_per_value());
  CHECK(along(step::adamw{step::adam{}, 0}, {0.5, -1, 2}) == along(step::adam{}, {0.5, -1, 2}));
  CHECK(test::says(test::refusal([] { decayed_sgd{{}, -1}; }), "the decay of weights must be a number of at least 0"));
}

struct plain_adam {
  double b1 = 0.9, b2 = 0.99, p1 = 1, p2 = 1, m = 0, v = 0;
  auto operator()(double d) -> double {
    p1 *= b1, p2 *= b2;
    m = b1 * m + (1 - b1) * d, v = b2 * v + (1 - b2) * d * d;
    return m / (1 - p1) / (std::sqrt(v / (1 - p2)) + 1e-8);
  }
};

TEST_CASE("under tracking each node takes its share of an adaptive step and of its decay, as in the dense form (P.D)") {
  constexpr auto gamma = 0.01, lambda = 0.3;
  auto const q = four();
  for (auto const& network : pairs()) {
    using node = push_pull<reference, step::adamw>;
    test::dense_network const net{node::make_plan(network)};
    Eigen::VectorXd pi = Eigen::VectorXd::Ones(4);
    for (int k = 0; k < 2000; ++k) pi = net.a * pi;  // n times the right Perron vector
    test::matrix x = test::matrix::Zero(4, 1), g = test::gradients(q, x), z = g;
    std::vector<plain_adam> adam(4);
    auto nodes =
        test::lockstep{assemble<node>(network, q, raw<node>(gamma, step::adamw{step::adam{{.beta2 = 0.99}}, lambda}))};
    for (int k = 0; k < 60; ++k) {
      nodes.round();
      if (k > 0) z = net.a * z;
      for (Eigen::Index i = 0; i < 4; ++i) {
        if (pi(i) < 1e-9) continue;
        x(i, 0) -= gamma * pi(i) * (adam[static_cast<std::size_t>(i)](z(i, 0) / pi(i)) + lambda * x(i, 0));
      }
      x = (net.w * x).eval();
      for (std::size_t i = 0; i < 4; ++i) REQUIRE(test::distance(nodes.point(i), test::row(x, i)) < 1e-12);
      test::matrix const fresh = test::gradients(q, x);
      z += fresh - g;
      g = fresh;
    }
    CHECK(std::abs(x(0, 0)) > 0.2);
  }
}

TEST_CASE("shares of the mean gradient are n times the Perron vector: 1 on a ring, n at the root of trees") {
  auto const shares = [](topology::pair const& network) {
    vec s;
    for (auto const& n : mixing::tracking_plan(network, {0, 0}).nodes) s.push_back(n.push_share);
    return s;
  };
  CHECK(shares(topology::both(topology::ring(4))) == vec{1, 1, 1, 1});
  CHECK(test::distance(shares(uneven()), {12 / 13.0, 8 / 13.0, 16 / 13.0, 16 / 13.0}) < 1e-12);
  auto const star = shares(topology::star(4));
  CHECK(test::distance(star, {4, 0, 0, 0}) < 1e-12);
  // A free node keeps a third of what it tracks, and two thirds are under way for half an iteration.
  CHECK(test::distance({mixing::tracking_plan(topology::both(topology::ring(4))).nodes[0].push_share}, {0.5}) < 1e-12);
}

TEST_CASE("with decay, tracking ends at the optimum of the decayed sum on every legal pair, whatever the step") {
  auto const at_rest = 4.927536231884058;
  for (auto const& network : pairs()) {
    for (auto const gamma : {0.02, 0.01}) {
      using rounds = push_pull<reference, decayed_sgd>;
      CHECK(farthest(after<rounds>(4000, network, four(), raw<rounds>(gamma, decayed_sgd{{}, 0.1})), at_rest) < 1e-10);
    }
    using r = r_fast<reference, decayed_sgd>;
    auto const of_age_1 =
        mixing::tracking_plan(network, {1, 1});  // as in lock-step: sent in one pass, used in the next
    CHECK(farthest(after<r>(8000, of_age_1, four(), raw<r>(0.02, decayed_sgd{{}, 0.1})), at_rest) < 1e-10);
  }
}

TEST_CASE("Adam along tracked gradients ends at the optimum, where Adam along a node's own ends far from it") {
  auto const rule = step::adam{{.beta2 = 0.99}};
  auto const ring = topology::both(topology::ring(4));
  using tracked = push_pull<reference, step::adam>;
  CHECK(farthest(after<tracked>(4000, ring, four(), raw<tracked>(0.01, rule)), 68 / 13.0) < 1e-9);
  using own = d_psgd<reference, step::adam>;
  CHECK(farthest(after<own>(4000, ring, four(), raw<own>(0.01, rule)), 68 / 13.0) > 1);
}

TEST_CASE("an average of models sees no decay: D-PSGD is W x - gamma (g + lambda W x) (DP.W) (DP.D)") {
  auto const q = quadratic::random(4, 3, 5);
  auto const ring = topology::both(topology::ring(4));
  using node = d_psgd<reference, decayed_sgd>;
  auto const x30 = after<node>(30, ring, q, raw<node>(0.05, decayed_sgd{{}, 0.2}));
  test::dense_network const net{node::make_plan(ring)};
  test::matrix x = test::matrix::Zero(4, 3);
  for (int k = 0; k < 30; ++k) x = ((1 - 0.05 * 0.2) * net.w * x - 0.05 * test::gradients(q, x)).eval();
  for (std::size_t i = 0; i < 4; ++i) CHECK(test::distance(x30[i], test::row(x, i)) < 1e-12);
}

TEST_CASE("push-sum decays the de-biased model: a network ends where its decayed sum does (OS.X)") {
  auto const network = uneven();
  using node = osgp<reference, decayed_sgd>;
  auto o = raw<node>(0.02, decayed_sgd{{}, 0.5});
  o.overlap = 0;
  auto nodes = test::lockstep{assemble<node>(network, four(), o)};
  test::dense_network const net{node::make_plan(network)};
  test::matrix x = test::matrix::Zero(4, 1), z = x;
  Eigen::VectorXd w = Eigen::VectorXd::Ones(4);
  for (int k = 0; k < 40; ++k) {
    nodes.round();
    x = (net.a * (x - 0.02 * (test::gradients(four(), z) + 0.5 * z))).eval();
    w = (net.a * w).eval();
    for (Eigen::Index i = 0; i < 4; ++i) z(i, 0) = x(i, 0) / w(i);
  }
  for (std::size_t i = 0; i < 4; ++i) CHECK(test::distance(nodes.point(i), test::row(z, i)) < 1e-12);
}

TEST_CASE("a server's AdamW is one AdamW along the mean gradient: the state is the server's (M.X)") {
  auto const q = four();
  using node = m_synchronous_sgd<reference, step::adamw>;
  node::options o{};
  o.step = 0.05;
  o.step_rule = step::adamw{step::adam{{.beta2 = 0.99}}, 0.1};
  auto const r =
      simulate(assemble<node>(topology::star(4), q, o), {.compute = environment::fixed(10ms), .link = {.latency = 1ms}},
               {.time = 1h, .gradients = 80});
  plain_adam adam;
  auto x = 0.0;
  for (int k = 0; k < 20; ++k) {
    auto g = 0.0;
    for (std::size_t i = 0; i < 4; ++i) g += q.curvature(i, 0) * (x - q.centre(i, 0)) / 4;
    x -= 0.05 * (adam(g) + 0.1 * x);
  }
  CHECK(test::distance({r.models[1].view<double>()[0]}, {x}) < 1e-12);
  CHECK(x > 0.5);
}

}  // namespace
