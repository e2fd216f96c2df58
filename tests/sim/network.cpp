// SPDX-License-Identifier: MIT
#include <rubato/environment/network.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

auto message(std::uint32_t from, std::uint32_t to, channel_id channel, std::size_t values) -> packet {
  buffer_pool pool;
  packet p;
  p.from = node_id{from};
  p.to = node_id{to};
  p.channel = channel;
  p.body = pool.allocate<float>(values).publish();
  return p;
}

/// A network of one kind of link, and a way to send over it.
struct wires {
  explicit wires(environment::link_model const& link) { world.link = link; }
  auto send(packet const& p, channel_kind kind, nanoseconds now) -> environment::journey {
    auto& e = net.edge_between(p.from, p.to);
    return net.transmit(e, net.channel_of(e, p.channel, kind), p, p.body.size(), now);
  }
  auto counts(packet const& p) -> environment::network::traffic const& {
    return net.channel_of(net.edge_between(p.from, p.to), p.channel, channel_kind::state).counts;
  }
  environment::scenario world{};
  environment::network net{world, 8};
};

/// Whether a count of `trials` with probability p is within five standard deviations of its mean.
auto plausible(std::uint64_t count, int trials, double p) -> bool {
  return std::abs(static_cast<double>(count) - trials * p) < 5 * std::sqrt(trials * p * (1 - p));
}

TEST_CASE("a packet arrives after the latency") {
  wires w{{.latency = 3ms}};
  auto const j = w.send(message(0, 1, channel_id::model, 10), channel_kind::state, 7ms);
  CHECK(j.arrival == 10ms);
  CHECK_FALSE(j.second);
}

TEST_CASE("packets queue for a link's bandwidth, and each edge has its own") {
  wires w{{.latency = 1ms, .bits_per_second = 8e6}};  // a byte a microsecond
  auto const p = message(0, 1, channel_id::model, 101);  // 404 bytes of body
  auto const takes = std::chrono::microseconds{404 + wire::header_bytes};
  CHECK(w.send(p, channel_kind::state, 5ms).arrival == 5ms + takes + 1ms);
  CHECK(w.send(message(0, 1, channel_id::tracker, 101), channel_kind::state, 5ms).arrival == 5ms + 2 * takes + 1ms);
  CHECK(w.send(message(1, 0, channel_id::model, 101), channel_kind::state, 5ms).arrival == 5ms + takes + 1ms);
  CHECK(w.send(p, channel_kind::state, 50ms).arrival == 50ms + takes + 1ms);
  CHECK(w.counts(p).bytes_sent == 2 * (404 + wire::header_bytes));
  CHECK(w.counts(p).values_sent == 202);
}

TEST_CASE("losses and duplicates have the frequency set for the link") {
  wires w{{.latency = 1ms, .loss = 0.3, .duplication = 0.1}};
  auto const p = message(2, 3, channel_id::tracker, 1);
  constexpr auto trials = 20'000;
  auto arrived = std::uint64_t{0}, twice = std::uint64_t{0};
  for (int k = 0; k < trials; ++k) {
    auto const j = w.send(p, channel_kind::state, 1ms * k);
    arrived += j.arrival ? 1U : 0U;
    twice += j.second ? 1U : 0U;
    if (j.arrival && j.second) CHECK((*j.second >= *j.arrival && *j.second <= *j.arrival + 4ms));
  }
  CHECK(plausible(w.counts(p).lost, trials, 0.3));
  CHECK(arrived == trials - w.counts(p).lost);
  CHECK(plausible(twice, trials, 0.1));
  CHECK(w.counts(p).duplicated == twice);
}

