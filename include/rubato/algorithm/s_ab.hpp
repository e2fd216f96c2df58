// SPDX-License-Identifier: MIT
// S-AB, node i: AB with stochastic gradients.   [S] = Xin, Sahu, Khan, Kar, arXiv 1903.07266.   x, z, g, rho in R^d
// Round k, from 1; x was posted as model k:
//   (S.W)  x  <- w_ii x + sum_j w_ij x_j                                   waits for the models of round k
//   (S.D)  x  <- x - gamma z                                               the step follows the mixing
//   (S.A)  p_j = a_ji z ;  rho_ji <- rho_ji + p_j ;  z <- z - sum_j p_j    rho is posted as sums k
//   (S.C)  z  <- z + sum_j (rho_ij - rho~_ij) ;  rho~ <- rho               waits for the sums of round k
//   (S.T)  z  <- (z - g) + g_new ;  g <- g_new                             g_new at the new x
// so that x+ = W x - gamma z and z+ = A z + g_new - g; rows of W and columns of A sum to 1
// invariant: sum_i z_i + sum_(i->j) (rho_ji - rho~_ji) = sum_i g_i, debts of closed edges counted with z
//                                                                            tests/property/conservation.cpp
// Per round, in vectors, two passes, with dw in-edges of W, da in-edges and db out-edges of A:
//   reads x, z, dw x_j, db rho / z, g, g_new, 2 da rho;   writes x, z, db rho / z.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/tracking_core.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/fwd.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/synchrony/rounds.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

namespace detail {

template<class T, class U, class Arithmetic, class Rule>
struct s_ab_move {
  T const* x;
  T* x_new;
  pull_terms<T> pull;
  tracking_terms<T, U> track;
  Arithmetic ledger;
  Rule step;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const z = at.load(track.z);
    auto const mixed = pulled(at, pull, at.load(x));  // (S.W)
    store_model(at, x_new, step(at, mixed, ledger.direction(at, z)));  // (S.D)
    store_tracker(at, track, pushed(at, ledger, track, z));  // (S.A)
  }
  static constexpr bool raises = backend::may_raise<Arithmetic>;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

template<class T, class U, class Arithmetic>
struct s_ab_tracking {
  tracking_terms<T, U> s;
  Arithmetic ledger;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const z = consumed(at, ledger, s, at.load(s.z));  // (S.C)
    store_tracker(at, s, tracked(at, ledger, s, z));  // (S.T)
  }
  static constexpr bool raises = backend::may_raise<Arithmetic>;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

}  // namespace detail

/// Converges to the optimum of the sum even if data differ between nodes. Needs lossless, ordered links; the slowest
/// node sets the pace. Memory and policies: as r_fast.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Ledger>
class s_ab
    : public detail::tracking_core<Backend, Step, weighting::constant, synchrony::rounds, Ledger, codec::identity> {
  using core = detail::tracking_core<Backend, Step, weighting::constant, synchrony::rounds, Ledger, codec::identity>;

 public:
  using typename core::options, typename core::scalar, typename core::value;
  static constexpr auto name() -> std::string_view { return "S-AB"; }
  static constexpr bool pulls_models = true;
  static void visit_state(auto& self, auto&& visit) { core::visit_state(self, visit), visit("next", self.next_); }

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step.
  s_ab(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o} {}

  void on_patch(instant now, patch const& p, outbox& out) {
    this->take(p, out);
    go_on(now, out);
  }
  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    auto const k = this->iterations_ + 1;
    auto const mixed = next_ != place::moving && this->tracker_.has_tracked();  // in this round already
    this->change_edges(change, {.model = mixed ? k + 1 : k, .sums = k});
    go_on(now, out);
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    this->tracker_.receive(std::move(g.value));
    next_ = place::tracking;
    go_on(now, out);
  }

 private:
  enum class place : std::uint8_t { tracking, moving, gradient };

  /// Goes on towards the next gradient, as far as messages allow.
  void go_on(instant now, outbox& out) {
    auto const first = !this->tracker_.has_tracked();  // z_0 = g(x_0), before round 1: nothing is consumed yet
    auto const round = first ? 0 : this->iterations_ + 1;
    if (next_ == place::tracking && !out.failure &&
        this->take_due_messages(this->tracker_.in(), channel_id::tracker, round, out)) {
      track({.tracks = true, .consumes = !first}, now, out);
      if (!first) ++this->iterations_;
      if (!out.failure) this->post_model(this->x_, now, out);
      next_ = place::moving;
    }
    auto const next = this->iterations_ + 1;
    if (next_ == place::moving && !out.failure &&
        this->take_due_messages(this->models_.in(), channel_id::model, next, out)) {
      move(now, out);
      next_ = place::gradient;
    }
  }

  void track(detail::pass_parts does, instant now, outbox& out) {
    static_cast<void>(this->sweep(does, now, out, [](auto const&, auto const& track, auto const& ledger) {
      return detail::s_ab_tracking<scalar, value, std::remove_cvref_t<decltype(ledger)>>{track, ledger};
    }));
  }

  void move(instant now, outbox& out) {
    auto x_new = this->backend_.template allocate<scalar>(this->size());
    auto const step = this->next_step(now);
    auto const kernel = [&](auto const& pull, auto const& track, auto const& ledger) {
      return detail::s_ab_move<scalar, value, std::remove_cvref_t<decltype(ledger)>,
                               std::remove_cvref_t<decltype(step)>>{this->x(), x_new.data(), pull, track, ledger, step};
    };
    if (!this->sweep({.pulls = true, .pushes = true}, now, out, kernel)) return;
    this->x_ = std::move(x_new).publish();
    this->ask_gradient(out);
  }

  place next_ = place::gradient;
};

}  // namespace rubato
