// SPDX-License-Identifier: MIT
#include <rubato/codec/measured_bits.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/confirmed_references.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using codec::link_width;
constexpr link_width::sizes bytes{281, 531, 1031, 2031, 4031};

/// A sender whose messages are 10 ms apart, with its link.
struct sender {
  link_width w;
  instant now{};

  /// The width of most of the last 200 of so many messages, while each takes latency + bytes / bandwidth.
  auto settled(double latency, double bytes_per_second, int messages = 400) -> int {
    std::array<int, link_width::widths.size()> count{};
    for (int k = 0; k < messages; ++k) {
      now = now + 10ms;
      auto const width = w.next(now, bytes, 0.5);
      w.heard(width, latency + static_cast<double>(bytes[width]) / bytes_per_second);
      if (k >= messages - 200) ++count[width];
    }
    auto const most = std::max_element(count.begin(), count.end());
    CHECK(*most >= 180);
    return link_width::widths[static_cast<std::size_t>(most - count.begin())];
  }
};
auto settled(double latency, double bytes_per_second) -> int { return sender{}.settled(latency, bytes_per_second); }

TEST_CASE("(A.W) a width is the widest that takes half the time between two messages, whatever the latency") {
  for (auto const latency : {0.0, 1e-3, 0.2, 900.0, -0.015, -0.2, -900.0}) {  // or clocks that differ
    CHECK(settled(latency, 1e7) == 0);     // 4031 bytes take 0.4 ms
    CHECK(settled(latency, 5e5) == 16);    // they take 8 ms, and 2031 bytes 4 ms
    CHECK(settled(latency, 2.5e5) == 8);   // 1031 bytes take 4.1 ms
    CHECK(settled(latency, 1.5e5) == 4);   // 531 bytes take 3.5 ms
    CHECK(settled(latency, 1e4) == 2);
  }
  link_width unheard;
  for (int k = 1; k < 100; ++k) CHECK(unheard.next({k * 10ms}, bytes, 0.5) == 1);
  unheard.heard(9, 1.0);  // no width
  unheard.heard(4, 1.0);  // no message had it
  for (int k = 100; k < 200; ++k) CHECK(unheard.next({k * 10ms}, bytes, 0.5) == 1);
}

TEST_CASE("(A.W) a width follows a link that becomes slow and recovers, from any width, as often as it does") {
  for (auto const latency : {0.0, 0.2, -0.2}) {  // or clocks that differ
    for (auto const slow : {5e5, 2.5e5, 1.5e5, 1e4}) {
      sender s;
      for (int times = 0; times < 3; ++times) {
        CAPTURE(latency, slow, times);
        CHECK(s.settled(latency, slow, 600) == sender{}.settled(latency, slow));
        CHECK(s.settled(latency, 1e7, 600) == 0);
      }
    }
  }
}

struct usual : simulation_trace {
  void posted(instant now, packet const& p) override {
    if (now.since_start > 80s) ++sizes[{to_index(p.from), to_index(p.to)}][p.body.size()];
  }
  std::map<std::pair<std::size_t, std::size_t>, std::map<std::size_t, int>> sizes;
};

TEST_CASE("on a ring with one slow link, its messages are narrow and the others whole, and nothing else changes") {
  using node = r_fast<backend::host<float>, step::sgd, weighting::constant, ledger::fixed_point, codec::measured_bits>;
  auto const q = problem::quadratic::random(4, 100, 8, {.spread = 1, .condition = 4});
  environment::scenario weather{.compute = environment::fixed(10ms),
                                .link = {.latency = 1ms, .bits_per_second = 1e8, .loss = 0.2},
                                .seed = 3,
                                .measure_every = 200ms};
  auto slow = weather.link;
  slow.bits_per_second = 4e4;  // 5 bytes a millisecond
  weather.special = {{node_id{0}, node_id{1}, slow}, {node_id{1}, node_id{0}, slow}};
  usual watch;
  auto const r = simulate(assemble<node>(topology::pair{topology::ring(4)}, q, {.step = 0.05}), weather, {.time = 160s},
                          {.trace = &watch});
  for (auto const& look : r.history) REQUIRE(look.tracking_residual == 0);
  for (auto const& m : r.models) {
    std::vector<double> x;
    rubato::detail::widen(m, x);
    CHECK(distance(x, q.optimum()) < 1e-4);
  }
  for (auto const& [edge, sizes] : watch.sizes) {
    auto const size =
        std::max_element(sizes.begin(), sizes.end(), [](auto& a, auto& b) { return a.second < b.second; })->first;
    auto const is_slow = edge.first + edge.second == 1;
    CAPTURE(edge.first, edge.second);
    CHECK(size == (is_slow ? 31 + 27 : 31 + 400));
  }
}

