// SPDX-License-Identifier: MIT
#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/rescaled_asgd.hpp>
#include <rubato/algorithm/ringmaster_asgd.hpp>
#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/known_times.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/server/buffered.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/weighting/polynomial.hpp>

#include "support/catch.hpp"
#include "support/contract.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"
#include "support/server_scenes.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using host = backend::host<double>;
using vanilla = asgd<host>;
using known = rescaled_asgd<host, server::known_times>;
using own = rescaled_asgd<host>;
using ringmaster = ringmaster_asgd<host>;
using fed_buff = server_sgd<host, server::accept_all, weighting::constant, server::buffered>;

auto values_of(shared_buffer const& b) -> std::vector<double> {
  return {b.view<double>().begin(), b.view<double>().end()};
}

/// `weight` of a gradient by its worker and delay; a negative one refuses it.
template<class Node>
void agrees_with_plain_loop(typename Node::options const& o,
                            std::function<double(std::size_t, std::uint64_t)> const& weight) {
  auto const seen = watched<Node>(problem_of_five(), uneven(), o, 60s);
  plain_loop loop{problem_of_five(), uneven()};
  loop.run(seen.versions, [&](std::size_t i, plain_loop::job const& job) {
    auto const w = weight(i, loop.version - job.version);
    if (w >= 0) loop.move(o.step * w, loop.gradient(i, job.at));
    return w >= 0;
  });
  CHECK(seen.versions > 100);
  for (std::size_t c = 0; c < 3; ++c) CHECK(seen.x[c] == Approx(loop.x[c]).epsilon(1e-12));
}

TEST_CASE("(As.X) the server takes the steps of a plain loop over the jobs in the order in which they end") {
  agrees_with_plain_loop<vanilla>(with_step<vanilla>(0.05), [](auto, auto) { return 1.0; });
}

TEST_CASE("(As.W) a weight by delay or by known times multiplies the step of its gradient") {
  using by_age = asgd<host, weighting::polynomial>;
  auto o = with_step<by_age>(0.05);
  o.weight = weighting::polynomial{1.0};
  agrees_with_plain_loop<by_age>(o, [](auto, std::uint64_t delay) { return 1 / (1.0 + static_cast<double>(delay)); });
  auto rescaled = with_step<known>(0.05);
  rescaled.weight.times = uneven();
  auto const harmonic_mean = 5 / (1.0 / 3 + 1 + 1 / 2.5 + 1 + 1.0 / 7);
  agrees_with_plain_loop<known>(rescaled, [&](std::size_t i, auto) { return uneven()[i] / harmonic_mean; });
}

TEST_CASE("(As.D) a gradient at least R versions old moves nothing, and its worker goes on at the current model") {
  auto o = with_step<ringmaster>(0.05);
  o.acceptance.limit = 6;
  agrees_with_plain_loop<ringmaster>(o, [](auto, std::uint64_t delay) { return delay < 6 ? 1.0 : -1.0; });
}

TEST_CASE("delays and ages of the jobs under way sum to (n - 1) k, and go by worker as the times say") {
  auto const seen = watched<vanilla>(four_workers(), four_times(), with_step<vanilla>(0.001), 1000s);
  CHECK(seen.versions == 1875);
  std::vector<std::uint64_t> counts;
  std::uint64_t delays = 0, ages = 0, largest = 0;
  for (auto const& w : seen.weights) {
    counts.push_back(w.uses);
    delays += w.delay_total;
    largest = std::max(largest, w.delay_largest);
  }
  for (auto const v : seen.computes_at) ages += seen.versions - v;
  CHECK(counts == std::vector<std::uint64_t>{1000, 500, 250, 125});
  CHECK(largest == 14);
  CHECK(delays == 5619);
  CHECK(delays + ages == 3 * seen.versions);
  std::vector<double> const means{0.875, 2.75, 6.5, 14};
  for (std::size_t i = 0; i < 4; ++i) CHECK(seen.weights[i].mean_delay() == Approx(means[i]).margin(0.005));
}

