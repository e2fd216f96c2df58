// SPDX-License-Identifier: MIT
// What a simulation does, event by event, for checks and tests. This header does not include the simulator, so it is
// cheap to compile. For measurements alone use an observer (run/observer.hpp), which works under every driver.
#pragma once

#include <span>

#include <rubato/core/node.hpp>

namespace rubato {

class simulator;  // driver/simulator.hpp

/// Is told of every event of a simulation; all calls come from the simulating thread.
class simulation_trace {
 public:
  virtual ~simulation_trace() = default;
  /// A node posted this packet; nothing has happened to it on its way yet.
  virtual void posted(instant, packet const&) {}
  /// An event was handled by `node`; nodes are consistent now.
  virtual void after_event(instant, node_id /*node*/, std::span<any_node const>) {}
  /// The next event has not begun, so a checkpoint may be taken (simulator::state).
  virtual void between_events(simulator&) {}
  /// This node lost its state, and its neighbours closed their edges with it (or, once it is back, both opened them).
  virtual void restarted(instant, node_id) {}
};

}  // namespace rubato
