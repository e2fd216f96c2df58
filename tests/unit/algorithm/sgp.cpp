// SPDX-License-Identifier: MIT
#include <rubato/algorithm/sgp.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node_type = sgp<backend::host<double>>;
using problem::quadratic;

/// z of each round of the synchronous method.
auto dense_models(topology::pair const& network, quadratic const& q, double gamma, std::uint64_t rounds)
    -> std::vector<matrix> {
  matrix const p = dense_network{node_type::make_plan(network)}.a;
  matrix x = matrix::Zero(index_of(q.nodes()), index_of(q.dimension()));
  Eigen::VectorXd w = Eigen::VectorXd::Ones(x.rows());
  std::vector<matrix> all{x};
  for (std::uint64_t k = 0; k < rounds; ++k) {
    x = p * (x - gamma * gradients(q, all.back()));
    w = p * w;
    all.emplace_back(w.cwiseInverse().asDiagonal() * x);
  }
  return all;
}

TEST_CASE("sgp is the synchronous method whatever the speeds, and osgp with overlap 0 is not (SG.R)") {
  auto const weather = environment::scenario{.compute = environment::lognormal(10ms, 0.8).slow(0, 3.0),
                                             .link = {.latency = 1ms, .jitter = 30ms, .loss = 0.2},
                                             .seed = 4};
  for (auto const& network : {topology::binary_tree(7), topology::star(5), topology::directed_ring(5),
                              topology::exponential(6), topology::line(1)}) {
    auto const q = quadratic::random(network.nodes(), 5, 42);
    auto const farthest = [&](auto const& r, double gamma) {
      std::uint64_t most = 0;
      for (auto const& n : r.nodes) most = (std::max)(most, n.iterations);
      auto const z = dense_models(network, q, gamma, most);
      auto worst = 0.0;
      for (std::size_t i = 0; i < q.nodes(); ++i) {
        auto const k = r.nodes[i].iterations;
        auto const values = r.models[i].template view<double>();
        std::vector<double> const x{values.begin(), values.end()};
        // a node that waits has done its iteration and still shows the model of the one before
        worst = (std::max)(worst, (std::min)(distance(x, row(z[k], i)), distance(x, row(z[k == 0 ? 0 : k - 1], i))));
      }
      CHECK(most > 20);
      return worst;
    };
    INFO(network.name());
    auto const gamma = assemble<node_type>(network, q, {.step = 0.05}).raw_step;
    CHECK(farthest(simulate<node_type>(network, q, {.step = 0.05}, weather, {.time = 2s}), gamma) < 1e-12);
    if (network.nodes() < 5) continue;
    using early = osgp<backend::host<double>>;
    auto const merged_early = simulate<early>(network, q, {.step = 0.05, .overlap = 0}, weather, {.time = 2s});
    CHECK(farthest(merged_early, gamma) > 1e-6);
  }
}

TEST_CASE("sgp ends where its weights say, which is not the optimum") {
  auto const network = topology::star(5);
  auto const q = quadratic::random(5, 3, 8, {.spread = 1, .condition = 3});
  auto made = assemble<node_type>(network, q, {.step = 0.1});
  auto const gamma = made.raw_step;
  matrix const p = dense_network{node_type::make_plan(network)}.a;
  matrix powers = p;
  for (int k = 0; k < 12; ++k) powers = powers * powers;
  Eigen::VectorXd const r = powers * Eigen::VectorXd::Ones(5);
  auto nodes = lockstep{std::move(made)};
  for (int k = 0; k < 3000; ++k) nodes.round();
  auto off = 0.0;
  for (std::size_t c = 0; c < q.dimension(); ++c) {
    Eigen::VectorXd h(5), pull(5);
    for (std::size_t i = 0; i < 5; ++i) {
      h(index_of(i)) = q.curvature(i, c);
      pull(index_of(i)) = q.curvature(i, c) * q.centre(i, c);
    }
    // r z = p (r z - gamma (h z - h c))
    matrix const left = (matrix::Identity(5, 5) - p) * matrix(r.asDiagonal()) + gamma * p * matrix(h.asDiagonal());
    Eigen::VectorXd const z = left.fullPivLu().solve(gamma * p * pull);
    for (std::size_t i = 0; i < 5; ++i) {
      CHECK(std::abs(nodes.point(i)[c] - z(index_of(i))) < 1e-9);
      off = (std::max)(off, std::abs(z(index_of(i)) - q.optimum()[c]));
    }
  }
  CHECK(off > 1e-3);
}

TEST_CASE("a sender that is further ahead than rounds allow ends the run, so that no sender fills the memory") {
  auto a = assemble<node_type>(topology::directed_ring(3), quadratic::random(3, 4, 5), {.step = 0.3});
  outbox out;
  a.nodes[0].start({}, out);
  auto const asked = *out.request;
  out.clear();
  a.nodes[0].on_gradient({}, a.oracle.evaluate(asked), out);
  auto p = out.packets.at(0);
  out.clear();
  a.nodes[1].start({}, out);
  out.clear();
  for (std::uint64_t k = 1; k <= 4; ++k) {  // node 0 may be two rounds ahead, and has then sent three messages
    p.number = iteration{k};
    hand_over(a.nodes[1], p, 1, out);
    CHECK_FALSE(out.failure);
  }
  p.number = iteration{5};
  hand_over(a.nodes[1], p, 1, out);
  REQUIRE(out.failure);
  CHECK(out.failure->sentence.find("of a round that its sender cannot have reached") != std::string::npos);
}

}  // namespace
}  // namespace rubato::test
