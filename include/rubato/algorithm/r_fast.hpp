// SPDX-License-Identifier: MIT
// R-FAST, node i.   [R] = Zhu, Tian, Huang, Xu, He, arXiv 2307.11617.   x, v, z, g, rho in R^d; W pulls, A pushes
// From one gradient to the next, in one pass over memory:
//   (R.T)  z   <- (z - g) + g_new ;  g <- g_new                            g is stored, never computed again
//   (R.C)  z   <- z + sum_j (rho_ij(latest) - rho~_ij) ;  rho~ <- rho      each mass is consumed once
//   (R.A)  p_j  = a_ji z ;  rho_ji <- rho_ji + p_j ;  z <- z - sum_j p_j   columns of A sum to 1; rho is posted
//   (R.D)  v    = x - gamma z                                              local descent; v is posted
//   (R.W)  x   <- w_ii v + sum_j w_ij v_j(latest)                          rows of W sum to 1; g_new is requested at x
// Iteration k of [R] is (R.D) and (R.W) of one pass and (R.T) to (R.A) of the next: both its messages have number k.
// invariant: sum_i z_i + sum_(i->j) (rho_ji - rho~_ji) = sum_i g_i, debts of closed edges counted with z
//                                                                            tests/property/conservation.cpp
// differs from [R]: v is posted before the gradient is computed, not after it (order::late_post keeps the order of the
// paper; asy_sonata.hpp too); rho is read when the gradient arrives, not when it is requested. Out-edges with equal
// weights have one rho, as long as they have been open for the same time: then it is the same for all of them.
// step: if messages arrive K local iterations old (gradients are far faster than links), the step must be 1 / (K L) or
// less, where L is the largest curvature. On binary_tree(8) of quadratics with L = 1, the largest step that converged
// was 0.9/K to 1.2/K for K = 10 to 1000 if latency was the cause, and 0.3/K to 0.5/K if links were always busy; on
// directed_ring(4) 0.25/K was too much. With a larger step z and rho grow without bound, in any arithmetic. A pace
// (run/pace.hpp) keeps K near 1, and a step by delay (step/by_delay.hpp) falls with K.
// A local iteration, in vectors, with dw in-edges of W, da in-edges of A, db different rho:
//   by reference:  reads x, z, g, g_new, dw v, 2 da rho, db rho = 4 + dw + 2 da + db;  writes x, v, z, db rho = 3 + db
//   assembled:     the same, and each arriving block is copied once into its mailbox and once into rho~ (4 a block).
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/tracking_core.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/fwd.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/synchrony/free.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

namespace detail {

/// The arithmetic of one local iteration, at one index.
template<class T, class U, class Arithmetic, class Rule>
struct r_fast_kernel {
  T const* x;
  T* v;
  T* x_new;
  pull_terms<T> pull;
  tracking_terms<T, U> track;
  Arithmetic ledger;
  Rule step;

  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto z = tracked(at, ledger, track, at.load(track.z));  // (R.T)
    z = consumed(at, ledger, track, z);  // (R.C)
    z = pushed(at, ledger, track, z);  // (R.A)
    store_tracker(at, track, z);
    auto const descended = step(at, at.load(x), ledger.direction(at, z));  // (R.D)
    at.stream(v, descended);
    store_model(at, x_new, pulled(at, pull, descended));  // (R.W)
  }
  static constexpr bool raises = backend::may_raise<Arithmetic>;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

}  // namespace detail

/// Fully asynchronous and robust to message loss; converges to the optimum of the sum even if data differ between
/// nodes. Memory in vectors: x, v, g, z, at most one rho per out-edge, rho and rho~ per in-edge; whole vectors that
/// arrive by reference are shared with their sender. The 64-bit view of rho adds at most half a vector per tracking
/// edge. Step, Weighting, Ledger (fixed-point by default for float), SumCodec: policies, see step/, weighting/,
/// ledger/, codec/.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Weighting, class Ledger, class SumCodec>
class r_fast : public detail::tracking_core<Backend, Step, Weighting, synchrony::free, Ledger, SumCodec> {
  using core = detail::tracking_core<Backend, Step, Weighting, synchrony::free, Ledger, SumCodec>;

 public:
  using typename core::options, typename core::scalar, typename core::value;
  static constexpr auto name() -> std::string_view { return "R-FAST"; }
  static constexpr bool pulls_models = true;

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a
  /// bad step or an unsuitable weighting.
  r_fast(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o} {}

  void on_patch(instant now, patch const& p, outbox& out) { this->take(p, out, now); }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    auto const first = !this->tracker_.has_tracked();  // z_0 = g(x_0): the first pass neither consumes nor pushes
    this->tracker_.receive(std::move(g.value));
    auto const v = iterate({.pulls = true, .tracks = true, .consumes = !first, .pushes = !first}, now, out);
    if (!v) return;
    if (!first) ++this->iterations_;  // the last message of an iteration is rho
    this->post_model(v, now, out);
    this->ask_gradient(out);
  }

 protected:
  /// Moves z, rho and x; returns v, or nothing if the run cannot go on.
  auto iterate(detail::pass_parts does, instant now, outbox& out) -> shared_buffer {
    auto v = this->backend_.template allocate<scalar>(this->size());
    auto x_new = this->backend_.template allocate<scalar>(this->size());
    auto const step = this->next_step(now);
    auto const kernel = [&](auto const& pull, auto const& track, auto const& ledger) {
      return detail::r_fast_kernel<scalar, value, std::remove_cvref_t<decltype(ledger)>,
                                   std::remove_cvref_t<decltype(step)>>{this->x(), v.data(), x_new.data(), pull,
                                                                        track,     ledger,   step};
    };
    if (!this->sweep(does, now, out, kernel)) return {};
    this->x_ = std::move(x_new).publish();
    return std::move(v).publish();
  }
};

}  // namespace rubato
