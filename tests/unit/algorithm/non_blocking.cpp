// SPDX-License-Identifier: MIT
// Batches of several mini-batches, over the all-reduce and over D-PSGD: everyone's (the blocking ones) and those that
// end when the fastest are done.
#include <rubato/algorithm/detail/batch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/non_blocking_allreduce.hpp>
#include <rubato/algorithm/non_blocking_d_psgd.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/contribution/finished.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/synchrony/rounds.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using contribution::finished;
using contribution::weigh;
using problem::quadratic;
using all_reduce = non_blocking_allreduce<space>;
using gossiping = non_blocking_d_psgd<space>;
using gossiping_atc = d_psgd_atc<space, step::sgd, contribution::finished>;

auto values_of(shared_buffer const& b) -> std::vector<double> {
  return {b.view<double>().begin(), b.view<double>().end()};
}

/// Two fast nodes and one that is slower by `factor`, links of 1 ms: mini-batches take 10 ms on the fast ones.
auto one_slow(double factor) -> environment::scenario {
  return {.compute = environment::fixed(10ms).slow(2, factor), .link = {.latency = 1ms}};
}

/// Remembers what nodes posted: models by (node, number), and the counts that go with nodes' own chunks.
struct posts : simulation_trace {
  explicit posts(std::size_t nodes) : steps{2 * (nodes - 1)} {}
  void posted(instant, packet const& p) override {
    if (p.channel == channel_id::model) models[{to_index(p.from), to_count(p.number)}] = values_of(p.body);
    if (p.channel == channel_id::chunk && (to_count(p.number) - 1) % steps == 0) {
      counts[to_index(p.from)].push_back(p.extra.count(scalar_slot::sample_count).value_or(1000));
    }
    if (p.channel == channel_id::control) ++signals;
  }
  std::size_t steps;
  std::map<std::pair<std::size_t, std::uint64_t>, std::vector<double>> models;
  std::map<std::size_t, std::vector<std::uint64_t>> counts;
  int signals = 0;
};

TEST_CASE("a batch adds its mini-batches up and counts them by samples or by nodes (N.S) (N.C)") {
  auto const gradient_of = [](double v) {
    auto g = space{}.allocate<double>(2);
    g.data()[0] = v;
    g.data()[1] = -v;
    return std::move(g).publish();
  };
  space b;
  for (auto const by : {weigh::samples, weigh::nodes}) {
    detail::batch<space, finished> batch{{.minibatches = 4, .by = by}};
    std::uint64_t samples = 0;
    for (std::size_t m = 0; m <= 4; ++m) {
      for (std::size_t k = 0; k < m; ++k) {
        CHECK(batch.draw() == samples++);
        CHECK_FALSE(batch.full());
        batch.add(b, gradient_of(static_cast<double>(k + 1)));
      }
      CHECK(batch.full() == (m == 4));
      auto const [sum, count] = batch.take(b);
      auto const plain = static_cast<double>(m * (m + 1)) / 2;
      CHECK(count == (by == weigh::samples || m == 0 ? m : 4));
      CHECK(static_cast<bool>(sum) == (m > 0));
      auto const factor = by == weigh::samples ? 1.0 : 4 / static_cast<double>(m);
      if (m > 0) CHECK(values_of(sum)[0] == Approx(factor * plain).epsilon(1e-15));
      CHECK(batch.empty());
    }
  }
  detail::batch<space, finished> single{{.minibatches = 1}};
  auto const g = gradient_of(3);
  single.add(b, g);
  CHECK(single.take(b).sum == g);  // by reference
}

