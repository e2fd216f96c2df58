// SPDX-License-Identifier: MIT
// What a simulation does, event by event, for checks and tests; apart from the simulator, so that who includes this
// compiles none. Who wants measurements only takes an observer (run/observer.hpp), which works with every driver.
#pragma once

#include <span>

#include <rubato/core/node.hpp>

namespace rubato {

class simulator;  // driver/simulator.hpp

/// Is told of everything that a simulation does; all calls come from the simulating thread.
class simulation_trace {
 public:
  virtual ~simulation_trace() = default;
  /// A node posted this packet (before anything happens to it on the way).
  virtual void posted(instant, packet const&) {}
  /// An event was handled by `node`; nodes are consistent now.
  virtual void after_event(instant, node_id /*node*/, std::span<any_node const>) {}
  /// The next event has not begun: what a checkpoint may be taken at (simulator::state).
  virtual void between_events(simulator&) {}
  /// This node lost its state, and its neighbours closed their edges with it (or, once it is back, both opened them).
  virtual void restarted(instant, node_id) {}
};

}  // namespace rubato
