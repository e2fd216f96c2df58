// SPDX-License-Identifier: MIT
// What a planner is told: machines, links, the problem, and where the run is to come.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/environment/compute.hpp>
#include <rubato/environment/scenario.hpp>
#include <rubato/planner/detail/timed_link.hpp>

namespace rubato::planner {

/// The problem is thought of as a quadratic whose mean curvatures lie between two numbers, evenly on a logarithmic
/// scale; the nodes' own curvatures and optima differ from these by what their spreads say.
struct situation {
  static constexpr std::size_t workers_most = 512;  ///< every pair of them is followed, for some time
  static constexpr double loss_most = 0.99;  ///< mean loss of a link: messages are sent again until they arrive
  static constexpr double apart_most = 1e5;  ///< gradients of the fastest worker in a message, or in another's gradient
  static constexpr double number_most = 1e30;  ///< curvatures, distances and noise, so that squares of them are finite
  static constexpr double step_least =
      1e-5;  ///< `step` times the largest curvature, as the steps of a run are followed

  std::size_t workers = 8;  ///< nodes that compute, two or more; a server is one more
  environment::compute_model compute{};
  environment::link_model link{};  ///< of each directed edge
  std::size_t dimension = 1000;
  std::size_t value_bytes = 4;
  double flattest = 0.1;  ///< the least curvature
  double steepest = 1;  ///< the largest curvature
  double distance = 1;  ///< from the first model to the optimum; like all that follow, a root mean square a value
  double spread = 0;  ///< of the nodes' own optima around the common one
  double curvature_spread = 0;  ///< of the nodes' curvatures around their mean, as a part of it; below 0.577
  double noise = 0;  ///< the standard deviation of a gradient's noise
  double target = 0.01;  ///< the share of the loss above the minimum at which the run ends
  double step = 0;  ///< as an algorithm's option `step` (per gain); 0: each takes its best
  std::size_t round_size = 0;  ///< gradients of a round of m_synchronous_sgd and rennala_sgd; 0: as many as workers
  std::size_t buffer = 0;  ///< gradients of a step of fedbuff; 0: as many as workers
  double weight_cap = 10;  ///< the largest weight of rescaled_asgd
  std::uint64_t seed = 1;  ///< of the times that are drawn

  /// The mean time of a gradient of one worker, in seconds.
  [[nodiscard]] auto seconds(std::size_t worker) const -> double {
    return std::chrono::duration<double>(compute.mean()).count() *
           compute.factor_of(to_node(static_cast<std::uint32_t>(worker)));
  }
  /// Throws config_error, with a sentence about the first thing that cannot be.
  void check() const;
};

#if RUBATO_BODIES
namespace detail {
/// Ages are counted in steps, so that a plan takes the longer, the more steps pass while something is under way.
inline void refuse_far_apart(situation const& s) {
  auto fastest = s.seconds(0), slowest = fastest;
  for (std::size_t i = 1; i < s.workers; ++i)
    fastest = (std::min)(fastest, s.seconds(i)), slowest = (std::max)(slowest, s.seconds(i));
  auto const body = message{s.link, static_cast<double>(s.dimension) * static_cast<double>(s.value_bytes)};
  auto const tries = message::tries(s.link);
  auto const there = in_seconds(s.link.latency) * (4 * tries - 3) + in_seconds(s.link.jitter) + tries * body.sending;
  auto const refuse = [&](double longest, char const* what) {
    if (longest <= situation::apart_most * fastest) return;
    throw config_error{std::string{what} + " takes as long as " + with_digits(longest / fastest, 3) +
                       " gradients of the fastest worker, and a plan follows at most " +
                       shortest(situation::apart_most)};
  };
  refuse(there, "a message");
  refuse(slowest, "a gradient of the slowest worker");
}
}  // namespace detail

RUBATO_INLINE void situation::check() const {
  auto const at_least = [](double value, bool ok, char const* what) {
    if (!ok || !std::isfinite(value)) throw config_error{std::string{what} + ", not " + shortest(value)};
  };
  if (workers < 2)
    throw config_error{"a plan needs at least two workers, not " + std::to_string(workers) +
                       ": one alone shares nothing"};
  if (workers > workers_most)
    throw config_error{"a plan follows every pair of workers, so it takes at most " + std::to_string(workers_most) +
                       " of them, not " + std::to_string(workers)};
  compute.check(workers);
  if (compute.mean().count() <= 0) throw config_error{"a plan needs gradients that take more than no time"};
  link.check();
  at_least(link.mean_loss(), link.mean_loss() <= loss_most,
           "a plan sends messages until they arrive, so links may lose at most 0.99 of them on average");
  if (dimension == 0) throw config_error{"a plan needs a model of at least one value"};
  detail::refuse_far_apart(*this);
  if (value_bytes != 4 && value_bytes != 8)
    throw config_error{"a value has 4 or 8 bytes, not " + std::to_string(value_bytes)};
  at_least(flattest, flattest > 0, "the least curvature must be a positive number");
  if (!(steepest >= flattest) || !std::isfinite(steepest))
    throw config_error{"the largest curvature must be a number of at least the least one, " + shortest(flattest) +
                       ", not " + shortest(steepest)};
  at_least(distance, distance > 0, "the distance to the optimum must be a positive number");
  at_least(spread, spread >= 0, "the spread of the nodes' optima must be a number of at least 0");
  at_least(curvature_spread, curvature_spread >= 0 && curvature_spread < std::sqrt(1 / 3.0),
           "the spread of the nodes' curvatures must lie in 0 to 0.577 of their mean, so that all are positive");
  at_least(noise, noise >= 0, "the noise of a gradient must be a number of at least 0");
  at_least(target, target > 0 && target < 1, "the target must be a share of the first loss, above 0 and below 1");
  at_least(step, step >= 0, "the step must be a positive number, or 0 for the best one");
  at_least(step * steepest, step == 0 || step * steepest >= step_least,
           "a plan follows all steps of a run, so the step times the largest curvature must be at least 1e-04");
  constexpr auto squared =
      "a plan squares its numbers, so curvatures are at least 1e-30, and they, distances and noise "
      "at most 1e30";
  at_least(flattest, flattest >= 1 / number_most, squared);
  for (auto const each : {steepest, distance, spread, noise}) at_least(each, each <= number_most, squared);
  at_least(weight_cap, weight_cap >= 1, "a cap on weights must be at least 1, which is the mean weight");
}
#endif  // RUBATO_BODIES

}  // namespace rubato::planner
