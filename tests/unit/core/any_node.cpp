// SPDX-License-Identifier: MIT
#include <rubato/core/node.hpp>

#include <memory>
#include <string>
#include <utility>

#include "support/catch.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;

/// Writes down what it is told, and answers in a way that can be told apart.
struct diary {
  std::shared_ptr<std::string> lines = std::make_shared<std::string>();
  std::unique_ptr<int> only_movable = std::make_unique<int>(5);
  buffer_pool pool{};

  void note(char const* what, instant now) const { *lines += what + std::to_string(now.since_start.count()) + " "; }
  void start(instant now, outbox& out) {
    note("start", now);
    out.wait = waiting{node_id{4}, channel_id::model, iteration{2}};
  }
  void on_patch(instant now, patch const& p, outbox& out) {
    note("patch", now);
    out.packets.emplace_back().to = p.from;
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    note("gradient", now);
    out.cancel = g.id;
  }
  void on_wakeup(instant now, wakeup w, outbox& out) {
    note("wakeup", now);
    out.wakeups.push_back(w);
  }
  void on_neighbours(instant now, neighbour_change const& c, outbox& out) {
    note("neighbours", now);
    out.failure = fault{std::to_string(to_index(c.peer))};
  }
  [[nodiscard]] auto estimate() const -> shared_buffer {
    auto copy = pool;
    auto x = copy.allocate<double>(1);
    x.data()[0] = *only_movable;
    return std::move(x).publish();
  }
  [[nodiscard]] auto statistics() const -> node_statistics { return {11, 12, 13, {}}; }
  void audit(tracking_audit& a) const { a.tracker = {1.5}; }
  static auto channels() -> std::span<channel_spec const> {
    static constexpr channel_spec one{channel_id::chunk, channel_kind::event, element::f64};
    return {&one, 1};
  }
};

TEST_CASE("every call reaches the node inside, with its time and its arguments, and its effects are returned") {
  diary inside;
  auto const lines = inside.lines;
  any_node n{std::move(inside)};
  outbox out;
  n.start({1ns}, out);
  patch p;
  p.from = node_id{9};
  n.on_patch({2ns}, p, out);
  gradient g;
  g.id = ticket{3};
  n.on_gradient({3ns}, g, out);
  n.on_wakeup({4ns}, {6, {8ns}}, out);
  neighbour_change change;
  change.peer = node_id{7};
  n.on_neighbours({5ns}, change, out);
  CHECK(*lines == "start1 patch2 gradient3 wakeup4 neighbours5 ");
  REQUIRE(out.wait);
  CHECK(out.wait->peer == node_id{4});
  CHECK(out.packets.at(0).to == node_id{9});
  CHECK(out.cancel == ticket{3});
  CHECK(out.wakeups.at(0).id == 6);
  REQUIRE(out.failure);
  CHECK(out.failure->sentence == "7");
}

TEST_CASE("estimate, statistics and audit are those of the node inside") {
  any_node const n{diary{}};
  CHECK(n.estimate().view<double>()[0] == 5.0);
  CHECK(n.statistics().iterations == 11);
  tracking_audit a;
  n.audit(a);
  CHECK(a.tracker == std::vector<double>{1.5});
  REQUIRE(n.channels().size() == 1);
  CHECK(n.channels()[0].channel == channel_id::chunk);
}

TEST_CASE("a node moves with its state, and another can take its place") {
  diary first;
  auto const lines = first.lines;
  any_node a{std::move(first)};
  any_node b;
  b = std::move(a);
  outbox out;
  b.start({1ns}, out);
  CHECK(*lines == "start1 ");
  CHECK(lines.use_count() == 2);
  b = any_node{diary{}};
  CHECK(lines.use_count() == 1);  // the former node is gone
}

}  // namespace
