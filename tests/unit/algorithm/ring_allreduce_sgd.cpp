// SPDX-License-Identifier: MIT
#include <rubato/algorithm/ring_allreduce_sgd.hpp>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node_type = ring_allreduce_sgd<backend::host<double>>;
using problem::quadratic;

auto run(quadratic const& p, environment::scenario const& s, until const& end, simulation_trace* o = nullptr)
    -> run_result {
  return simulate(assemble<node_type>(topology::ring(p.nodes()), p, {.step = 0.3}), s, end, {.trace = o});
}

auto rounds(std::uint64_t count, std::size_t nodes) -> until { return {.time = 1h, .gradients = count * nodes}; }

/// x after so many rounds of SGD on the mean gradient, in the plainest form.
auto plain_sgd(quadratic const& p, std::uint64_t count) -> std::vector<double> {
  std::vector<double> x(p.dimension(), 0.0);
  for (std::uint64_t k = 0; k < count; ++k) {
    for (std::size_t c = 0; c < x.size(); ++c) {
      double sum = 0;
      for (std::size_t i = 0; i < p.nodes(); ++i) sum += p.curvature(i, c) * (x[c] - p.centre(i, c));
      x[c] -= 0.3 * sum / static_cast<double>(p.nodes());
    }
  }
  return x;
}

/// Packets and values by (sender, round), and the bodies of the first round.
class counting : public simulation_trace {
 public:
  explicit counting(std::size_t nodes) : steps_{2 * (nodes - 1)}, first(nodes) {}
  void posted(instant, packet const& p) override {
    auto const round = (to_count(p.number) - 1) / steps_;
    auto& [packets, values] = sent[{to_index(p.from), round}];
    ++packets;
    values += p.body.size();
    if (round == 0) first[to_index(p.from)].emplace_back(p.body.view<double>().begin(), p.body.view<double>().end());
  }

 private:
  std::size_t steps_;

 public:
  std::map<std::pair<std::size_t, std::uint64_t>, std::pair<std::uint64_t, std::uint64_t>> sent;
  std::vector<std::vector<std::vector<double>>> first;
};

TEST_CASE("a round of all-reduce takes 2(n-1) packets and 2d(n-1)/n values a node, also where links lose a third") {
  auto const p = quadratic::random(4, 12, 1);
  auto const loss = GENERATE(0.0, 0.3);
  auto watch = counting{4};
  auto const scenario =
      environment::scenario{.compute = environment::lognormal(10ms, 0.3), .link = {.latency = 1ms, .loss = loss}};
  auto const result = run(p, scenario, rounds(5, 4), &watch);
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::uint64_t round = 0; round < 5; ++round) {
      INFO("node " << i << ", round " << round);
      CHECK(watch.sent[{i, round}] == std::pair<std::uint64_t, std::uint64_t>{6, 18});
    }
  }
  std::uint64_t lost = 0;
  for (auto const& e : result.edges) lost += e.lost;
  CHECK((lost > 0) == (loss > 0));
}

TEST_CASE("the driver's edge counters agree: each node sends to its successor alone") {
  auto const p = quadratic::random(4, 12, 1);
  auto const result = run(p, {.compute = environment::fixed(10ms), .link = {.latency = 1ms}}, rounds(5, 4));
  REQUIRE(result.edges.size() == 4);
  for (auto const& e : result.edges) {
    CHECK(to_index(e.to) == (to_index(e.from) + 1) % 4);
    CHECK(e.channel == channel_id::chunk);
    CHECK(e.packets_sent == 5 * 6);
    CHECK(e.values_sent == 5 * 18);
  }
}

TEST_CASE("chunks of unequal size add up to 2d(n-1) values a round over all nodes, even where some are empty") {
  auto const d = GENERATE(std::size_t{10}, std::size_t{3}, std::size_t{1});
  auto watch = counting{4};
  run(quadratic::random(4, d, 1), {.link = {.latency = 1ms}}, rounds(2, 4), &watch);
  std::uint64_t values = 0;
  for (std::size_t i = 0; i < 4; ++i) values += watch.sent[{i, 0}].second;
  CHECK(values == 2 * d * 3);
}

TEST_CASE("(A.R) a node's k-th message of a round is the sum of k gradients on one chunk") {
  auto const p = quadratic::random(4, 8, 2);
  auto watch = counting{4};
  run(p, {.link = {.latency = 1ms}}, rounds(1, 4), &watch);
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t k = 0; k < 4; ++k) {
      auto const chunk = (i + 4 - k) % 4;
      for (std::size_t v = 0; v < 2; ++v) {
        double sum = 0;
        for (std::size_t j = 0; j <= k; ++j) {
          auto const from = (i + 4 - j) % 4;
          sum -= p.curvature(from, 2 * chunk + v) * p.centre(from, 2 * chunk + v);  // gradient at x = 0
        }
        CHECK(watch.first[i][k][v] == Approx(sum).epsilon(1e-13));
      }
    }
  }
}

TEST_CASE("(A.G) complete chunks travel on as they are, bit for bit") {
  auto watch = counting{4};
  run(quadratic::random(4, 8, 2), {.link = {.latency = 1ms}}, rounds(1, 4), &watch);
  for (std::size_t i = 0; i < 4; ++i) {
    REQUIRE(watch.first[i].size() == 6);
    for (std::size_t k = 4; k < 6; ++k) CHECK(watch.first[i][k] == watch.first[(i + 3) % 4][k - 1]);
  }
}

TEST_CASE("(A.X) a round is a step of SGD on the mean gradient, and all replicas are equal bit for bit") {
  auto const n = GENERATE(std::size_t{1}, std::size_t{2}, std::size_t{5});
  auto const p = quadratic::random(n, 7, 3);
  auto const scenario =
      environment::scenario{.compute = environment::lognormal(10ms, 0.5), .link = {.latency = 1ms, .loss = 0.2}};
  auto const result = run(p, scenario, rounds(20, n));
  REQUIRE(result.models.size() == n);
  auto const expected = plain_sgd(p, 20);
  for (std::size_t i = 0; i < n; ++i) {
    auto const x = result.models[i].view<double>();
    for (std::size_t c = 0; c < 7; ++c) {
      CHECK(x[c] == Approx(expected[c]).epsilon(1e-12));
      CHECK(x[c] == result.models[0].view<double>()[c]);
    }
  }
}

TEST_CASE("a node that leaves the ring ends the run with a sentence that names it") {
  auto a = assemble<node_type>(topology::ring(3), quadratic::random(3, 4, 1), {.step = 0.1});
  outbox out;
  neighbour_change change;
  change.peer = node_id{2};
  change.what = neighbour_change::edge::closes;
  a.nodes[0].on_neighbours({}, change, out);
  REQUIRE(out.failure);
  CHECK(out.failure->sentence.find("node 2 left") != std::string::npos);
}

TEST_CASE("a gradient that was not requested changes nothing but a counter") {
  auto a = assemble<node_type>(topology::ring(3), quadratic::random(3, 4, 1), {.step = 0.1});
  outbox out;
  a.nodes[0].start({}, out);
  REQUIRE(out.request);
  auto g = a.oracle.evaluate(*out.request);
  g.id = next(g.id);
  out.clear();
  a.nodes[0].on_gradient({}, g, out);
  CHECK(out.packets.empty());
  CHECK(a.nodes[0].statistics().dropped == 1);
  CHECK(a.nodes[0].statistics().gradients == 0);
}

}  // namespace
}  // namespace rubato::test
