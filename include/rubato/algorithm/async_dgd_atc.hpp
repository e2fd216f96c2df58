// SPDX-License-Identifier: MIT
// Asynchronous DGD-ATC (adapt, then combine), node i.   [W] = Wu, Liu, Magnusson, Johansson, arXiv 2312.06508.
// x, y, g in R^d; W symmetric, doubly stochastic. When the gradient g of f_i at x has come:
//   (AT.D)  y  = x - gamma g                              y is posted
//   (AT.W)  x <- w_ii y + sum_j w_ij y_j(latest)          g is requested at x; y_j = x at the start until y_j has come
// (d_psgd_atc.hpp is the method in rounds, which waits for the y_j of its round.)
// step: gamma_j < 2 / L_j, L_j the largest curvature of f_j, however old messages are and in whatever order they come.
// The bound is recalled from [W] and derived as sufficient; it is not necessary, so a larger step is not refused.
// limit: that of the synchronous method, x = W (x - gamma grad f(x)), whatever the delays, which is off the optimum by
// an amount of the step where data differ. Unequal speeds change nothing.
// differs from [W]: gradients may be stochastic, of which [W] proves nothing; a node that has lost an edge gives its
// weight to itself.
// Per local iteration, in vectors, one pass, with w in-edges: reads x, g, w y_j;  writes y, x.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/delay_free_core.hpp>
#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/backend/counting_lanes.hpp>
#include <rubato/fwd.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

template<class T, class Rule>
struct async_dgd_atc_kernel {
  T const* x;
  T const* g;
  T* y;
  T* x_new;
  pull_terms<T> pull;
  Rule step;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const descended = step(at, at.load(x), at.load(g));  // (AT.D)
    at.stream(y, descended);
    store_model(at, x_new, pulled(at, pull, descended));  // (AT.W)
  }
  static constexpr bool raises = false;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

}  // namespace detail

/// Nobody waits for anybody, and lost messages are harmless. Memory in vectors: x, y, g, one per in-edge.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step>
class async_dgd_atc : public detail::delay_free_core<Backend, detail::step_options<Step>> {
  using core = detail::delay_free_core<Backend, detail::step_options<Step>>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "asynchronous DGD, adapt then combine"; }
  static constexpr bool pulls_models = true;
  static constexpr std::array<std::string_view, 1> own_options{"step"};

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step.
  async_dgd_atc(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o} {}

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    auto y = this->backend_.template allocate<scalar>(this->size());
    auto const step = this->next_rule_along(now, {core::values_of(g.value)});
    auto const done = this->sweep(g.value, out, [&](scalar* x_new, auto const& pull) {
      return detail::async_dgd_atc_kernel<scalar, std::remove_cvref_t<decltype(step)>>{
          this->x(), core::values_of(g.value), y.data(), x_new, pull, step};
    });
    if (done) this->post_and_go_on(std::move(y).publish(), now, out);
  }
};

}  // namespace rubato