TEST_CASE("the all-reduce divides the sum by all counts, where a slow node finishes 1 of 4 or none (N.R) (A.X)") {
  auto const p = quadratic::random(3, 5, 8);
  for (auto const factor : {3.0, 6.0}) {
    for (auto const by : {weigh::samples, weigh::nodes}) {
      posts watch{3};
      auto const end = until{.time = 470ms};
      auto const r = simulate(assemble<all_reduce>(topology::ring(3), p, {.step = 0.3, .contribution = {4, by}}),
                              one_slow(factor), end, {.trace = &watch});
      REQUIRE(r.nodes[0].iterations == 10);  // 40 ms of compute, 1 of the signal, 4 of the reduction
      auto const slow = factor > 4 ? 0.0 : by == weigh::samples ? 1.0 : 4.0;
      std::vector<double> x(5, 0.0);
      for (std::uint64_t round = 0; round < r.nodes[0].iterations; ++round) {
        CHECK(watch.counts[2][round] == static_cast<std::uint64_t>(slow));
        CHECK(watch.counts[0][round] == 4);
        for (std::size_t c = 0; c < x.size(); ++c) {
          auto const g = [&](std::size_t i) { return p.curvature(i, c) * (x[c] - p.centre(i, c)); };
          x[c] -= 0.3 * (4 * g(0) + 4 * g(1) + slow * g(2)) / (8 + slow);
        }
      }
      CHECK(distance(values_of(r.models[0]), x) < 1e-13);
      CHECK(values_of(r.models[2]) == values_of(r.models[0]));
    }
  }
}

/// Compares all posted models with x+ = W x - gamma C g(x), or W (x - gamma C g(x)), where C weighs what was finished.
template<class Node>
void compare_with_dense(double factor, weigh by, bool adapts_first) {
  auto const q = quadratic::random(3, 5, 8);
  posts watch{3};
  auto a = assemble<Node>(topology::complete(3), q, {.step = 0.3, .contribution = {4, by}});
  simulate(std::move(a), one_slow(factor), {.time = 500ms}, {.trace = &watch});
  auto const w = dense_network{Node::make_plan(topology::complete(3))}.w;
  matrix c = matrix::Identity(3, 3);
  c(2, 2) = factor > 4 ? 0 : by == weigh::samples ? 0.25 : 1;
  matrix x = matrix::Zero(3, 5);
  for (std::uint64_t number = 1; number <= 10; ++number) {
    matrix const stepped = x - 0.3 * c * gradients(q, x);
    for (std::size_t i = 0; i < 3; ++i) {
      INFO("node " << i << ", message " << number);
      CHECK(distance(watch.models[{i, number}], row(adapts_first ? stepped : x, i)) < 1e-13);
    }
    x = adapts_first ? matrix(w * stepped) : matrix(w * x - 0.3 * c * gradients(q, x));
  }
}

TEST_CASE("D-PSGD descends along the finished mini-batches of a node, and not at all if there are none (N.D)") {
  for (auto const factor : {3.0, 6.0}) {
    for (auto const by : {weigh::samples, weigh::nodes}) {
      compare_with_dense<gossiping>(factor, by, false);
      compare_with_dense<gossiping_atc>(factor, by, true);
    }
  }
}

/// All models at the end, of Node with three mini-batches a batch.
template<class Node>
auto models_of(topology::pair const& network, typename Node::options const& o, environment::scenario const& s) {
  auto const q = quadratic::random(network.nodes(), 6, 4, {.noise = 0.7});
  auto const r = simulate<Node>(network, q, o, s, {.time = 1s});
  CHECK(r.nodes[0].iterations >= 25);
  std::vector<std::vector<double>> models;
  for (auto const& m : r.models) models.push_back(values_of(m));
  return models;
}

template<class Blocking, class NonBlocking>
void equal_to_blocking(topology::pair const& network) {
  for (auto const latency : {0ms, 1ms}) {
    auto const s = environment::scenario{.compute = environment::fixed(10ms), .link = {.latency = latency}};
    auto const blocking = models_of<Blocking>(network, {.step = 0.1, .contribution = {3}}, s);
    for (auto const by : {weigh::samples, weigh::nodes}) {
      CHECK(models_of<NonBlocking>(network, {.step = 0.1, .contribution = {3, by}}, s) == blocking);
    }
  }
}

TEST_CASE("at equal speeds non-blocking is blocking, bit for bit") {
  equal_to_blocking<ring_allreduce_sgd<space>, all_reduce>(topology::ring(4));
  equal_to_blocking<d_psgd<space>, gossiping>(topology::binary_tree(5));
  equal_to_blocking<d_psgd_atc<space>, gossiping_atc>(topology::ring(4));
}

