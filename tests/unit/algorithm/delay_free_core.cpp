// SPDX-License-Identifier: MIT
// prox_dgd, adsgd and async_dgd_atc: their dense forms, and that delays change nothing about where they end.
#include <rubato/algorithm/detail/delay_free_core.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/adsgd.hpp>
#include <rubato/algorithm/async_dgd_atc.hpp>
#include <rubato/algorithm/prox_dgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using combining = async_dgd_atc<space>;

/// The one of prox.hpp's comment.
struct ridge {
  double lambda = 0.5;
  static void visit_options(auto& self, auto&& visit) { visit("lambda", self.lambda); }
  template<class T>
  struct rule {
    T factor;
    template<class At, class V>
    RUBATO_HOST_DEVICE auto operator()(At&, V v) const -> V {
      return factor * v;
    }
  };
  template<class T>
  auto with(double gamma) const -> rule<T> {
    return {static_cast<T>(1 / (1 + gamma * lambda))};
  }
};

/// argmin_x h(x) + (x - v)^2 / (2 gamma), as textbooks have it.
auto map_of(prox::none const&, double, double v) -> double { return v; }
auto map_of(prox::l1 const& h, double gamma, double v) -> double {
  return std::copysign(std::max(std::abs(v) - gamma * h.lambda, 0.0), v);
}
auto map_of(prox::box const& h, double, double v) -> double { return std::max(-h.bound, std::min(h.bound, v)); }
auto map_of(ridge const& h, double gamma, double v) -> double { return v / (1 + gamma * h.lambda); }

template<class Prox>
auto prox_step(problem::quadratic const& q, matrix const& w, double gamma, Prox const& h, matrix const& x) -> matrix {
  matrix const v = w * x - gamma * gradients(q, x);
  return v.unaryExpr([&](double each) { return map_of(h, gamma, each); });
}

/// Runs a node type in lock-step beside step(x). On one node they are equal to the bit.
template<class Node, class Step>
void compare(typename Node::options o, Step const& step_of) {
  for (auto const& network : {topology::star(5), topology::ring(6), topology::exponential(6), topology::line(1)}) {
    auto const q = problem::quadratic::random(network.nodes(), 5, 42);
    o.step = 0.1;
    auto nodes = lockstep{assemble<Node>(topology::pair{network}, q, o)};
    auto step = step_of(q, dense_network{Node::make_plan(network)}.w);
    matrix x = matrix::Zero(index_of(q.nodes()), index_of(q.dimension()));
    auto worst = 0.0;
    for (int k = 0; k < 100; ++k) {
      for (std::size_t i = 0; i < q.nodes(); ++i) worst = std::max(worst, distance(nodes.point(i), row(x, i)));
      nodes.round();
      x = step(x);
    }
    INFO(Node::name() << " on " << network.name());
    CHECK(worst <= (network.nodes() == 1 ? 1e-15 : 1e-12));
    CHECK(x.cwiseAbs().maxCoeff() > 0.01);
  }
}

TEST_CASE("prox_dgd in lock-step is x+ = prox(W x - gamma g(x)), and one node alone is proximal SGD (PX.M)") {
  auto const with = [](auto const& h) {
    using node_type = prox_dgd<space, std::remove_cvref_t<decltype(h)>>;
    compare<node_type>({.prox = h}, [&](auto const& q, matrix const& w) {
      return [&q, w, h](matrix const& x) -> matrix { return prox_step(q, w, 0.1, h, x); };
    });
  };
  with(prox::none{});
  with(prox::l1{.lambda = 0.3});
  with(prox::box{.bound = 0.4});
  with(ridge{});
}

