// SPDX-License-Identifier: MIT
// R-FAST on real threads: what must hold whatever the machine's load is.
#include <rubato/driver/threads.hpp>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<float>;
using node_type = r_fast<space>;
using problem::quadratic;

auto bad_weather() -> environment::scenario {
  return {.compute = environment::fixed(100us).slow(2, 10.0),
          .link = {.latency = 50us, .jitter = 50us, .loss = 0.2, .duplication = 0.1, .overtaking = 0.2},
          .measure_every = 2ms};
}

/// A quadratic that calls `extra(key)` before each gradient.
template<class Extra>
struct with {
  quadratic inner;
  Extra extra;
  [[nodiscard]] auto dimension() const -> std::size_t { return inner.dimension(); }
  [[nodiscard]] auto loss(space& b, std::span<float const> x) const -> double { return inner.loss(b, x); }
  auto gradient(space& b, std::span<float const> x, sample_key key, std::span<float> g) const -> double {
    extra(key);
    return inner.gradient(b, x, key, g);
  }
};
template<class Extra>
with(quadratic, Extra) -> with<Extra>;

TEST_CASE("r_fast on threads reaches the optimum of the sum under loss, overtaking and a straggler") {
  auto const tree = GENERATE(true, false);
  auto const p = quadratic::random(5, 16, 3);
  auto const graph = tree ? topology::binary_tree(5) : topology::directed_ring(5);
  auto const result = run_threads(assemble<node_type>(graph, p, {.step = 0.1}), bad_weather(),
                                  {.time = 5min, .target_loss = p.minimum() + 1e-8});
  REQUIRE(result.stopped == stop_reason::target_loss);
  REQUIRE(result.time_to_target);
  REQUIRE(result.models.size() == 5);
  for (auto const& model : result.models)
    for (std::size_t c = 0; c < 16; ++c) CHECK(std::abs(model.view<float>()[c] - p.optimum()[c]) < 1e-2);
  std::uint64_t lost = 0;
  for (auto const& e : result.edges) lost += e.lost;
  CHECK(lost > 0);
  CHECK(result.nodes[2].iterations < result.nodes[1].iterations);
}

TEST_CASE("the tracking law of a fixed-point ledger holds exactly on threads, at every look and at the end") {
  auto const p = quadratic::random(5, 16, 4);
  auto const result = run_threads(assemble<node_type>(topology::exponential(5), p, {.step = 0.1}), bad_weather(),
                                  {.time = 5min, .target_loss = p.minimum() + 1e-6});
  CHECK(result.history.size() > 2);
  for (auto const& m : result.history) CHECK(m.tracking_residual == 0);
}

TEST_CASE("a run on threads ends after the requested gradients, plus a few under way") {
  auto const p = quadratic::random(3, 4, 5);
  auto const result = run_threads(assemble<node_type>(topology::ring(3), p, {.step = 0.01}),
                                  {.compute = environment::fixed(0ns)}, {.gradients = 300});
  CHECK(result.stopped == stop_reason::gradients);
  CHECK(result.history.back().gradients >= 300);
  std::uint64_t used = 0;
  for (auto const& n : result.nodes) used += n.gradients;
  CHECK(used == result.history.back().gradients);
}

TEST_CASE("a run on threads ends at its time, not before") {
  auto const p = quadratic::random(3, 4, 5);
  auto const result = run_threads(assemble<node_type>(topology::ring(3), p, {.step = 0.01}),
                                  {.compute = environment::fixed(1ms)}, {.time = 30ms});
  CHECK(result.stopped == stop_reason::time);
  CHECK(result.ended >= 30ms);
}

TEST_CASE("a run on threads that is interrupted ends cleanly, with its report so far") {
  stop_source source;
  auto const p = quadratic::random(3, 4, 5);
  auto const noticing = with{p, [&source](sample_key key) {
                               if (key.draw == 20) source.request_stop();
                             }};
  auto const asked = thread_options{.stop = source.get_token()};
  auto const result = run_threads(assemble<node_type>(topology::ring(3), noticing, {.step = 0.01}),
                                  {.compute = environment::fixed(100us)}, {}, asked);
  CHECK(result.stopped == stop_reason::interrupted);
  CHECK(result.history.back().gradients >= 20);
  CHECK(result.nodes.size() == 3);
  CHECK(result.edges.size() >= 4);  // of the node that noticed; the others may have had no time to send
}

TEST_CASE("a problem that throws ends the run on threads with the node, the gradient and its message") {
  auto const p = quadratic::random(3, 4, 5);
  auto const throwing = with{p, [](sample_key key) {
                               if (key.node == node_id{1} && key.draw == 7)
                                 throw std::runtime_error{"the disk is full"};
                             }};
  auto const sentence = failure([&] {
    run_threads(assemble<node_type>(topology::ring(3), throwing, {.step = 0.01}), {.compute = environment::fixed(0ns)},
                {.time = 1h});
  });
  CHECK(says(sentence, "node 1, gradient 8: the disk is full"));
}

TEST_CASE("an object thrown by a problem on a thread is reported even if it is no std::exception") {
  auto const p = quadratic::random(3, 4, 5);
  auto const throwing = with{p, [](sample_key key) {
                               if (key.node == node_id{2} && key.draw == 1) throw 42;
                             }};
  auto const sentence = failure([&] {
    run_threads(assemble<node_type>(topology::ring(3), throwing, {.step = 0.01}), {.compute = environment::fixed(0ns)},
                {.time = 1h});
  });
  CHECK(says(sentence, "node 2, gradient 2: something was thrown"));
}

TEST_CASE("a step that makes the run on threads diverge is named") {
  auto const p = quadratic::random(3, 4, 5);
  auto const sentence = failure([&] {
    run_threads(assemble<node_type>(topology::ring(3), p, {.step = 1e6}), {.compute = environment::fixed(0ns)},
                {.time = 1h});
  });
  CHECK((says(sentence, "diverges") || says(sentence, "ledger")));  // whichever notices first
}

TEST_CASE("the threads driver refuses scenarios that it does not support, before it starts a thread") {
  auto const p = quadratic::random(3, 4, 5);
  auto const start = [&](environment::scenario const& s) {
    auto a = assemble<node_type>(topology::ring(3), p, {.step = 0.01});
    return refusal([&] { run_threads(std::move(a), s, {.gradients = 1}); });
  };
  CHECK(says(start({.carried = environment::frames::encoded}), "need the simulator"));
  CHECK(says(start({.split = environment::delivery::blocks}), "need the simulator"));
  CHECK(says(start({.compute = environment::fixed(1ms).slow(3, 2.0)}), "node 3 cannot be slow"));
  CHECK(says(start({.link = {.loss = 1.5}}), "the loss of a link"));
}

}  // namespace
}  // namespace rubato::test
