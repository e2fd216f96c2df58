// SPDX-License-Identifier: MIT
#include <rubato/driver/pace.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

constexpr auto me = node_id{0};
constexpr auto other = node_id{1};

/// Asks for a gradient at its start and after each, and posts a message to node 1 with each.
struct eager_node {
  static constexpr std::array<channel_spec, 1> all{channel_spec{channel_id::model, channel_kind::state, element::f64}};

  void start(instant, outbox& out) { ask(out); }
  void on_patch(instant, patch const&, outbox& out) {
    if (cancels) out.cancel = ticket{asked};
  }
  void on_gradient(instant, gradient, outbox& out) {
    packet p;
    p.to = other;
    p.number = iteration{++posted};
    out.packets.push_back(p);
    ask(out);
  }
  void on_wakeup(instant, wakeup, outbox& out) { out.failure = fault{"this wake-up is not the node's"}; }
  void on_neighbours(instant, neighbour_change const&, outbox&) {}
  [[nodiscard]] auto estimate() const -> shared_buffer { return {}; }
  [[nodiscard]] auto statistics() const -> node_statistics { return {}; }
  void audit(tracking_audit&) const {}
  [[nodiscard]] static auto channels() -> std::span<channel_spec const> { return all; }

  void ask(outbox& out) { out.request = gradient_request{ticket{++asked}, {}, {}}; }
  std::uint64_t asked = 0;
  std::uint64_t posted = 0;
  bool cancels = false;
};

/// A node that listens to node 1, and a clock.
struct scene {
  explicit scene(std::uint32_t ahead = 8, bool cancels = false)
      : pace{std::make_shared<detail::pacer>(std::vector{other, other}, pace_options{ahead})},
        node{any_node{eager_node{.cancels = cancels}}, pace} {
    node.start({now}, out);
    out.clear();
  }
  /// A message that node 1 posted so long ago, by its clock; `answers`: what it had heard.
  void hear(std::chrono::nanoseconds ago, std::uint64_t answers = 0) {
    auto const number = iteration{++said};
    out.clear();
    patch const p{other, me, channel_id::model, session, iteration{answers}, {now - ago}, {0, 1}, {&number, 1}, {}, {}};
    node.on_patch({now}, p, out);
  }
  /// After a gradient that is done now: how long the next is held back.
  auto pause() -> std::chrono::nanoseconds {
    out.clear();
    node.on_gradient({now}, {}, out);
    if (out.request) return {};
    REQUIRE(out.wakeups.size() == 1);
    return out.wakeups[0].at - instant{now};
  }
  /// Waits for the wake-up that pause() asked for.
  void wake(std::chrono::nanoseconds later) {
    now += later;
    out.clear();
    node.on_wakeup({now}, {~std::uint32_t{0}, {now}}, out);
  }

  std::chrono::nanoseconds now{};
  std::uint64_t said = 0;
  session_id session{};
  std::shared_ptr<detail::pacer> pace;
  paced_node node;
  outbox out;
};

TEST_CASE("a paced node waits between gradients as long as messages travel, and needs no further message for it") {
  scene s;
  s.now = 1ms;
  s.hear(200ms);
  CHECK(s.pause() == 199ms);  // the one before began at 0
  s.wake(199ms);
  CHECK(s.out.request);
  CHECK_FALSE(s.out.failure);
  s.now += 1ms;
  CHECK(s.pause() == 199ms);
}

TEST_CASE("if gradients take longer than messages travel, a pace changes nothing") {
  scene s;
  for (auto k = 0; k < 100; ++k) {
    s.now += 10ms;
    s.hear(9ms);
    CHECK(s.pause() == 0ms);
  }
  for (auto k = 0; k < 7; ++k) {  // and so it is where the neighbour is slower by no more than `ahead`
    s.now += 10ms;
    CHECK(s.pause() == 0ms);
  }
}

