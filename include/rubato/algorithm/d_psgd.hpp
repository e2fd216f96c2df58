// SPDX-License-Identifier: MIT
// D-PSGD, node i.   [L] = Lian et al., arXiv 1705.09056.   x, g in R^d; W symmetric, doubly stochastic
// Round k, from 1:
//   x is posted as model k; meanwhile g, or a batch of gradients (algorithm/detail/batch.hpp), is computed at x
//   (DP.W)  x <- w_ii x + sum_j w_ij x_j       waits for the models of round k
//   (DP.D)  x <- x - gamma g                   for a batch: along s_i / M; no step if it is empty
// so that x+ = W x - gamma g(x). With contribution::finished (non_blocking_d_psgd.hpp) a batch ends as soon as a
// neighbour has finished its own batch of this round, that is, when its model k+1 has arrived. The message only
// shortens the batch; nobody waits for it.
// Per round, in vectors, one pass, with w in-edges: reads x, w x_j, g;  writes x.
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>
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
struct d_psgd_kernel {
  T const* x;
  T* x_new;
  pull_terms<T> pull;
  T const* g;  // null: no step
  T share;
  Rule step;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto x_i = pulled(at, pull, at.load(x));  // (DP.W)
    if (g != nullptr) x_i = step(at, x_i, share * at.load(g));  // (DP.D)
    store_model(at, x_new, x_i);
  }
  static constexpr bool raises = false;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

}  // namespace detail

/// Where data differ between nodes, the limit is off the optimum by a distance that depends on the step. Needs
/// lossless, ordered links; the slowest node sets the pace, unless Contribution is contribution::finished. Memory in
/// vectors: x, g, one per in-edge.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Contribution>
class d_psgd : public detail::d_psgd_core<Backend, Step, Contribution> {
  using core = detail::d_psgd_core<Backend, Step, Contribution>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "D-PSGD"; }
  static constexpr bool pulls_models = true;

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step.
  d_psgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o} {}

  void start(instant now, outbox& out) {
    this->post_model(now, out);
    this->ask_gradient(out);
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    if (this->accept(g) && this->fills_batch(std::move(g), out)) go_on(now, out);
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
      if (this->computes_ && !this->batch_ends(next(this->round()), out)) return;
      if (!this->models_are_there(out)) return;
      mix_and_descend(now, out);
      ++this->iterations_;
      this->post_model(now, out);
      this->computes_ = true;
    }
  }

  void mix_and_descend(instant now, outbox& out) {
    auto const g = this->batch_.take(this->backend_).sum;
    using rule = typename Step::template state<Backend>::rule;
    auto const step = g ? this->next_rule_along(now, {core::values_of(g), this->share()}) : rule{};
    auto const done = this->sweep(g, out, [&](scalar* x_new, auto const& pull) {
      return detail::d_psgd_kernel<scalar, rule>{this->x(), x_new, pull, core::values_of(g), this->share(), step};
    });
    if (done) this->models_.record_ages(now);
  }
};

}  // namespace rubato
