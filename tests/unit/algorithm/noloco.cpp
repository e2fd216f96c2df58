// SPDX-License-Identifier: MIT
#include <rubato/algorithm/noloco.hpp>

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using host = backend::host<double>;
using node_type = noloco<host>;
using problem::quadratic;
using vector = std::vector<double>;

/// The merge as it is published, with two terms: m <- beta m + alpha (mean drift) + gamma (mean f - f);  f <- f + m.
struct dense_noloco {
  double alpha = 0.7, beta = 0.3, gamma = 0.7;
  matrix f, m;
  void merge(matrix const& w, matrix const& x) {
    m = beta * m + alpha * w * (x - f) + gamma * (w * f - f);
    f += m;
  }
};
auto row(matrix const& x, std::size_t i) -> vector {
  auto const r = x.row(index_of(i));
  return {r.begin(), r.end()};
}

TEST_CASE("the reference has the golden values of two nodes") {
  dense_noloco two;
  two.f = matrix(2, 1), two.m = matrix::Zero(2, 1);
  two.f << 1, 3;
  matrix drift(2, 1), w = matrix::Constant(2, 2, 0.5);
  drift << -0.5, 0.3;
  two.merge(w, two.f + drift);
  CHECK(two.f(0) == Approx(1.63).epsilon(1e-14));
  CHECK(two.f(1) == Approx(2.23).epsilon(1e-14));
  drift << 0.2, -0.4;
  two.merge(w, two.f + drift);
  CHECK(two.f(0) == Approx(1.959).epsilon(1e-14));
  CHECK(two.f(1) == Approx(1.719).epsilon(1e-14));
}

// (NL.S) (NL.M) (NL.O), and the law of the mean
TEST_CASE("(NL.S) (NL.M) (NL.O) nodes merge with the partner of the round, and their mean moves as that of slowmo") {
  for (auto const n : {std::size_t{1}, std::size_t{2}, std::size_t{5}, std::size_t{6}}) {
    auto const p = quadratic::random(n, 7, 3);
    auto const o = node_type::options{.step = 0.2, .seed = 5, .rhythm = {.local_steps = 3}};
    auto const plan = node_type::make_plan(topology::complete(n), o);
    lockstep run{assemble<node_type>(plan, p, o)};
    dense_noloco dense;
    dense.f = dense.m = matrix::Zero(index_of(n), 7);
    Eigen::RowVectorXd mean = Eigen::RowVectorXd::Zero(7), slow = mean;
    auto alone = 0, paired = 0;
    for (std::uint64_t r = 1; r <= 40; ++r) {
      matrix x = dense.f, w = matrix::Identity(index_of(n), index_of(n));
      for (auto k = 0; k < 3; ++k) {
        for (std::size_t i = 0; i < n; ++i) REQUIRE(distance(run.point(i), row(x, i)) < 1e-12);
        x -= 0.2 * gradients(p, x);
        run.round();
      }
      for (std::size_t i = 0; plan.rounds && i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j)
          w(index_of(i), index_of(j)) = plan.rounds->weight(r, to_node(i), to_node(j));
        (w(index_of(i), index_of(i)) == 1 ? alone : paired) += 1;
      }
      slow = 0.3 * slow + (mean - x.colwise().mean());
      mean -= 0.7 * slow;
      dense.merge(w, x);
      REQUIRE((dense.f.colwise().mean() - mean).norm() < 1e-12);
    }
    if (n > 1) CHECK(paired > 20);
    if (n == 5) CHECK(alone >= 40);  // one at least in each round
  }
}

TEST_CASE("with one local step, rate 1 and a plain rule noloco is d_psgd_atc, on a graph that stays too") {
  using plain = noloco<host, outer::mean>;
  auto const p = quadratic::random(5, 6, 2, {.noise = 0.1});
  auto const plan = mixing::gossip_plan(topology::pair{topology::ring(5)});
  lockstep local{assemble<plain>(plan, p, {.step = 0.2, .rhythm = {.local_steps = 1}})};
  lockstep atc{assemble<d_psgd_atc<host>>(plan, p, {.step = 0.2})};
  for (auto t = 0; t < 60; ++t) {
    local.round(), atc.round();
    for (std::size_t i = 0; i < 5; ++i) REQUIRE(distance(local.point(i), atc.point(i)) < 1e-12);
  }
}

TEST_CASE("on a graph that stays, noloco ends where mixing and k local steps cancel, whatever its momentum") {
  auto const p = quadratic::random(5, 3, 4);
  auto const plan = mixing::gossip_plan(topology::pair{topology::ring(5)});
  lockstep run{assemble<node_type>(plan, p, {.step = 0.1, .rhythm = {.local_steps = 3}})};
  for (auto t = 0; t < 3000; ++t) run.round();
  auto const w = dense_network{plan}.w;
  for (std::size_t c = 0; c < 3; ++c) {
    Eigen::VectorXd kept(5), centre(5);
    for (std::size_t i = 0; i < 5; ++i) {
      kept(index_of(i)) = std::pow(1 - 0.1 * p.curvature(i, c), 3);
      centre(index_of(i)) = p.centre(i, c);
    }
    matrix const k = kept.asDiagonal(), one = matrix::Identity(5, 5);
    Eigen::VectorXd const f = (one - w * k).lu().solve(w * (one - k) * centre);  // f = W (c + k (f - c))
    for (std::size_t i = 0; i < 5; ++i) CHECK(run.point(i)[c] == Approx(f(index_of(i))).margin(1e-12));
  }
}

TEST_CASE("a node whose partner is slow waits for it alone, and random pairs end near the optimum") {
  auto const p = quadratic::random(6, 8, 9, {.spread = 1, .condition = 4});
  auto const r =
      simulate(assemble<node_type>(topology::complete(6), p, {.step = 0.01}),
               {.compute = environment::lognormal(10ms, 0.3), .link = {.latency = 2ms, .loss = 0.1}}, {.time = 60s});
  for (auto const& m : r.models) {
    vector x;
    rubato::detail::widen(m, x);
    CHECK(distance(x, p.optimum()) < 0.3);
  }
}

TEST_CASE("bad options of noloco are refused, and a graph in two parts") {
  auto const refused = [](node_type::options const& o, topology::digraph const& graph = topology::ring(4)) {
    return refusal([&] { static_cast<void>(assemble<node_type>(graph, quadratic::random(4, 2, 1), o)); });
  };
  CHECK(refused({}).empty());
  CHECK(says(refused({.rhythm = {.local_steps = 0}}), "after 1 local step or more, not after 0"));
  CHECK(says(refused({.outer = {.rate = 0}}), "the rate of an outer step must be a positive number"));
  auto const pieces = topology::from_edges(4, {{to_node(0), to_node(1)}, {to_node(2), to_node(3)}}, "pieces");
  CHECK_FALSE(refused({}, pieces.with_both_directions()).empty());
}

}  // namespace
}  // namespace rubato::test
