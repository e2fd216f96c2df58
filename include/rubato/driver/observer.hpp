// SPDX-License-Identifier: MIT
// Who looks on while a simulation runs; apart from the simulator, so that who includes this compiles none.
#pragma once

#include <span>

#include <rubato/core/node.hpp>
#include <rubato/run/result.hpp>

namespace rubato {

class simulator;  // driver/simulator.hpp

/// Watches a simulation; all calls come from the simulating thread. For checks and traces.
class observer {
 public:
  virtual ~observer() = default;
  /// A node posted this packet (before anything happens to it on the way).
  virtual void posted(instant, packet const&) {}
  /// An event was handled by `node`; nodes are consistent now.
  virtual void after_event(instant, node_id /*node*/, std::span<any_node const>) {}
  virtual void measured(measurement const&) {}
  /// The next event has not begun: what a checkpoint may be taken at (simulator::state).
  virtual void between_events(simulator&) {}
  /// This node lost its state, and its neighbours closed their edges with it (or, once it is back, both opened them).
  virtual void restarted(instant, node_id) {}
};

}  // namespace rubato
