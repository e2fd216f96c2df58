// SPDX-License-Identifier: MIT
// One call from a node type, a network, a problem and a scenario to a result.
#pragma once

#include <utility>

#include <rubato/core/snapshot.hpp>
#include <rubato/driver/simulation_trace.hpp>
#include <rubato/environment/scenario.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/result.hpp>
#include <rubato/run/stop_token.hpp>
#if RUBATO_BODIES
#include <rubato/driver/simulator.hpp>
#endif

namespace rubato {

/// Observers, ways to end a run early, and the state from which it resumes.
struct simulate_options {
  observers watching{};
  stop_token stop{};  ///< polled now and then
  /// State to resume from: simulator::state of a run that was assembled in the same way (another is refused). Null: a
  /// new run.
  snapshot const* resume = nullptr;
  simulation_trace* trace = nullptr;  ///< is told of every event; for checks
  /// One a node, which get its status at looks, at most ten times a second of real time, and at the end, and each look
  /// at the run; empty: nobody reads them. Rates and times are in virtual seconds.
  status_boards statuses{};
};

/// Runs what was assembled in virtual time. Throws run_error if a node fails or stands still.
auto simulate(assembly a, environment::scenario const& scenario, until const& end, simulate_options const& by = {})
    -> run_result;

/// Runs Node on every node of the network in virtual time. Throws config_error before the first event, run_error after.
template<node Node, class Problem>
auto simulate(topology::pair const& network, Problem const& problem, typename Node::options const& options,
              environment::scenario const& scenario, until const& end, simulate_options const& by = {}) -> run_result {
  return simulate(assemble<Node>(network, problem, options), scenario, end, by);
}

#if RUBATO_BODIES
RUBATO_INLINE auto simulate(assembly a, environment::scenario const& scenario, until const& end,
                            simulate_options const& by) -> run_result {
  auto simulation = simulator{std::move(a), scenario};
  simulation.watch(by.watching);
  simulation.stop_when(by.stop);
  if (by.trace != nullptr) simulation.trace(*by.trace);
  simulation.show_on(by.statuses);
  if (by.resume != nullptr) simulation.resume(*by.resume);
  return simulation.run(end);
}
#endif  // RUBATO_BODIES

}  // namespace rubato
