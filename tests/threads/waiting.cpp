// SPDX-License-Identifier: MIT
// Algorithms that wait, on real threads; and small nodes written to see what the driver does with each kind of effect.
#include <rubato/driver/threads.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/inbox.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/stop_token.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "threads/scripted.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using problem::quadratic;

/// The sentence of the run_error that ends such a run.
auto failure_of(assembly a, environment::scenario const& s, until const& end, thread_options const& o = {})
    -> std::string {
  return failure([&] { run_threads(std::move(a), s, end, o); });
}

TEST_CASE("ring all-reduce on threads reaches the optimum over lossy links, and no replica is a round apart") {
  auto const p = quadratic::random(4, 12, 1);
  auto const scenario = environment::scenario{
      .compute = environment::fixed(100us), .link = {.latency = 20us, .loss = 0.1}, .measure_every = 2ms};
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
                  {.compute = environment::fixed(100us).slow(2, 1e6)}, {.time = 5min, .gradients = 400});
  CHECK(result.stopped == stop_reason::gradients);
  CHECK(result.nodes[2].gradients == 0);
  CHECK(result.models[0].view<double>()[0] == Approx(3.0).epsilon(1e-9));
}

TEST_CASE("a node that waits longer than the patience ends the run on threads, named with what it waits for") {
  auto const p = quadratic::random(2, 4, 1);
  auto const sentence = failure_of(assemble<ring_allreduce_sgd<space>>(topology::ring(2), p, {.step = 0.1}),
                                   {.compute = environment::fixed(1ms).slow(1, 1e6), .measure_every = 2ms},
                                   {.time = 1h}, {.patience = 30ms});
  CHECK(says(sentence, "node 0 has waited for chunk message 1 of node 1"));
}

TEST_CASE("a node on threads that waits for ever is named with peer, channel and number") {
  auto const waits = [](instant, outbox& out) { out.wait = waiting{node_id{3}, channel_id::tracker, iteration{7}}; };
  auto const sentence =
      failure_of(scripted_run({{.at_start = waits}}), {.measure_every = 1ms}, {.time = 1h}, {.patience = 5ms});
  CHECK(says(sentence, "node 0 has waited for tracker message 7 of node 3"));
}

/// Waits for this message from now on, and tells the other node of two.
auto wait_and_tell(std::uint32_t self, channel_id channel, std::uint64_t number) {
  return [=](instant now, outbox& out) {
    auto const other = node_id{1 - self};
    out.wait = waiting{other, channel, iteration{number}};
    packet p;
    p.from = node_id{self};
    p.to = other;
    p.number = iteration{number};
    p.posted_at = now;
    p.body = one_value();
    out.packets.push_back(std::move(p));
  };
}
/// The same when something comes, the first time.
auto once(scripted::handler then) {
  return [=, told = false](instant now, patch const&, outbox& out) mutable {
    if (!std::exchange(told, true)) then(now, out);
  };
}
/// Long before the patience is over all messages have come. Looks are rarer than a test may take: nobody waits for one.
auto const rare_looks = environment::scenario{.link = {.latency = 1ms}, .measure_every = 1h};

TEST_CASE("if several nodes on threads wait too long, the one that has waited longest is named") {
  auto const sentence = failure_of(scripted_run({{.at_patch = once(wait_and_tell(0, channel_id::model, 1))},
                                                 {.at_start = wait_and_tell(1, channel_id::model, 2)}}),
                                   rare_looks, {.time = 1h}, {.patience = 500ms});
  CHECK(says(sentence, "node 1 has waited for model message 2 of node 0"));
}

TEST_CASE("a wait on threads starts again for another channel, even with the same peer and number") {
  // Node 0 waits first, but for another message since node 1 has waited.
  auto const sentence = failure_of(scripted_run({{.at_start = wait_and_tell(0, channel_id::model, 1),
                                                  .at_patch = once(wait_and_tell(0, channel_id::tracker, 1))},
                                                 {.at_patch = once(wait_and_tell(1, channel_id::model, 2))}}),
                                   rare_looks, {.time = 1h}, {.patience = 500ms});
  CHECK(says(sentence, "node 1 has waited for model message 2 of node 0"));
}

