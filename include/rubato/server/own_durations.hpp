// SPDX-License-Identifier: MIT
// Each gradient is paid the time that it took, so that nothing need be known or estimated in advance and speeds may
// drift. What stands for tau_H is the mean duration of all gradients so far (each worker counts by how often it comes,
// which makes it the harmonic mean); what stands for tau_max is the largest mean duration of one worker so far.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <rubato/server/time_scale.hpp>

namespace rubato::server {

/// Policy, see weight_policy; the formulas stand in time_scale.hpp. One long pause would make one huge step: hence the
/// cap. A drivers' duration of zero (nothing was measured) weighs 1.
struct own_durations {
  time_scale scale = time_scale::mean_step;
  double cap = 10;  ///< the largest weight; what it keeps back is counted

  void agree(std::size_t) const { detail::check_cap(cap); }

  /// The mean weight of each worker's gradients in the long run, if it takes these times, always the same.
  [[nodiscard]] auto mean_weights(std::span<double const> times) const -> std::vector<double> {
    auto weights = proportional_weights(times, scale);
    for (auto& w : weights) w = detail::capped(w, cap).factor;
    return weights;
  }

  class state {
   public:
    state(own_durations const& o, std::size_t workers) : cap_{o.cap}, means_(o.scale == time_scale::cycle ? workers : 1) {}

    auto operator()(arrival const& a) -> weight {
      auto& mine = means_[means_.size() == 1 ? 0 : a.worker];
      mine.total += a.duration.count();
      ++mine.count;
      double longest = 0;
      for (auto const& m : means_) longest = std::max(longest, m.value());
      if (!(longest > 0)) return {};
      return detail::capped(static_cast<double>(a.duration.count()) / longest, cap_);
    }

   private:
    struct mean {
      std::int64_t total = 0;  // nanoseconds
      std::int64_t count = 0;
      [[nodiscard]] auto value() const -> double {
        return count == 0 ? 0.0 : static_cast<double>(total) / static_cast<double>(count);
      }
    };
    double cap_;
    std::vector<mean> means_;  // one of all gradients, or one a worker
  };
};

}  // namespace rubato::server
