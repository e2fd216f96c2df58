// SPDX-License-Identifier: MIT
// Asynchronous Prox-DGD, node i.   [W] = Wu, Liu, Magnusson, Johansson, arXiv 2312.06508.   x, g in R^d; minimises the
// sum of f_i + h_i; W symmetric, doubly stochastic, w_ii > 0. When the gradient g of f_i at x has come:
//   (PX.M)  x <- prox_{gamma h_i}( w_ii x + sum_j w_ij x_j(latest) - gamma g )       x is posted, g is requested at x
// step: gamma_i < 2 w_ii / L_i, L_i the largest curvature of f_i, however old messages are and in whatever order they
// come: then the map is a contraction in the largest of the distances of the nodes. The bound is recalled from [W] and
// derived as sufficient; it is not necessary, so a larger step is not refused.
// limit: the fixed point of the synchronous method, whatever the delays. For h = 0: (I - W) x + gamma grad f(x) = 0,
// which is off the optimum by an amount of the step where data differ. Unequal speeds change nothing.
// With stochastic gradients and h = 0 it is ADSGD (adsgd.hpp). differs from [W]: gradients may be stochastic, of which
// [W] proves nothing, and a node that has lost an edge gives its weight to itself.
// Per local iteration, in vectors, one pass, with w in-edges: reads x, w x_j, g;  writes x.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/delay_free_core.hpp>
#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/prox.hpp>
#include <rubato/backend/counting_lanes.hpp>
#include <rubato/fwd.hpp>
#include <rubato/step/schedule.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

template<class Prox, class Step>
struct prox_dgd_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  Step step_rule{};
  Prox prox{};  ///< h_i; may differ from node to node
  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("prox", self.prox, "the term that is added to the loss, by its proximal map");
  }
};

template<class T, class Rule, class Map>
struct prox_dgd_kernel {
  T const* x;
  T* x_new;
  pull_terms<T> pull;
  T const* g;
  Rule step;
  Map prox;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    store_model(at, x_new, prox(at, step(at, pulled(at, pull, at.load(x)), at.load(g))));  // (PX.M)
  }
  static constexpr bool raises = false;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

}  // namespace detail

/// Nobody waits for anybody, and lost messages are harmless. Memory in vectors: x, g, one per in-edge.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Prox, class Step>
class prox_dgd : public detail::delay_free_core<Backend, detail::prox_dgd_options<Prox, Step>> {
  using core = detail::delay_free_core<Backend, detail::prox_dgd_options<Prox, Step>>;
  static_assert(prox::check_prox<Prox, typename Backend::scalar>());
  static_assert(std::same_as<Prox, prox::none> || std::same_as<Step, step::sgd>,
                "a prox follows a plain step, step::sgd: of what other rules make of a gradient, gamma is not the "
                "scale in which the prox is taken");

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "Prox-DGD"; }
  static constexpr bool pulls_models = true;
  static constexpr std::array<std::string_view, 2> own_options{"step", "prox"};

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step or prox.
  prox_dgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o} {
    if constexpr (requires { o.prox.check(); }) o.prox.check();
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    auto const step = this->next_rule_along(now, {core::values_of(g.value)});
    auto const map = this->options_->prox.template with<scalar>(this->present_gamma());
    auto const done = this->sweep(g.value, out, [&](scalar* x_new, auto const& pull) {
      return detail::prox_dgd_kernel<scalar, std::remove_cvref_t<decltype(step)>, std::remove_cvref_t<decltype(map)>>{
          this->x(), x_new, pull, core::values_of(g.value), step, map};
    });
    if (done) this->post_and_go_on(this->x_, now, out);
  }
};

}  // namespace rubato
