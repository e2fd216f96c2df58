// SPDX-License-Identifier: MIT
// A step along a tracked gradient. At rest node i steps along pi_i times the mean gradient, so
//   x <- x - gamma pi_i [ S(z / pi_i) + lambda x ]         and no step where pi_i = 0
// where S is the step rule (Adam, a clipped direction, ...) and lambda its decay. So a rule that is not linear sees the
// mean gradient at every node, in its own scale, and the nodes of a tree pair off the root, whose z ends at 0, do not
// scale noise up to whole steps. A linear rule without decay is the same without the division, and takes z as it is.
// pi_i comes with the plan: n v_i in rounds, where A v = v; less where some of the sum is under way, by the ages that
// the gain assumes. If messages are older than that, pi_i is too large by one factor for all nodes: Adam is not
// concerned, and lambda counts that much more. On a tree pair all is at the root in the end, and pi_i is exact at any
// age.
// The law of tracking sees neither S nor the decay. The definition is ours; for pi_i = 1 and Adam see GTAdam
// (Carnevale et al., arXiv 2009.01745).
#pragma once

#include <cstddef>
#include <type_traits>

#include <rubato/core/host_device.hpp>
#include <rubato/step/concepts.hpp>

namespace rubato::detail {

/// `step` was made with pi gamma.
template<class Rule, class T>
struct shared_rule {
  Rule step{};
  T inverse{};  // 1 / pi; 0: no step
  [[nodiscard]] static constexpr auto bytes_per_value() -> std::size_t { return Rule::bytes_per_value(); }
  [[nodiscard]] auto from(std::size_t begin) const -> shared_rule { return {step.from(begin), inverse}; }
  template<class At, class V>
  RUBATO_HOST_DEVICE auto operator()(At& at, V x, V z) const -> V {
    return inverse == T{0} ? x : step(at, x, inverse * z);
  }
};

template<class Step, class Backend>
using rule_along_tracker =
    std::conditional_t<step::linear<Step>, typename Step::template state<Backend>::rule,
                       shared_rule<typename Step::template state<Backend>::rule, typename Backend::scalar>>;

/// A node with less is as one with nothing: the inverse must be a float, and such a step would not be seen.
inline constexpr auto least_share = 1e-12;

/// `next(factor)`: the rule of this local iteration, with that factor of gamma. `share`: pi_i.
template<class Step, class Backend, class Next>
auto step_along_tracker(double share, Next const& next) -> rule_along_tracker<Step, Backend> {
  if constexpr (step::linear<Step>) return next(1.0);
  else return {next(share), static_cast<typename Backend::scalar>(share > least_share ? 1 / share : 0)};
}

}  // namespace rubato::detail
