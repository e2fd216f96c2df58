// SPDX-License-Identifier: MIT
// The aggregation of Ringleader ASGD: rounds of two phases with a table of gradients for this round and one for the
// next. Formulas (Rl.*): algorithm/ringleader_asgd.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/server/concepts.hpp>
#include <rubato/server/detail/worker_means.hpp>

namespace rubato::server {

/// Policy, see aggregation_policy. Keeps up to 2n + 2 vectors; a gradient reads 3 and writes 2. A worker that leaves
/// holds up the phase that needs it until it returns; the gradients of the others go on into the tables.
struct two_tables {
  static constexpr auto name() -> std::string_view { return "two tables"; }
  static constexpr bool workers_count_alike = true;
  static constexpr bool needs_every_worker = true;
  void resolve_options(std::size_t) const {}

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;
    state(two_tables const&, std::size_t workers) : now_{workers}, next_{workers}, served_(workers, 0) {}
    static void visit_state(auto& self, auto&& visit) {
      visit("now", self.now_), visit("next", self.next_), visit("served", self.served_);
      visit("left", self.left_);
    }

    auto take(Backend& backend, shared_buffer const& g, double weight, received_gradient const& a)
        -> std::optional<direction<scalar>> {
      auto const again = left_ > 0 && served_[a.worker] != 0;
      auto const finite = (again ? next_ : now_).fold(backend, a.worker, g, weight);
      if (!finite) return direction<scalar>{(again ? next_ : now_).mean(), scalar{1}};
      if (again) return std::nullopt;  // (Rl.N)
      if (left_ == 0) {
        if (now_.missing() > 0) return std::nullopt;  // (Rl.G)
        left_ = served_.size();
      }
      served_[a.worker] = 1;
      auto const along = direction<scalar>{now_.mean(), scalar{1}};
      if (--left_ == 0) end_round();
      return along;  // (Rl.U)
    }

   private:
    /// The former table keeps its memory, so a direction that points there stays valid.
    void end_round() {
      std::swap(now_, next_);
      next_.clear();
      std::fill(served_.begin(), served_.end(), std::uint8_t{0});
    }

    detail::worker_means<Backend> now_, next_;
    std::vector<std::uint8_t> served_;  // in this round's second phase
    std::size_t left_ = 0;  // updates of the second phase that are to come; 0: the first phase
  };
};

}  // namespace rubato::server