TEST_CASE("a node on threads that does not read its events ends the run, which names it and their sender") {
  auto const flood = [](instant now, outbox& out) {
    for (std::uint64_t k = 0; k <= inbox::most_unread; ++k) {
      packet p;  // to itself, who cannot read before all are sent
      p.channel = channel_id::chunk;
      p.number = iteration{k + 1};
      p.posted_at = now;
      p.body = one_value();
      out.packets.push_back(std::move(p));
    }
  };
  CHECK(says(failure_of(scripted_run({{.at_start = flood}}), {}, {.time = 1h}),
             "node 0 has not read 4096 chunk messages of node 0"));
}

TEST_CASE("a run on threads that would end before it begins is refused") {
  CHECK(says(refusal([] { run_threads(scripted_run({{}}), {}, {.time = -1ns}); }), "cannot end at a time below 0"));
}

TEST_CASE("a run on threads that nothing would end is refused, and a stop token is an end") {
  CHECK(says(refusal([] { run_threads(scripted_run({{}}), {}, {}); }), "nothing ends this run"));
  stop_source source;
  source.request_stop();
  CHECK(run_threads(scripted_run({{}}), {}, {}, {.stop = source.get_token()}).stopped == stop_reason::interrupted);
}

TEST_CASE("a node on threads that cannot go on ends the run with its own sentence") {
  auto const fails = [](instant, outbox& out) { out.failure = fault{"block 2 is out of range"}; };
  CHECK(says(failure_of(scripted_run({{.at_start = fails}}), {}, {.time = 1h}), "block 2 is out of range"));
}

TEST_CASE("a node on threads is woken at its time and not earlier") {
  auto const ask = [](instant now, outbox& out) { out.wakeups.push_back({1, now + 5ms}); };
  auto const again = [calls = 0](instant now, outbox& out) mutable {
    if (now.since_start < 5ms * (calls + 1)) out.failure = fault{"woken early"};
    if (++calls == 3) out.failure = fault{"woken three times"};
    out.wakeups.push_back({1, now + 5ms});
  };
  CHECK(says(failure_of(scripted_run({{.at_start = ask, .at_wakeup = again}}), {}, {.time = 1h}), "woken three times"));
}

TEST_CASE("a node on threads whose gradients take no time is woken all the same") {
  auto const ask = [](instant now, outbox& out) {
    out.wakeups.push_back({1, now + 1ms});
    out.request = gradient_request{ticket{1}, one_value(), {}};
  };
  auto const next = [](instant, outbox& out) { out.request = gradient_request{ticket{1}, one_value(), {}}; };
  auto const woken = [](instant, outbox& out) { out.failure = fault{"woken"}; };
  CHECK(says(failure_of(scripted_run({{.at_start = ask, .at_wakeup = woken, .at_gradient = next}}),
                        {.compute = environment::fixed(0ns)}, {.time = 5min}),
             "woken"));
}

TEST_CASE("a gradient on threads that is cancelled before it has begun is never computed") {
  // Both wake-ups are due together: the first asks, the second takes it back, a third ends the run.
  auto const ask = [](instant now, outbox& out) {
    for (std::uint32_t id = 1; id <= 2; ++id) out.wakeups.push_back({id, now + 1ms});
  };
  auto const woken = [calls = 0](instant now, outbox& out) mutable {
    ++calls;
    if (calls == 1) out.request = gradient_request{ticket{1}, one_value(), {}};
    if (calls == 2) out.cancel = ticket{1};
    if (calls == 2) out.wakeups.push_back({3, now + 5ms});
    if (calls == 3) out.failure = fault{"nothing was computed"};
  };
  auto const computed = [](instant, outbox& out) { out.failure = fault{"a cancelled gradient came"}; };
  CHECK(says(failure_of(scripted_run({{.at_start = ask, .at_wakeup = woken, .at_gradient = computed}}),
                        {.compute = environment::fixed(0ns)}, {.time = 5min}),
             "nothing was computed"));
}

}  // namespace
}  // namespace rubato::test