TEST_CASE("with equal times the rescaled method is the plain one, bit for bit") {
  for (auto const time : {0.1, 0.7, 3.0}) {
    std::vector<double> const times(5, time);
    auto const plain = watched<vanilla>(problem_of_five(), times, with_step<vanilla>(0.03), 40s);
    CHECK(plain.versions >= 60);
    for (auto const scale : {server::time_scale::mean_step, server::time_scale::cycle}) {
      auto given = with_step<known>(0.03);
      given.weight = {.times = times, .scale = scale};
      CHECK(watched<known>(problem_of_five(), times, given, 40s).x == plain.x);
      auto measured = with_step<own>(0.03);
      measured.weight.scale = scale;
      CHECK(watched<own>(problem_of_five(), times, measured, 40s, tuned::evenly).x ==
            watched<vanilla>(problem_of_five(), times, with_step<vanilla>(0.03), 40s, tuned::evenly).x);
    }
  }
}

TEST_CASE("over one cycle every worker's weights sum to the same, by known times and by durations") {
  std::vector<double> const times{1, 2, 4, 8};
  auto const by_cycle = server::proportional_weights(times, server::time_scale::cycle);
  auto const by_mean = server::proportional_weights(times, server::time_scale::mean_step);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(by_cycle[i] * 8 / times[i] == 1.0);  // weight times arrivals: alpha / n of a step alpha / n
    CHECK(by_mean[i] == Approx(times[i] * 1.875 / 4).epsilon(1e-15));
  }
  auto o = with_step<own>(0.001);
  auto const seen = watched<own>(four_workers(), four_times(), o, 800s);
  for (auto const& w : seen.weights) CHECK(w.total == Approx(seen.weights[0].total).epsilon(0.02));
}

TEST_CASE("the part of a step that a cap cuts off is counted") {
  auto o = with_step<known>(0.01);
  o.weight.times = four_times();
  o.weight.cap = 2;
  CHECK(o.weight.mean_weights()[2] == Approx(1.875));
  CHECK(o.weight.mean_weights()[3] == 2);
  auto const seen = watched<known>(four_workers(), four_times(), o, 80s);
  CHECK(seen.weights[2].capped == 0);
  CHECK(seen.weights[3].uses == 10);
  CHECK(seen.weights[3].total == 20);
  CHECK(seen.weights[3].capped == Approx(17.5));  // 10 x (3.75 - 2)
}

TEST_CASE("no applied gradient of ringmaster_asgd is R versions old, with stops and without") {
  for (auto const late : {server::late_jobs::finish, server::late_jobs::stop}) {
    for (auto const limit : {1U, 2U, 5U, 9U}) {
      auto o = with_step<ringmaster>(0.01);
      o.acceptance = {limit, late};
      auto const seen = watched<ringmaster>(four_workers(), four_times(), o, 100s);
      CHECK(seen.versions >= 100);
      for (auto const& w : seen.weights) CHECK(w.delay_largest < limit);
      CHECK((seen.stops > 0) == (late == server::late_jobs::stop));
    }
  }
}

TEST_CASE("with R = 1 ringmaster_asgd is SGD on the first gradient after each step") {
  for (auto const late : {server::late_jobs::finish, server::late_jobs::stop}) {
    auto o = with_step<ringmaster>(0.05);
    o.acceptance = {1, late};
    auto const seen = watched<ringmaster>(problem_of_five(), {2, 1, 3, 5, 7}, o, 30s);
    CHECK(seen.versions == 30);  // worker 1 is first every second, whether the others are stopped or ignored
    plain_loop one{problem_of_five(), {2, 1, 3, 5, 7}};
    one.run(30, [&](std::size_t i, plain_loop::job const& job) {
      if (i == 1) one.move(0.05, one.gradient(i, job.at));
      return i == 1;
    });
    for (std::size_t c = 0; c < 3; ++c) CHECK(seen.x[c] == Approx(one.x[c]).epsilon(1e-12));
  }
}

