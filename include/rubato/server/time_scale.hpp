// SPDX-License-Identifier: MIT
// Weights in proportion to how long a worker computes. A worker that takes tau_i a gradient delivers 1/tau_i gradients
// a second; with weight tau_i each, all workers move the model equally much per second, and the limit is the optimum
// of the sum.
//   mean_step  w_i = tau_i / tau_H,   tau_H the harmonic mean: the mean weight of a server's steps is 1
//   cycle      w_i = tau_i / tau_max: with gamma = alpha / n, a worker's steps sum to alpha / n in each tau_max
// Source: Rescaled ASGD, Mahran, Maranjyan, Richtarik, arXiv 2605.13434 (the proportion; the constants follow from it).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/server/concepts.hpp>

namespace rubato::server {

enum class time_scale : std::uint8_t { mean_step, cycle };
constexpr auto name_of(time_scale scale) -> std::string_view {
  return scale == time_scale::mean_step ? "mean step" : "cycle";
}

/// w_i of all workers, from their positive times in any unit; at least one. Equal times give exactly 1 in either scale.
[[nodiscard]] inline auto proportional_weights(std::span<double const> times, time_scale scale) -> std::vector<double> {
  auto const first = times.front();  // all times are divided by it, so that equal times cause no rounding
  double reciprocals = 0, longest = 0;
  for (auto const t : times) {
    reciprocals += first / t;
    longest = (std::max)(longest, t / first);
  }
  auto const unit = scale == time_scale::mean_step ? static_cast<double>(times.size()) / reciprocals : longest;
  std::vector<double> weights;
  for (auto const t : times) weights.push_back(t / first / unit);
  return weights;
}

namespace detail {

inline void check_cap(double cap) {
  if (!(cap > 0)) throw config_error{"the cap on a rescaled step must be above 0, not " + shortest(cap)};
}

inline auto capped(double factor, double cap) -> weight {
  auto const kept = (std::min)(factor, cap);
  return {kept, factor - kept};
}

}  // namespace detail
}  // namespace rubato::server
