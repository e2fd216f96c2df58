// SPDX-License-Identifier: MIT
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include <rubato/algorithm/byte_grad.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/random_k.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using exact = scatter_allreduce_sgd<backend::host<double>>;
using bytes = byte_grad<backend::host<float>>;
using problem::quadratic;

auto weather() -> environment::scenario {
  return {.compute = environment::lognormal(10ms, 0.6).slow(0, 3.0),
          .link = {.latency = 4ms, .jitter = 9ms, .loss = 0.2},
          .seed = 5};
}
auto rounds(std::uint64_t count, std::size_t nodes) -> until { return {.time = 1h, .gradients = count * nodes}; }

/// The method as it is defined, with the operations in its order: sums by id from zero, times 1/n.
auto dense(quadratic const& p, std::uint64_t count) -> std::vector<double> {
  std::vector<double> x(p.dimension(), 0.0);
  for (std::uint64_t k = 0; k < count; ++k) {
    for (std::size_t c = 0; c < x.size(); ++c) {
      double sum = 0;
      for (std::size_t i = 0; i < p.nodes(); ++i) sum += p.curvature(i, c) * (x[c] - p.centre(i, c));
      x[c] -= 0.3 * (1.0 / static_cast<double>(p.nodes()) * sum);
    }
  }
  return x;
}

/// Bytes of bodies by (sender, round), and the first bodies of all.
struct counting : simulation_trace {
  void posted(instant, packet const& p) override {
    auto const round = (to_count(p.number) - 1) / 2;
    bytes[{to_index(p.from), round}] += p.body.size_bytes();
    if (round == 0) first[{to_index(p.from), to_index(p.to), to_count(p.number)}] = p.body;
  }
  std::map<std::pair<std::size_t, std::uint64_t>, std::size_t> bytes;
  std::map<std::tuple<std::size_t, std::size_t, std::uint64_t>, shared_buffer> first;
};

TEST_CASE("(C.X) without compression a round is a step along the mean gradient, summed by id, to the last bit") {
  for (auto const n : {std::size_t{1}, std::size_t{2}, std::size_t{5}}) {
    for (auto const d : {std::size_t{1}, std::size_t{3}, std::size_t{11}}) {  // also fewer values than nodes
      auto const p = quadratic::random(n, d, 3);
      auto const result = simulate(assemble<exact>(topology::ring(n), p, {.step = 0.3}), weather(), rounds(20, n));
      auto const expected = dense(p, 20);
      for (auto const& model : result.models) {
        auto const x = model.view<double>();
        INFO(n << " nodes, " << d << " values");
        CHECK(std::vector<double>(x.begin(), x.end()) == expected);
      }
    }
  }
}

TEST_CASE(
    "(C.S) (C.R) (C.G) every node sends each chunk to its owner, and owners send the mean of their chunk to all") {
  auto const p = quadratic::random(4, 8, 2);
  counting watch;
  simulate(assemble<exact>(topology::ring(4), p, {.step = 0.3}), {.link = {.latency = 1ms}}, rounds(1, 4),
           {.trace = &watch});
  CHECK(watch.first.size() == 4 * 6);
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t to = 0; to < 4; ++to) {
      if (to == i) continue;
      auto const scattered = watch.first[{i, to, 1}].view<double>();
      auto const gathered = watch.first[{i, to, 2}].view<double>();
      REQUIRE(scattered.size() == 2);
      REQUIRE(gathered.size() == 2);
      for (std::size_t v = 0; v < 2; ++v) {
        auto const first_gradient = [&](std::size_t j, std::size_t k) { return -p.curvature(j, k) * p.centre(j, k); };
        CHECK(scattered[v] == first_gradient(i, 2 * to + v));
        double sum = 0;
        for (std::size_t j = 0; j < 4; ++j) sum += first_gradient(j, 2 * i + v);
        CHECK(gathered[v] == 0.25 * sum);
      }
    }
  }
}

TEST_CASE("byte_grad keeps all replicas equal bit for bit, and sends about 2d bytes a round where floats take 8d") {
  constexpr std::size_t n = 4, d = 4 * 4096;
  auto const p = quadratic::random(n, d, 7, {.noise = 0.1});
  counting watch;
  auto const result =
      simulate(assemble<bytes>(topology::ring(n), p, {.step = 0.3}), weather(), rounds(3, n), {.trace = &watch});
  for (std::uint64_t round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < n; ++i) CHECK(watch.bytes[{i, round}] == 2 * (n - 1) * (d / n + 8));
  }
  auto const first = result.models[0].view<float>();
  CHECK(std::any_of(first.begin(), first.end(), [](float v) { return v != 0; }));
  for (auto const& m : result.models) CHECK(std::equal(first.begin(), first.end(), m.view<float>().begin()));
}

