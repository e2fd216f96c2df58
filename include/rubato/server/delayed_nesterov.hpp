// SPDX-License-Identifier: MIT
// Nesterov's momentum at a server to which workers come one by one: each result moves the model by its N-th part at
// once, and the momentum, which is renewed by every N-th result, acts then. With D = gamma s, s the sum of gradients:
//   buf <- buf + w s;   at every N-th:  m <- beta m + buf / N,  buf <- 0
//   x <- x - rate gamma (w s / N + f beta m),   f = 1 - c N + c at every N-th and c otherwise
// invariant: N equal results with c = 0 move x as one Nesterov step along them, from m on.
// Source: Liu et al., Asynchronous Local-SGD, arXiv 2401.09135 (delayed Nesterov), with c = 0 by default.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>
#include <rubato/server/concepts.hpp>

namespace rubato::server {

namespace detail {

/// buf <- buf + w g, and at every N-th m <- beta m + share buf, buf <- 0;  y <- share w g + pull m.
template<class T>
struct delayed_nesterov_kernel {
  T const* g;
  T* buf;
  T* m;
  T* y;
  T weight, share, beta, pull;
  bool renews;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    auto const fresh = weight * at.load(g);
    auto sum = at.load(buf) + fresh;
    auto kept = at.load(m);
    if (renews) {
      kept = beta * kept + share * sum;  // (Ad.M)
      sum = sum - sum;
    }
    auto const along = share * fresh + pull * kept;
    at.expect_finite(along);
    at.store(buf, sum);
    at.store(m, kept);
    at.store(y, along);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 6 * sizeof(T); }
};

}  // namespace detail

/// Policy, see aggregation_policy. Keeps 3 vectors; a result reads 3 and writes 3, besides its step.
struct delayed_nesterov {
  static constexpr auto name() -> std::string_view { return "delayed nesterov"; }
  static constexpr bool by_shard = true;
  static constexpr bool by_round = true;
  static void visit_options(auto& self, auto&& visit) {
    visit("size", self.size, "N: results after which the momentum is renewed; 0: as many as workers");
    visit("rate", self.rate, "the server's step, in terms of what workers have done");
    visit("beta", self.beta, "share of the former momentum that is kept");
    visit("early", self.early, "c: share of the momentum that acts with each result before the N-th; 1/N at most");
  }
  std::size_t size = 0;
  double rate = 0.7;
  double beta = 0.9;
  double early = 0;

  /// Throws config_error.
  void check() const {
    check_outer_rate(rate);
    if (!(beta >= 0 && beta < 1))
      throw config_error{"the beta of momentum must lie in 0 (included) to 1 (excluded), not " + shortest(beta)};
    if (!(early >= 0) || (size > 0 && !(early * static_cast<double>(size) <= 1)))
      throw config_error{"the share of momentum that acts early must lie in 0 to 1/N, not at " + shortest(early)};
  }
  void resolve_options(std::size_t workers) {
    if (size == 0) size = workers;
    check();
  }
  /// Throws config_error. `rate_of_steps`: of local steps.
  static void check_jobs(double rate_of_steps) { check_local_rate(rate_of_steps, "a server with an outer step"); }

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;
    state(delayed_nesterov const& its, std::size_t workers) : its_{&its}, size_{its.size == 0 ? workers : its.size} {}
    static void visit_state(auto& self, auto&& visit) {
      visit("count", self.count_), visit("sum", self.sum_), visit("momentum", self.momentum_);
    }

    auto take(Backend& backend, shared_buffer const& g, double weight, received_gradient const&)
        -> std::optional<direction<scalar>> {
      if (sum_.size() != g.size()) {  // made with the first result, because workers need none
        sum_ = backend::zeros<scalar>(backend, g.size());
        momentum_ = backend::zeros<scalar>(backend, g.size());
      }
      along_ = backend.template allocate<scalar>(g.size());
      auto const renews = ++count_ % size_ == 0;
      auto const f = renews ? 1 - its_->early * static_cast<double>(size_) + its_->early : its_->early;
      backend.sweep({0, g.size()}, detail::delayed_nesterov_kernel<scalar>{
                                       g.template view<scalar>().data(), sum_.data(), momentum_.data(), along_.data(),
                                       static_cast<scalar>(weight), scalar{1} / static_cast<scalar>(size_),
                                       static_cast<scalar>(its_->beta), static_cast<scalar>(f * its_->beta), renews});
      return direction<scalar>{std::as_const(along_).data(), static_cast<scalar>(its_->rate)};  // (Ad.X)
    }

   private:
    delayed_nesterov const* its_;
    std::size_t size_;
    std::size_t count_ = 0;  // results
    writable_buffer<scalar> sum_{}, momentum_{};
    writable_buffer<scalar> along_{};  // of the last result
  };
};

}  // namespace rubato::server