TEST_CASE("jitter stays within its bound, and overtaking holds some packets back by up to four latencies") {
  wires shaky{{.latency = 10ms, .jitter = 2ms}};
  wires late{{.latency = 10ms, .overtaking = 0.5}};
  auto const p = message(0, 1, channel_id::model, 1);
  auto held = std::uint64_t{0};
  auto earliest = nanoseconds{1h}, latest = nanoseconds{};
  for (int k = 0; k < 2000; ++k) {
    auto const a = *shaky.send(p, channel_kind::state, 0ms).arrival;
    earliest = std::min(earliest, a);
    latest = std::max(latest, a);
    auto const b = *late.send(p, channel_kind::state, 0ms).arrival;
    held += b > 10ms ? 1U : 0U;
    REQUIRE((b >= 10ms && b <= 50ms));
  }
  CHECK((earliest >= 10ms && earliest < 10100us));
  CHECK((latest <= 12ms && latest > 11900us));
  CHECK(plausible(held, 2000, 0.5));
}

TEST_CASE("on an event channel everything arrives, in order, each loss costing two round trips") {
  wires w{{.latency = 2ms, .bits_per_second = 8e6, .loss = 0.4}};
  auto const p = message(0, 1, channel_id::chunk, 1);
  auto const takes = std::chrono::microseconds{4 + wire::header_bytes};
  auto last = nanoseconds{};
  auto lost_before = std::uint64_t{0};
  auto waited_behind = 0;
  constexpr auto trials = 5000;
  for (int k = 0; k < trials; ++k) {
    auto const now = 10ms * k;
    auto const j = w.send(p, channel_kind::event, now);
    REQUIRE(j.arrival);
    REQUIRE_FALSE(j.second);
    auto const lost = w.counts(p).lost - lost_before;
    lost_before = w.counts(p).lost;
    nanoseconds const own = now + takes + 2ms + static_cast<std::int64_t>(lost) * (8ms + takes);
    REQUIRE(*j.arrival == std::max(own, last));
    waited_behind += own < last ? 1 : 0;
    last = *j.arrival;
  }
  CHECK(waited_behind > 0);
  CHECK(plausible(w.counts(p).lost, static_cast<int>(trials / 0.6), 0.4));
  CHECK(w.counts(p).bytes_sent == (trials + w.counts(p).lost) * (4 + wire::header_bytes));
}

TEST_CASE("the fate of a packet does not depend on what other edges carry") {
  wires alone{{.latency = 1ms, .jitter = 5ms, .loss = 0.5, .duplication = 0.5, .overtaking = 0.5}};
  wires crowded{alone.world.link};
  for (int k = 0; k < 200; ++k) {
    crowded.send(message(0, 2, channel_id::model, 3), channel_kind::state, 1ms * k);
    crowded.send(message(0, 1, channel_id::tracker, 3), channel_kind::state, 1ms * k);
    auto const a = alone.send(message(0, 1, channel_id::model, 3), channel_kind::state, 1ms * k);
    auto const b = crowded.send(message(0, 1, channel_id::model, 3), channel_kind::state, 1ms * k);
    REQUIRE(a.arrival == b.arrival);
    REQUIRE(a.second == b.second);
  }
}

TEST_CASE("burst losses have the frequency and the length given by the chain of good and bad states") {
  environment::link_model const link{.latency = 1ms, .loss = 0.01, .bursts = {.begin = 0.02, .end = 0.1, .loss = 0.9}};
  wires w{link};
  constexpr auto trials = 60'000;
  auto lost = 0, after_loss = 0, pairs = 0;
  auto before = false;
  for (int k = 0; k < trials; ++k) {
    auto const gone =
        !w.send(message(0, 1, k % 2 == 0 ? channel_id::model : channel_id::tracker, 1), channel_kind::state, 1ms * k)
             .arrival;
    lost += gone ? 1 : 0;
    pairs += before ? 1 : 0;
    after_loss += before && gone ? 1 : 0;
    before = gone;
  }
  CHECK(link.mean_loss() == Approx((0.1 * 0.01 + 0.02 * 0.9) / 0.12));
  CHECK(lost == Approx(link.mean_loss() * trials).epsilon(0.06));
  // P(bad | lost) (0.9 * 0.9 + 0.1 * 0.01) + P(good | lost) (0.02 * 0.9 + 0.98 * 0.01)
  auto const bad = 0.02 * 0.9 / (0.02 * 0.9 + 0.1 * 0.01);
  CHECK(static_cast<double>(after_loss) / pairs == Approx(bad * 0.811 + (1 - bad) * 0.0278).epsilon(0.04));
  CHECK(environment::link_model{.loss = 0.25}.mean_loss() == 0.25);
}