/// Both ends of the edge of a line of two whose widths are measured.
struct measured_edge {
  using ends = detail::confirmed_references<backend::host<float>, std::int32_t, codec::measured_bits>;
  backend::host<float> b;
  mixing::plan plan = mixing::tracking_plan(topology::pair{topology::ring(2)});
  ends first{b, plan.nodes[0], block_partition{4}, {}}, second{b, plan.nodes[1], block_partition{4}, {}};

  auto sums(ends& from, node_id to, std::uint64_t number, instant now) -> packet {
    auto zeros = b.allocate<std::int32_t>(4);
    std::fill_n(zeros.data(), 4, 0);
    packet p{};
    p.from = node_id{1 - static_cast<std::uint32_t>(to_index(to))};
    p.to = to;
    p.channel = channel_id::tracker;
    p.number = iteration{number};
    p.posted_at = now;
    p.body = from.encode(p.channel, to, p.number, std::move(zeros).publish(), now);
    return p;
  }
  /// What the second node tells of the newest message of sums: its width and microseconds.
  auto told(std::uint64_t number) -> std::pair<int, std::int32_t> {
    auto const p = sums(second, node_id{0}, number, {});
    auto const* const at = p.body.view<std::byte>().data() + 26;
    std::uint32_t took = 0;
    for (std::size_t i = 0; i < 4; ++i) took |= std::to_integer<std::uint32_t>(at[1 + i]) << (8 * i);
    return {std::to_integer<int>(at[0]), static_cast<std::int32_t>(took)};
  }
  auto changed(packet p, std::size_t at, int value) -> packet {
    auto copy = backend::copied(b, p.body.view<std::byte>().data(), p.body.size());
    copy.data()[at] = static_cast<std::byte>(value);
    p.body = std::move(copy).publish();
    return p;
  }
};

TEST_CASE("what is told of a link is of the newest message, however often older ones come, and of widths that exist") {
  measured_edge e;
  auto const old = e.sums(e.first, node_id{1}, 3, {});
  auto const fresh = e.sums(e.first, node_id{1}, 4, {10ms});
  CHECK(e.told(3).first == 255);
  CHECK(e.second.decode(patch_of(fresh, {0, 1}), {12ms}).vector);
  CHECK(e.told(4) == std::pair{1, 2000});
  CHECK(e.second.decode(patch_of(fresh, {0, 1}), {50ms}).vector);
  CHECK(e.second.decode(patch_of(old, {0, 1}), {60ms}).vector);
  CHECK(e.told(5) == std::pair{1, 2000});
  auto number = std::uint64_t{5};
  auto const told_after = [&](instant came) {
    CHECK(e.second.decode(patch_of(e.sums(e.first, node_id{1}, ++number, {20ms}), {0, 1}), came).vector);
    return e.told(number);
  };
  CHECK(told_after({5ms}) == std::pair{1, -15000});
  CHECK(told_after({20ms}) == std::pair{1, 0});
  CHECK(told_after({-30min}) == std::pair{1, -1'800'020'000});
  CHECK(told_after({36min}).first == 255);
  CHECK(told_after({-36min}).first == 255);
  for (auto const value : {5, 200, 255})
    CHECK_FALSE(e.second.decode(patch_of(e.changed(fresh, 20, value), {0, 1}), {}).valid);
  for (auto const at : {21U, 26U}) {
    CHECK_FALSE(e.second.decode(patch_of(e.changed(fresh, at, 5), {0, 1}), {}).valid);
    CHECK_FALSE(e.second.decode(patch_of(e.changed(fresh, at, 254), {0, 1}), {}).valid);
    CHECK(e.second.decode(patch_of(e.changed(fresh, at, 4), {0, 1}), {}).valid);
  }
}

TEST_CASE("a part of no time is refused") {
  CHECK(says(refusal([] { codec::measured_bits{.part = 0}.check(block_partition{3}); }), "a part above 0"));
  CHECK(says(refusal([] { codec::measured_bits{.remembered = 1}.check(block_partition{3}); }), "2 to 256 messages"));
}

}  // namespace
}  // namespace rubato::test
