// SPDX-License-Identifier: MIT
// Every algorithm over one transport: nodes that agree on where to go get there, and none ends with a sentence.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <rubato/core/packet.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/topology/builders.hpp>

#include "support/every_algorithm.hpp"

namespace rubato::test {

/// Three nodes whose gradients are equal, so that every algorithm ends at their centre, however the nodes run.
inline auto one_goal() -> problem::quadratic {
  using rows = std::vector<std::vector<double>>;
  return {rows(3, {1, 1, 1, 1, 1}), rows(3, {1, -1, 1, -1, 1})};
}
/// The models of a node, which are none at a worker. From 0, where all begin, the distance is 1.
inline auto are_near_the_goal(std::span<shared_buffer const> models) -> bool {
  if (models.empty()) return false;
  auto const x = models[0].view<double>();
  for (std::size_t k = 0; k < x.size(); ++k)
    if (!(std::abs(x[k] - (k % 2 == 0 ? 1 : -1)) < 0.2)) return false;
  return true;
}
/// A node leaves once its model is near, and so do those that wait for it. The rest get there by themselves.
inline auto until_near(std::chrono::nanoseconds gradient) -> std::pair<until, peer_options> {
  peer_options o;
  o.compute = environment::fixed(gradient);
  o.look_every = std::chrono::milliseconds{2};
  o.watching = {[](look const& l) { return are_near_the_goal(l.models) ? verdict::stop : verdict::go_on; }};
  return {{.time = std::chrono::seconds{60}}, std::move(o)};
}

/// Whether it needs links that lose nothing.
inline auto needs_every_message(assembly const& a) -> bool {
  auto const all = a.nodes[0].channels();
  return std::any_of(all.begin(), all.end(), [](channel_spec const& c) { return c.kind == channel_kind::event; });
}

}  // namespace rubato::test
