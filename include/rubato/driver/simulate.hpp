// SPDX-License-Identifier: MIT
// One call from a node type, a network, a problem and a scenario to a result.
#pragma once

#include <utility>

#include <rubato/core/snapshot.hpp>
#include <rubato/driver/observer.hpp>
#include <rubato/environment/scenario.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/result.hpp>
#if RUBATO_BODIES
#include <rubato/driver/simulator.hpp>
#endif

namespace rubato {

/// Who looks on, who may end a run early, and where it goes on from; each may be null.
struct simulate_options {
  observer* watching = nullptr;
  bool (*interrupted)() = nullptr;  ///< polled now and then; true ends the run cleanly
  /// Where to go on from: simulator::state of a run that was assembled alike; another is refused.
  snapshot const* resume = nullptr;
};

/// Runs what was assembled in virtual time. Throws run_error if a node fails or stands still.
auto simulate(assembly a, environment::scenario const& scenario, until const& end, simulate_options const& by)
    -> run_result;

/// The same with an observer alone, which may be null.
inline auto simulate(assembly a, environment::scenario const& scenario, until const& end, observer* watching = nullptr)
    -> run_result {
  return simulate(std::move(a), scenario, end, simulate_options{.watching = watching});
}

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
  if (by.watching != nullptr) simulation.watch(*by.watching);
  simulation.interrupt_when(by.interrupted);
  if (by.resume != nullptr) simulation.resume(*by.resume);
  return simulation.run(end);
}
#endif  // RUBATO_BODIES

}  // namespace rubato
