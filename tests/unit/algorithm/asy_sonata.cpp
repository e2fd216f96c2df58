// SPDX-License-Identifier: MIT
#include <rubato/algorithm/asy_sonata.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/alone.hpp"
#include "support/catch.hpp"
#include "support/conservation_checker.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using node_type = asy_sonata<space>;
using problem::quadratic;

/// All nodes act at the same instants, and messages of one round are there in the next: one sum a node, as the public
/// code has it. (Its receivers scale; here the sender does.)
struct dense_asy_sonata {
  dense_network m;
  quadratic q;
  double gamma;
  matrix x = matrix::Zero(m.w.rows(), index_of(q.dimension()));
  matrix z = gradients(q, x);
  matrix g = z;
  matrix v = x, arrived_v = x, rho = 0 * x, arrived_rho = rho, consumed = rho;
  bool begun = false;

  void descend() {
    matrix const fresh = x - gamma * z;
    matrix const own = m.w.diagonal().asDiagonal();
    x = own * fresh + (m.w - own) * arrived_v;
    v = fresh;
  }
  void round() {
    if (begun) {
      auto const n = m.a.rows();
      matrix const fresh = gradients(q, x);
      z += fresh - g;
      g = fresh;
      for (Eigen::Index i = 0; i < n; ++i)
        for (Eigen::Index j = 0; j < n; ++j)
          if (i != j && m.a(i, j) > 0) z.row(i) += arrived_rho.row(j) - consumed.row(j);
      consumed = arrived_rho;
      for (Eigen::Index j = 0; j < n; ++j) {
        auto degree = 0.0, share = 0.0;
        for (Eigen::Index i = 0; i < n; ++i)
          if (i != j && m.a(i, j) > 0) share = m.a(i, j), degree += 1;
        rho.row(j) += share * z.row(j);
        z.row(j) *= 1 - degree * share;
      }
      auto const sent_v = v;
      descend();
      arrived_rho = rho;
      arrived_v = sent_v;
      return;
    }
    begun = true;
    descend();
  }
};

TEST_CASE("asy_sonata in lock-step is its dense form, in which each node has one running sum (AS.A) (AS.B)") {
  for (auto const& network :
       {topology::pair{topology::binary_tree(7)}, topology::pair{topology::star(5)}, topology::pair{topology::ring(6)},
        topology::pair{topology::exponential(6)}, topology::pair{topology::directed_ring(5), topology::exponential(5)},
        topology::pair{topology::line(1)}}) {
    auto const q = quadratic::random(network.nodes(), 5, 42);
    auto made = assemble<node_type>(network, q, {.step = 0.05});
    auto dense = dense_asy_sonata{dense_network{node_type::make_plan(network)}, q, made.raw_step};
    auto nodes = lockstep{std::move(made)};
    auto worst = 0.0;
    for (int k = 0; k < 100; ++k) {
      for (std::size_t i = 0; i < q.nodes(); ++i) worst = std::max(worst, distance(nodes.point(i), row(dense.x, i)));
      nodes.round();
      dense.round();
    }
    INFO(network.name());
    CHECK(worst < 1e-12 * (1 + dense.x.cwiseAbs().maxCoeff()));
    CHECK(dense.x.cwiseAbs().maxCoeff() > 0.01);
  }
}

auto storm() -> environment::scenario {
  return {.compute = environment::lognormal(10ms, 0.8).slow(1, 4.0),
          .link = {.latency = 3ms, .jitter = 20ms, .loss = 0.3, .duplication = 0.1, .overtaking = 0.2},
          .seed = 6};
}

TEST_CASE("asy_sonata in a storm walks the path of the update order that posts late, to the bit (AS.B)") {
  auto const q = quadratic::random(6, 7, 3, {.spread = 2, .condition = 5, .noise = 0.2});
  auto const a = simulate<node_type>(topology::exponential(6), q, {.step = 0.03, .seed = 4}, storm(), {.time = 5s});
  auto const b = simulate<gradient_tracking<space, order::late_post>>(topology::exponential(6), q,
                                                                      {.step = 0.03, .seed = 4}, storm(), {.time = 5s});
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(a.nodes[i].iterations > 50);
    auto const x = a.models[i].view<double>(), y = b.models[i].view<double>();
    CHECK(std::equal(x.begin(), x.end(), y.begin(), y.end()));
  }
}

/// The bodies of the sums that each node posts, by round of the run.
struct sums : simulation_trace {
  std::size_t from = 0;
  std::set<void const*> bodies;
  std::size_t posts = 0;
  instant since{};
  std::vector<shared_buffer> kept;  // so that no address comes twice
  void posted(instant now, packet const& p) override {
    if (p.channel != channel_id::tracker || to_index(p.from) != from || now < since) return;
    ++posts;
    bodies.insert(p.body.view<double>().data());
    kept.push_back(p.body);
  }
};

