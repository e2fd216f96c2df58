// SPDX-License-Identifier: MIT
// Only the m fastest workers compute, with the m that is best for times that are known and do not change:
//   m = argmin H_m (1 + noise / m),   H_m = harmonic mean of the m smallest times,   noise = sigma^2 / epsilon
// Every worker computes one gradient before it is told; those of the others are ignored.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::server {

/// Policy, see acceptance_policy.
struct fastest_workers {
  static constexpr auto name() -> std::string_view { return "fastest workers"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("times", self.times, "computation time of each worker, in any unit; none: all are equal");
    visit("noise", self.noise, "variance of a gradient over the squared norm that is aimed at");
  }
  static constexpr bool may_stop = false;
  static constexpr bool by_shard = true;
  std::vector<double> times{};
  double noise = 1;

  /// Makes the times of all but the m fastest infinite, which is what an infinite time means: this worker is not used.
  /// Throws config_error unless there is a positive time for each worker, one of them finite.
  void resolve_options(std::size_t workers) {
    if (times.empty()) times.assign(workers, 1.0);
    if (times.size() != workers) {
      throw config_error{"the times of " + std::to_string(times.size()) + " workers are known, and there are " +
                         std::to_string(workers) + "; give one time a worker"};
    }
    for (std::size_t i = 0; i < workers; ++i) {
      if (!(times[i] > 0)) {
        throw config_error{"the computation time of worker " + std::to_string(i) + " must be above 0, not " +
                           shortest(times[i])};
      }
    }
    if (std::none_of(times.begin(), times.end(), is_finite))
      throw config_error{"the computation times of all workers are infinite; give a finite one"};
    if (!(noise >= 0) || !std::isfinite(noise))
      throw config_error{"the noise of gradients must be a number of 0 or more, not " + shortest(noise)};
    choose();
  }
  [[nodiscard]] auto accepts(std::uint64_t) const -> bool { return true; }
  [[nodiscard]] auto takes(std::size_t worker) const -> bool { return is_finite(times[worker]); }
  [[nodiscard]] auto stops() const -> bool { return false; }

 private:
  [[nodiscard]] static auto is_finite(double time) -> bool { return std::isfinite(time); }

  void choose() {
    std::vector<std::size_t> order(times.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](auto i, auto j) { return times[i] != times[j] ? times[i] < times[j] : i < j; });
    double reciprocals = 0, best = std::numeric_limits<double>::infinity();
    std::size_t fastest = 1;
    for (std::size_t m = 1; m <= order.size(); ++m) {
      reciprocals += 1 / times[order[m - 1]];
      auto const cost = (static_cast<double>(m) + noise) / reciprocals;  // (No.M)
      if (!(cost < best)) continue;
      best = cost;
      fastest = m;
    }
    for (auto m = fastest; m < order.size(); ++m) times[order[m]] = std::numeric_limits<double>::infinity();
  }
};

}  // namespace rubato::server
