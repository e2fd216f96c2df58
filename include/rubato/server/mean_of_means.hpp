// SPDX-License-Identifier: MIT
// A round collects gradients until the harmonic mean of the workers' counts B_i is at least S/n, so every worker has
// sent one; the step goes along the mean of the workers' means. Source: Malenia SGD, Tyurin and Richtarik, arXiv
// 2305.12387.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include <rubato/server/concepts.hpp>
#include <rubato/server/detail/worker_means.hpp>

namespace rubato::server {

/// Policy, see aggregation_policy. Keeps n + 1 vectors; a gradient reads 3 and writes 2. A worker that leaves holds the
/// round up until it returns.
struct mean_of_means {
  static constexpr auto name() -> std::string_view { return "mean of means"; }
  static constexpr bool workers_count_alike = true;
  static constexpr bool needs_every_worker = true;
  static constexpr bool by_round = true;
  static void visit_options(auto& self, auto&& visit) {
    visit("size", self.size, "S: a step is made when the harmonic mean of the counts is S / n; 0: n, one of each");
  }
  std::size_t size = 0;

  void resolve_options(std::size_t workers) {
    if (size == 0) size = workers;
  }

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;
    state(mean_of_means const& m, std::size_t workers)
        : needed_{static_cast<double>(m.size) / static_cast<double>(workers)}, means_{workers} {}
    static void visit_state(auto& self, auto&& visit) { visit("means", self.means_); }

    auto take(Backend& backend, shared_buffer const& g, double weight, received_gradient const& a)
        -> std::optional<direction<scalar>> {
      auto const finite = means_.fold(backend, a.worker, g, weight);
      auto const reached = means_.harmonic_mean();
      if (finite && (reached == 0 || reached < needed_ * (1 - 1e-12))) return std::nullopt;  // (Ml.S), up to rounding
      means_.clear();
      return direction<scalar>{means_.mean(), scalar{1}};  // (Ml.X)
    }

   private:
    double needed_;
    detail::worker_means<Backend> means_;
  };
};

}  // namespace rubato::server