TEST_CASE("bursts on an edge do not depend on what other edges carry, and an event channel gets through them") {
  environment::link_model const link{.latency = 1ms, .bursts = {.begin = 0.1, .end = 0.2, .loss = 1}};
  wires alone{link}, crowded{link};
  for (int k = 0; k < 300; ++k) {
    crowded.send(message(1, 0, channel_id::model, 3), channel_kind::state, 1ms * k);
    auto const a = alone.send(message(0, 1, channel_id::model, 3), channel_kind::state, 1ms * k);
    REQUIRE(a.arrival == crowded.send(message(0, 1, channel_id::model, 3), channel_kind::state, 1ms * k).arrival);
  }
  auto const p = message(2, 3, channel_id::chunk, 1);
  for (int k = 0; k < 300; ++k) REQUIRE(alone.send(p, channel_kind::event, 1s * k).arrival);
  CHECK(plausible(alone.counts(p).lost, 450, 1.0 / 3));  // 300 that arrive, and a third of all tries are bad
}

TEST_CASE("a partition loses packets on its edges until it heals; an event message arrives afterwards") {
  wires w{{.latency = 2ms}};
  w.world.partitions.push_back({20ms, 30ms, {{node_id{0}, node_id{1}}}});
  w.world.partitions.push_back({31ms, 40ms, {{node_id{0}, node_id{1}}}});
  auto const p = message(0, 1, channel_id::model, 1);
  auto const at = [&](nanoseconds t) { return w.send(p, channel_kind::state, t).arrival; };
  CHECK(at(17ms) == 19ms);
  for (auto const t : {18ms, 20ms, 29ms, 30ms, 39ms}) CHECK_FALSE(at(t));  // 30 ms would arrive in the second one
  CHECK(at(40ms) == 42ms);
  CHECK(w.counts(p).lost == 5);
  CHECK(w.send(message(1, 0, channel_id::model, 1), channel_kind::state, 25ms).arrival == 27ms);
  wires tcp{w.world.link};
  tcp.world.partitions = w.world.partitions;
  auto const event_at = [&](nanoseconds t) {
    return tcp.send(message(0, 1, channel_id::chunk, 1), channel_kind::event, t).arrival;
  };
  CHECK(event_at(5ms) == 7ms);
  CHECK(event_at(25ms) == 42ms);  // 32 ms lies in the second partition
  CHECK(event_at(26ms) == 42ms);
  CHECK(event_at(50ms) == 52ms);
}

TEST_CASE("an island is cut off in both directions, but not inside") {
  auto const p = environment::island({node_id{1}, node_id{3}}, 4, 1ms, 2ms);
  CHECK(p.edges.size() == 8);
  for (auto const& e : p.edges) CHECK((to_index(e.from) % 2 == 1) != (to_index(e.to) % 2 == 1));
}

TEST_CASE("a special link replaces the common one on its edge and direction only") {
  wires w{{.latency = 1ms}};
  w.world.special.push_back({node_id{0}, node_id{1}, {.latency = 9ms}});
  CHECK(w.send(message(0, 1, channel_id::model, 1), channel_kind::state, 0ms).arrival == 9ms);
  CHECK(w.send(message(1, 0, channel_id::model, 1), channel_kind::state, 0ms).arrival == 1ms);
}

