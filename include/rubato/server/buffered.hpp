// SPDX-License-Identifier: MIT
// The mean of K weighted gradients makes a step; workers do not wait for it. Fewer versions, shorter delays, less
// noise. Source: FedBuff, Nguyen et al., arXiv 2106.06639 (there with local steps and a secure sum).
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/server/concepts.hpp>

namespace rubato::server {

/// Policy, see aggregation_policy. Keeps one vector; a gradient reads 2 and writes 1, a step
/// costs the same as in apply_at_once.
struct buffered {
  static constexpr auto name() -> std::string_view { return "buffered"; }
  static constexpr bool by_shard = true;
  static void visit_options(auto& self, auto&& visit) {
    visit("size", self.size, "gradients that are collected before a step");
  }
  std::size_t size = 10;  ///< K

  void resolve_options(std::size_t) const {
    if (size == 0) throw config_error{"a server's buffer holds at least one gradient, not 0"};
  }

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;
    state(buffered const& b, std::size_t) : size_{b.size} {}
    static void visit_state(auto& self, auto&& visit) { visit("count", self.count_), visit("sum", self.sum_); }

    auto take(Backend& backend, shared_buffer const& g, double weight, received_gradient const&)
        -> std::optional<direction<scalar>> {
      auto const all = range{0, g.size()};
      if (!sum_) sum_ = backend.template allocate<scalar>(g.size());
      if (count_ == 0) backend.sweep(all, backend::zero_kernel<scalar>{sum_->data()});
      auto const raised = backend.sweep(all, backend::add_kernel<scalar>{g.template view<scalar>().data(), sum_->data(),
                                                                         static_cast<scalar>(weight)});
      auto const finite = (raised & backend::not_finite) == 0;  // checked now, while it is known whose gradient it was
      if (++count_ < size_ && finite) return std::nullopt;
      count_ = 0;
      return direction<scalar>{sum_->data(), scalar{1} / static_cast<scalar>(size_)};
    }

   private:
    std::size_t size_;
    std::size_t count_ = 0;
    std::optional<writable_buffer<scalar>> sum_;  // made with the first gradient, because workers need none
  };
};

}  // namespace rubato::server
