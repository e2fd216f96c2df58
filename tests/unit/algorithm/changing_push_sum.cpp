// SPDX-License-Identifier: MIT
// Push-sum and pairwise averages on graphs that change: each beside its dense form, or held to the edges of a round.
#include <rubato/algorithm/sgp.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/bipartite_ad_psgd.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/matcha.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/rasgp.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/mixing/base_graph.hpp>
#include <rubato/mixing/one_peer.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/problem/quadratic.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using mixing::schedule;
using problem::quadratic;
using row_lists = std::vector<std::vector<double>>;

auto pushing(row_lists const& rows) -> mixing::matrix {
  return mixing::from_rows(rows, mixing::stochasticity::column, "shares");
}
/// Four nodes; shares differ from receiver to receiver, node 3 is alone in one round, and only both lead everywhere.
auto uneven() -> std::vector<mixing::matrix> {
  return {pushing({{0.5, 0, 0.25, 0}, {0.3, 1, 0, 0}, {0.2, 0, 0.75, 0}, {0, 0, 0, 1}}),
          pushing({{1, 0, 0, 0.5}, {0, 0.6, 0, 0}, {0, 0, 1, 0}, {0, 0.4, 0, 0.5}})};
}
auto schedules() -> std::vector<schedule> {
  return {schedule::cycle(mixing::one_peer_exponential(8)), schedule::cycle(mixing::one_peer_exponential(6)),
          schedule::cycle(mixing::base_graph(5, 1)),        schedule::cycle(uneven()),
          schedule::one_of(uneven(), {0.6, 0.4}, 7),        schedule::independent(uneven(), {0.5, 0.3}, 9)};
}
auto shares(schedule const& s, std::uint64_t round) -> matrix {
  auto const n = s.nodes();
  matrix a = matrix::Zero(index_of(n), index_of(n));
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) a(index_of(i), index_of(j)) = s.weight(round, to_node(i), to_node(j));
  return a;
}

TEST_CASE("on a graph that changes sgp is the synchronous method with the shares of each round (SG.R)") {
  auto const weather = environment::scenario{.compute = environment::lognormal(10ms, 0.8).slow(0, 3.0),
                                             .link = {.latency = 1ms, .jitter = 30ms, .loss = 0.2},
                                             .seed = 4};
  for (auto const& s : schedules()) {
    INFO(s.name() << " of " << s.nodes());
    auto const q = quadratic::random(s.nodes(), 5, 42);
    auto const r = simulate(assemble<sgp<space>>(s, q, {.step = 0.05}), weather, {.time = 2s});
    std::uint64_t most = 0;
    for (auto const& n : r.nodes) most = (std::max)(most, n.iterations);
    CHECK(most > 20);
    matrix x = matrix::Zero(index_of(q.nodes()), 5);
    Eigen::VectorXd w = Eigen::VectorXd::Ones(x.rows());
    std::vector<matrix> z{x};
    for (std::uint64_t k = 1; k <= most; ++k) {
      matrix const a = shares(s, k);
      x = a * (x - 0.05 * gradients(q, z.back()));
      w = a * w;
      z.emplace_back(w.cwiseInverse().asDiagonal() * x);
    }
    for (std::size_t i = 0; i < q.nodes(); ++i) {
      auto const k = r.nodes[i].iterations;
      auto const values = r.models[i].view<double>();
      std::vector<double> const seen{values.begin(), values.end()};
      // a node that waits has done its iteration and still shows the model of the one before
      CHECK((std::min)(distance(seen, row(z[k], i)), distance(seen, row(z[k == 0 ? 0 : k - 1], i))) < 1e-12);
    }
  }
}

TEST_CASE("osgp in lock-step merges the shares of a round one message late, on a graph that changes (OS.A) (OS.M)") {
  for (auto const& s : schedules()) {
    INFO(s.name() << " of " << s.nodes());
    auto const q = quadratic::random(s.nodes(), 5, 42);
    auto nodes = lockstep{assemble<osgp<space>>(s, q, {.step = 0.05, .overlap = 1})};
    matrix x = matrix::Zero(index_of(q.nodes()), 5), late_x = x;
    Eigen::VectorXd w = Eigen::VectorXd::Ones(x.rows()), late_w = Eigen::VectorXd::Zero(x.rows());
    auto worst = 0.0;
    for (std::uint64_t k = 1; k <= 60; ++k) {
      matrix const z = w.cwiseInverse().asDiagonal() * x;
      for (std::size_t i = 0; i < q.nodes(); ++i) worst = (std::max)(worst, distance(nodes.point(i), row(z, i)));
      nodes.round();
      matrix const a = shares(s, k);
      matrix const kept = a.diagonal().asDiagonal();
      matrix const sent = a - kept;
      matrix const half = x - 0.05 * gradients(q, z);
      Eigen::VectorXd const before = w;
      x = kept * half + late_x;
      w = kept * before + late_w;
      late_x = sent * half;
      late_w = sent * before;
    }
    CHECK(worst < 1e-12);
    CHECK(x.cwiseAbs().maxCoeff() > 0.01);
  }
}

