// SPDX-License-Identifier: MIT
// Steps with arrays of their own, against the plainest loops: alone, over blocks, over chunks, at a server, in hardware
// vectors and under gradient tracking.
#include <rubato/step/adam.hpp>
#include <rubato/step/clipped_by_value.hpp>
#include <rubato/step/decayed.hpp>
#include <rubato/step/momentum.hpp>

#include <cmath>
#include <vector>

#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/checked.hpp>
#include <rubato/backend/eigen.hpp>
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
using step::momentum_form;
using vec = std::vector<double>;

/// x by a step's own formulas, one value after the other.
struct plain_momentum {
  double gamma, beta;
  bool nesterov;
  vec m{};
  void operator()(vec& x, vec const& d) {
    m.resize(x.size(), 0.0);
    for (std::size_t k = 0; k < x.size(); ++k) {
      m[k] = beta * m[k] + d[k];
      x[k] = nesterov ? x[k] - gamma * (d[k] + beta * m[k]) : x[k] - gamma * m[k];
    }
  }
};
struct plain_adam {
  double gamma, b1, b2, epsilon;
  int t = 0;
  vec m{}, v{};
  void operator()(vec& x, vec const& d) {
    m.resize(x.size(), 0.0);
    v.resize(x.size(), 0.0);
    power1 *= b1;
    power2 *= b2;
    auto const rate = gamma / (1 - power1), unbiased = 1 / (1 - power2);
    for (std::size_t k = 0; k < x.size(); ++k) {
      m[k] = b1 * m[k] + (1 - b1) * d[k];
      v[k] = b2 * v[k] + (1 - b2) * (d[k] * d[k]);
      x[k] = x[k] - rate * (m[k] / (std::sqrt(unbiased * v[k]) + epsilon));
    }
  }
  double power1 = 1, power2 = 1;
};

auto mean_gradient(quadratic const& q, vec const& x) -> vec {
  vec g(x.size(), 0.0);
  for (std::size_t i = 0; i < q.nodes(); ++i) {
    for (std::size_t k = 0; k < x.size(); ++k) g[k] += q.curvature(i, k) * (x[k] - q.centre(i, k));
  }
  for (auto& v : g) v /= static_cast<double>(q.nodes());
  return g;
}

template<class Plain>
auto plain_run(quadratic const& q, Plain rule, int rounds) -> vec {
  vec x(q.dimension(), 0.0);
  for (int k = 0; k < rounds; ++k) rule(x, mean_gradient(q, x));
  return x;
}

/// Node in lock-step, with a raw step, for so many rounds.
template<class Node, class Step>
auto in_lockstep(topology::pair const& network, quadratic const& q, Step const& rule, std::size_t block_values = 0) {
  typename Node::options options{};
  options.step = 0.05;
  options.scale = step_scale::raw;
  options.block_values = block_values;
  options.step_rule = rule;
  return test::lockstep{assemble<Node>(network, q, options)};
}
template<class Node, class Step>
auto models(topology::pair const& network, quadratic const& q, Step const& rule, std::size_t block_values = 0)
    -> std::vector<vec> {
  auto nodes = in_lockstep<Node>(network, q, rule, block_values);
  for (int k = 0; k < 30; ++k) nodes.round();
  std::vector<vec> out;
  for (std::size_t i = 0; i < q.nodes(); ++i) out.push_back(nodes.point(i));
  return out;
}

template<class Step, class Plain>
void alone_is_plain(Step const& rule, Plain plain) {
  auto const q = quadratic::random(1, 9, 4);
  auto nodes = in_lockstep<r_fast<reference, Step>>(topology::line(1), q, rule);
  vec x(9, 0.0);
  for (int k = 0; k < 50; ++k) {
    REQUIRE(nodes.raw_step() == plain.gamma);
    plain(x, mean_gradient(q, x));
    nodes.round();
    REQUIRE(nodes.point(0) == x);
  }
  CHECK(test::distance(x, vec(9, 0.0)) > 0.1);
}

TEST_CASE("a single node with momentum or Adam equals the plain loop, bit for bit") {
  alone_is_plain(step::momentum{0.9}, plain_momentum{0.05, 0.9, false});
  alone_is_plain(step::momentum{0.7, momentum_form::nesterov}, plain_momentum{0.05, 0.7, true});
  alone_is_plain(step::adam{}, plain_adam{0.05, 0.9, 0.999, 1e-8});
  alone_is_plain(step::adam{{.beta1 = 0.5, .beta2 = 0.9, .epsilon = 0.1}}, plain_adam{0.05, 0.5, 0.9, 0.1});
}

TEST_CASE("momentum of 0 is sgd in either form") {
  auto const q = quadratic::random(4, 5, 1);
  auto const plain = models<r_fast<reference>>(topology::both(topology::ring(4)), q, step::sgd{});
  for (auto const form : {momentum_form::heavy_ball, momentum_form::nesterov}) {
    CHECK(models<r_fast<reference, step::momentum>>(topology::both(topology::ring(4)), q, step::momentum{0.0, form}) ==
          plain);
  }
}

TEST_CASE("several blocks give the same bits as one: a step's arrays are indexed by the whole vector") {
  auto const q = quadratic::random(4, 150, 6);
  auto const network = topology::both(topology::ring(4));
  auto const check = [&]<class Step>(Step const& rule) {
    auto const whole = models<r_fast<reference, Step>>(network, q, rule);
    CHECK(whole == models<r_fast<reference, Step>>(network, q, rule, 64));
  };
  check(step::momentum{0.9, momentum_form::nesterov});
  check(step::adam{});
}

