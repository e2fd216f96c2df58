// SPDX-License-Identifier: MIT
// The weight of a value falls as a power of its age: (1 + age)^-exponent.
// Source of the formula: FedAsync, Xie, Koyejo, Gupta, arXiv 1903.03934, polynomial staleness function.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::weighting {

/// Policy, see weighting::constant. Requires exponent >= 0; 0 is constant.
class polynomial {
 public:
  static constexpr auto name() -> std::string_view { return "polynomial"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("exponent", self.exponent_, "a message counts 1 / (1 + age)^exponent");
  }
  static constexpr bool can_cut = false;
  static constexpr bool depends_on_age = true;

  explicit polynomial(double exponent = 0.5) : exponent_{exponent} { check(); }
  /// Throws config_error.
  void check() const {
    if (!(exponent_ >= 0) || !std::isfinite(exponent_)) {
      throw config_error{"the exponent of a polynomial weighting must be 0 or more, not " + shortest(exponent_)};
    }
  }
  [[nodiscard]] auto operator()(std::uint64_t age) const -> double {
    return std::pow(1.0 + static_cast<double>(age), -exponent_);
  }

 private:
  double exponent_;
};

}  // namespace rubato::weighting
