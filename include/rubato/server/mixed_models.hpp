// SPDX-License-Identifier: MIT
// The server mixes the worker's model y into its own. y = x_v - gamma s is told by the sum s of its gradients, from the
// model x_v that the server gave it:   x <- (1 - a) x + a y = (x - a (x - x_v)) - gamma a s,   a = alpha w
// Source: FedAsync, Xie, Koyejo, Gupta, arXiv 1903.03934.
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

/// y <- x - a (x - old).
template<class T>
struct mix_kernel {
  T const* x;
  T const* old;
  T* y;
  T a;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    auto const now = at.load(x);
    at.store(y, now - a * (now - at.load(old)));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

}  // namespace detail

/// Policy, see aggregation_policy. Keeps the models that workers were given, by reference; a gradient reads 4 vectors
/// and writes 2.
struct mixed_models {
  static constexpr auto name() -> std::string_view { return "mixed models"; }
  static constexpr bool by_shard = true;
  static constexpr bool needs_given = true;
  static constexpr bool needs_plain_steps = true;
  static constexpr bool by_round =
      true;  // workers pull the model back to older ones: a round moves it by gamma at most
  static void visit_options(auto& self, auto&& visit) {
    visit("alpha", self.alpha, "share of the worker's model in the new one, before its weight");
  }
  double alpha = 0.6;

  /// Throws config_error.
  void check() const {
    if (!(alpha > 0 && alpha <= 1))
      throw config_error{"the alpha of mixed models must lie above 0 and at most at 1, not " + shortest(alpha)};
  }
  void resolve_options(std::size_t) const { check(); }
  /// Throws config_error. `rate`: of local steps.
  static void check_jobs(double rate) { check_local_rate(rate, "a server that mixes models"); }

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;
    static void visit_state(auto&, auto&&) {}
    state(mixed_models const& its, std::size_t) : alpha_{its.alpha} {}

    auto take(Backend& backend, shared_buffer const& sum, double weight, received_gradient const& a)
        -> std::optional<direction<scalar>> {
      auto const share = static_cast<scalar>(alpha_ * weight);
      auto mixed = backend.template allocate<scalar>(sum.size());
      backend.sweep({0, sum.size()},
                    detail::mix_kernel<scalar>{a.model->template view<scalar>().data(),
                                               a.given->template view<scalar>().data(), mixed.data(), share});
      return direction<scalar>{sum.template view<scalar>().data(), share, std::move(mixed).publish()};  // (Fa.X)
    }

   private:
    double alpha_;
  };
};

}  // namespace rubato::server