TEST_CASE("invalid links and compute models are refused in a sentence") {
  auto const refused = [](environment::link_model const& link) { return test::refusal([&] { link.check(); }); };
  CHECK(test::says(refused({.loss = 1.0}), "loss of a link"));
  CHECK(test::says(refused({.loss = -0.1}), "loss of a link"));
  CHECK(test::says(refused({.loss = std::nan("")}), "loss of a link"));
  CHECK(test::says(refused({.duplication = 2}), "duplication of a link"));
  CHECK(test::says(refused({.latency = -1ms}), "latency of a link"));
  CHECK(test::says(refused({.bits_per_second = -1}), "bandwidth of a link"));
  CHECK(test::says(refused({.bursts = {.begin = 1.5}}), "beginning and the loss of a link's bursts"));
  CHECK(test::says(refused({.bursts = {.begin = 0.1, .loss = -1}}), "beginning and the loss of a link's bursts"));
  CHECK(test::says(refused({.bursts = {.begin = 0.1, .end = 0}}), "end of a link's bursts"));
  auto const unfit = [](environment::scenario const& s) { return test::refusal([&] { s.check(4); }); };
  CHECK(test::says(unfit({.partitions = {{2ms, 2ms, {}}}}), "partition must begin"));
  CHECK(test::says(unfit({.partitions = {{1ms, 2ms, {{node_id{0}, node_id{9}}}}}}),
                   "partition's edge joins nodes 0 and 9"));
  CHECK(test::says(unfit({.restarts = {{node_id{4}, 1ms}}}), "node 4 cannot restart"));
  CHECK(test::says(unfit({.restarts = {{node_id{1}, -1ms}}}), "node 1 restarts at a time below 0"));
  for (auto const down : {nanoseconds{5ms}, (nanoseconds::max)()})
    CHECK(test::says(unfit({.restarts = {{node_id{1}, 1ms, down}, {node_id{1}, 6ms}}}), "node 1 cannot restart again"));
  CHECK(unfit({.restarts = {{node_id{1}, 1ms, 5ms}, {node_id{2}, 3ms}, {node_id{1}, 7ms}}}).empty());
  CHECK(test::says(test::refusal([] { environment::fixed(1ms).slow(9, 4.0).check(8); }), "node 9 cannot be slow"));
  CHECK(test::says(test::refusal([] { environment::fixed(1ms).outage(9, 1ms, 2ms).check(8); }),
                   "node 9 cannot have an outage"));
  CHECK(test::says(test::refusal([] { static_cast<void>(environment::fixed(1ms).outage(1, 2ms, 2ms)); }),
                   "outage of node 1"));
  CHECK(test::says(test::refusal([] { static_cast<void>(environment::shifted_exponential(1ms, 1.1)); }),
                   "shifted exponential"));
  CHECK(test::says(test::refusal([] { static_cast<void>(environment::two_regime(1ms, 1.5, 2)); }),
                   "probability of the second regime"));
  CHECK(test::says(test::refusal([] { static_cast<void>(environment::two_regime(1ms, 0.5, 0)); }),
                   "factor of the second regime"));
  CHECK(test::says(test::refusal([] { static_cast<void>(environment::random_slow(1ms, 0.5, 3, 2)); }),
                   "greatest factor of the second regime"));
  CHECK(test::says(test::refusal([] { static_cast<void>(environment::fixed(1ms).slow(1, 0.0)); }), "node 1"));
  CHECK(test::says(test::refusal([] { static_cast<void>(environment::lognormal(1ms, -1)); }),
                   "coefficient of variation"));
  CHECK(
      test::says(test::refusal([] { static_cast<void>(environment::fixed(1ms).scaled(0)); }), "cannot be scaled by 0"));
}

