// SPDX-License-Identifier: MIT
// How a step changes during a run: a factor of the option `step`, for any step rule of any algorithm.
//   factor = warmup x drops x curve;   t = steps that this node has made, or seconds of the driver's clock
//   warmup w:      min(1, (t+1)/w) in iterations, min(1, t/w) in seconds
//   drops at t_1 < t_2 < ...:   drop^(number of t_i <= t')
//   cosine:        floor + (1 - floor) (1 + cos(pi min(t',T)/T)) / 2
//   inverse:       1 / (1 + t'/T)            root:  1 / sqrt(1 + t'/T)
// The clock begins with the run, and anew in a process that resumes.
// T = length;  t' = t, or max(0, t - w) if what follows begins after the warmup.
// By iterations, fast nodes of an asynchronous run have smaller steps than slow ones at the same moment, which moves
// the limit of a method whose nodes weigh by their steps; by seconds they have the same. Gradient tracking needs steps
// that fall at comparable rates at all nodes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>

namespace rubato::step {

enum class schedule_unit : std::uint8_t { iterations, seconds };
constexpr auto name_of(schedule_unit unit) -> std::string_view {
  return unit == schedule_unit::iterations ? "iterations" : "seconds";
}

enum class curve : std::uint8_t { constant, cosine, inverse, root };
constexpr auto name_of(curve shape) -> std::string_view {
  constexpr std::string_view names[] = {"constant", "cosine", "inverse", "root"};
  return names[(std::min)(static_cast<std::size_t>(shape), std::size_t{3})];
}

/// Whether drops and curve count from the start of the run or from the end of the warmup.
enum class schedule_begin : std::uint8_t { after_warmup, at_start };
constexpr auto name_of(schedule_begin begin) -> std::string_view {
  return begin == schedule_begin::after_warmup ? "after warmup" : "at start";
}

/// A value; the default is constant. The floor is a share of the step, so it means the same whatever the gain.
struct schedule {
  static constexpr auto name() -> std::string_view { return "schedule"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("unit", self.unit, "what the times of the schedule count"),
        visit("warmup", self.warmup, "time in which the step rises from 0"),
        visit("drops at", self.drops_at, "times at which the step drops");
    visit("drop", self.drop, "factor of each drop"), visit("curve", self.shape, "shape in which the step falls"),
        visit("length", self.length, "time after which the curve has come to the floor");
    visit("floor", self.floor, "the least step, as a share of the step"),
        visit("begin", self.begin, "whether drops and curve count from the start or from the end of the warmup");
  }

  schedule_unit unit = schedule_unit::iterations;
  double warmup = 0;
  std::vector<double> drops_at{};
  double drop = 0.1;
  curve shape = curve::constant;
  double length = 1000;
  double floor = 0;
  schedule_begin begin = schedule_begin::after_warmup;

  /// Throws config_error.
  void check() const;
  /// The factor of the step that is made `now`, after `steps` others.
  [[nodiscard]] auto factor(std::uint64_t steps, instant now) const -> double;
};

#if RUBATO_BODIES
RUBATO_INLINE void schedule::check() const {
  auto const require = [](bool good, char const* what, double value) {
    if (!good || !std::isfinite(value)) {
      throw config_error{"the " + std::string{what} + ", not " + shortest(value)};
    }
  };
  require(warmup >= 0, "warmup of a schedule must be a number of at least 0", warmup);
  require(drop > 0, "drop of a schedule must be a positive number", drop);
  require(length > 0, "length of a schedule must be a positive number", length);
  require(floor >= 0 && floor <= 1, "floor of a schedule is a share of the step and must lie in 0 to 1", floor);
  for (std::size_t k = 0; k < drops_at.size(); ++k) {
    require(drops_at[k] >= 0 && (k == 0 || drops_at[k] > drops_at[k - 1]),
            "drops of a schedule must each come at or after 0 and after the one before", drops_at[k]);
  }
}

RUBATO_INLINE auto schedule::factor(std::uint64_t steps, instant now) const -> double {
  if (warmup == 0 && drops_at.empty() && shape == curve::constant) return 1;
  auto const by_steps = unit == schedule_unit::iterations;
  auto const t = by_steps ? static_cast<double>(steps) : (std::max)(to_seconds(now.since_start), 0.0);
  auto const rise = warmup > 0 ? (std::min)(1.0, (by_steps ? t + 1 : t) / warmup) : 1.0;
  auto const since = begin == schedule_begin::after_warmup ? (std::max)(0.0, t - warmup) : t;
  auto const drops = std::count_if(drops_at.begin(), drops_at.end(), [&](double at) { return at <= since; });
  auto curved = 1.0;
  switch (shape) {
    case curve::constant:
      break;
    case curve::cosine:
      curved = floor + (1 - floor) * (1 + std::cos(3.14159265358979323846 * (std::min)(since / length, 1.0))) / 2;
      break;
    case curve::inverse:
      curved = 1 / (1 + since / length);
      break;
    case curve::root:
      curved = 1 / std::sqrt(1 + since / length);
      break;
  }
  return rise * std::pow(drop, static_cast<double>(drops)) * curved;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::step