TEST_CASE("byte_grad ends near the optimum of the sum on data that differ from node to node") {
  constexpr std::size_t n = 5;
  auto const p = quadratic::random(n, 40, 11);
  lockstep run{assemble<bytes>(topology::ring(n), p, {.step = 0.5})};
  auto const far = distance(run.point(0), p.optimum());
  for (int k = 0; k < 300; ++k) run.round();
  // Half a step of the gradients' range, at either compression, divided by the least mean curvature.
  CHECK(far > 0.5);
  CHECK(distance(run.point(0), p.optimum()) < 0.03);
  for (std::size_t i = 1; i < n; ++i) CHECK(run.point(i) == run.point(0));
}

TEST_CASE("with scaled random k, which is unbiased, models go round the optimum of the sum") {
  auto const p = quadratic::random(3, 6, 11);
  using sparse = scatter_allreduce_sgd<backend::host<double>, codec::scaled_random_k>;
  lockstep run{assemble<sparse>(topology::ring(3), p, {.step = 0.02, .codec = {.share = 0.5}})};
  for (int k = 0; k < 500; ++k) run.round();
  std::vector<double> mean(6);
  for (int k = 0; k < 20'000; ++k) {
    run.round();
    for (std::size_t c = 0; c < 6; ++c) mean[c] += run.point(0)[c] / 20'000;
  }
  CHECK(distance(run.point(0), p.optimum()) > 0.02);
  CHECK(distance(mean, p.optimum()) < 0.01);
}

TEST_CASE("messages of a faster node for the next round are kept until the current round is complete") {
  auto const p = quadratic::random(3, 6, 5);
  auto a = assemble<exact>(topology::ring(3), p, {.step = 0.3});
  std::vector<gradient_request> asked(3);
  std::vector<packet> to_slow;  // all that is sent to node 2, in order
  outbox out;
  auto const drain = [&](std::size_t i, auto&& self) -> void {
    if (out.request) asked[i] = std::move(*out.request);
    auto const sent = std::exchange(out.packets, {});
    out.clear();
    for (auto const& q : sent) {
      if (q.to == node_id{2}) {
        to_slow.push_back(q);
        continue;
      }
      hand_over(a.nodes[to_index(q.to)], q, 1, out);
      self(to_index(q.to), self);
    }
  };
  for (std::size_t i = 0; i < 3; ++i) {
    a.nodes[i].start({}, out);
    drain(i, drain);
  }
  for (std::size_t i = 0; i < 3; ++i) {  // all give their gradient; node 2 gets no message yet
    auto const g = a.oracle.evaluate(asked[i]);
    a.nodes[i].on_gradient({}, g, out);
    if (i == 2) {
      REQUIRE(out.wait);
      CHECK(*out.wait == waiting{node_id{0}, channel_id::chunk, iteration{1}});
    }
    drain(i, drain);
  }
  // Node 2 reduces, nodes 0 and 1 end the round and begin the next, while node 2 still lacks their means.
  auto const in_order = std::exchange(to_slow, {});
  REQUIRE(in_order.size() >= 2);
  for (auto const& q : in_order) {
    if (to_count(q.number) != 1) continue;
    hand_over(a.nodes[2], q, 1, out);
    drain(2, drain);
  }
  CHECK(a.nodes[0].statistics().iterations == 1);
  a.nodes[0].on_gradient({}, a.oracle.evaluate(asked[0]), out);
  drain(0, drain);
  auto const early = std::exchange(to_slow, {});
  REQUIRE(early.back().number == iteration{3});
  hand_over(a.nodes[2], early.back(), 1, out);  // before its mean of round 1
  drain(2, drain);
  CHECK(a.nodes[2].statistics().iterations == 0);
  for (auto const& list : {in_order, early}) {
    for (auto const& q : list) {
      if (to_count(q.number) != 2) continue;
      hand_over(a.nodes[2], q, 1, out);
      drain(2, drain);
    }
  }
  CHECK(a.nodes[2].statistics().iterations == 1);
  auto const x = a.nodes[2].estimate().view<double>();
  CHECK(std::vector<double>(x.begin(), x.end()) == dense(p, 1));
}

TEST_CASE(
    "a node that leaves the all-reduce ends the run with a sentence, and an unrequested gradient is only counted") {
  auto a = assemble<exact>(topology::ring(3), quadratic::random(3, 4, 1), {.step = 0.1});
  outbox out;
  a.nodes[0].start({}, out);
  auto g = a.oracle.evaluate(*out.request);
  g.id = next(g.id);
  out.clear();
  a.nodes[0].on_gradient({}, g, out);
  CHECK(out.packets.empty());
  CHECK(a.nodes[0].statistics().dropped == 1);
  neighbour_change change;
  change.peer = node_id{2};
  a.nodes[0].on_neighbours({}, change, out);
  REQUIRE(out.failure);
  CHECK(says(out.failure->sentence, "node 2 left the all-reduce"));
}

TEST_CASE("a part or a mean of the wrong size ends the run, naming its sender") {
  auto const number = GENERATE(std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3});  // a part, a mean, a part ahead
  auto a = assemble<exact>(topology::ring(3), quadratic::random(3, 4, 1), {.step = 0.1});
  CHECK(says(complaint_of_size<double>(a, node_id{2}, channel_id::chunk, number, 4),
             "node 2 sent 4 values in one message, where "));
}

}  // namespace
}  // namespace rubato::test