TEST_CASE("async_dgd_atc in lock-step mixes its own y with those that neighbours had one round before (AT.D) (AT.W)") {
  compare<combining>({}, [](auto const& q, matrix const& w) {
    return [&q, w, before = matrix{}](matrix const& x) mutable -> matrix {
      matrix const y = x - 0.1 * gradients(q, x);
      matrix const others = w - matrix(w.diagonal().asDiagonal());
      matrix const mixed = w.diagonal().asDiagonal() * y + others * (before.size() == 0 ? x : before);
      before = y;
      return mixed;
    };
  });
}

/// Problem P4 of four nodes with one value each, on a ring with weights of 1/3.
auto four() -> problem::quadratic { return {{{1}, {2}, {0.5}, {3}}, {{0}, {1}, {4}, {10}}}; }

TEST_CASE("adsgd without delay makes of the example what it should in eight activations (PX.M)") {
  auto a = assemble<adsgd<space>>(topology::ring(4), four(), {.step = 0.05});
  std::vector<gradient_request> asked(4);
  outbox out;
  auto const drain = [&](std::size_t i) {
    asked[i] = std::move(*std::exchange(out.request, std::nullopt));
    auto const sent = std::exchange(out.packets, {});
    for (auto const& p : sent) hand_over(a.nodes[to_index(p.to)], p, 1, out);
    CHECK(out.empty());
  };
  for (std::size_t i = 0; i < 4; ++i) a.nodes[i].start({}, out), drain(i);
  for (std::size_t k = 0; k < 8; ++k) {
    a.nodes[k % 4].on_gradient({}, a.oracle.evaluate(asked[k % 4]), out);
    drain(k % 4);
  }
  std::vector<double> const right{0.548148148148148, 0.350493827160494, 0.772757201646091, 2.223449931412895};
  for (std::size_t i = 0; i < 4; ++i) CHECK(a.nodes[i].estimate().view<double>()[0] == Approx(right[i]).epsilon(1e-14));
}

/// Loss of 30 %, messages far older than a local iteration that overtake each other and come twice, node 3 ten times
/// slower: the largest distance of a node from row i of `end` when the run is over.
template<class Node>
auto distance_from(matrix const& end, assembly a, std::uint64_t seed) -> double {
  environment::scenario rough;
  rough.compute = environment::lognormal(10ms, 0.5).slow(3, 10.0);
  rough.link = {.latency = 1ms, .jitter = 60ms, .loss = 0.3, .duplication = 0.1, .overtaking = 0.3};
  rough.seed = seed;
  rough.measure_every = 1h;
  auto const r = simulate(std::move(a), rough, {.time = 40s});
  auto worst = 0.0;
  std::vector<double> x;
  for (std::size_t i = 0; i < r.models.size(); ++i) {
    rubato::detail::widen(r.models[i], x);
    worst = std::max(worst, distance(x, row(end, i)));
  }
  return worst;
}

TEST_CASE("adsgd ends at the fixed point of the synchronous method for the example, whatever the delays (PX.M)") {
  auto const ends = [](double gamma, std::vector<double> const& right) {
    matrix end(4, 1);
    for (std::size_t i = 0; i < 4; ++i) end(index_of(i), 0) = right[i];
    auto const w = dense_network{mixing::gossip_plan(topology::ring(4))}.w;
    CHECK((gossip_fixed_point(four(), w, gamma, matrix::Identity(4, 4)) - end).cwiseAbs().maxCoeff() < 1e-13);
    return distance_from<adsgd<space>>(end, assemble<adsgd<space>>(topology::ring(4), four(), {.step = gamma}), 1);
  };
  CHECK(ends(0.05, {4.817451307405854, 4.458089423528493, 5.136154366709680, 5.899430887394095}) < 1e-12);
}

/// Each node has a step of its own: this share of its bound.
auto own_steps(problem::quadratic const& q, matrix const& w, double share, bool combines) -> std::vector<double> {
  std::vector<double> steps;
  for (std::size_t i = 0; i < q.nodes(); ++i) {
    auto steepest = 0.0;
    for (std::size_t k = 0; k < q.dimension(); ++k) steepest = std::max(steepest, q.curvature(i, k));
    steps.push_back(share * 2 * (combines ? 1 : w(index_of(i), index_of(i))) / steepest);
  }
  return steps;
}