/// SGD on the mean of three mini-batches, in plain loops.
auto plain_sgd(quadratic const& q, std::uint64_t rounds) -> std::vector<double> {
  std::vector<double> x(q.dimension(), 0.0), g(q.dimension());
  space b;
  for (std::uint64_t k = 0; k < rounds; ++k) {
    std::vector<double> sum(q.dimension(), 0.0);
    for (std::uint64_t m = 0; m < 3; ++m) {
      q.gradient(b, std::span<double const>{x}, {0, node_id{0}, 3 * k + m}, std::span<double>{g});
      for (std::size_t c = 0; c < x.size(); ++c) sum[c] += g[c];
    }
    for (std::size_t c = 0; c < x.size(); ++c) x[c] = x[c] - 0.1 * ((1.0 / 3) * sum[c]);
  }
  return x;
}

TEST_CASE("one node alone is SGD on the mean of its mini-batches") {
  auto const q = quadratic::random(1, 6, 4, {.noise = 0.7});
  auto const end = until{.time = 1h, .gradients = 60};
  auto const scenario = environment::scenario{.compute = environment::fixed(10ms)};
  auto const reduced = simulate<all_reduce>(topology::line(1), q, {.step = 0.1, .contribution = {3}}, scenario, end);
  auto const gossiped = simulate<gossiping>(topology::line(1), q, {.step = 0.1, .contribution = {3}}, scenario, end);
  CHECK(values_of(reduced.models[0]) == plain_sgd(q, 20));
  CHECK(values_of(gossiped.models[0]) == plain_sgd(q, 20));
}

/// Remembers which samples were evaluated, by node.
struct noting {
  quadratic q;
  std::shared_ptr<std::map<std::size_t, std::vector<std::uint64_t>>> samples =
      std::make_shared<std::map<std::size_t, std::vector<std::uint64_t>>>();

  [[nodiscard]] auto dimension() const -> std::size_t { return q.dimension(); }
  auto gradient(space& b, std::span<double const> x, sample_key key, std::span<double> g) const -> double {
    (*samples)[to_index(key.node)].push_back(key.draw);
    return q.gradient(b, x, key, g);
  }
};

TEST_CASE("the counted mini-batches are the consumed samples, each once and in order") {
  auto const q = noting{quadratic::random(5, 4, 2, {.noise = 0.5})};
  posts watch{5};
  auto const rough = environment::scenario{.compute = environment::lognormal(10ms, 0.6).slow(1, 2.5).slow(4, 8.0),
                                           .link = {.latency = 3ms, .jitter = 2ms, .loss = 0.2},
                                           .carried = environment::frames::encoded,
                                           .seed = 4};
  auto const r = simulate(assemble<all_reduce>(topology::ring(5), q, {.step = 0.1, .contribution = {4}}), rough,
                          {.time = 10s}, {.trace = &watch});
  CHECK(watch.signals > 0);
  for (std::size_t i = 0; i < 5; ++i) {
    auto const& samples = (*q.samples)[i];
    for (std::size_t k = 0; k < samples.size(); ++k) REQUIRE(samples[k] == k);
    CHECK(r.nodes[i].gradients == samples.size());
    std::uint64_t counted = 0;
    for (auto const count : watch.counts[i]) counted += count;
    CHECK(counted <= samples.size());
    CHECK(samples.size() < counted + 4);  // the rest is of the batch under way
  }
  auto const& last = watch.counts[4];
  CHECK(last.size() > 80);
  CHECK(std::count(last.begin(), last.end(), 0) > 10);  // eight times slower: often nothing
  CHECK(r.nodes[4].gradients > 0);
}

