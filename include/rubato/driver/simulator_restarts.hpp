// SPDX-License-Identifier: MIT
// The members of the simulator that stop nodes and let them come back, where the scenario lists restarts. A part of
// simulator.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <rubato/core/errors.hpp>
#include <rubato/driver/simulator.hpp>

namespace rubato {

inline void simulator::check_restarts() const {
  if (!who_.factory) throw config_error{"a scenario with restarts needs an assembly that can make its nodes again"};
}

inline void simulator::tell(std::size_t node, node_id peer, neighbour_change::edge what) {
  auto const mine = state_[node].session, theirs = state_[to_index(peer)].session;
  who_.nodes[node].on_neighbours(now_, {peer, what, {mine, theirs}, {theirs, mine}}, out_);
  carry_out(node);
}

/// The node loses its state, and its neighbours close their edges with it.
inline void simulator::stop(event const& e) {
  auto const& plan = scenario_.restarts[e.slot];
  auto& s = state_[e.node];
  cancel(e.node);
  s.wait.reset();
  s.down = true;
  ++s.session;
  auto first = plan.begins_with == environment::first_model::own ? who_.nodes[e.node].estimate() : shared_buffer{};
  who_.nodes[e.node] = who_.factory.make(e.node, std::move(first), s.session);
  for (auto const peer : who_.factory.neighbours(e.node))
    tell(to_index(peer), plan.node, neighbour_change::edge::closes);
  queue_.push({(now_ + plan.down).since_start.count(), event_kind::restart_done, e.node, e.slot});
  ++live_;
  if (trace_ == nullptr) return;
  trace_->restarted(now_, plan.node);
  trace_->after_event(now_, plan.node, who_.nodes);
}

/// Both ends open their edges in a new session, unless the other end is down itself.
inline void simulator::come_back(event const& e) {
  state_[e.node].down = false;
  auto const self = to_node(e.node);
  if (trace_ != nullptr) trace_->restarted(now_, self);
  for (auto const peer : who_.factory.neighbours(e.node)) {
    auto const what = state_[to_index(peer)].down ? neighbour_change::edge::closes : neighbour_change::edge::opens;
    tell(e.node, peer, what);
    if (what == neighbour_change::edge::opens) tell(to_index(peer), self, what);
  }
  who_.nodes[e.node].start(now_, out_);
  drain(e.node);
}

}  // namespace rubato
