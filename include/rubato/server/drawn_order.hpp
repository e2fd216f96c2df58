// SPDX-License-Identifier: MIT
// Who gets the next job: the worker whose gradient came, one that is drawn, or each in turn in an order that is drawn
// anew for each n jobs. The last two give all workers equally many jobs, whatever their speed; jobs queue at slow ones.
// Jobs may be given b at a time. Formulas (Ag.*): algorithm/asgrad.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/random.hpp>

namespace rubato::server {

enum class job_order : std::uint8_t { pure, random, shuffled };
constexpr auto name_of(job_order order) -> std::string_view {
  return order == job_order::pure ? "pure" : order == job_order::random ? "random" : "shuffled";
}

/// Policy, see queueing_assignment. As many jobs are under way as workers, so no more than that can queue.
struct drawn_order {
  static constexpr auto name() -> std::string_view { return "drawn order"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("order", self.order, "who computes next: pure, the worker that arrived; random; shuffled, each in turn");
    visit("wait", self.wait, "arrivals after which as many jobs are given at once");
  }
  job_order order = job_order::shuffled;
  std::size_t wait = 1;  ///< b

  /// Throws config_error.
  void resolve_options(std::size_t workers) const {
    if (wait == 0 || wait > workers) {
      throw config_error{"jobs cannot be given " + std::to_string(wait) + " at a time to " + std::to_string(workers) +
                         " workers; give 1 to " + std::to_string(workers)};
    }
  }
  class state {
   public:
    static void visit_state(auto& self, auto&& visit) {
      visit("draws", self.draws_), visit("places", self.places_), visit("place", self.place_);
      visit("arrived", self.arrived_);
    }
    state(drawn_order const& its, std::size_t workers, std::uint64_t seed)
        : order_{its.order}, wait_{its.wait}, draws_{0x6a6f6273ULL, seed}, places_(workers), place_{workers} {
      std::iota(places_.begin(), places_.end(), std::size_t{0});
      arrived_.reserve(workers), named_.reserve(workers);
    }

    /// The workers of the jobs that are posted now; valid until the next call.
    [[nodiscard]] auto operator()(std::size_t arrived) -> std::span<std::size_t const> {
      arrived_.push_back(arrived);
      return arrived_.size() < wait_ ? std::span<std::size_t const>{} : give_held();  // (Ag.B)
    }
    /// The jobs of workers that arrived and wait for others to arrive.
    [[nodiscard]] auto held() const -> std::size_t { return arrived_.size(); }
    /// The workers of those jobs, which are posted now; valid until the next call.
    [[nodiscard]] auto give_held() -> std::span<std::size_t const> {
      named_.clear();
      named_.swap(arrived_);
      if (order_ == job_order::pure) return named_;
      for (auto& worker : named_) worker = order_ == job_order::random ? draws_.below(places_.size()) : next_in_turn();
      return named_;  // (Ag.R) (Ag.S)
    }

   private:
    [[nodiscard]] auto next_in_turn() -> std::size_t {
      if (place_ == places_.size()) {
        for (auto k = places_.size(); k > 1; --k) std::swap(places_[k - 1], places_[draws_.below(k)]);
        place_ = 0;
      }
      return places_[place_++];
    }

    job_order order_;
    std::size_t wait_;
    random_stream draws_;
    std::vector<std::size_t> places_;  // a permutation of the workers
    std::size_t place_;  // of the next in turn
    std::vector<std::size_t> arrived_{}, named_{};
  };
};

}  // namespace rubato::server