TEST_CASE("an all-reduce applies a step chunk by chunk and ends with the models of one loop over all (A.X)") {
  auto const check = [](auto const& rule, auto const& plain, std::size_t nodes) {
    auto const q = quadratic::random(nodes, 11, 7);
    auto const x = models<ring_allreduce_sgd<reference, std::decay_t<decltype(rule)>>>(topology::ring(nodes), q, rule);
    auto const expected = plain_run(q, plain, 30);
    for (auto const& each : x) {
      CHECK(test::distance(each, expected) < 1e-12);
      CHECK(each == x[0]);
    }
  };
  for (auto const nodes : {1U, 3U, 4U}) {
    check(step::momentum{0.9}, plain_momentum{0.05, 0.9, false}, nodes);
    check(step::adam{}, plain_adam{0.05, 0.9, 0.999, 1e-8}, nodes);
  }
}

TEST_CASE("a server takes the step of one loop over the mean gradient (M.X)") {
  auto const q = quadratic::random(3, 5, 8);
  typename m_synchronous_sgd<reference, step::adam>::options options{};
  options.step = 0.05;
  auto const r =
      simulate(assemble<m_synchronous_sgd<reference, step::adam>>(topology::star(3), q, options),
               {.compute = environment::fixed(10ms), .link = {.latency = 1ms}}, {.time = 1h, .gradients = 3 * 30});
  auto const x = r.models[1].view<double>();
  CHECK(test::distance({x.begin(), x.end()}, plain_run(q, plain_adam{0.05, 0.9, 0.999, 1e-8}, 30)) < 1e-12);
}

/// x after a few mean steps over parts of the vector, on a backend.
template<class Backend, class Step>
auto swept(Step const& its) -> std::vector<double> {
  using T = typename Backend::scalar;
  constexpr std::size_t n = 200;
  Backend b;
  typename Step::template state<Backend> state{its, b, n};
  auto x = b.template allocate<T>(n), d = b.template allocate<T>(n), fresh = b.template allocate<T>(n);
  random_stream draw{3};
  for (std::size_t k = 0; k < n; ++k) x.data()[k] = static_cast<T>(draw.normal());
  for (int t = 0; t < 5; ++t) {
    for (std::size_t k = 0; k < n; ++k) d.data()[k] = static_cast<T>(draw.normal());
    auto const rule = state.next(0.1);
    for (auto const r : {range{0, 77}, range{77, n}}) {
      b.sweep({0, r.size()},
              detail::mean_step_kernel<T, std::decay_t<decltype(rule)>>{
                  x.data() + r.begin, d.data() + r.begin, fresh.data() + r.begin, T{0.5}, rule.from(r.begin)});
    }
    std::swap(x, fresh);
  }
  return {x.data(), x.data() + n};
}

TEST_CASE("steps in hardware vectors agree with one index at a time, and touch only their own values") {
  auto const check = []<class Step>(Step const& rule) {
    auto const exact = swept<backend::host<double>>(rule);
    CHECK(test::distance(swept<backend::eigen<double>>(rule), exact) < 1e-14);
    CHECK(test::distance(swept<backend::eigen<float>>(rule), exact) < 2e-5);
    CHECK(swept<backend::checked<backend::host<double>>>(rule) == exact);
    CHECK(test::distance(exact, vec(exact.size(), 0.0)) > 1);
  };
  check(step::momentum{0.9});
  check(step::momentum{0.9, momentum_form::nesterov});
  check(step::adam{});
  check(step::adamw{step::adam{}, 0.1});
  check(step::clipped_by_value{step::adamw{}, 0.3});
}

TEST_CASE("momentum along tracked directions ends at the optimum of the sum, despite losses and slow nodes") {
  auto const q = quadratic::random(5, 6, 2, {.spread = 2, .condition = 4, .noise = 0});
  using node_type = r_fast<reference, step::momentum>;
  node_type::options options{};
  options.step = 0.02;
  options.step_rule = step::momentum{0.7};
  auto const r = simulate<node_type>(
      topology::binary_tree(5), q, options,
      {.compute = environment::lognormal(10ms, 0.3).slow(4, 5.0), .link = {.latency = 5ms, .loss = 0.3}},
      {.time = 100s});
  for (auto const& m : r.models) {
    auto const x = m.view<double>();
    CHECK(test::distance({x.begin(), x.end()}, q.optimum()) < 1e-9);
  }
}

TEST_CASE("invalid hyper-parameters are refused by name") {
  for (auto const beta : {-0.1, 1.0, std::nan("")}) {
    CHECK(test::says(test::refusal([&] { step::momentum{beta}; }), "beta of momentum"));
    CHECK(test::says(test::refusal([&] { step::adam{{.beta1 = beta}}; }), "beta1 of Adam"));
    CHECK(test::says(test::refusal([&] { step::adam{{.beta2 = beta}}; }), "beta2 of Adam"));
  }
  for (auto const epsilon : {0.0, -1.0, std::nan("")}) {
    CHECK(test::says(test::refusal([&] { step::adam{{.epsilon = epsilon}}; }), "epsilon of Adam"));
  }
}

}  // namespace
