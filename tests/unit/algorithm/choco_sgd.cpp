// SPDX-License-Identifier: MIT
#include <rubato/algorithm/choco_sgd.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/codec/damped.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/codec/qsgd.hpp>
#include <rubato/codec/top_k.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

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
using sparse = choco_sgd<space, codec::top_k>;
using exact = choco_sgd<space, codec::identity>;

/// The method as matrices: X and H of all nodes.
template<class Codec>
struct dense_choco {
  Codec codec;
  double gamma, consensus;
  matrix w;
  matrix x, h;
  void round(quadratic const& p) {
    x = (x - gamma * gradients(p, x)).eval();
    h = (h + coded(codec, x - h)).eval();
    x = (x + consensus * (w * h - h)).eval();
  }
};

template<class Codec>
void equals_its_dense_form(topology::pair const& network, Codec const& codec) {
  using node = choco_sgd<space, Codec>;
  auto const n = network.pull().nodes();
  auto const p = quadratic::random(n, 7, 3);
  auto const plan = node::make_plan(network);
  lockstep run{assemble<node>(network, p, {.step = 0.1, .consensus = 0.3, .codec = codec})};
  auto const zero = matrix::Zero(index_of(n), 7);
  dense_choco<Codec> dense{codec, run.raw_step(), 0.3, dense_network{plan}.w, zero, zero};
  for (int k = 0; k < 40; ++k) {
    run.round();
    dense.round(p);
    for (std::size_t i = 0; i < n; ++i) REQUIRE(distance(run.point(i), row(dense.x, i)) < 1e-12);
  }
}

TEST_CASE("(K.X) (K.Q) (K.H) (K.M) rounds in lock-step are those of the dense form, with any codec") {
  for (auto const& network : {topology::pair{topology::ring(5)}, topology::pair{topology::star(4)}}) {
    equals_its_dense_form(network, codec::top_k{.k = 2});
    equals_its_dense_form(network, codec::sign_scale{});
    equals_its_dense_form(network, codec::identity{});
  }
}

TEST_CASE("(K.M) golden values: top 1, step 0.05, consensus 0.2, two rounds, and where it ends") {
  lockstep run{assemble<sparse>(topology::ring(4), golden_problem{},
                                {.step = 0.05, .scale = step_scale::raw, .consensus = 0.2, .codec = {.k = 1}})};
  run.round();
  run.round();
  CHECK(distance(run.point(0), {-0.2535, 0.269613888888889, 0.061375}) < 1e-12);
  for (int k = 0; k < 6000; ++k) run.round();
  double worst = 0;
  for (std::size_t i = 0; i < 4; ++i) worst = std::max(worst, distance(run.point(i), golden_problem::optimum()));
  CHECK(worst > 0.5);
  CHECK(worst < 2.5);
}

TEST_CASE("with an exact codec it ends where x + gamma g = W' of the same is solved, W' = I + c (W - I)") {
  auto const p = quadratic::random(5, 4, 6, {.spread = 1, .condition = 3});
  lockstep run{assemble<exact>(topology::ring(5), p, {.step = 0.1, .consensus = 0.5})};
  for (int k = 0; k < 800; ++k) run.round();
  auto const w = dense_network{exact::make_plan(topology::ring(5))}.w;
  auto const slow = (matrix::Identity(5, 5) + 0.5 * (w - matrix::Identity(5, 5))).eval();
  auto const expected = gossip_fixed_point(p, slow, run.raw_step(), slow);  // adapt, then combine
  for (std::size_t i = 0; i < 5; ++i) CHECK(distance(run.point(i), row(expected, i)) < 1e-9);
}

TEST_CASE("a node alone is SGD, and a coarse codec ends where an exact one does") {
  auto const alone = quadratic::random(1, 5, 2);
  lockstep one{assemble<sparse>(topology::ring(1), alone, {.step = 0.2, .codec = {.k = 1}})};
  std::vector<double> x(5);
  for (int k = 0; k < 20; ++k) {
    one.round();
    for (std::size_t j = 0; j < 5; ++j) x[j] -= 0.2 * (alone.curvature(0, j) * (x[j] - alone.centre(0, j)));
    CHECK(one.point(0) == x);
  }
  auto const p = quadratic::random(4, 6, 6, {.spread = 1, .condition = 3});
  lockstep coarse{assemble<sparse>(topology::ring(4), p, {.step = 0.05, .consensus = 0.2, .codec = {.k = 2}})};
  lockstep fine{assemble<exact>(topology::ring(4), p, {.step = 0.05, .consensus = 0.2})};
  for (int k = 0; k < 3000; ++k) coarse.round(), fine.round();
  for (std::size_t i = 0; i < 4; ++i) CHECK(distance(coarse.point(i), fine.point(i)) < 1e-6);
}

TEST_CASE("(K.H) with a third of packets lost and uneven speeds every difference still counts once") {
  using drawing = choco_sgd<space, codec::damped<codec::qsgd>>;
  auto const p = quadratic::random(5, 9, 8, {.spread = 1, .condition = 4});
  auto const options = typename drawing::options{.step = 0.1, .consensus = 0.5, .codec = {{.bits = 4}}};
  lockstep run{assemble<drawing>(topology::ring(5), p, options)};
  for (int k = 0; k < 1000; ++k) run.round();
  auto const result = simulate(
      assemble<drawing>(topology::ring(5), p, options),
      {.compute = environment::lognormal(10ms, 0.5).slow(2, 4.0), .link = {.latency = 2ms, .loss = 0.3}, .seed = 2},
      {.time = 60s});
  for (std::size_t i = 0; i < 5; ++i) {
    std::vector<double> x;
    rubato::detail::widen(result.models[i], x);
    std::vector<double> stepped = run.point(i);  // a node that waits has stepped and not yet mixed
    for (std::size_t k = 0; k < 9; ++k)
      stepped[k] -= run.raw_step() * p.curvature(i, k) * (stepped[k] - p.centre(i, k));
    CHECK(std::min(distance(x, run.point(i)), distance(x, stepped)) < 1e-8);
  }
}

TEST_CASE("a bad consensus step, a codec that keeps too much, and an edge that changes are refused with a sentence") {
  auto const p = quadratic::random(3, 4, 1);
  auto const said = [&](double consensus, std::size_t k) {
    return refusal([&] {
      static_cast<void>(assemble<sparse>(topology::ring(3), p, {.consensus = consensus, .codec = {.k = k}}));
    });
  };
  CHECK(says(said(0, 1), "the consensus step is above 0 and at most 1, not 0"));
  CHECK(says(said(1.5, 1), "the consensus step is above 0 and at most 1, not 1.5"));
  CHECK(says(said(0.5, 5), "a codec cannot keep 5 of 4 values"));
  CHECK(said(0.5, 4).empty());
  auto a = assemble<sparse>(topology::ring(3), p, {.codec = {.k = 1}});
  outbox out;
  a.nodes[0].start({}, out);
  out.clear();
  neighbour_change change;
  change.peer = node_id{2};
  a.nodes[0].on_neighbours({}, change, out);
  REQUIRE(out.failure);
  CHECK(says(out.failure->sentence, "node 2 left a run on compressed differences"));
}

}  // namespace
}  // namespace rubato::test