TEST_CASE("messages delayed by a partition slow a paced node down by at most a second, and not for long") {
  scene s;
  for (auto const ago : {5ms, 8000ms, 8000ms}) s.hear(ago);
  auto const held = s.pause();
  CHECK(held > 500ms);
  CHECK(held <= 1s);
  s.now = 10ms;
  for (auto k = 0; k < 8; ++k) s.hear(5ms);
  CHECK(s.out.request);
  CHECK(s.pause() == 5ms);
}

TEST_CASE("a silent neighbour slows a paced node down gradually, to one gradient a second, until it sends a message") {
  scene s{3};
  auto begun = 1;
  for (s.now = 1ms; s.now < 60s; s.now += 1ms) {
    auto const pause = s.pause();
    REQUIRE(pause <= 1s);
    if (pause > 0ms) s.wake(pause);
    REQUIRE(s.out.request);
    ++begun;
  }
  CHECK(begun > 60);
  CHECK(begun < 60 + 3 + 10);
  CHECK(s.pause() > 900ms);
  s.now += 1ms;
  s.hear(0ms);
  CHECK(s.out.request);
  CHECK(s.pause() == 0ms);
}

TEST_CASE("a neighbour that has left, or whose edge is closed, does not count for the pace") {
  for (auto const leaves : {true, false}) {
    scene s{2};
    s.now = 1ms;
    s.hear(200ms);
    if (leaves) s.pace->leaves(other);
    else s.node.on_neighbours({s.now}, {other, neighbour_change::edge::closes, {}, {}}, s.out);
    for (auto k = 0; k < 50; ++k) {
      s.now += 1ms;
      CHECK(s.pause() == 0ms);
    }
    if (leaves) continue;
    s.node.on_neighbours({s.now}, {other, neighbour_change::edge::opens, {}, {}}, s.out);
    s.hear(50ms);
    CHECK(s.pause() == 50ms);
  }
}

TEST_CASE("clocks that differ by an hour do not stop a paced node: an answer is younger than its question") {
  scene s;
  for (auto k = 0; k < 5; ++k) {
    s.now += 1ms;
    static_cast<void>(s.pause());  // posts message k + 1
    if (!s.out.request) s.wake(1ms);
    s.now += 3ms;
    s.hear(1h, s.said + 1);
  }
  CHECK(s.pause() <= 5ms);
  s.hear(-1h);
  CHECK(s.pause() <= 5ms);
}

TEST_CASE("a paced node reports in its messages what it has received, and drops a request that was cancelled") {
  scene s{8, true};
  s.now = 1ms;
  s.hear(100ms);
  CHECK(s.pause() > 0ms);
  REQUIRE(s.out.packets.size() == 1);
  CHECK(s.out.packets[0].based_on == iteration{1});
  s.hear(100ms);  // whereupon this node cancels
  CHECK_FALSE(s.out.cancel);
  s.wake(1s);
  CHECK_FALSE(s.out.request);
}

TEST_CASE("nodes that wait by themselves keep no pace, nor does a node that is asked for none") {
  using space = backend::host<double>;
  auto const p = problem::quadratic::random(4, 8, 1);
  auto waits = assemble<push_pull<space>>(topology::ring(4), p, {});
  auto free = assemble<r_fast<space>>(topology::ring(4), p, {});
  CHECK_FALSE(detail::pace_one(waits, me, {}));
  CHECK_FALSE(detail::pace_one(free, me, {.ahead = 0}));
  auto const pace = detail::pace_one(free, me, {});
  CHECK(pace);
  CHECK(detail::pace_one(free, me, {}) == pace);  // it keeps one already
}

TEST_CASE("a message of an earlier session does not count in the current one, in which numbers may start again") {
  scene s;
  s.node.on_neighbours({s.now}, {other, neighbour_change::edge::opens, {0, 1}, {1, 0}}, s.out);
  s.said = 1000;
  s.hear(200ms);  // of the former session
  s.said = 0;
  s.session = {1, 0};
  s.hear(50ms);
  CHECK(s.pause() == 50ms);
}

}  // namespace
}  // namespace rubato::test