TEST_CASE("with a large R ringmaster_asgd is plain asynchronous SGD, bit for bit") {
  auto const plain = watched<vanilla>(problem_of_five(), uneven(), with_step<vanilla>(0.05), 60s);
  for (auto const late : {server::late_jobs::finish, server::late_jobs::stop}) {
    auto o = with_step<ringmaster>(0.05);
    o.acceptance = {1000, late};
    auto const seen = watched<ringmaster>(problem_of_five(), uneven(), o, 60s);
    CHECK(seen.x == plain.x);
    CHECK(seen.stops == 0);
  }
}

TEST_CASE("any R consecutive steps of ringmaster_asgd take no longer than 2 min_m H_m (1 + R/m)") {
  struct profile {
    std::vector<double> times;
    std::uint64_t limit;
    double bound, found;
    std::uint64_t delay;
  };
  std::vector<double> ladder(50), one_asleep(10, 1.0);
  for (std::size_t i = 0; i < 50; ++i) ladder[i] = static_cast<double>(i + 1);
  one_asleep[9] = 1000;
  for (auto const& p : {profile{ladder, 5, 8.64, 4.0, 4}, profile{ladder, 100, 65.05, 28.0, 99},
                        profile{one_asleep, 5, 3.11, 1.0, 4}}) {
    auto o = with_step<ringmaster>(0.001);
    o.acceptance.limit = p.limit;
    auto const seen = watched<ringmaster>(problem::quadratic::random(p.times.size(), 1, 3), p.times, o, 200s);
    auto longest = 0.0;
    auto steps = seen.stepped_at;
    steps.insert(steps.begin(), 0s);
    for (std::size_t k = p.limit; k < steps.size(); ++k)
      longest = std::max(longest, to_seconds(steps[k] - steps[k - p.limit]));
    CHECK(longest <= p.bound);
    CHECK(longest == Approx(p.found).margin(1e-3));
    std::uint64_t largest = 0;
    for (auto const& w : seen.weights) largest = std::max(largest, w.delay_largest);
    CHECK(largest == p.delay);
  }
}

/// A server and its workers, driven by hand.
template<class Node>
struct by_hand {
  explicit by_hand(typename Node::options const& o, std::size_t n = 3)
      : a{assemble<Node>(topology::star(n), problem::quadratic::random(n, 4, 5), o)} {}

  assembly a;
  outbox out{};

  auto server() -> any_node& { return a.nodes.back(); }
  auto ask(std::size_t i) -> gradient_request {
    out.clear();
    a.nodes[i].start({}, out);
    return *out.request;
  }
  auto answer(std::size_t i, gradient_request asked, std::chrono::nanoseconds took = {}) -> packet {
    out.clear();
    auto g = a.oracle.evaluate(asked);
    g.duration = took;
    a.nodes[i].on_gradient({}, std::move(g), out);
    return out.packets.at(0);
  }
  void hand(any_node& to, packet const& p) {
    out.clear();
    hand_over(to, p, a.blocks.blocks(), out);
  }
  void change(any_node& at, node_id peer, neighbour_change::edge what, session_id session) {
    out.clear();
    at.on_neighbours({}, {peer, what, session, session}, out);
  }
};

TEST_CASE("(As.G) a gradient travels with its version and duration, and the worker waits for a model") {
  by_hand<vanilla> h{with_step<vanilla>(0.1)};
  auto const asked = h.ask(1);
  auto const p = h.answer(1, asked, 7ms);
  CHECK(p.channel == channel_id::gradient);
  CHECK(p.to == node_id{3});
  CHECK(p.based_on == iteration{0});
  CHECK(p.extra.count(scalar_slot::duration_ns) == 7'000'000);
  CHECK(values_of(p.body) == values_of(h.a.oracle.evaluate(asked).value));
  CHECK(h.out.wait == waiting{node_id{3}, channel_id::model, iteration{1}});
  CHECK(h.a.gain == 3);  // one gradient of each of three workers is a step along their mean
  CHECK(h.a.measured() == range{3, 4});
}