TEST_CASE(
    "a signal cancels the mini-batch under way, its sample comes next, and with no mini-batch at all there is no "
    "step") {
  auto a = assemble<all_reduce>(topology::ring(2), quadratic::random(2, 4, 1), {.step = 0.3});
  auto const x0 = values_of(a.nodes[0].estimate());
  std::vector<packet> sent;
  std::vector<gradient_request> asked;
  outbox out;
  for (std::size_t i = 0; i < 2; ++i) {
    out.clear();
    a.nodes[i].start({}, out);
    asked.push_back(*out.request);
    packet signal;
    signal.from = to_node(1 - i);
    signal.channel = channel_id::control;
    signal.number = iteration{1};
    out.clear();
    hand_over(a.nodes[i], signal, 1, out);
    CHECK(out.cancel == asked[i].id);
    REQUIRE(out.packets.size() == 1);
    CHECK(out.packets[0].extra.count(scalar_slot::sample_count) == 0U);
    REQUIRE(out.wait);
    sent.push_back(out.packets[0]);
  }
  while (!sent.empty()) {
    auto const p = sent.front();
    sent.erase(sent.begin());
    out.clear();
    hand_over(a.nodes[to_index(p.to)], p, 1, out);
    for (auto const& each : out.packets) sent.push_back(each);
    if (!out.request) continue;
    CHECK(out.request->sample.draw == asked[to_index(p.to)].sample.draw);
    CHECK(out.request->id != asked[to_index(p.to)].id);
  }
  for (auto const& node : a.nodes) {
    CHECK(node.statistics().iterations == 1);
    CHECK(values_of(node.estimate()) == x0);
  }
  out.clear();
  a.nodes[0].on_gradient({}, a.oracle.evaluate(asked[0]), out);  // the cancelled one comes all the same
  CHECK(out.packets.empty());
  CHECK(a.nodes[0].statistics().dropped == 1);
}

/// Rounds a second of the first of four nodes, the last four times slower, with four mini-batches a batch.
template<class Node>
auto rounds_of() -> double {
  auto const s = environment::scenario{.compute = environment::fixed(10ms).slow(3, 4.0), .link = {.latency = 1ms}};
  auto const q = quadratic::random(4, 4, 2);
  auto const r = simulate<Node>(topology::ring(4), q, {.contribution = {4}}, s, {.time = 10s});
  return static_cast<double>(r.nodes[0].iterations) / 10;
}

template<class Blocking, class NonBlocking>
void faster(char const* name, double hops) {
  auto const blocking = rounds_of<Blocking>();
  auto const non_blocking = rounds_of<NonBlocking>();
  std::printf("%s: %.2f rounds a second, non-blocking %.2f\n", name, blocking, non_blocking);
  CHECK(blocking <= 1 / (4 * 0.040) + 0.1);                             // M t_max a round
  CHECK(non_blocking >= 1 / (4 * 0.010 + 0.001 + hops * 0.001) - 0.1);  // M t_min, the signal, the exchange
  CHECK(non_blocking > 3 * blocking);
}

TEST_CASE(
    "with one node four times slower a non-blocking round takes M t_min and the exchange, a blocking one M t_max") {
  faster<ring_allreduce_sgd<space>, all_reduce>("all-reduce", 6);
  faster<d_psgd<space>, gossiping>("d_psgd", 2);
  faster<d_psgd_atc<space>, gossiping_atc>("d_psgd_atc", 2);
}

TEST_CASE("an empty batch, and several mini-batches under tracking, are refused with a sentence") {
  auto const q = quadratic::random(3, 2, 1);
  auto const of = [&](auto node, std::size_t minibatches) {
    using node_type = typename decltype(node)::type;
    return refusal(
        [&] { static_cast<void>(assemble<node_type>(topology::ring(3), q, {.contribution = {minibatches}})); });
  };
  CHECK(says(of(std::type_identity<all_reduce>{}, 0), "at least one mini-batch"));
  CHECK(says(of(std::type_identity<d_psgd<space>>{}, 0), "at least one mini-batch"));
  using tracking = gradient_tracking<space, order::push_pull, step::sgd, weighting::constant, synchrony::rounds>;
  CHECK(says(of(std::type_identity<tracking>{}, 2), "takes one mini-batch a local iteration, not 2"));
}

TEST_CASE("a node with an empty batch names the sender of a partial sum that is not finite, and does not forward it") {
  auto a = assemble<all_reduce>(topology::both(topology::ring(3)), quadratic::random(3, 3, 4), {.step = 0.1});
  outbox out;
  a.nodes[1].start({}, out);
  out.clear();
  packet p;
  p.from = node_id{0};
  p.to = node_id{1};
  p.channel = channel_id::chunk;
  p.number = iteration{1};
  auto part = a.pool.allocate<double>(1);
  part.data()[0] = std::nan("");
  p.body = std::move(part).publish();
  p.extra.set(scalar_slot::sample_count, std::uint64_t{1});
  hand_over(a.nodes[1], p, 1, out);
  REQUIRE(out.failure);
  CHECK(says(out.failure->sentence, "a part of a sum that node 0 sent to node 1 is not finite at value 0"));
}

}  // namespace
}  // namespace rubato::test