/// Sums that node 0 posts, over those of them that are its own vectors; from `since` on.
template<class Node>
auto readers_of_a_sum(mixing::plan const& plan, environment::scenario const& weather, std::chrono::seconds since)
    -> double {
  auto const q = quadratic::random(5, 3, 1);
  sums seen;
  seen.since = instant{} + since;
  simulate(assemble<Node>(plan, q, {.step = 0.05}), weather, {.time = 6s}, {.trace = &seen});
  CHECK(seen.posts > 50);
  return static_cast<double>(seen.posts) / static_cast<double>(seen.bodies.size());
}

TEST_CASE("one vector serves all out-neighbours whose edges opened together, with any equal weights (AS.A)") {
  auto const all = mixing::tracking_plan(topology::complete(5));
  auto const calm = environment::scenario{.compute = environment::fixed(10ms), .link = {.latency = 1ms}};
  CHECK(readers_of_a_sum<node_type>(all, calm, 0s) == 4);
  CHECK(readers_of_a_sum<r_fast<space>>(all, calm, 0s) == 4);
  auto restarted = calm;
  restarted.restarts = {{node_id{2}, 1s, 1s}};
  CHECK(readers_of_a_sum<node_type>(all, restarted, 3s) == 2);  // a sum for three, and one for node 2
  restarted.restarts = {{node_id{2}, 1s, 1s}, {node_id{3}, 1500ms, 1s}};
  CHECK(readers_of_a_sum<node_type>(all, restarted, 3s) == Approx(4.0 / 3));
  restarted.restarts = {{node_id{0}, 1s, 1s}};
  CHECK(readers_of_a_sum<node_type>(all, restarted, 3s) == 4);
}

TEST_CASE("the law of asy_sonata holds exactly although edges close, and open at different times (AS.A)") {
  auto const q = quadratic::random(5, 3, 1, {.spread = 3, .noise = 0.5});
  auto weather = storm();
  weather.restarts = {{node_id{2}, 1s, 500ms}, {node_id{3}, 1200ms, 1s}, {node_id{0}, 4s, 1s}};
  auto made = assemble<asy_sonata<backend::host<float>>>(topology::complete(5), q, {.step = 0.02});
  conservation_checker checker{made.blocks};
  simulate(std::move(made), weather, {.time = 10s}, {.trace = &checker});
  for (auto const& c : checker.complaints()) FAIL_CHECK(c);
  CHECK(checker.worst() == 0);
  CHECK(checker.largest_in_flight() > 0);
  CHECK(checker.events() > 5000);
}

/// A complete graph whose columns have unequal weights.
auto unequal() -> mixing::plan {
  auto const a = mixing::from_rows(
      {{.4, .1, .1, .2, .2}, {.3, .5, .1, .2, .2}, {.1, .1, .4, .2, .1}, {.1, .1, .1, .2, .1}, {.1, .2, .3, .2, .4}},
      mixing::stochasticity::column);
  return mixing::tracking_plan(mixing::uniform_pull(topology::complete(5)), a);
}

TEST_CASE("asy_sonata refuses push weights of a node that differ, and r_fast has a sum for each weight") {
  auto const q = quadratic::random(5, 3, 1);
  CHECK(says(refusal([&] { static_cast<void>(assemble<node_type>(unequal(), q, {})); }),
             "ASY-SONATA sends one sum to all, and node 0 pushes with weights that differ"));
  auto const calm = environment::scenario{.compute = environment::fixed(10ms), .link = {.latency = 1ms}};
  CHECK(readers_of_a_sum<r_fast<space>>(unequal(), calm, 0s) == 2);  // 0.3 once, and 0.1 three times
}

TEST_CASE("asy_sonata ends at the optimum whatever is lost, late or slow") {
  for (auto const& network : {topology::pair{topology::binary_tree(5)}, topology::pair{topology::exponential(5)}}) {
    auto const q = quadratic::random(5, 4, 8, {.spread = 3, .condition = 4});
    auto const r = simulate<node_type>(network, q, {.step = 0.05}, storm(), {.time = 300s});
    for (auto const& m : r.models) {
      auto const x = m.view<double>();
      CHECK(distance({x.begin(), x.end()}, q.optimum()) < 1e-9);
    }
  }
}

TEST_CASE("asy_sonata on one node is SGD bit for bit") { is_sgd_alone<node_type>(); }

}  // namespace
}  // namespace rubato::test
