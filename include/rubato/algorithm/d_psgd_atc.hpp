// SPDX-License-Identifier: MIT
// D-PSGD that adapts and then combines, node i, as the published code of MATCHA and SGP runs it.
// x, g in R^d; W as in d_psgd.hpp. Round k, from 1, with g (or a batch of gradients, algorithm/detail/batch.hpp) at x:
//   (DA.D)  x <- x - gamma g                   for a batch: along s_i / M; no step if it is empty
//           x is posted as model k
//   (DA.W)  x <- w_ii x + sum_j w_ij x_j       waits for the models of round k
// so that x+ = W (x - gamma g(x)). With contribution::finished a batch ends as soon as a neighbour has finished its own
// batch of this round, that is, when its model k has arrived. The message only shortens the batch; nobody waits for it.
// Per round, in vectors, two passes, with w in-edges: reads x, g / x, w x_j;  writes x / x.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include <rubato/algorithm/detail/d_psgd_core.hpp>
#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/backend/counting_lanes.hpp>
#include <rubato/contribution/all.hpp>
#include <rubato/fwd.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

template<class T, class Rule>
struct d_psgd_atc_descent {
  T const* x;
  T* x_new;
  T const* g;  // null: no step
  T share;
  Rule step;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto x_i = at.load(x);
    if (g != nullptr) x_i = step(at, x_i, share * at.load(g));  // (DA.D)
    store_model(at, x_new, x_i);
  }
  static constexpr bool raises = false;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

template<class T>
struct d_psgd_atc_mixing {
  T const* x;
  T* x_new;
  pull_terms<T> pull;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    store_model(at, x_new, pulled(at, pull, at.load(x)));  // (DA.W)
  }
  static constexpr bool raises = false;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

/// All of d_psgd_atc but its name, for algorithms that differ in the plan alone.
template<class Backend, class Step, class Contribution, class Options = batch_options<Step, Contribution>>
class d_psgd_atc_core : public d_psgd_core<Backend, Step, Contribution, Options> {
  using core = d_psgd_core<Backend, Step, Contribution, Options>;

 public:
  using typename core::options, typename core::scalar;

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step.
  d_psgd_atc_core(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o} {}

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g) || !this->fills_batch(std::move(g), out)) return;
    descend(now, out);
    go_on(now, out);
  }
  void on_patch(instant now, patch const& p, outbox& out) {
    this->take(now, p, out);
    go_on(now, out);
  }
  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    this->change_edge(change, now, out);
    if (!this->computes_) go_on(now, out);
  }

 private:
  /// Goes on as far as gradients and messages allow.
  void go_on(instant now, outbox& out) {
    while (!out.failure) {
      if (this->computes_) {
        if (!this->batch_ends(this->round(), out)) return;
        descend(now, out);
      }
      if (out.failure || !this->models_are_there(out)) return;
      mix(now, out);
      ++this->iterations_;
      this->computes_ = true;
      this->has_sent_ = false;
    }
  }

  void descend(instant now, outbox& out) {
    auto const g = this->batch_.take(this->backend_).sum;
    using rule = typename Step::template state<Backend>::rule;
    auto const step = g ? this->next_rule_along(now, {core::values_of(g), this->share()}) : rule{};
    auto const done = this->sweep(g, out, [&](scalar* x_new, auto const&) {
      return detail::d_psgd_atc_descent<scalar, rule>{this->x(), x_new, core::values_of(g), this->share(), step};
    });
    if (done) this->post_model(now, out);
  }

  void mix(instant now, outbox& out) {
    auto const done = this->sweep({}, out, [&](scalar* x_new, auto const& pull) {
      return detail::d_psgd_atc_mixing<scalar>{this->x(), x_new, pull};
    });
    if (done) this->models_.record_ages(now);
  }
};

}  // namespace detail

/// As d_psgd, but the model that a node sends already includes its own step of the round.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Contribution>
class d_psgd_atc : public detail::d_psgd_atc_core<Backend, Step, Contribution> {
 public:
  using detail::d_psgd_atc_core<Backend, Step, Contribution>::d_psgd_atc_core;
  static constexpr auto name() -> std::string_view { return "D-PSGD, adapt then combine"; }
  static constexpr bool pulls_models = true;
};

}  // namespace rubato
