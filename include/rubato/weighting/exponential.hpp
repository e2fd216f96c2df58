// SPDX-License-Identifier: MIT
// The weight of a value falls by the same factor with every local iteration: exp(-rate age).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::weighting {

/// Policy, see weighting::constant. Requires rate >= 0; 0 is constant. It is never 0: where exp would be 0, the
/// smallest double replaces it.
class exponential {
 public:
  static constexpr auto name() -> std::string_view { return "exponential"; }
  static void visit_options(auto& self, auto&& visit) { visit("rate", self.rate_, "a message counts exp(-rate age)"); }
  static constexpr bool can_cut = false;
  static constexpr bool depends_on_age = true;

  explicit exponential(double rate = 0.1) : rate_{rate} { check(); }
  /// Throws config_error.
  void check() const {
    if (!(rate_ >= 0) || !std::isfinite(rate_)) {
      throw config_error{"the rate of an exponential weighting must be 0 or more, not " + shortest(rate_)};
    }
  }
  [[nodiscard]] auto operator()(std::uint64_t age) const -> double {
    return (std::max)(std::exp(-rate_ * static_cast<double>(age)), (std::numeric_limits<double>::min)());
  }

 private:
  double rate_;
};

}  // namespace rubato::weighting
