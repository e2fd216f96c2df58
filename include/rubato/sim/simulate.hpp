// SPDX-License-Identifier: MIT
// One call from a node type, a network, a problem and a scenario to a result.
#pragma once

#include <utility>

#include <rubato/core/snapshot.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/result.hpp>
#include <rubato/sim/observer.hpp>
#include <rubato/sim/scenario.hpp>
#if RUBATO_BODIES
#include <rubato/sim/simulator.hpp>
#endif

namespace rubato {

namespace sim {
/// Who looks on, who may end a run early, and where it goes on from; each may be null.
struct controls {
  observer* watching = nullptr;
  bool (*interrupted)() = nullptr;  ///< polled now and then; true ends the run cleanly
  snapshot const* resume =
      nullptr;  ///< where to go on from: simulator::state of a run that was assembled alike (another is refused)
};
}  // namespace sim

/// Runs what was assembled in virtual time. Throws run_error if a node fails or stands still.
auto simulate(assembly a, sim::scenario const& scenario, until const& end, sim::controls const& by) -> run_result;

/// The same with an observer alone, which may be null.
inline auto simulate(assembly a, sim::scenario const& scenario, until const& end, sim::observer* watching = nullptr)
    -> run_result {
  return simulate(std::move(a), scenario, end, sim::controls{.watching = watching});
}

/// Runs Node on every node of the network in virtual time. Throws config_error before the first event, run_error after.
template<node Node, class Problem>
auto simulate(topology::pair const& network, Problem const& problem, typename Node::options const& options,
              sim::scenario const& scenario, until const& end, sim::controls const& by = {}) -> run_result {
  return simulate(assemble<Node>(network, problem, options), scenario, end, by);
}

#if RUBATO_BODIES
RUBATO_INLINE auto simulate(assembly a, sim::scenario const& scenario, until const& end, sim::controls const& by)
    -> run_result {
  auto const measured = a.measured();
  auto simulation = sim::simulator{
      {std::move(a.nodes), a.peers, std::move(a.oracle), a.blocks, a.pool, a.again, measured, a.agreed.text()},
      scenario};
  if (by.watching != nullptr) simulation.watch(*by.watching);
  simulation.interrupt_when(by.interrupted);
  if (by.resume != nullptr) simulation.resume(*by.resume);
  auto result = simulation.run(end);
  static_cast<run_setup&>(result) = std::move(static_cast<run_setup&>(a));
  detail::warn_of_ages(result);
  return result;
}
#endif  // RUBATO_BODIES

}  // namespace rubato
