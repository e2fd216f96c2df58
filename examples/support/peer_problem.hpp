// SPDX-License-Identifier: MIT
// The problems of peer and cluster: race's own, and quadratics whose optimum is known.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <rubato/problem/quadratic.hpp>
#include <rubato/wire/agreement.hpp>

#include "support/peer_options.hpp"

namespace rubato::examples {

struct quadratic_entry {
  std::string_view name;
  entrant (*assemble)(topology::pair const&, problem::quadratic const&, race_step const&);
};

/// Those that peer and cluster run on quadratics; in peer_quadratics.cpp.
[[nodiscard]] auto quadratic_catalogue() -> std::span<quadratic_entry const>;

[[nodiscard]] inline auto quadratic_of(std::size_t dimension, race_options const& o) -> problem::quadratic {
  return problem::quadratic::random(*o.nodes, dimension, o.seed);
}

/// All nodes of the one algorithm that was chosen, on the problem that was chosen. Throws config_error.
[[nodiscard]] inline auto assembled(race_plan const& plan, peer_choice const& c) -> assembly {
  auto const& name = plan.options.algorithms.front();
  if (!c.problem.quadratic) {
    auto const problem = race_problem_of(race_data(plan.options.data), plan.options);
    return algorithm_named(name).assemble(plan.network, problem, plan.steps.front()).nodes;
  }
  std::string names;
  for (auto const& entry : quadratic_catalogue()) {
    if (entry.name == name) {
      return entry.assemble(plan.network, quadratic_of(*c.problem.quadratic, plan.options), plan.steps.front()).nodes;
    }
    names += (names.empty() ? "" : ", ") + std::string{entry.name};
  }
  throw config_error{"on a quadratic, --algorithms takes one of " + names + ", not " + name};
}

/// What the processes of a run must have in common beside what their nodes do.
inline void add_options(wire::agreement& agreed, peer_choice const& c) {
  agreed.add("algorithm", c.race.algorithms.front()).add("problem", c.problem_text);
  if (c.problem.quadratic) return;
  agreed.add("split", c.race.split == data_split::iid ? "iid" : "by-label").add("batch", c.race.batch);
  agreed.add("l2", report::shortest(c.race.l2));
}

}  // namespace rubato::examples
