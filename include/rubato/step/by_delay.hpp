// SPDX-License-Identifier: MIT
// A step that shrinks while messages are old, before gradient tracking diverges. The definition is ours:
//   gamma_i = gamma ((1 + r_ref) / (1 + max(r_ref, r)))^q          never above gamma
// r = round trip of the slowest edge, in the node's own local iterations; it rises at once and falls slowly:
//   r <- max(now, 0.9 r + 0.1 now)
// Why: tracking over messages that are T old is stable for steps up to a constant over T. Measured in lock-step with
// every message D rounds late, (1 + D) times the largest step was 0.087 to 0.069 on the star of 8 for D = 1 to 16.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::step {

/// A value; the default keeps the step constant, and then messages say nothing about delays.
struct by_delay {
  static constexpr auto name() -> std::string_view { return "power law"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("exponent", self.exponent, "power of the delay by which the step is divided; 0: a constant step"),
        visit("reference", self.reference, "the round trip up to which the step is not lowered, in local iterations");
  }

  double exponent = 0;  ///< q: 0 is a constant step; 1 suits tree pairs, 1.5 regular graphs
  double reference = 1;  ///< r_ref: the round trip with which the step was chosen, 1 where links are fast

  /// Throws config_error.
  void check() const {
    if (!(exponent >= 0) || !std::isfinite(exponent)) {
      throw config_error{"the exponent of a step by delay must be a number of at least 0, not " + shortest(exponent)};
    }
    if (!(reference >= 0) || !std::isfinite(reference)) {
      throw config_error{"the reference of a step by delay must be a number of at least 0, not " + shortest(reference)};
    }
  }
  [[nodiscard]] auto adapts() const -> bool { return exponent > 0; }
  [[nodiscard]] auto factor(double round_trip) const -> double {
    if (!adapts() || round_trip <= reference) return 1;
    return std::pow((1 + reference) / (1 + round_trip), exponent);
  }
};

/// In its place where nodes wait for messages, so that none is late.
struct never_late {
  static constexpr auto name() -> std::string_view { return "never late"; }
  static constexpr void check() {}
  static constexpr auto adapts() -> bool { return false; }
  static constexpr auto factor(double) -> double { return 1; }
};

}  // namespace rubato::step
