// SPDX-License-Identifier: MIT
// Clipping of steps, by value in the pass that moves x and by norm before it, and of gradients where they are computed.
#include <rubato/step/clipped_by_norm.hpp>
#include <rubato/step/clipped_by_value.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/clipped.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/step/decayed.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using problem::clipping, problem::quadratic;
using reference = backend::host<double>;
using vec = std::vector<double>;
using by_value = step::clipped_by_value<>;
using by_norm = step::clipped_by_norm<>;

auto four() -> quadratic { return {{{1}, {2}, {0.5}, {3}}, {{0}, {1}, {4}, {10}}}; }

/// Node 0's model after so many rounds in lock-step.
template<class Node, class Problem>
auto after(int rounds, topology::pair const& network, Problem const& q, double gamma,
           decltype(Node::options::step_rule) rule = {}) -> vec {
  typename Node::options o{};
  o.step = gamma;
  o.scale = step_scale::raw;
  o.step_rule = std::move(rule);
  test::lockstep nodes{assemble<Node>(network, q, o)};
  for (int k = 0; k < rounds; ++k) nodes.round();
  return nodes.point(0);
}

TEST_CASE("lanes limit a value to both sides and leave a NaN as it is, in vectors as one by one") {
  auto const nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  auto const values = vec{-3, -0.5, 0, 0.5, 3, nan, inf, -inf, 2, -2, 7, 1, -1, 4, -4, 0.25, 9};
  auto const clamped = [&](auto b) {
    auto g = backend::copied(b, values.data(), values.size());
    b.sweep({0, values.size()}, problem::detail::clamp_kernel<double>{g.data(), 2});
    return vec(g.data(), g.data() + values.size());
  };
  auto const one_by_one = clamped(reference{}), in_vectors = clamped(backend::eigen<double>{});
  for (std::size_t k = 0; k < values.size(); ++k) {
    auto const v = values[k];
    if (std::isnan(v)) CHECK((std::isnan(one_by_one[k]) && std::isnan(in_vectors[k])));
    else CHECK((one_by_one[k] == std::clamp(v, -2.0, 2.0) && in_vectors[k] == one_by_one[k]));
  }
}

TEST_CASE("a clipped step is the plain step along the clipped direction, alone and beside neighbours") {
  auto const q = quadratic::random(1, 6, 9, {.spread = 4});
  vec v(6, 0.0), n = v;
  for (int t = 0; t < 25; ++t) {
    auto squares = 0.0;
    for (std::size_t k = 0; k < 6; ++k) {
      v[k] -= 0.1 * std::clamp(q.curvature(0, k) * (v[k] - q.centre(0, k)), -0.5, 0.5);
      auto const g = q.curvature(0, k) * (n[k] - q.centre(0, k));
      squares += g * g;
    }
    auto const factor = std::min(1.0, 0.5 / std::sqrt(squares));
    for (std::size_t k = 0; k < 6; ++k) n[k] -= 0.1 * factor * q.curvature(0, k) * (n[k] - q.centre(0, k));
  }
  auto const alone = topology::pair{topology::line(1)};
  CHECK(test::distance(after<d_psgd<reference, by_value>>(25, alone, q, 0.1, by_value{{}, 0.5}), v) < 1e-13);
  CHECK(test::distance(after<r_fast<reference, by_value>>(25, alone, q, 0.1, by_value{{}, 0.5}), v) < 1e-13);
  CHECK(test::distance(after<d_psgd<reference, by_norm>>(25, alone, q, 0.1, by_norm{{}, 0.5}), n) < 1e-13);
  using reduced = scatter_allreduce_sgd<reference, codec::identity, by_norm>;
  CHECK(test::distance(after<reduced>(25, alone, q, 0.1, by_norm{{}, 0.5}), n) < 1e-13);
  CHECK(test::distance(v, n) > 0.01);
}

TEST_CASE("a norm is that of the whole vector, however it is sent in blocks, and of the mean of a batch") {
  auto const q = quadratic::random(4, 130, 9, {.spread = 4});
  auto const run = [&](std::size_t block_values) {
    using node = d_psgd<reference, by_norm>;
    node::options o{};
    o.step = 0.1, o.block_values = block_values, o.step_rule = by_norm{{}, 0.5};
    o.contribution.minibatches = 2;
    test::lockstep nodes{assemble<node>(topology::ring(4), q, o)};
    for (int k = 0; k < 2; ++k) nodes.round();
    return nodes.point(1);
  };
  auto const x = run(0);
  CHECK(x == run(64));
  auto squares = 0.0;
  for (auto const each : x) squares += each * each;
  CHECK(std::abs(std::sqrt(squares) - 0.1 * 0.5) < 1e-12);  // without noise both gradients of the batch are the same
}

TEST_CASE("a clipped step under tracking ends at the optimum; clipped gradients end where theirs cancel") {
  for (auto const& network : {topology::pair{topology::star(4)}, topology::both(topology::ring(4))}) {
    using clipped_step = push_pull<reference, by_value>;
    CHECK(test::distance(after<clipped_step>(4000, network, four(), 0.02, by_value{{}, 2}), {68 / 13.0}) < 1e-9);
    for (auto const how : {clipping::by_value, clipping::by_norm}) {
      auto const ends = [&](double limit) {
        return after<push_pull<reference>>(4000, network, problem::clipped{four(), limit, how}, 0.02);
      };
      CHECK(test::distance(ends(2), {12 / 7.0}) < 1e-9);
      CHECK(test::distance(ends(5), {18 / 7.0}) < 1e-9);
      CHECK(test::distance(ends(10), {4}) < 1e-9);
    }
  }
}

TEST_CASE("policies compose: AdamW along a clipped direction is AdamW that is told clipped directions") {
  reference b;
  using clipped_adamw = step::clipped_by_value<step::adamw>;
  auto const plain = step::adamw{step::adam{}, 0.1};
  auto const both = clipped_adamw{plain, 0.5};
  step::adamw::state<reference> expected{plain, b, 1};
  clipped_adamw::state<reference> state{both, b, 1};
  backend::scalar_lanes<double> at{0};
  auto x = 1.0, y = 1.0;
  for (auto const g : {0.3, 2.0, -7.0, 0.1}) {
    x = expected.next(0.1)(at, x, std::clamp(g, -0.5, 0.5));
    y = state.next(0.1)(at, y, g);
    CHECK(x == y);
  }
}

struct spoils : quadratic {
  explicit spoils(quadratic q) : quadratic{std::move(q)} {}
  template<class Backend>
  auto gradient(Backend&, std::span<double const>, sample_key, std::span<double> g) const -> double {
    std::fill(g.begin(), g.end(), std::numeric_limits<double>::infinity());
    return 0;
  }
};

TEST_CASE("a direction whose norm is not finite ends the run with the node that computed it") {
  using node = d_psgd<reference, by_norm>;
  test::lockstep nodes{assemble<node>(topology::ring(4), spoils{four()}, {})};
  nodes.round();
  CHECK(test::says(nodes.failure(), "gradient"));
}

TEST_CASE("limits that are no positive numbers are refused by name") {
  for (auto const limit : {0.0, -1.0, std::nan("")}) {
    CHECK(test::says(test::refusal([&] { by_value{{}, limit}; }), "limit of clipping by value"));
    CHECK(test::says(test::refusal([&] { by_norm{{}, limit}; }), "limit of clipping by norm"));
    CHECK(test::says(test::refusal([&] { problem::clipped{four(), limit}; }), "limit of clipped gradients"));
  }
}

}  // namespace
