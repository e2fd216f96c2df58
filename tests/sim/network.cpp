// SPDX-License-Identifier: MIT
#include <rubato/sim/network.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

auto message(std::uint32_t from, std::uint32_t to, channel lane, std::size_t values) -> packet {
  buffer_pool pool;
  packet p;
  p.from = node_id{from};
  p.to = node_id{to};
  p.lane = lane;
  p.body = pool.allocate<float>(values).publish();
  return p;
}

/// A network of one kind of link, and a way to send over it.
struct wires {
  explicit wires(sim::link_model const& link) { world.link = link; }
  auto send(packet const& p, channel_kind kind, nanoseconds now) -> sim::journey {
    auto& e = net.edge_between(p.from, p.to);
    return net.transmit(e, net.lane_of(e, p, kind), p, p.body.size(), now);
  }
  auto counts(packet const& p) -> edge_report const& {
    return net.lane_of(net.edge_between(p.from, p.to), p, channel_kind::state).counts;
  }
  sim::scenario world{};
  sim::network net{world, 8};
};

/// Whether a count of `trials` with probability p is within five standard deviations of its mean.
auto plausible(std::uint64_t count, int trials, double p) -> bool {
  return std::abs(static_cast<double>(count) - trials * p) < 5 * std::sqrt(trials * p * (1 - p));
}

TEST_CASE("a packet arrives after the latency") {
  wires w{{.latency = 3ms}};
  auto const j = w.send(message(0, 1, channel::model, 10), channel_kind::state, 7ms);
  CHECK(j.arrival == 10ms);
  CHECK_FALSE(j.second);
}

TEST_CASE("packets queue for a link's bandwidth, and each edge has its own") {
  wires w{{.latency = 1ms, .bits_per_second = 8e6}};  // a byte a microsecond
  auto const p = message(0, 1, channel::model, 101);  // 404 bytes of body
  auto const takes = std::chrono::microseconds{404 + wire::header_bytes};
  CHECK(w.send(p, channel_kind::state, 5ms).arrival == 5ms + takes + 1ms);
  CHECK(w.send(message(0, 1, channel::tracker, 101), channel_kind::state, 5ms).arrival == 5ms + 2 * takes + 1ms);
  CHECK(w.send(message(1, 0, channel::model, 101), channel_kind::state, 5ms).arrival == 5ms + takes + 1ms);
  CHECK(w.send(p, channel_kind::state, 50ms).arrival == 50ms + takes + 1ms);
  CHECK(w.counts(p).bytes_sent == 2 * (404 + wire::header_bytes));
  CHECK(w.counts(p).values_sent == 202);
}

TEST_CASE("losses and duplicates come as often as the link says") {
  wires w{{.latency = 1ms, .loss = 0.3, .duplication = 0.1}};
  auto const p = message(2, 3, channel::tracker, 1);
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
  auto const p = message(0, 1, channel::model, 1);
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
  auto const p = message(0, 1, channel::chunk, 1);
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
    crowded.send(message(0, 2, channel::model, 3), channel_kind::state, 1ms * k);
    crowded.send(message(0, 1, channel::tracker, 3), channel_kind::state, 1ms * k);
    auto const a = alone.send(message(0, 1, channel::model, 3), channel_kind::state, 1ms * k);
    auto const b = crowded.send(message(0, 1, channel::model, 3), channel_kind::state, 1ms * k);
    REQUIRE(a.arrival == b.arrival);
    REQUIRE(a.second == b.second);
  }
}

TEST_CASE("a special link replaces the common one on its edge and direction only") {
  wires w{{.latency = 1ms}};
  w.world.special.push_back({node_id{0}, node_id{1}, {.latency = 9ms}});
  CHECK(w.send(message(0, 1, channel::model, 1), channel_kind::state, 0ms).arrival == 9ms);
  CHECK(w.send(message(1, 0, channel::model, 1), channel_kind::state, 0ms).arrival == 1ms);
}

TEST_CASE("links and compute models that make no sense are refused in a sentence") {
  auto const refused = [](sim::link_model const& link) {
    return test::refusal([&] { link.check(); });
  };
  CHECK(test::says(refused({.loss = 1.0}), "loss of a link"));
  CHECK(test::says(refused({.loss = -0.1}), "loss of a link"));
  CHECK(test::says(refused({.loss = std::nan("")}), "loss of a link"));
  CHECK(test::says(refused({.duplication = 2}), "duplication of a link"));
  CHECK(test::says(refused({.latency = -1ms}), "latency of a link"));
  CHECK(test::says(refused({.bits_per_second = -1}), "bandwidth of a link"));
  CHECK(test::says(test::refusal([] { sim::fixed(1ms).slow(9, 4.0).check(8); }), "node 9 cannot be slow"));
  CHECK(test::says(test::refusal([] { static_cast<void>(sim::fixed(1ms).slow(1, 0.0)); }), "node 1"));
  CHECK(test::says(test::refusal([] { static_cast<void>(sim::lognormal(1ms, -1)); }), "coefficient of variation"));
  CHECK(test::says(test::refusal([] { static_cast<void>(sim::fixed(1ms).scaled(0)); }), "cannot be scaled by 0"));
}

TEST_CASE("lognormal compute times have the mean and variation that were asked for") {
  auto const model = sim::lognormal(10ms, 0.5).slow(3, 4.0);
  auto sum = 0.0, squares = 0.0;
  constexpr auto draws = 40'000;
  for (std::uint64_t k = 0; k < draws; ++k) {
    auto const t = to_seconds(model.duration(1, node_id{0}, k));
    sum += t / draws;
    squares += t * t / draws;
    REQUIRE(model.duration(1, node_id{0}, k) == model.duration(1, node_id{0}, k));
  }
  CHECK(sum == Approx(0.01).epsilon(0.02));
  CHECK(std::sqrt(squares - sum * sum) / sum == Approx(0.5).epsilon(0.05));
  CHECK(model.factor_of(node_id{3}) == 4.0);
  CHECK(sim::fixed(10ms).slow(3, 4.0).duration(1, node_id{3}, 0) == 40ms);
  CHECK(sim::fixed(10ms).duration(1, node_id{3}, 0) == 10ms);
  CHECK(sim::fixed(10ms).slow(3, 4.0).scaled(0.25).duration(1, node_id{3}, 0) == 10ms);
  auto const half = model.scaled(0.5).duration(1, node_id{0}, 7);
  CHECK(to_seconds(half) == Approx(to_seconds(model.duration(1, node_id{0}, 7)) / 2).epsilon(1e-6));
}

}  // namespace
