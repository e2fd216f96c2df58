// SPDX-License-Identifier: MIT
// Local steps by speed: a job of a slow worker has fewer of them, so that all jobs take about equally long. The server
// measures speeds, and sends the number of steps with each model.
//   (Ss.V)  v_i <- v_i + factor (H_i / duration - v_i) with each result of worker i, whose job had H_i steps
//   (Ss.H)  H_i = max(1, floor(H v_i / max v)),  over the workers that are there and have answered; the first job has H
// Source: Liu et al., arXiv 2401.09135 (dynamic local updates; the moving average is ours). The floor gives workers of
// nearly equal speeds H - 1 steps. A result without a measured duration changes nothing.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/server/local_steps.hpp>

namespace rubato::server {

/// Policy, see pacing_assignment. `.count`: H. Memory as local_steps, and two numbers a worker at the server.
struct steps_by_speed : local_steps {
  static constexpr auto name() -> std::string_view { return "steps by speed"; }
  static void visit_options(auto& self, auto&& visit) {
    local_steps::visit_options(self, visit);
    visit("factor", self.factor, "of the moving average of a worker's speed: share of the newest result");
  }
  double factor = 0.5;

  /// Throws config_error.
  void resolve_options(std::size_t) const {
    check();
    if (!(factor > 0 && factor <= 1))
      throw config_error{"the factor of a moving average must lie above 0 and at most at 1, not " + shortest(factor)};
  }

  class state {
   public:
    static void visit_state(auto& self, auto&& visit) { visit("speeds", self.speeds_); }
    state(steps_by_speed const& its, std::size_t workers)
        : most_{its.count}, factor_{its.factor}, speeds_(workers, 0.0) {}
    auto operator()(std::size_t arrived) const -> std::size_t { return arrived; }

    /// A result of so many steps, which took so long.
    void measured(std::size_t worker, std::size_t steps, std::chrono::nanoseconds duration) {
      if (duration.count() <= 0) return;
      auto const now = static_cast<double>(steps) / static_cast<double>(duration.count());
      auto& v = speeds_[worker];
      v = v > 0 ? v + factor_ * (now - v) : now;  // (Ss.V)
    }
    /// Whoever takes its place is measured anew.
    void leaves(std::size_t worker) { speeds_[worker] = 0; }
    [[nodiscard]] auto steps_of(std::size_t worker) const -> std::size_t {
      auto const fastest = *std::max_element(speeds_.begin(), speeds_.end());
      if (!(speeds_[worker] > 0)) return most_;
      auto const share = speeds_[worker] / fastest;
      auto const steps = static_cast<std::size_t>(std::floor(static_cast<double>(most_) * share));
      return (std::max)(std::size_t{1}, steps);  // (Ss.H)
    }

   private:
    std::size_t most_;
    double factor_;
    std::vector<double> speeds_;  // steps per nanosecond; 0: not measured yet
  };

  /// What local_steps does, with another number of steps in each job.
  template<class Backend>
  class local : public local_steps::local<Backend> {
    using fixed = local_steps::local<Backend>;

   public:
    explicit local(steps_by_speed const& its) : fixed{its} {}
    static void visit_state(auto& self, auto&& visit) {
      fixed::visit_state(self, visit);
      visit("count", self.count_);
    }
    /// The job anew, with as many steps.
    using fixed::begin;
    void begin(std::size_t steps) {
      this->count_ = steps;
      fixed::begin();
    }
  };
};

}  // namespace rubato::server