/// The first gradient is of the node's own, and all others are zero: what follows is averaging alone.
struct one_push {
  std::size_t n = 1;
  [[nodiscard]] auto nodes() const -> std::size_t { return n; }
  [[nodiscard]] auto dimension() const -> std::size_t { return 3; }
  static auto value(std::size_t i, std::size_t c) -> double {
    return std::sin(static_cast<double>(3 * i + c)) * (i == 1 ? 100 : 1);
  }
  template<class Backend>
  auto gradient(Backend&, std::span<double const>, sample_key key, std::span<double> g) const -> double {
    for (std::size_t c = 0; c < 3; ++c) g[c] = key.draw == 0 ? value(to_index(key.node), c) : 0;
    return 0;
  }
};

TEST_CASE("one-peer exponential push-sum is the exact mean of 2^k nodes after k rounds, and not one round sooner") {
  for (std::size_t k = 1; k <= 5; ++k) {
    auto const n = std::size_t{1} << k;
    auto nodes =
        lockstep{assemble<sgp<space>>(schedule::cycle(mixing::one_peer_exponential(n)), one_push{n}, {.step = 1})};
    std::vector<double> mean(3, 0.0);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t c = 0; c < 3; ++c) mean[c] -= one_push::value(i, c) / static_cast<double>(n);
    auto const farthest = [&] {
      auto worst = 0.0;
      for (std::size_t i = 0; i < n; ++i) worst = (std::max)(worst, distance(nodes.point(i), mean));
      return worst;
    };
    for (std::size_t round = 0; round < k; ++round) {
      CHECK(farthest() > 1e-3);
      nodes.round();
    }
    CHECK(farthest() < 1e-13);
    for (int more = 0; more < 4; ++more) nodes.round();
    CHECK(farthest() < 1e-13);
  }
}

TEST_CASE("sgp on one-peer exponential graphs ends near the optimum, the nearer the smaller its step") {
  auto const q = quadratic::random(8, 3, 8, {.spread = 1, .condition = 3});
  auto const off = [&](double step) {
    auto nodes = lockstep{assemble<sgp<space>>(schedule::cycle(mixing::one_peer_exponential(8)), q, {.step = step})};
    for (int k = 0; k < static_cast<int>(30 / step); ++k) nodes.round();
    auto worst = 0.0;
    for (std::size_t i = 0; i < 8; ++i) worst = (std::max)(worst, distance(nodes.point(i), q.optimum()));
    return worst;
  };
  auto const near = off(0.01);
  CHECK(near < 0.1);
  CHECK(off(0.04) > 3 * near);
}

/// Questions of pairs, with their moment.
struct questions : simulation_trace {
  schedule rounds;
  explicit questions(schedule s) : rounds{std::move(s)} {}
  void posted(instant now, packet const& p) override {
    if (p.based_on != iteration{}) return;
    ++asked;
    auto const round = rounds.round_at(0, now);
    if (rounds.weight(round, p.from, p.to) == 0) ++strays;
    if (rounds.weight(round % 2 + 1, p.from, p.to) == 0) ++only_now;
  }
  int asked = 0, strays = 0, only_now = 0;
};

TEST_CASE("in pairs who asks chooses among the neighbours of the moment, on a graph that changes by time (AD.A)") {
  auto const by_time = schedule::cycle(mixing::base_graph(4, 1)).by_time(150ms);
  REQUIRE(by_time.parts().size() == 2);
  CHECK(by_time.round_at(9, instant{149ms}) == 1);
  CHECK(by_time.round_at(9, instant{150ms}) == 2);
  CHECK(schedule::cycle(mixing::base_graph(4, 1)).round_at(9, instant{150ms}) == 9);
  auto const q = quadratic::random(4, 3, 11, {.spread = 1, .condition = 4});
  auto const weather =
      environment::scenario{.compute = environment::fixed(10ms), .link = {.latency = 1ms, .jitter = 20ms}, .seed = 3};
  questions watch{by_time};
  auto const r =
      simulate(assemble<ad_psgd<space>>(by_time, q, {.step = 0.005}), weather, {.time = 30s}, {.trace = &watch});
  CHECK(watch.asked > 1000);
  CHECK(watch.strays == 0);
  CHECK(watch.only_now > 500);
  for (auto const& model : r.models) {
    auto const x = model.view<double>();
    CHECK(distance(std::vector<double>{x.begin(), x.end()}, q.optimum()) < 0.05);
  }
  auto const bipartite =
      simulate(assemble<bipartite_ad_psgd<space>>(by_time, q, {.step = 0.005}), weather, {.time = 30s});
  auto const x = bipartite.models[0].view<double>();
  CHECK(distance(std::vector<double>{x.begin(), x.end()}, q.optimum()) < 0.05);
}

