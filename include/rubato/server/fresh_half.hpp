// SPDX-License-Identifier: MIT
// The aggregation of DASA: the mean of the directions of those workers, about half of them, whose model was nearest to
// the present one. Formulas (Ds.*): algorithm/dasa.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/server/concepts.hpp>
#include <rubato/server/detail/sum_of_table.hpp>

namespace rubato::server {

namespace detail {

/// y <- a - b.
template<class T>
struct difference_kernel {
  T const* a;
  T const* b;
  T* y;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    at.store(y, at.load(a) - at.load(b));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

}  // namespace detail

/// Policy, see aggregation_policy. Keeps the n directions that arrived and the n models at which they were made, by
/// reference, and two vectors more. A gradient reads 1 vector; a step reads 4 n and writes n + 1. The direction of a
/// worker that leaves is forgotten.
struct fresh_half {
  static constexpr auto name() -> std::string_view { return "fresh half"; }
  static constexpr bool needs_given = true;
  static constexpr bool by_round = true;
  static constexpr bool shares_are_its_own = true;
  static void visit_options(auto& self, auto&& visit) {
    visit("arrivals", self.arrivals,
          "directions that arrive before a step is made; 0: as many as workers. Fewer: more steps, each as long");
  }
  std::size_t arrivals = 0;

  void resolve_options(std::size_t workers) {
    if (arrivals == 0) arrivals = workers;
  }

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;
    state(fresh_half const& its, std::size_t workers)
        : arrivals_{its.arrivals == 0 ? workers : its.arrivals}, newest_(workers) {}
    static void visit_state(auto& self, auto&& visit) {
      visit("newest", self.newest_), visit("arrived", self.arrived_);
    }

    auto take(Backend& backend, shared_buffer const& g, double weight, received_gradient const& a)
        -> std::optional<direction<scalar>> {
      auto const* const values = g.template view<scalar>().data();
      if (!std::isfinite(backend.dot(values, values, g.size()))) return direction<scalar>{values, scalar{1}};
      newest_[a.worker] = {g, *a.given, weight};  // (Ds.H)
      if (++arrived_ < arrivals_) return std::nullopt;
      arrived_ = 0;
      return direction<scalar>{mean_of_fresh(backend, *a.model), scalar{1}};
    }

    void leaves(std::size_t worker) { newest_[worker] = {}; }

   private:
    struct entry {
      shared_buffer made{};
      shared_buffer at{};
      double weight = 0;
      static void visit_state(auto& self, auto&& visit) {
        visit("made", self.made), visit("at", self.at), visit("weight", self.weight);
      }
    };

    /// The squares of the distances of workers from the model, of those that have sent something.
    void measure(Backend& backend, shared_buffer const& model) {
      auto const* const x = model.template view<scalar>().data();
      distances_.clear();
      for (auto const& e : newest_) {
        if (!e.made) continue;
        backend.sweep({0, model.size()},
                      detail::difference_kernel<scalar>{x, e.at.template view<scalar>().data(), sum_.data()});
        distances_.push_back(backend.dot(sum_.data(), sum_.data(), model.size()));  // (Ds.E)
      }
    }
    [[nodiscard]] auto mean_of_fresh(Backend& backend, shared_buffer const& model) -> scalar const* {
      if (!sum_) sum_ = backend.template allocate<scalar>(model.size());
      measure(backend, model);
      sorted_ = distances_;
      auto const middle = sorted_.begin() + static_cast<std::ptrdiff_t>((sorted_.size() - 1) / 2);
      std::nth_element(sorted_.begin(), middle, sorted_.end());
      table_.clear();
      std::size_t i = 0;
      for (auto const& e : newest_) {
        if (!e.made || distances_[i++] > *middle) continue;  // (Ds.M)
        table_.push_back({e.made.template view<scalar>().data(), static_cast<scalar>(e.weight)});
      }
      for (auto& e : table_) e.share /= static_cast<scalar>(table_.size());
      auto const entries = backend.table(table_.data(), table_.size());
      backend.sweep({0, model.size()}, detail::sum_of_table_kernel<scalar>{entries, sum_.data()});  // (Ds.X)
      return sum_.data();
    }

    std::size_t arrivals_;
    std::vector<entry> newest_;  // by worker
    std::size_t arrived_ = 0;  // since the last step
    // not state: each step writes all of them
    writable_buffer<scalar> sum_;
    std::vector<double> distances_, sorted_;
    std::vector<detail::table_entry<scalar>> table_;
  };
};

}  // namespace rubato::server
