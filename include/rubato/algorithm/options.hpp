// SPDX-License-Identifier: MIT
// What the options of every algorithm have in common.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <rubato/core/blocks.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/step/schedule.hpp>

namespace rubato {

enum class step_scale : std::uint8_t {
  per_gain,  ///< gamma = step / gain: one unit of time moves the consensus model by step times the average gradient
  raw,       ///< gamma = step
};

constexpr auto name_of(step_scale scale) -> std::string_view {
  return scale == step_scale::per_gain ? "per gain" : "raw";
}

/// The options of every algorithm begin with these members, in this order:
///   double step = 0.1;  step_scale scale = step_scale::per_gain;
///   std::uint64_t seed = 0;         of the mini-batches
///   std::size_t block_values = 0;   unit of delivery; 0: the whole vector is one block
/// and, if their step may change during a run,
///   step::schedule schedule{};
/// and list all members, including those that follow (core/visit_options.hpp).
template<class O>
concept algorithm_options = requires(O const& o) {
  { o.step } -> std::convertible_to<double>;
  { o.scale } -> std::convertible_to<step_scale>;
  { o.seed } -> std::convertible_to<std::uint64_t>;
  { o.block_values } -> std::convertible_to<std::size_t>;
};

// An algorithm whose nodes may choose some options individually names them in an optional member:
//   static constexpr std::array<std::string_view, 2> own_options{"step", "weighting"};
// A name stands for all options that begin with it, word by word: "step" also for "step rule beta". All other options
// must be the same for all nodes (run/options_by_node.hpp).

namespace detail {
/// Lists the common members.
void visit_common_options(auto& self, auto&& visit) {
  visit("step", self.step, "step size; of the mean model, or of a node, as step-scale says");
  visit("step scale", self.scale,
        "per-gain: a step moves the mean model equally far on every graph; raw: it is that of a node");
  visit("seed", self.seed, "of the mini-batches and of whatever else is drawn");
  visit("block values", self.block_values, "values that are delivered together; 0: the whole vector");
  if constexpr (requires { self.schedule; }) visit("step schedule", self.schedule, "how the step changes during a run");
}
/// Options that consist of these only need no list of their own.
struct common_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  static void visit_options(auto& self, auto&& visit) { visit_common_options(self, visit); }
};
/// Options that consist of these and a step rule.
template<class Step>
struct step_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  Step step_rule{};
  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("step rule", self.step_rule, "how a step is made of a direction");
  }
};
/// Options of algorithms whose messages are coded. (Not by inheritance: {.step = 0.1} names direct members only.)
template<class Codec, class Step>
struct coded_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  Step step_rule{};
  Codec codec{};
  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("codec", self.codec, "how messages are coded");
  }
};
/// Options of algorithms in which a round takes a batch of each node.
template<class Step, class Contribution>
struct batch_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  Step step_rule{};
  Contribution contribution{};
  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("contribution", self.contribution, "which part of a batch counts");
  }
};
}  // namespace detail

template<algorithm_options O>
[[nodiscard]] auto partition_of(O const& o, std::size_t dimension) -> block_partition {
  return o.block_values == 0 ? block_partition{dimension} : block_partition{dimension, o.block_values};
}

/// gamma, before the schedule; throws config_error unless the step is a positive number and the schedule is valid.
template<algorithm_options O>
[[nodiscard]] auto raw_step(O const& o, double gain) -> double {
  if (!(o.step > 0) || !std::isfinite(o.step)) {
    throw config_error{"the step must be a positive number, not " + shortest(o.step)};
  }
  if constexpr (requires { o.schedule; }) o.schedule.check();
  auto const gamma = o.scale == step_scale::raw ? o.step : o.step / gain;
  if (!std::isfinite(gamma))
    throw config_error{"a step of " + shortest(o.step) + " over a gain of " + shortest(gain) +
                       " is not a finite number"};
  return gamma;
}

}  // namespace rubato