TEST_CASE("by iteration a node asks a neighbour of its own iteration, whatever the time (AD.A)") {
  auto const pair = [](std::size_t j) {
    row_lists rows(4, std::vector<double>(4, 0.0));
    for (std::size_t i = 0; i < 4; ++i) rows[i][i] = 1;
    rows[0][0] = rows[j][j] = rows[0][j] = rows[j][0] = 0.5;
    return mixing::from_rows(rows, mixing::stochasticity::doubly, "a pair");
  };
  auto const s = schedule::cycle({pair(3), pair(1), pair(2)});
  auto a = assemble<ad_psgd<space>>(s, quadratic::random(4, 3, 11), {.step = 0.1});
  outbox out;
  a.nodes[0].start({}, out);
  std::vector<std::size_t> asked;
  for (int k = 0; k < 6; ++k) {
    REQUIRE(out.packets.size() == 1);
    asked.push_back(to_index(out.packets[0].to));
    auto const request = *out.request;
    auto answer = out.packets[0];
    std::swap(answer.from, answer.to);
    answer.based_on = answer.number;
    out.clear();
    hand_over(a.nodes[0], answer, 1, out);
    REQUIRE_FALSE(out.failure);
    a.nodes[0].on_gradient({}, a.oracle.evaluate(request), out);
  }
  CHECK(asked == std::vector<std::size_t>{3, 1, 2, 3, 1, 2});
}

template<class Node>
auto refused(schedule const& s) -> std::string {
  return refusal([&] { static_cast<void>(assemble<Node>(s, quadratic::random(s.nodes(), 3, 1), {})); });
}

TEST_CASE("rounds that an algorithm cannot take, and rounds that are none, are refused with a sentence") {
  auto const rounds = schedule::cycle(mixing::base_graph(4, 1));
  CHECK(refused<sgp<space>>(rounds).empty());
  CHECK(refused<ad_psgd<space>>(rounds.by_time(1s)).empty());
  CHECK(says(refused<sgp<space>>(rounds.by_time(1s)), "no common clock"));
  CHECK(says(refused<d_psgd<space>>(rounds.by_time(1s)), "no common clock"));
  CHECK(says(refused<r_fast<space>>(rounds), "needs a graph that stays the same"));
  CHECK(says(refused<rasgp<space>>(rounds), "needs a graph that stays the same"));
  CHECK(says(refused<matcha<space>>(rounds), "needs a graph that stays the same"));
  CHECK(says(refused<r_fast<space>>(rounds),
             "; d_psgd, d_psgd_atc, non_blocking_d_psgd, noloco, ad_psgd, bipartite_ad_psgd, sgp and osgp take them"));
  CHECK(says(refused<r_fast<space>>(rounds.by_time(1s)), "; ad_psgd and bipartite_ad_psgd take them"));
  CHECK(refused<bipartite_ad_psgd<space>>(rounds).empty());
  CHECK(refused<bipartite_ad_psgd<space>>(rounds.by_time(1s)).empty());
  auto const with_triangles = schedule::cycle(mixing::base_graph(6, 2));
  CHECK(says(refused<r_fast<space>>(with_triangles.by_time(1s)), "; ad_psgd takes them"));
  CHECK(says(refused<bipartite_ad_psgd<space>>(with_triangles), "a cycle of odd length"));
  CHECK(says(refused<r_fast<space>>(schedule::cycle(mixing::one_peer_exponential(4))),
             "change from round to round; sgp and osgp take them"));
  CHECK(says(refused<ad_psgd<space, step::sgd, partner::fixed>>(rounds), "fixed partners need a graph"));
  CHECK(says(refused<d_psgd<space>>(schedule::cycle(mixing::one_peer_exponential(4))), "symmetric"));
  CHECK(says(refused<d_psgd<space>>(schedule::cycle(mixing::one_peer_exponential(4))),
             "; sgp and osgp take directed rounds"));
  CHECK(says(refusal([&] { static_cast<void>(rounds.by_time(0s)); }), "longer than 0 s"));
  CHECK(rounds.by_time(1s).text() != rounds.text());
  CHECK(says(refused<sgp<space>>(schedule::cycle({pushing({{1, 0.5}, {0, 0.5}})})), "both ways"));
  auto const turn = mixing::from_rows({{0, 1}, {1, 0}}, mixing::stochasticity::doubly, "turn", mixing::signs::any);
  CHECK(says(refused<osgp<space>>(schedule::cycle({turn})), "keep a part of their mass"));
  CHECK(says(refused<osgp<space>>(schedule::independent({rounds.parts()[0], rounds.parts()[0]}, {0.5, 0.5}, 1)),
             "keep a part of their mass"));
  CHECK(says(refusal([&] {
               static_cast<void>(assemble<sgp<space>>(mixing::gossip_plan(rounds), quadratic::random(4, 3, 1), {}));
             }),
             "mixing::push_sum_plan"));
}

}  // namespace
}  // namespace rubato::test