TEST_CASE("only the worker that brought a gradient is given the new model") {
  by_hand<vanilla> h{with_step<vanilla>(0.1)};
  auto const p = h.answer(1, h.ask(1));
  h.hand(h.server(), p);
  REQUIRE(h.out.packets.size() == 1);
  auto const model = h.out.packets[0];
  CHECK(model.to == node_id{1});
  CHECK(model.based_on == iteration{1});
  h.hand(h.a.nodes[1], model);
  REQUIRE(h.out.request);
  CHECK(h.out.request->point == model.body);  // by reference, no copy
  CHECK_FALSE(h.out.cancel);
  h.hand(h.server(), p);  // twice counts once
  CHECK(h.out.packets.empty());
  CHECK(h.server().statistics().iterations == 1);
  CHECK(h.server().statistics().dropped == 1);
}

TEST_CASE("(As.C) a stop cancels a running job, and a gradient that was on its way then is neither used nor answered") {
  auto o = with_step<ringmaster>(0.1);
  o.acceptance = {1, server::late_jobs::stop};
  by_hand<ringmaster> h{o};
  auto const running = h.ask(0);
  auto const late = h.answer(2, h.ask(2));
  h.hand(h.server(), h.answer(1, h.ask(1)));
  REQUIRE(h.out.packets.size() == 3);
  auto const stop_0 = h.out.packets[1], stop_2 = h.out.packets[2];
  CHECK(h.out.packets[0].channel == channel_id::model);
  CHECK((stop_0.channel == channel_id::control && stop_0.to == node_id{0}));
  CHECK((stop_2.channel == channel_id::control && stop_2.to == node_id{2}));
  h.hand(h.server(), late);
  CHECK(h.out.packets.empty());
  CHECK(h.server().statistics().iterations == 1);
  h.hand(h.a.nodes[0], stop_0);
  CHECK(h.out.cancel == running.id);
  REQUIRE(h.out.request);
  CHECK(h.out.request->point == stop_0.body);
  h.hand(h.a.nodes[2], stop_2);  // this worker was waiting: there is nothing to cancel
  CHECK_FALSE(h.out.cancel);
  CHECK(h.out.request);
}

TEST_CASE("a model that a stop has overtaken is ignored by the worker") {
  auto o = with_step<ringmaster>(0.1);
  o.acceptance = {2, server::late_jobs::stop};
  by_hand<ringmaster> h{o};
  h.hand(h.server(), h.answer(0, h.ask(0)));
  auto const slow_model = h.out.packets.at(0);
  auto first = h.ask(1);
  for (auto k = 0; k < 2; ++k) {  // two more steps by worker 1: worker 0's job is too old
    h.hand(h.server(), h.answer(1, first));
    auto const sent = h.out.packets;
    h.hand(h.a.nodes[1], sent.at(0));
    first = *h.out.request;
    for (auto const& p : sent) {
      if (p.to != node_id{0}) continue;
      h.hand(h.a.nodes[0], p);
      CHECK(h.out.request);
    }
  }
  h.hand(h.a.nodes[0], slow_model);
  CHECK_FALSE(h.out.request);
  CHECK_FALSE(h.out.cancel);
}

TEST_CASE("a worker that leaves gets no answer, the others go on, and when it returns it gets the current model") {
  by_hand<vanilla> h{with_step<vanilla>(0.1)};
  auto const last_words = h.answer(1, h.ask(1));
  h.change(h.server(), node_id{1}, neighbour_change::edge::closes, {1, 1});
  CHECK((h.out.packets.empty() && !h.out.failure));
  h.hand(h.server(), last_words);
  CHECK(h.out.packets.empty());
  h.hand(h.server(), h.answer(0, h.ask(0)));
  CHECK(h.out.packets.size() == 1);
  h.change(h.server(), node_id{1}, neighbour_change::edge::opens, {1, 2});
  REQUIRE(h.out.packets.size() == 1);
  auto const model = h.out.packets[0];
  CHECK((model.to == node_id{1} && model.based_on == iteration{1} && model.session == session_id{1, 2}));
  h.change(h.a.nodes[1], node_id{3}, neighbour_change::edge::opens, {1, 2});
  h.hand(h.a.nodes[1], model);
  REQUIRE(h.out.request);
  h.hand(h.server(), h.answer(1, *h.out.request));
  CHECK(h.server().statistics().iterations == 2);
}

