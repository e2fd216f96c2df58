// SPDX-License-Identifier: MIT
// LEAD and DeepSqueeze: both send with the gradient and mix with the answers.
#include <rubato/algorithm/lead.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/deepsqueeze.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/codec/qsgd.hpp>
#include <rubato/codec/top_k.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/alone.hpp"
#include "support/catch.hpp"
#include "support/compressed.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using problem::quadratic;

/// LEAD as matrices, with H and its mean W H of the paper.
struct dense_lead {
  double eta, c, a;
  matrix w, x, h, hw, d;
  template<class Codec>
  void round(Codec const& codec, matrix const& g) {
    matrix const y = x - eta * g - eta * d;
    matrix const q = coded(codec, y - h);
    matrix const said = h + q, mean = hw + w * q;
    h = (1 - a) * h + a * said;
    hw = (1 - a) * hw + a * mean;
    d = (d + c / eta * (said - mean)).eval();
    x = x - eta * g - eta * d;
  }
};

template<class Codec>
void lead_equals_its_dense_form(topology::pair const& network, Codec const& codec, double share) {
  using node = lead<space, Codec>;
  auto const n = network.pull().nodes();
  auto const p = quadratic::random(n, 7, 3);
  lockstep run{assemble<node>(network, p, {.step = 0.1, .consensus = 0.375, .share = share, .codec = codec})};
  matrix const zero = matrix::Zero(index_of(n), 7);
  dense_lead dense{run.raw_step(), 0.375, share, dense_network{node::make_plan(network)}.w, zero, zero, zero, zero};
  for (int k = 0; k < 40; ++k) {
    run.round();
    dense.round(codec, gradients(p, dense.x));
    for (std::size_t i = 0; i < n; ++i) REQUIRE(distance(run.point(i), row(dense.x, i)) < 1e-12);
  }
}

TEST_CASE("(LE.Y) (LE.Q) (LE.H) (LE.D) (LE.X) rounds in lock-step are those of the dense form") {
  lead_equals_its_dense_form(topology::ring(5), fifteen_levels{}, 0.5);
  lead_equals_its_dense_form(topology::star(4), codec::identity{}, 0.25);
  lead_equals_its_dense_form(topology::star(4), codec::identity{}, 1);
}

TEST_CASE("LEAD: golden values of two rounds, and it ends at the optimum") {
  using node = lead<space, fifteen_levels>;
  lockstep run{
      assemble<node>(topology::ring(4), golden_problem{}, {.step = 0.2, .scale = step_scale::raw, .consensus = 0.5})};
  run.round();
  run.round();
  CHECK(distance(run.point(0), {-0.628639455782313, -0.026224489795918, 0.689421768707483}) < 1e-12);
  for (int k = 0; k < 1000; ++k) run.round();
  for (std::size_t i = 0; i < 4; ++i) CHECK(distance(run.point(i), golden_problem::optimum()) < 1e-12);
}

TEST_CASE("LEAD: corrections sum to 0, references equal their replicas bit for bit, and noise in codes fades") {
  using node = lead<space, codec::qsgd>;
  auto const p = quadratic::random(5, 33, 6, {.spread = 1, .condition = 4});
  auto const network = topology::pair{topology::ring(5)};
  together<node> run{network, p, {.step = 0.2, .share = 0.5, .codec = {.bits = 4}}};
  auto const plan = node::make_plan(network);
  for (int k = 0; k < 1500; ++k) {
    run.round();
    for (std::size_t v = 0; v < 33; ++v) {
      double sum = 0;
      for (auto const& n : run.nodes) sum += n.correction()[v];
      REQUIRE(std::abs(sum) < 1e-10);
    }
    for (auto const& n : run.nodes) {
      for (std::size_t j = 0; j < 5; ++j) {
        auto const [values, round] = n.replica_of(to_node(j));
        if (values.empty()) continue;
        auto const own = run.nodes[j].known();
        REQUIRE(std::equal(values.begin(), values.end(), own.begin(), own.end()));
      }
    }
  }
  for (std::size_t i = 0; i < 5; ++i) CHECK(distance(run.point(i), p.optimum()) < 1e-9);
}

TEST_CASE("LEAD with a third of packets lost and uneven speeds ends at the optimum") {
  using node = lead<space>;
  auto const p = quadratic::random(6, 9, 8, {.spread = 1, .condition = 4});
  auto const r = simulate(
      assemble<node>(topology::ring(6), p, {.step = 0.1}),
      {.compute = environment::lognormal(10ms, 0.5).slow(2, 4.0), .link = {.latency = 2ms, .loss = 0.3}, .seed = 2},
      {.time = 40s});
  for (auto const& m : r.models) {
    std::vector<double> x;
    rubato::detail::widen(m, x);
    CHECK(distance(x, p.optimum()) < 1e-9);
  }
}

