// SPDX-License-Identifier: MIT
// A late gradient is corrected by a cheap estimate of the Hessian, elementwise, before it is applied. Formulas (Dc.*):
// algorithm/dc_asgd.hpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>
#include <rubato/server/concepts.hpp>

namespace rubato::server {

enum class compensation : std::uint8_t { constant, adaptive };
constexpr auto name_of(compensation by) -> std::string_view {
  return by == compensation::constant ? "constant" : "adaptive";
}

namespace detail {

/// d <- g + lambda g g (x - old); with squares: q <- keep q + (1 - keep) g g and lambda / sqrt(q + 1e-7) for lambda.
template<class T>
struct compensate_kernel {
  T const* g;
  T const* x;
  T const* old;
  T* d;
  T* squares;
  T lambda, keep, rest;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    auto const its = at.load(g);
    auto drift = lambda * (at.load(x) - at.load(old));
    if (squares != nullptr) {
      auto const q = keep * at.load(squares) + rest * (its * its);
      at.store(squares, q);
      drift = drift / at.sqrt(q + at.template broadcast<T>(T(1e-7)));
    }
    auto const sum = its + its * its * drift;
    at.expect_finite(sum);
    at.store(d, sum);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return (squares == nullptr ? 4 : 6) * sizeof(T); }
};

}  // namespace detail

/// Policy, see aggregation_policy. Keeps the models that workers were given, by reference, one vector, and with
/// adaptive one a worker. A gradient reads 3 vectors and writes 1 (4 and 2) besides the step.
struct delay_compensated {
  static constexpr auto name() -> std::string_view { return "delay compensated"; }
  static constexpr bool by_shard = true;
  static constexpr bool needs_given = true;
  static void visit_options(auto& self, auto&& visit) {
    visit("form", self.form, "constant: lambda is fixed; adaptive: it is divided by the root of a mean square");
    visit("lambda", self.lambda, "strength of the correction; 0 is none");
    visit("keep", self.keep, "of adaptive: share of the former mean square that is kept");
  }
  compensation form = compensation::constant;
  double lambda = 0.04;
  double keep = 0.95;

  /// Throws config_error.
  void check() const {
    if (!(lambda >= 0) || !std::isfinite(lambda))
      throw config_error{"the lambda of delay compensation must be a number of 0 or more, not " + shortest(lambda)};
    if (!(keep >= 0 && keep < 1))
      throw config_error{"the share of a mean square that is kept must lie in 0 (included) to 1 (excluded), not " +
                         shortest(keep)};
  }
  void resolve_options(std::size_t) const { check(); }

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;
    static void visit_state(auto& self, auto&& visit) { visit("squares", self.squares_); }
    state(delay_compensated const& its, std::size_t workers)
        : lambda_{static_cast<scalar>(its.lambda)},
          keep_{static_cast<scalar>(its.keep)},
          squares_(its.form == compensation::adaptive ? workers : 0) {}

    auto take(Backend& backend, shared_buffer const& g, double weight, received_gradient const& a)
        -> std::optional<direction<scalar>> {
      if (!sum_) sum_ = backend.template allocate<scalar>(g.size());
      scalar* squares = nullptr;
      if (!squares_.empty()) {
        auto& its = squares_[a.worker];
        if (!its) its = backend::zeros<scalar>(backend, g.size());
        squares = its->data();
      }
      backend.sweep({0, g.size()}, detail::compensate_kernel<scalar>{
                                       g.template view<scalar>().data(), a.model->template view<scalar>().data(),
                                       a.given->template view<scalar>().data(), sum_->data(), squares, lambda_, keep_,
                                       scalar{1} - keep_});  // (Dc.C) (Dc.A)
      return direction<scalar>{sum_->data(), static_cast<scalar>(weight)};
    }

   private:
    scalar lambda_, keep_;
    std::vector<std::optional<writable_buffer<scalar>>> squares_;  // by worker, of the adaptive form
    std::optional<writable_buffer<scalar>> sum_;  // not state: each gradient writes all of it
  };
};

}  // namespace rubato::server
