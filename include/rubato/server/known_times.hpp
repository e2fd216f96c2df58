// SPDX-License-Identifier: MIT
// Steps in proportion to the workers' computation times, which are known before the run. A wrong time is not detected:
// a worker listed with tau' instead of tau has weight tau'/tau in the limit.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/server/time_scale.hpp>

namespace rubato::server {

/// Policy, see weight_policy; formulas: time_scale.hpp.
struct known_times {
  static constexpr auto name() -> std::string_view { return "known times"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("times", self.times, "computation time of each worker, in any unit"),
        visit("scale", self.scale, "how times become weights, see server/time_scale.hpp"),
        visit("cap", self.cap, "the largest weight");
  }
  std::vector<double> times{};  ///< one per worker, above 0, in any unit
  time_scale scale = time_scale::mean_step;
  double cap = 10;  ///< the largest weight; what it cuts off a slow worker's steps is counted

  /// Throws config_error unless there is a positive time for each worker.
  void resolve_options(std::size_t workers) const {
    if (times.size() != workers) {
      throw config_error{"the times of " + std::to_string(times.size()) + " workers are known, and there are " +
                         std::to_string(workers) + "; give one time a worker"};
    }
    for (std::size_t i = 0; i < workers; ++i) {
      if (!(times[i] > 0) || !std::isfinite(times[i])) {
        throw config_error{"the computation time of worker " + std::to_string(i) + " must be above 0, not " +
                           shortest(times[i])};
      }
    }
    detail::check_cap(cap);
  }

  /// The weight of each worker's gradients.
  [[nodiscard]] auto mean_weights() const -> std::vector<double> {
    auto weights = proportional_weights(times, scale);
    for (auto& w : weights) w = detail::capped(w, cap).factor;
    return weights;
  }

  class state {
   public:
    static void visit_state(auto&, auto&&) {}
    state(known_times const& k, std::size_t) : factors_{proportional_weights(k.times, k.scale)}, cap_{k.cap} {}
    auto operator()(received_gradient const& a) const -> weight { return detail::capped(factors_[a.worker], cap_); }

   private:
    std::vector<double> factors_;
    double cap_;
  };
};

}  // namespace rubato::server
