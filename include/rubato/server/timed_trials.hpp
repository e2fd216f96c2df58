// SPDX-License-Identifier: MIT
// How many gradients each worker tries to compute in a round, and when it gives one of them up and begins the next. How
// many, where it is not given:
//   (Mf.B)  T_m = (S + sum p_j) / (sum p_j / t_j), both sums over the m workers of the smallest deadlines t_j;
//           m = argmin T_m;  B_i = ceil(T_m / t_i - 1) of these m, and 0 of all others
// S is the noise, sigma^2 / epsilon, at least 1, and p_j the chance that a gradient takes no longer than t_j.
// Source: MindFlayer SGD, Maranjyan et al., arXiv 2410.04285.
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

/// The trials of a round of mindflayer. Each list has one value a worker, or one for all, or none.
struct timed_trials {
  static constexpr auto name() -> std::string_view { return "timed trials"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("deadlines", self.deadlines, "seconds after which a worker gives a gradient up; none: it never does");
    visit("chances", self.chances, "that a gradient of a worker meets its deadline; none: learned from past rounds");
    visit("counts", self.counts, "gradients a worker tries in a round, up to 1e9; none: those that suit the deadlines");
    visit("noise", self.noise, "variance of a gradient over the squared norm that is aimed at, for these counts");
  }
  std::vector<double> deadlines{};
  std::vector<double> chances{};
  std::vector<std::uint64_t> counts{};
  double noise = 1;

  /// Gives every worker a deadline and a count: without deadlines, one trial each. Chances that are not known count as
  /// 1 here. Throws config_error for values that mean nothing, and if no worker would try anything.
  void resolve_options(std::size_t workers) {
    check_values();
    auto const free = deadlines.empty();
    one_each(deadlines, "deadlines", workers, std::numeric_limits<double>::infinity());
    if (!chances.empty()) one_each(chances, "chances", workers, 1.0);
    if (counts.empty() && !free) counts = suitable_counts();
    one_each(counts, "counts", workers, std::uint64_t{1});
    if (std::all_of(counts.begin(), counts.end(), [](auto b) { return b == 0; }))
      throw config_error{"no worker tries a gradient in a round; give a finite deadline or a count above 0"};
  }

  /// (Mf.B), of as many workers as there are deadlines.
  [[nodiscard]] auto suitable_counts() const -> std::vector<std::uint64_t> {
    auto const chance = [this](std::size_t i) { return chances.empty() ? 1.0 : chances[i]; };
    std::vector<std::size_t> order(deadlines.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [this](auto i, auto j) { return deadlines[i] != deadlines[j] ? deadlines[i] < deadlines[j] : i < j; });
    auto const aim = (std::max)(noise, 1.0);
    double met = 0, per_second = 0, best = std::numeric_limits<double>::infinity();
    std::size_t used = 0;
    for (std::size_t m = 1; m <= order.size() && std::isfinite(deadlines[order[m - 1]]); ++m) {
      met += chance(order[m - 1]);
      per_second += chance(order[m - 1]) / deadlines[order[m - 1]];
      auto const time = (aim + met) / per_second;
      if (time < best) best = time, used = m;
    }
    auto each = std::vector<std::uint64_t>(deadlines.size(), 0);
    for (std::size_t m = 0; m < used; ++m) {
      auto const trials = std::ceil(best / deadlines[order[m]] - 1 - 1e-12);  // up to rounding
      each[order[m]] = static_cast<std::uint64_t>((std::min)((std::max)(trials, 0.0), 1e9));
    }
    return each;
  }

 private:
  template<class V>
  static void one_each(std::vector<V>& list, std::string_view what, std::size_t workers, V otherwise) {
    if (list.size() < 2) list.assign(workers, list.empty() ? otherwise : V{list[0]});
    if (list.size() == workers) return;
    throw config_error{"the " + std::string{what} + " of " + std::to_string(list.size()) +
                       " workers are given, and there are " + std::to_string(workers) +
                       "; give one a worker, or one for all"};
  }
  void check_values() const {
    for (auto const t : deadlines)
      if (!(t > 0)) throw config_error{"the deadline of a gradient must be above 0 seconds, not " + shortest(t)};
    for (auto const p : chances) {
      if (!(p > 0 && p <= 1))
        throw config_error{"the chance of a gradient in time must lie in (0, 1], not " + shortest(p)};
    }
    for (auto const b : counts) {
      if (b > 1'000'000'000)
        throw config_error{"a worker tries at most 1000000000 gradients in a round, not " + std::to_string(b)};
    }
    if (!(noise >= 0) || !std::isfinite(noise))
      throw config_error{"the noise of gradients must be a number of 0 or more, not " + shortest(noise)};
  }
};

}  // namespace rubato::server
