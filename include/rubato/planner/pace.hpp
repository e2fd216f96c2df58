// SPDX-License-Identifier: MIT
// How an algorithm moves in time: how often it steps, what it sends, and how old the gradients of a step are.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include <rubato/core/language.hpp>

namespace rubato::planner {

/// A step is what moves the mean model (of a server: its model) once; a round, where there are rounds.
struct pace {
  double steps_per_second = 0;
  double gradients_per_second = 0;  ///< computed, whether they are used or not
  double bytes_per_second = 0;  ///< sent by all nodes; headers and resends included
  double first_seconds = 0;  ///< until the first step
  double shared_seconds = 0;  ///< until every node has used another's model; before that no model is common to all
  double age_seconds = 0;  ///< mean time from a model to the step along the gradient at it

  double share = 1;  ///< a step moves the mean model by share x option `step` x a mean gradient
  std::vector<double> ages{1.0};  ///< the parts of a step that are gradients at the model of 0, 1, 2 ... steps before
  std::vector<double> weights{};  ///< what each worker counts in the long run; together 1
  double noise = 1;  ///< variance of a step's direction over that of one gradient's noise
  double unevenness = 0;  ///< variance of a step's direction over that of the nodes' own gradients
  double jumps = 0;  ///< sum over workers of (what one gradient of it moves / option `step`)^2 / 12
  double largest_mixing =
      std::numeric_limits<double>::infinity();  ///< step x curvature of a node that is too much for it

  /// Of nodes whose models differ, row by row: model i is drawn towards model j with rate couplings[i n + j] while it
  /// moves along its own gradient with rate own_rates[i] x step; empty: all move one model.
  std::vector<double> couplings{};
  std::vector<double> own_rates{};
  double coupling_seconds = 0;  ///< how old the models are that draw each other
  bool mixes_in_rounds = false;  ///< all at once, once a round, so that the step is limited by that too

  [[nodiscard]] auto mean_age() const -> double {
    auto sum = 0.0;
    for (auto q = std::size_t{0}; q < ages.size(); ++q) sum += static_cast<double>(q) * ages[q];
    return sum;
  }
};

}  // namespace rubato::planner