/// DeepSqueeze as matrices.
struct dense_squeeze {
  double gamma, c;
  matrix w, x, e;
  template<class Codec>
  void round(Codec const& codec, matrix const& g) {
    matrix const y = x - gamma * g;
    matrix const q = coded(codec, y + e);
    e = y + e - q;
    x = y + c * (w * q - q);
  }
};

template<class Codec>
void squeeze_equals_its_dense_form(topology::pair const& network, Codec const& codec) {
  using node = deepsqueeze<space, Codec>;
  auto const n = network.pull().nodes();
  auto const p = quadratic::random(n, 7, 3);
  lockstep run{assemble<node>(network, p, {.step = 0.1, .consensus = 0.3, .codec = codec})};
  matrix const zero = matrix::Zero(index_of(n), 7);
  dense_squeeze dense{run.raw_step(), 0.3, dense_network{node::make_plan(network)}.w, zero, zero};
  for (int k = 0; k < 40; ++k) {
    matrix const before = dense.x;
    run.round();
    dense.round(codec, gradients(p, before));
    for (std::size_t i = 0; i < n; ++i) REQUIRE(distance(run.point(i), row(dense.x, i)) < 1e-12);
    matrix const moved = dense.x - before + run.raw_step() * gradients(p, before);
    REQUIRE(moved.colwise().sum().cwiseAbs().maxCoeff() < 1e-12);  // mixing keeps the sum
  }
}

TEST_CASE("(DS.X) (DS.Q) (DS.E) (DS.M) rounds in lock-step are those of the dense form, whose mixing keeps the sum") {
  squeeze_equals_its_dense_form(topology::ring(5), codec::top_k{.k = 2});
  squeeze_equals_its_dense_form(topology::star(4), codec::sign_scale{});
}

TEST_CASE("DeepSqueeze: golden values of two rounds with their errors, and an exact codec ends where D-PSGD does") {
  using node = deepsqueeze<space, codec::top_k>;
  together<node> run{topology::ring(4),
                     golden_problem{},
                     {.step = 0.05, .scale = step_scale::raw, .consensus = 0.2, .codec = {.k = 1}}};
  run.round();
  run.round();
  CHECK(distance(run.point(0), {-0.2335, 0.297947222222222, 0.059708333333333}) < 1e-12);
  auto const error = run.nodes[0].error();
  CHECK(distance(std::vector(error.begin(), error.end()), {0, 0.341, 0.015833333333333}) < 1e-12);

  using exact = deepsqueeze<space, codec::identity>;
  auto const p = quadratic::random(5, 4, 6, {.spread = 1, .condition = 3});
  lockstep plain{assemble<exact>(topology::ring(5), p, {.step = 0.1, .consensus = 0.5})};
  for (int k = 0; k < 800; ++k) plain.round();
  auto const w = dense_network{exact::make_plan(topology::ring(5))}.w;
  auto const slow = (matrix::Identity(5, 5) + 0.5 * (w - matrix::Identity(5, 5))).eval();
  auto const expected = gossip_fixed_point(p, slow, plain.raw_step(), slow);  // adapt, then combine
  for (std::size_t i = 0; i < 5; ++i) CHECK(distance(plain.point(i), row(expected, i)) < 1e-9);
}

TEST_CASE("alone, LEAD and DeepSqueeze are SGD bit for bit") {
  is_sgd_alone<lead<space>>();
  is_sgd_alone<deepsqueeze<space>>();
}

TEST_CASE("a bad consensus step, a share that builds may round, and one too large for the codec's noise are refused") {
  auto const p = quadratic::random(3, 400, 1);
  auto const said = [&](double consensus, double share, unsigned bits) {
    return refusal([&] {
      static_cast<void>(assemble<lead<space, codec::qsgd>>(
          topology::ring(3), p, {.consensus = consensus, .share = share, .codec = {.bits = bits}}));
    });
  };
  CHECK(said(0.25, 1, 8).empty());
  CHECK(says(said(0, 1, 8), "the consensus step is above 0 and at most 1, not 0"));
  CHECK(says(said(0.25, 0.3, 8), "references move by 1, 0.5, 0.25, ... of a difference"));
  CHECK(says(said(0.25, 1, 4), "references move by less than 2 / (1 + omega)"));  // 20 / 7
  CHECK(said(0.25, 0.25, 4).empty());
  CHECK(says(refusal([&] { static_cast<void>(assemble<deepsqueeze<space>>(topology::ring(3), p, {.consensus = 2})); }),
             "the consensus step is above 0 and at most 1, not 2"));
}

}  // namespace
}  // namespace rubato::test