TEST_CASE("compute times have the requested mean, and the variation of their distribution") {
  struct row {
    char const* name;
    environment::compute_model model;
    double variation;
    double least;  // over the mean
  };
  for (auto const& r : {row{"lognormal", environment::lognormal(10ms, 0.5), 0.5, 0},
                        row{"half_normal", environment::half_normal(10ms), 0.7555106, 0},
                        row{"shifted_exponential", environment::shifted_exponential(10ms, 0.4), 0.4, 0.6},
                        row{"exponential", environment::shifted_exponential(10ms, 1), 1, 0},
                        row{"two_regime", environment::two_regime(10ms, 0.1, 11), 1.5, 0.5},
                        row{"random_slow", environment::random_slow(10ms, 0.25, 3, 5), 0.7604207, 4.0 / 7}}) {
    INFO(r.name);
    auto sum = 0.0, squares = 0.0, least = 1.0;
    constexpr auto draws = 40'000;
    for (std::uint64_t k = 0; k < draws; ++k) {
      auto const t = to_seconds(r.model.duration(1, node_id{0}, k)) / 0.01;
      sum += t / draws;
      squares += t * t / draws;
      least = std::min(least, t);
      REQUIRE(r.model.duration(1, node_id{0}, k) == r.model.duration(1, node_id{0}, k));
    }
    CHECK(sum == Approx(1).epsilon(0.02));
    CHECK(std::sqrt(squares - sum * sum) / sum == Approx(r.variation).epsilon(0.05));
    CHECK(least >= r.least * 0.999999);
    CHECK(least < r.least + 0.2);
  }
  auto const model = environment::lognormal(10ms, 0.5).slow(3, 4.0);
  CHECK(model.factor_of(node_id{3}) == 4.0);
  CHECK(environment::fixed(10ms).slow(3, 4.0).duration(1, node_id{3}, 0) == 40ms);
  CHECK(environment::fixed(10ms).duration(1, node_id{3}, 0) == 10ms);
  CHECK(environment::fixed(10ms).slow(3, 4.0).scaled(0.25).duration(1, node_id{3}, 0) == 10ms);
  auto const half = model.scaled(0.5).duration(1, node_id{0}, 7);
  CHECK(to_seconds(half) == Approx(to_seconds(model.duration(1, node_id{0}, 7)) / 2).epsilon(1e-6));
}

TEST_CASE("with random stragglers a round that waits for 8 nodes takes 2.2729 times as long as a gradient") {
  auto const model = environment::random_slow(10ms, 0.25, 3, 5);
  auto sum = 0.0;
  constexpr auto rounds = 20'000;
  for (std::uint64_t k = 0; k < rounds; ++k) {
    auto slowest = nanoseconds{};
    for (std::uint32_t i = 0; i < 8; ++i) slowest = std::max(slowest, model.duration(1, node_id{i}, k));
    sum += to_seconds(slowest) / 0.01 / rounds;
  }
  CHECK(sum == Approx(2.272929842509921).epsilon(0.01));
}

TEST_CASE("a gradient is delayed by exactly those outages of its node that it overlaps") {
  auto const model =
      environment::fixed(10ms).outage(1, 50ms, 60ms).outage(1, 20ms, 25ms).outage(1, 55ms, 70ms).outage(0, 0ms, 1s);
  auto const done = [&](nanoseconds start, nanoseconds takes) { return model.done_at(node_id{1}, start, takes); };
  CHECK(done(5ms, 10ms) == 15ms);
  CHECK(done(10ms, 10ms) == 20ms);
  CHECK(done(12ms, 10ms) == 27ms);
  CHECK(done(20ms, 10ms) == 35ms);
  CHECK(done(24ms, 10ms) == 35ms);
  CHECK(done(25ms, 10ms) == 35ms);
  CHECK(done(15ms, 40ms) == 80ms);  // 5 + 25 + 10 of work around both gaps, the second of 20 ms
  CHECK(done(70ms, 10ms) == 80ms);
  CHECK(model.done_at(node_id{2}, 15ms, 40ms) == 55ms);
}

}  // namespace
