// SPDX-License-Identifier: MIT
#include <rubato/algorithm/osgp.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/mixing/one_peer.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/plans.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node_type = osgp<backend::host<double>>;
using problem::quadratic;

auto networks() -> std::vector<topology::pair> {
  return {topology::binary_tree(7),
          topology::star(5),
          topology::directed_ring(5),
          topology::exponential(6),
          {topology::directed_ring(5), topology::exponential(5)},
          topology::line(1)};
}

TEST_CASE("push-sum sends a share on every edge in the edge's own direction, along trees both ways") {
  for (auto const& network : networks()) check_plan(mixing::push_sum_plan(network));
  auto const tree = mixing::push_sum_plan(topology::binary_tree(7));
  CHECK(peers_of(tree.nodes[1].push_to) == std::vector<node_id>{node_id{0}, node_id{3}, node_id{4}});
  auto const ring = mixing::push_sum_plan(topology::directed_ring(5));
  CHECK(peers_of(ring.nodes[1].push_to) == std::vector<node_id>{node_id{2}});
  CHECK(ring.nodes[1].push_self == 0.5);
}

/// In lock-step messages of overlap 0 are merged in their own round, those of overlap 1 in the next.
void compare_with_dense(topology::pair const& network, std::uint64_t overlap) {
  auto const q = quadratic::random(network.nodes(), 5, 42);
  auto made = assemble<node_type>(network, q, {.step = 0.05, .overlap = overlap});
  auto const a = dense_network{node_type::make_plan(network)}.a;
  matrix const kept = a.diagonal().asDiagonal();
  matrix const sent = a - kept;
  auto nodes = lockstep{std::move(made)};
  auto const n = index_of(q.nodes());
  matrix x = matrix::Zero(n, 5), late_x = x;
  Eigen::VectorXd w = Eigen::VectorXd::Ones(n), late_w = Eigen::VectorXd::Zero(n);
  auto worst = 0.0;
  for (int k = 0; k < 100; ++k) {
    matrix const z = w.cwiseInverse().asDiagonal() * x;
    for (std::size_t i = 0; i < q.nodes(); ++i) worst = std::max(worst, distance(nodes.point(i), row(z, i)));
    nodes.round();
    matrix const half = x - 0.05 * gradients(q, z);
    Eigen::VectorXd const before = w;
    x = kept * half + (overlap == 0 ? matrix(sent * half) : late_x);
    w = kept * before + (overlap == 0 ? Eigen::VectorXd(sent * before) : late_w);
    late_x = sent * half;
    late_w = sent * before;
  }
  INFO(network.name() << ", overlap " << overlap);
  CHECK(worst < 1e-12);
  CHECK(x.cwiseAbs().maxCoeff() > 0.01);
}

TEST_CASE("osgp in lock-step is SGP, and with an overlap of one SGP one message late (OS.X) (OS.A) (OS.M) (OS.Z)") {
  for (auto const& network : networks()) {
    compare_with_dense(network, 0);
    compare_with_dense(network, 1);
  }
}

TEST_CASE("osgp alone is SGD bit for bit") {
  auto const q = quadratic::random(1, 6, 3, {.noise = 0.3});
  auto nodes = lockstep{assemble<node_type>(topology::line(1), q, {.step = 0.2, .seed = 5})};
  std::vector<double> x(6, 0.0), g(6);
  backend::host<double> b;
  for (std::uint64_t k = 0; k < 50; ++k) {
    REQUIRE(nodes.point(0) == x);
    q.gradient(b, std::span<double const>{x}, {5, node_id{0}, k}, std::span<double>{g});
    for (std::size_t c = 0; c < x.size(); ++c) x[c] = x[c] - 0.2 * g[c];
    nodes.round();
  }
}

/// What is under way, and what the sum of all numerators must be.
struct account {
  double weight = 0;
  std::vector<double> numerator, expected;
  double gamma = 0;
};

/// A node that stays in sight while a driver owns it, and books what reaches it.
struct visible {
  std::shared_ptr<node_type> node;
  std::shared_ptr<account> book;

