// SPDX-License-Identifier: MIT
// Algorithms that wait, on real threads; and small nodes written to see what the driver does with each kind of effect.
#include <rubato/run/threads.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using problem::quadratic;

/// The sentence of the run_error that ends such a run.
auto failure_of(assembly a, sim::scenario const& s, until const& end, thread_options const& o = {}) -> std::string {
  try {
    run_threads(std::move(a), s, end, o);
  } catch (run_error const& e) {
    return e.what();
  }
  return {};
}

TEST_CASE("ring all-reduce runs on threads to the optimum, with links that lose, and no replica is a round apart") {
  auto const p = quadratic::random(4, 12, 1);
  auto const scenario = sim::scenario{
      .compute = sim::fixed(100us), .link = {.latency = 20us, .loss = 0.1}, .measure_every = 2ms};
  auto const result = run_threads(assemble<ring_allreduce_sgd<space>>(topology::ring(4), p, {.step = 0.5}), scenario,
                                  {.time = 5min, .target_loss = p.minimum() + 1e-10});
  CHECK(result.stopped == stop_reason::target_loss);
  auto least = result.nodes[0].iterations, most = least;
  for (auto const& n : result.nodes) {
    least = std::min(least, n.iterations);
    most = std::max(most, n.iterations);
  }
  CHECK(most - least <= 1);
  for (auto const& e : result.edges) CHECK(e.conflated == 0);  // events are never replaced
}

TEST_CASE("m-synchronous SGD on threads does not wait for the slowest node, and cancels its gradients") {
  auto const p = quadratic{{{1}, {1}, {1}}, {{2}, {4}, {100}}};
  auto const result =
      run_threads(assemble<m_synchronous_sgd<space>>(topology::star(3), p, {.step = 0.5, .m = 2}),
                  {.compute = sim::fixed(100us).slow(2, 1e6)}, {.time = 5min, .gradients = 400});
  CHECK(result.stopped == stop_reason::gradients);
  CHECK(result.nodes[2].gradients == 0);
  CHECK(result.models[0].view<double>()[0] == Approx(3.0).epsilon(1e-9));
}

TEST_CASE("a node that waits longer than the patience ends the run on threads, named with what it waits for") {
  auto const p = quadratic::random(2, 4, 1);
  auto const sentence =
      failure_of(assemble<ring_allreduce_sgd<space>>(topology::ring(2), p, {.step = 0.1}),
                 {.compute = sim::fixed(1ms).slow(1, 1e6), .measure_every = 2ms}, {}, {.patience = 30ms});
  CHECK(says(sentence, "node 0 has waited for chunk message 1 of node 1"));
}

/// Does in start and on_wakeup what a test says, and nothing else.
struct scripted {
  using script = void (*)(instant, outbox&, std::atomic<int>&);
  script at_start{};
  script at_wakeup{};
  std::shared_ptr<std::atomic<int>> calls = std::make_shared<std::atomic<int>>(0);
  double imbalance = 0;
  shared_buffer model{};

  static auto channels() -> std::span<channel_spec const> { return {}; }
  void start(instant now, outbox& out) const { at_start(now, out, *calls); }
  void on_patch(instant, patch const&, outbox&) const {}
  void on_gradient(instant, gradient, outbox&) const {}
  void on_wakeup(instant now, wakeup, outbox& out) const { at_wakeup(now, out, *calls); }
  void on_neighbours(instant, neighbour_change const&, outbox&) const {}
  [[nodiscard]] auto estimate() const -> shared_buffer { return model; }
  [[nodiscard]] auto statistics() const -> node_statistics { return {}; }
  void audit(tracking_audit& a) const { a = {false, {imbalance}, {0}, {}, {}}; }
};

auto only(scripted s) -> assembly {
  auto x = space{}.allocate<double>(1);
  x.data()[0] = 0;
  s.model = std::move(x).publish();
  assembly a;
  a.peers = 1;
  a.oracle = problem::any_oracle{space{}, quadratic{{{1}}, {{1}}}};
  a.blocks = block_partition{1};
  a.nodes.emplace_back(std::move(s));
  return a;
}

TEST_CASE("a node on threads that waits for ever is named with peer, channel and number") {
  auto const waits = [](instant, outbox& out, std::atomic<int>&) {
    out.wait = waiting{node_id{3}, channel::tracker, iteration{7}};
  };
  auto const sentence = failure_of(only({.at_start = waits}), {.measure_every = 1ms}, {}, {.patience = 5ms});
  CHECK(says(sentence, "node 0 has waited for tracker message 7 of node 3"));
}

TEST_CASE("a node on threads that cannot go on ends the run with its own sentence") {
  auto const fails = [](instant, outbox& out, std::atomic<int>&) { out.failure = fault{"block 2 is out of range"}; };
  CHECK(says(failure_of(only({.at_start = fails}), {}, {}), "block 2 is out of range"));
}

TEST_CASE("a node on threads is woken at its time and not earlier") {
  auto const ask = [](instant now, outbox& out, std::atomic<int>&) { out.wakeups.push_back({1, now + 5ms}); };
  auto const again = [](instant now, outbox& out, std::atomic<int>& calls) {
    if (now.since_start < 5ms * (calls + 1)) out.failure = fault{"woken early"};
    if (++calls == 3) out.failure = fault{"woken three times"};
    out.wakeups.push_back({1, now + 5ms});
  };
  CHECK(says(failure_of(only({.at_start = ask, .at_wakeup = again}), {}, {}), "woken three times"));
}

TEST_CASE("a tracker that does not balance is seen while threads run, not only at the end") {
  auto const result = run_threads(only({.at_start = [](instant, outbox&, std::atomic<int>&) {}, .imbalance = 0.5}),
                                  {.measure_every = 1ms}, {.time = 500ms});
  auto seen = false;
  for (std::size_t i = 0; i + 1 < result.history.size(); ++i) seen = seen || result.history[i].tracking_residual == 0.5;
  CHECK(seen);
  CHECK(result.history.back().tracking_residual == 0.5);
}

}  // namespace
}  // namespace rubato::test
