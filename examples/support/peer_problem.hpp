// SPDX-License-Identifier: MIT
// The problems of peer and cluster: that of race, and quadratics with a known optimum.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <rubato/problem/quadratic.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/wire/agreement.hpp>

#include "support/peer_options.hpp"

namespace rubato::examples {

[[nodiscard]] inline auto quadratic_of(std::size_t dimension, race_options const& o) -> problem::quadratic {
  return problem::quadratic::random(*o.nodes, dimension, o.seed);
}

/// The chosen problem; reads its data, if any. Throws config_error.
[[nodiscard]] inline auto objective_of(peer_choice const& c, race_options const& o) -> race_objective {
  if (c.problem.quadratic) return quadratic_of(*c.problem.quadratic, o);
  return race_problem_of(race_data(o.data), o);
}

/// The options of race with which the nodes of this run can be built again; throws config_error if there are none.
[[nodiscard]] inline auto setup_of(peer_choice const& c) -> std::string {
  if (c.problem.quadratic) throw config_error{"--record needs --problem softmax: replay reads race's data"};
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i + 1 < c.race.arguments.size(); i += 2) {
    auto const& name = c.race.arguments[i];
    if (name != "--algorithms") arguments.insert(arguments.end(), {name, c.race.arguments[i + 1]});
  }
  arguments.insert(arguments.end(), {"--algorithms", c.race.algorithms.front()});
  auto const is_set = std::any_of(c.race.settings.begin(), c.race.settings.end(),
                                  [](auto const& s) { return s.algorithm.empty() && s.name == "block-values"; });
  if (!is_set) {
    arguments.insert(arguments.end(), {"--set", "block-values=" + std::to_string(c.race.block_values)});
  }
  return setup_text(arguments);
}

/// The largest distance of any of a result's models from the optimum, in max norm.
[[nodiscard]] inline auto distance(run_result const& r, std::vector<double> const& optimum) -> double {
  auto worst = 0.0;
  std::vector<double> x;
  for (auto const& m : r.models) {
    rubato::detail::widen(m, x);
    for (std::size_t k = 0; k < x.size(); ++k) worst = std::fmax(worst, std::abs(x[k] - optimum[k]));
  }
  return worst;
}

/// Throws run_error unless the models of a run on quadratics are as near the optimum as required.
inline void require_near(double worst, peer_choice const& c) {
  if (c.within == 0 || worst <= c.within) return;
  throw run_error{"a model is " + report::readable(worst) + " away from the optimum, and --within allows " +
                  report::readable(c.within)};
}

/// What a node's saved state depends on, besides the node itself.
inline void add_setting(wire::agreement& agreed, peer_choice const& c) {
  agreed.add("--algorithms", c.race.algorithms.front()).add("problem", c.race.problem_text);
  if (c.problem.quadratic) return;
  agreed.add("split", c.race.split == data_split::iid ? "iid" : "by-label").add("batch", c.race.batch);
  agreed.add("l2", report::shortest(c.race.l2));
}
[[nodiscard]] inline auto setting_of(peer_choice const& c) -> std::string {
  wire::agreement setting;
  add_setting(setting, c);
  return setting.text();
}

/// What else the processes of a run must have in common. Not the time if nodes go on without each other: a restarted
/// one gets less time.
inline void add_end(wire::agreement& agreed, peer_choice const& c) {
  agreed.add("--until", c.goes_on ? "any, as nodes --go-on" : report::shortest(to_seconds(c.race.until)) + " s");
}

}  // namespace rubato::examples