template<class Node>
void ends_where_the_synchronous_method_does(topology::digraph const& graph, double share, bool combines) {
  auto const n = graph.nodes();
  auto const q = problem::quadratic::random(n, 4, n, {.spread = 1, .condition = 3});
  auto const w = dense_network{Node::make_plan(graph)}.w;
  auto const steps = own_steps(q, w, share, combines);
  matrix gammas = matrix::Zero(index_of(n), index_of(n));
  for (std::size_t i = 0; i < n; ++i) gammas(index_of(i), index_of(i)) = steps[i];
  matrix const end = gossip_fixed_point(q, w, 1, combines ? matrix(w * gammas) : gammas);
  auto const own = [&](node_id i) { return typename Node::options{.step = steps[to_index(i)]}; };
  INFO(Node::name() << " on " << graph.name() << ", " << share << " of the bound");
  CHECK(distance_from<Node>(end, assemble<Node>(topology::pair{graph}, q, own), n) < 1e-12);
  for (std::size_t i = 0; i < n; ++i) CHECK(distance(row(end, i), q.optimum()) > 1e-2);
}

TEST_CASE("whatever the delays, nodes end where the synchronous method does, each with a step of its own (PX.M)") {
  ends_where_the_synchronous_method_does<adsgd<space>>(topology::star(5), 0.3, false);
  ends_where_the_synchronous_method_does<adsgd<space>>(topology::ring(6), 1.25, false);  // it is only sufficient
}
TEST_CASE("whatever the delays, async_dgd_atc ends at x = W (x - gamma g(x)) (AT.D) (AT.W)") {
  ends_where_the_synchronous_method_does<combining>(topology::star(5), 0.2, true);
  ends_where_the_synchronous_method_does<combining>(topology::ring(6), 0.9, true);
}

TEST_CASE("prox_dgd ends where the synchronous proximal method does, with a prox of each node's own (PX.M)") {
  auto const q = problem::quadratic::random(5, 6, 3, {.spread = 1, .condition = 4});
  auto const w = dense_network{mixing::gossip_plan(topology::ring(5))}.w;
  auto const lambda = [](std::size_t i) { return 0.1 * static_cast<double>(i); };
  matrix x = matrix::Zero(5, 6);
  for (int k = 0; k < 5000; ++k) {
    matrix const v = w * x - 0.2 * gradients(q, x);
    for (std::size_t i = 0; i < 5; ++i)
      for (Eigen::Index c = 0; c < 6; ++c) x(index_of(i), c) = map_of(prox::l1{lambda(i)}, 0.2, v(index_of(i), c));
  }
  using sparse = prox_dgd<space, prox::l1>;
  auto const own = [&](node_id i) { return sparse::options{.step = 0.2, .prox = {lambda(to_index(i))}}; };
  CHECK(distance_from<sparse>(x, assemble<sparse>(topology::ring(5), q, own), 4) < 1e-12);
  CHECK((x.array() == 0).count() > 0);
}

TEST_CASE("a negative lambda and a box without a size are refused") {
  auto const sparse = [](double lambda) {
    return refusal(
        [&] { static_cast<void>(assemble<prox_dgd<space>>(topology::ring(4), four(), {.prox = {lambda}})); });
  };
  CHECK(says(sparse(-1), "the lambda of l1 must be a number of 0 or more, not -1"));
  CHECK(says(sparse(std::nan("")), "the lambda of l1"));
  CHECK(sparse(0).empty());
  CHECK(says(refusal([] {
               using bounded = prox_dgd<space, prox::box>;
               static_cast<void>(assemble<bounded>(topology::ring(4), four(), {.prox = {0}}));
             }),
             "the bound of a box must be a positive number, not 0"));
}

}  // namespace
}  // namespace rubato::test
