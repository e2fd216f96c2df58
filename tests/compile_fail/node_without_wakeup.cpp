// SPDX-License-Identifier: MIT
// A node that lacks a handler cannot be handed to a driver.
// illegal: on_wake
// legal:   on_wakeup
// error:   n.on_wakeup(now, w, out)
#include <rubato/core/node.hpp>

struct mine {
  void start(rubato::instant, rubato::outbox&) {}
  void on_patch(rubato::instant, rubato::patch const&, rubato::outbox&) {}
  void on_gradient(rubato::instant, rubato::gradient, rubato::outbox&) {}
  void SUBJECT(rubato::instant, rubato::wakeup, rubato::outbox&) {}
  void on_neighbours(rubato::instant, rubato::neighbour_change const&, rubato::outbox&) {}
  auto estimate() const -> rubato::shared_buffer { return {}; }
  auto statistics() const -> rubato::node_statistics { return {}; }
  void audit(rubato::tracking_audit&) const {}
  static auto channels() -> std::span<rubato::channel_spec const> { return {}; }
};

auto erase() -> rubato::any_node { return rubato::any_node{mine{}}; }
