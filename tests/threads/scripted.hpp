// SPDX-License-Identifier: MIT
// A node that does what a test says, to see what the threads driver does with each kind of effect.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>

namespace rubato::test {

inline auto one_value() -> shared_buffer {
  auto x = backend::host<double>{}.allocate<double>(1);
  x.data()[0] = 0;
  return std::move(x).publish();
}

/// Handlers that are left empty do nothing.
struct scripted {
  using handler = std::function<void(instant, outbox&)>;
  handler at_start{};
  handler at_wakeup{};
  handler at_gradient{};
  std::function<void(instant, patch const&, outbox&)> at_patch{};
  double imbalance = 0;
  shared_buffer model = one_value();

  static auto channels() -> std::span<channel_spec const> {
    static constexpr auto all = std::array{channel_spec{channel_id::model, channel_kind::state, element::f64, 0},
                                           channel_spec{channel_id::tracker, channel_kind::state, element::f64, 0},
                                           channel_spec{channel_id::chunk, channel_kind::event, element::f64, 0}};
    return all;
  }
  void start(instant now, outbox& out) {
    if (at_start) at_start(now, out);
  }
  void on_patch(instant now, patch const& p, outbox& out) {
    if (at_patch) at_patch(now, p, out);
  }
  void on_gradient(instant now, gradient, outbox& out) {
    if (at_gradient) at_gradient(now, out);
  }
  void on_wakeup(instant now, wakeup, outbox& out) {
    if (at_wakeup) at_wakeup(now, out);
  }
  void on_neighbours(instant, neighbour_change const&, outbox&) {}
  [[nodiscard]] auto estimate() const -> shared_buffer { return model; }
  [[nodiscard]] auto statistics() const -> node_statistics { return {}; }
  void audit(tracking_audit& a) const { a = {false, {imbalance}, {0}, {}, {}}; }
};

inline auto one_coordinate() -> problem::any_oracle {
  return {backend::host<double>{}, problem::quadratic{{{1}}, {{1}}}};
}

/// All nodes are peers, of models of one coordinate.
inline auto scripted_run(std::vector<scripted> nodes, problem::any_oracle oracle = one_coordinate()) -> assembly {
  assembly a;
  a.peers = nodes.size();
  a.oracle = std::move(oracle);
  a.blocks = block_partition{1};
  for (auto& n : nodes) a.nodes.emplace_back(std::move(n));
  return a;
}

}  // namespace rubato::test
