// SPDX-License-Identifier: MIT
// Each gradient is weighted by the time that it took, so nothing has to be known or estimated in advance and speeds may
// drift. tau_H is replaced by the mean duration of all gradients so far (a worker counts as often as its gradients
// arrive, which makes it the harmonic mean), tau_max by the largest mean duration of one worker so far.
// The theory has no links. If messages take time, a worker delivers one gradient per computation + links. If the weight
// is the computation time alone, workers that compute little count too little; with the round trip, all count the same.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <rubato/server/time_scale.hpp>

namespace rubato::server {

enum class paid_time : std::uint8_t { computation, round_trip };
constexpr auto name_of(paid_time paid) -> std::string_view {
  return paid == paid_time::computation ? "computation" : "round trip";
}

/// Policy, see weight_policy; formulas: time_scale.hpp. One long pause would make one huge step, hence the cap. A
/// duration of zero (nothing was measured) gives weight 1.
struct own_durations {
  static constexpr auto name() -> std::string_view { return "own durations"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("scale", self.scale, "how durations become weights, see server/time_scale.hpp"),
        visit("paid", self.paid, "the time that a weight pays for"), visit("cap", self.cap, "the largest weight");
  }
  time_scale scale = time_scale::mean_step;
  paid_time paid = paid_time::computation;
  double cap = 10;  ///< the largest weight; what it cuts off is counted

  /// Throws config_error.
  void check() const { detail::check_cap(cap); }
  void resolve_options(std::size_t) const { check(); }

  /// The long-run mean weight of each worker's gradients, if these are its constant computation times.
  [[nodiscard]] auto mean_weights(std::span<double const> times) const -> std::vector<double> {
    auto weights = proportional_weights(times, scale);
    for (auto& w : weights) w = detail::capped(w, cap).factor;
    return weights;
  }

  class state {
   public:
    static void visit_state(auto& self, auto&& visit) { visit("means", self.means_); }
    state(own_durations const& o, std::size_t workers)
        : cap_{o.cap}, paid_{o.paid}, means_(o.scale == time_scale::cycle ? workers : 1) {}

    auto operator()(received_gradient const& a) -> weight {
      auto const took = static_cast<double>((paid_ == paid_time::computation ? a.duration : a.round_trip).count());
      auto& mine = means_[means_.size() == 1 ? 0 : a.worker];
      mine.total += took;
      ++mine.count;
      double longest = 0;
      for (auto const& m : means_) longest = (std::max)(longest, m.value());
      if (!(longest > 0)) return {};
      return detail::capped(took / longest, cap_);
    }

   private:
    struct mean {
      double total = 0;  // nanoseconds
      std::int64_t count = 0;
      static void visit_state(auto& self, auto&& visit) { visit("total", self.total), visit("count", self.count); }
      [[nodiscard]] auto value() const -> double { return count == 0 ? 0.0 : total / static_cast<double>(count); }
    };
    double cap_;
    paid_time paid_;
    std::vector<mean> means_;  // one of all gradients, or one per worker
  };
};

}  // namespace rubato::server