TEST_CASE("a worker whose server is gone waits, and goes on at the model of the returned server") {
  by_hand<vanilla> h{with_step<vanilla>(0.1)};
  for (auto k = 0; k < 3; ++k) {
    h.hand(h.server(), h.answer(0, h.ask(0)));
    auto const given = h.out.packets.at(0);
    h.hand(h.a.nodes[0], given);
  }
  h.change(h.a.nodes[0], node_id{3}, neighbour_change::edge::closes, {});
  CHECK((!h.out.failure && h.out.cancel && h.out.wait && h.out.wait->peer == node_id{3}));
  h.change(h.a.nodes[0], node_id{3}, neighbour_change::edge::opens, {2, 2});
  CHECK((!h.out.failure && !h.out.request && h.out.wait));
  auto again = by_hand<vanilla>{with_step<vanilla>(0.1)};  // its server was started again, and is at version 0
  again.change(again.server(), node_id{0}, neighbour_change::edge::opens, {2, 2});
  REQUIRE(again.out.packets.size() == 1);
  h.hand(h.a.nodes[0], again.out.packets[0]);
  REQUIRE(h.out.request);
  again.hand(again.server(), h.answer(0, *h.out.request));
  CHECK(again.server().statistics().iterations == 1);
}

TEST_CASE("a buffer of K makes one step along the mean of K gradients, and workers do not wait for it") {
  auto o = with_step<fed_buff>(0.1);
  o.aggregation.size = 2;
  by_hand<fed_buff> h{o};
  auto const first = h.answer(0, h.ask(0)), second = h.answer(2, h.ask(2));
  h.hand(h.server(), first);
  CHECK(h.out.packets.at(0).based_on == iteration{0});
  CHECK(h.server().statistics().iterations == 0);
  h.hand(h.server(), second);
  CHECK(h.out.packets.at(0).based_on == iteration{1});
  auto const x = values_of(h.server().estimate()), a = values_of(first.body), b = values_of(second.body);
  for (std::size_t c = 0; c < x.size(); ++c) CHECK(x[c] == Approx(-0.1 * (a[c] + b[c]) / 2).epsilon(1e-15));
  o.aggregation.size = 1;
  CHECK(watched<fed_buff>(problem_of_five(), uneven(), o, 60s).x ==
        watched<vanilla>(problem_of_five(), uneven(), with_step<vanilla>(0.1), 60s).x);
}

TEST_CASE("the server policies refuse invalid settings, naming them") {
  auto const refused = [](auto const& o, auto node) {
    return refusal(
        [&] { static_cast<void>(assemble<typename decltype(node)::type>(topology::star(4), four_workers(), o)); });
  };
  auto o = with_step<known>(0.1);
  CHECK(says(refused(o, std::type_identity<known>{}), "the times of 0 workers are known, and there are 4"));
  o.weight.times = {1, 2, 0, 4};
  CHECK(says(refused(o, std::type_identity<known>{}), "the computation time of worker 2 must be above 0"));
  o.weight = {.times = {1, 2, 3, 4}, .cap = 0};
  CHECK(says(refused(o, std::type_identity<known>{}), "the cap on a rescaled step"));
  auto buffer = with_step<fed_buff>(0.1);
  buffer.aggregation.size = 0;
  CHECK(says(refused(buffer, std::type_identity<fed_buff>{}), "at least one gradient"));
  auto r = with_step<ringmaster>(0.1);
  CHECK(refused(r, std::type_identity<ringmaster>{}).empty());
  r.acceptance.resolve_options(4);
  CHECK(r.acceptance.limit == 8);
}

}  // namespace
}  // namespace rubato::test