  void start(instant now, outbox& out) { node->start(now, out); }
  void on_patch(instant now, patch const& p, outbox& out) {
    book->weight -= *p.extra.real(scalar_slot::push_sum_weight);
    for (std::size_t k = 0; k < p.body.size(); ++k) book->numerator[k] -= p.body.view<double>()[k];
    node->on_patch(now, p, out);
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    for (std::size_t k = 0; k < g.value.size(); ++k) book->expected[k] -= book->gamma * g.value.view<double>()[k];
    node->on_gradient(now, std::move(g), out);
  }
  void on_wakeup(instant now, wakeup w, outbox& out) { node->on_wakeup(now, w, out); }
  void on_neighbours(instant now, neighbour_change const& c, outbox& out) { node->on_neighbours(now, c, out); }
  [[nodiscard]] auto estimate() const -> shared_buffer { return node->estimate(); }
  [[nodiscard]] auto statistics() const -> node_statistics { return node->statistics(); }
  void audit(tracking_audit& a) const { node->audit(a); }
  static auto channels() -> std::span<channel_spec const> { return node_type::channels(); }
};

/// The laws of push-sum, after every event.
struct law : simulation_trace {
  std::vector<std::shared_ptr<node_type>> nodes;
  std::shared_ptr<account> book = std::make_shared<account>();
  double worst_weight = 0, worst_sum = 0, least_weight = 1, largest = 1;
  std::uint64_t events = 0;

  void posted(instant, packet const& p) override {
    book->weight += *p.extra.real(scalar_slot::push_sum_weight);
    for (std::size_t k = 0; k < p.body.size(); ++k) book->numerator[k] += p.body.view<double>()[k];
  }
  void after_event(instant, node_id, std::span<any_node const>) override {
    ++events;
    auto weight = book->weight;
    auto sum = book->numerator;
    for (auto const& node : nodes) {
      auto const m = node->mass();
      weight += m.weight;
      least_weight = std::min(least_weight, m.weight);
      for (std::size_t k = 0; k < sum.size(); ++k) {
        sum[k] += m.numerator[k];
        largest = std::max(largest, std::abs(m.numerator[k]));
      }
    }
    worst_weight = std::max(worst_weight, std::abs(weight - static_cast<double>(nodes.size())));
    worst_sum = std::max(worst_sum, distance(sum, book->expected));
  }
};

TEST_CASE("after every event weights plus those under way sum to n, and numerators change by gradients alone") {
  for (auto const overlap : {std::uint64_t{0}, std::uint64_t{2}, std::uint64_t{1'000'000}}) {
    std::vector<mixing::plan> plans;
    for (auto const& network : networks()) plans.push_back(mixing::push_sum_plan(network));
    plans.push_back(mixing::push_sum_plan(mixing::schedule::cycle(mixing::one_peer_exponential(6))));
    plans.push_back(mixing::push_sum_plan(mixing::schedule::one_of(mixing::one_peer_exponential(6), {.2, .4, .4}, 5)));
    for (auto const& plan : plans) {
      auto const q = quadratic::random(plan.nodes.size(), 4, 7, {.noise = 0.5});
      node_type::options const options{.step = 0.1, .overlap = overlap};
      auto a = assemble<node_type>(plan, q, options);
      law watch;
      *watch.book = {0, std::vector<double>(4, 0.0), std::vector<double>(4, 0.0), a.raw_step};
      for (std::size_t i = 0; i < a.nodes.size(); ++i) {
        auto const x0 = a.nodes[i].estimate();
        watch.nodes.push_back(std::make_shared<node_type>(backend::host<double>{}, plan, to_node(i), x0, options));
        a.nodes[i] = visible{watch.nodes.back(), watch.book};
      }
      auto const weather = environment::scenario{.compute = environment::lognormal(10ms, 0.5).slow(0, 3.0),
                                                 .link = {.latency = 2ms, .jitter = 20ms, .loss = 0.3},
                                                 .seed = 3};
      simulate(std::move(a), weather, {.time = 2s}, {.trace = &watch});
      INFO(plan.summary << ", overlap " << overlap);
      CHECK(watch.events > 50);
      CHECK(watch.worst_weight < 1e-11);
      CHECK(watch.worst_sum < 1e-11 * watch.largest);
      CHECK(watch.least_weight > 0);
    }
  }
}

