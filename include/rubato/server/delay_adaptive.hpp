// SPDX-License-Identifier: MIT
// Weights that fall with the delay only beyond the mean delay: with equal speeds they are 1. Two published forms:
//   inverse    w = n / max(n, delay)                                             Mishchenko et al., arXiv 2206.07638
//   threshold  w = 1 if delay <= tau, else min(1, share / delay); share 0 drops   Koloskova et al., arXiv 2206.08307
// n is the number of workers. With gamma = 1/(4 L n), the first is min(gamma, 1/(4 L delay)). With gamma <= 1/(4 L),
// the second allows any share < 1/(4 L gamma). tau is the number of jobs under way. A dropped gradient still makes a
// version. Slow workers have the large delays, so where data differ both move the limit further towards the fast
// workers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/server/concepts.hpp>

namespace rubato::server {

enum class adaptive_form : std::uint8_t { inverse, threshold };
constexpr auto name_of(adaptive_form form) -> std::string_view {
  return form == adaptive_form::inverse ? "inverse" : "threshold";
}

/// Policy, see weight_policy.
struct delay_adaptive {
  static constexpr auto name() -> std::string_view { return "delay adaptive"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("form", self.form, "inverse: n / max(n, delay); threshold: 1 up to a delay, beyond it share / delay");
    visit("threshold", self.threshold, "largest delay of full weight; 0: the number of workers");
    visit("share", self.share, "of the threshold form: weight times delay beyond the threshold; 0 drops gradients");
  }
  adaptive_form form = adaptive_form::inverse;
  std::uint64_t threshold = 0;
  double share = 1;

  /// Throws config_error.
  void check() const {
    if (!(share >= 0) || !std::isfinite(share))
      throw config_error{"the share of a late gradient must be a number of 0 or more, not " + shortest(share)};
  }
  void resolve_options(std::size_t workers) {
    check();
    if (threshold == 0) threshold = workers;
  }

  class state {
   public:
    static void visit_state(auto&, auto&&) {}
    state(delay_adaptive const& its, std::size_t workers)
        : form_{its.form},
          threshold_{static_cast<double>(its.threshold == 0 ? std::uint64_t{workers} : its.threshold)},
          share_{its.share} {}
    auto operator()(received_gradient const& a) const -> weight {
      auto const delay = static_cast<double>(a.delay);
      if (delay <= threshold_) return {};
      if (form_ == adaptive_form::inverse) return {threshold_ / delay, 0};  // (Da.I)
      return {(std::min)(1.0, share_ / delay), 0};  // (Da.T)
    }

   private:
    adaptive_form form_;
    double threshold_, share_;
  };
};

}  // namespace rubato::server
