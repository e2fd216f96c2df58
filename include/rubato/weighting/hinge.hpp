// SPDX-License-Identifier: MIT
// Full weight up to an age, then falling: 1 if age <= grace, else 1 / (slope (age - grace) + 1).
// Source of the formula: FedAsync, Xie, Koyejo, Gupta, arXiv 1903.03934, hinge staleness function (a = slope, b =
// grace).
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::weighting {

/// Policy, see weighting::constant. Requires slope >= 0; 0 is constant.
class hinge {
 public:
  static constexpr auto name() -> std::string_view { return "hinge"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("slope", self.slope_, "beyond the grace, a message counts 1 / (1 + slope (age - grace))"),
        visit("grace", self.grace_, "age up to which a message counts fully");
  }
  static constexpr bool can_cut = false;
  static constexpr bool depends_on_age = true;

  explicit hinge(double slope = 1, std::uint64_t grace = 4) : slope_{slope}, grace_{grace} { check(); }
  /// Throws config_error.
  void check() const {
    if (!(slope_ >= 0) || !std::isfinite(slope_)) {
      throw config_error{"the slope of a hinge weighting must be 0 or more, not " + shortest(slope_)};
    }
  }
  [[nodiscard]] auto operator()(std::uint64_t age) const -> double {
    return age <= grace_ ? 1.0 : 1.0 / (slope_ * static_cast<double>(age - grace_) + 1.0);
  }

 private:
  double slope_;
  std::uint64_t grace_;
};

}  // namespace rubato::weighting