/// The mean model after a long run on a ring of four, the last node four times slower.
struct ended {
  std::vector<double> mean;
  run_result result;
};
auto long_run(quadratic const& q, std::uint64_t overlap) -> ended {
  auto const scenario =
      environment::scenario{.compute = environment::fixed(10ms).slow(3, 4.0), .link = {.latency = 1ms}};
  ended e{std::vector<double>(q.dimension(), 0.0),
          simulate<node_type>(topology::ring(4), q, {.step = 0.005, .overlap = overlap}, scenario, {.time = 60s})};
  for (auto const& model : e.result.models) {
    for (std::size_t k = 0; k < e.mean.size(); ++k) e.mean[k] += model.view<double>()[k] / 4;
  }
  return e;
}

TEST_CASE("a bounded overlap keeps iterations together and ends at the optimum, an unbounded one depends on speeds") {
  auto const q = quadratic::random(4, 3, 11, {.spread = 1, .condition = 4});
  auto const predicted = optimum_by_speed(q, {1, 1, 1, 4});
  auto const miss = distance(predicted, q.optimum());
  auto const together = long_run(q, 1);
  auto const apart = long_run(q, 1'000'000);
  std::printf("osgp: %.4f from the optimum with overlap 1; without a bound %.4f, predicted %.4f\n",
              distance(together.mean, q.optimum()), distance(apart.mean, q.optimum()), miss);
  CHECK(distance(together.mean, q.optimum()) < 0.1 * miss);
  CHECK(distance(apart.mean, predicted) < 0.1 * miss);
  auto const& counts = together.result.nodes;
  CHECK(counts[0].iterations <= counts[3].iterations + 2);      // neighbours differ by the overlap and one
  CHECK(counts[1].iterations <= counts[3].iterations + 4);      // two steps away
  CHECK(apart.result.nodes[0].iterations > 3 * apart.result.nodes[3].iterations);
}

/// Two nodes, one of which is driven by hand.
struct by_hand {
  assembly a = assemble<node_type>(topology::directed_ring(3), quadratic::random(3, 4, 5), {.step = 0.3, .overlap = 1});
  outbox out{};
  void iterate(std::size_t i) {
    auto const asked = *out.request;
    out.clear();
    a.nodes[i].on_gradient({}, a.oracle.evaluate(asked), out);
  }
};

TEST_CASE("a node waits for the message of its in-neighbour that the overlap does not cover, and names it") {
  by_hand h;
  h.a.nodes[1].start({}, h.out);
  h.iterate(1);
  REQUIRE(h.out.request);
  CHECK_FALSE(h.out.wait);
  h.iterate(1);
  CHECK_FALSE(h.out.request);
  REQUIRE(h.out.wait);
  CHECK(*h.out.wait == waiting{node_id{0}, channel_id::model, iteration{1}});
}

TEST_CASE("a duplicated message counts once, and a missing one ends the run, because its mass is lost") {
  by_hand h;
  h.a.nodes[0].start({}, h.out);
  std::vector<packet> sent;
  for (int k = 0; k < 2; ++k) {
    h.iterate(0);
    sent.push_back(h.out.packets.at(0));
  }
  h.out.clear();
  h.a.nodes[1].start({}, h.out);
  auto third = sent[1];
  third.number = iteration{3};
  h.out.clear();
  for (auto const& p : {sent[0], sent[0]}) hand_over(h.a.nodes[1], p, 1, h.out);
  CHECK(h.a.nodes[1].statistics().edges.at(0).accepted == 1);
  CHECK(h.a.nodes[1].statistics().edges.at(0).overtaken == 1);
  CHECK_FALSE(h.out.failure);
  hand_over(h.a.nodes[1], third, 1, h.out);
  REQUIRE(h.out.failure);
  CHECK(h.out.failure->sentence.find("message 2 of node 0 to node 1 is lost") != std::string::npos);
}

TEST_CASE("a neighbour that leaves ends a run of osgp with a sentence that names it") {
  by_hand h;
  h.a.nodes[1].on_neighbours({}, {node_id{0}, neighbour_change::edge::closes, {}, {}}, h.out);
  REQUIRE(h.out.failure);
  CHECK(h.out.failure->sentence.find("node 0 left") != std::string::npos);
}

}  // namespace
}  // namespace rubato::test
