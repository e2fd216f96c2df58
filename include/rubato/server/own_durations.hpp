// SPDX-License-Identifier: MIT
// Each gradient is weighted by the time that it took, so nothing has to be known or estimated in advance and speeds may
// drift. tau_H is replaced by the mean duration of all gradients so far (a worker counts as often as its gradients
// arrive, which makes it the harmonic mean), tau_max by the largest mean duration of one worker so far.
// The theory has no links. If messages take time, a worker delivers one gradient per computation + links. If the weight
// is the computation time alone, workers that compute little count too little; with the round trip, all count the same.
// In place of the time that this gradient took, the weight may follow an estimate of its worker's time:
//   own      this gradient's time: nothing lags
//   mean     the mean of all its times so far: for speeds that do not change
//   moving   m <- m + factor (time - m) with each gradient: follows changes within about 1 / factor gradients
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/server/time_scale.hpp>

namespace rubato::server {

enum class paid_time : std::uint8_t { computation, round_trip };
constexpr auto name_of(paid_time paid) -> std::string_view {
  return paid == paid_time::computation ? "computation" : "round trip";
}

enum class time_estimate : std::uint8_t { own, mean, moving };
constexpr auto name_of(time_estimate by) -> std::string_view {
  return by == time_estimate::own ? "own" : by == time_estimate::mean ? "mean" : "moving";
}

/// Policy, see weight_policy; formulas: time_scale.hpp. One long pause would make one huge step, hence the cap. A
/// duration of zero (nothing was measured) gives weight 1.
struct own_durations {
  static constexpr auto name() -> std::string_view { return "own durations"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("scale", self.scale, "how durations become weights, see server/time_scale.hpp"),
        visit("paid", self.paid, "the time that a weight pays for"), visit("cap", self.cap, "the largest weight");
    visit("estimate", self.estimate, "of a worker's time: of this gradient, the mean, or a moving average");
    visit("factor", self.factor, "of the moving average: share of the newest time");
  }
  time_scale scale = time_scale::mean_step;
  paid_time paid = paid_time::computation;
  double cap = 10;  ///< the largest weight; what it cuts off is counted
  time_estimate estimate = time_estimate::own;
  double factor = 0.02;

  /// Throws config_error.
  void check() const {
    detail::check_cap(cap);
    if (!(factor > 0 && factor <= 1))
      throw config_error{"the factor of a moving average must lie above 0 and at most at 1, not " + shortest(factor)};
  }
  void resolve_options(std::size_t) const { check(); }

  /// The long-run mean weight of each worker's gradients, if these are its constant computation times.
  [[nodiscard]] auto mean_weights(std::span<double const> times) const -> std::vector<double> {
    auto weights = proportional_weights(times, scale);
    for (auto& w : weights) w = detail::capped(w, cap).factor;
    return weights;
  }

  class state {
   public:
    static void visit_state(auto& self, auto&& visit) {
      visit("means", self.means_), visit("estimates", self.estimates_);
    }
    state(own_durations const& o, std::size_t workers)
        : cap_{o.cap},
          factor_{o.estimate == time_estimate::moving ? o.factor : 0},
          paid_{o.paid},
          means_(o.scale == time_scale::cycle ? workers : 1),
          estimates_(o.estimate == time_estimate::own ? 0 : workers) {}

    auto operator()(received_gradient const& a) -> weight {
      auto const took = static_cast<double>((paid_ == paid_time::computation ? a.duration : a.round_trip).count());
      auto& mine = means_[means_.size() == 1 ? 0 : a.worker];
      mine.total += took;
      ++mine.count;
      double longest = 0;
      for (auto const& m : means_) longest = (std::max)(longest, m.value());
      if (!(longest > 0)) return {};
      return detail::capped(estimated(a.worker, took) / longest, cap_);
    }

   private:
    [[nodiscard]] auto estimated(std::size_t worker, double took) -> double {
      if (estimates_.empty()) return took;
      auto& its = estimates_[worker];
      ++its.count;
      auto const share = factor_ > 0 && its.count > 1 ? factor_ : 1 / static_cast<double>(its.count);
      its.total += share * (took - its.total);
      return its.total;
    }
    struct mean {
      double total = 0;  // nanoseconds
      std::int64_t count = 0;
      static void visit_state(auto& self, auto&& visit) { visit("total", self.total), visit("count", self.count); }
      [[nodiscard]] auto value() const -> double { return count == 0 ? 0.0 : total / static_cast<double>(count); }
    };
    double cap_;
    double factor_;  // of the moving average; 0: another estimate
    paid_time paid_;
    std::vector<mean> means_;  // one of all gradients, or one per worker
    std::vector<mean> estimates_;  // per worker, unless its own times are paid; total is the estimate itself
  };
};

}  // namespace rubato::server
