// SPDX-License-Identifier: MIT
// Push-Pull, node i, in its adapt-then-combine form.   [P] = Pu, Shi, Xu, Nedic, arXiv 1810.06653.
// x, z, g, rho in R^d. Round k, from 1:
//   (P.C)  z  <- z + sum_j (rho_ij - rho~_ij) ;  rho~ <- rho               waits for the sums of round k-1
//   (P.D)  x  <- x - gamma z                                               posted as model k
//   (P.W)  x  <- w_ii x + sum_j w_ij x_j                                   waits for the models of round k
//   (P.T)  z  <- (z - g) + g_new ;  g <- g_new                             g_new at the mixed x
//   (P.A)  p_j = a_ji z ;  rho_ji <- rho_ji + p_j ;  z <- z - sum_j p_j    rho is posted as sums k
// rows of W and columns of A sum to 1
// invariant: sum_i z_i + sum_(i->j) (rho_ji - rho~_ji) = sum_i g_i, debts of closed edges counted with z
//                                                                            tests/property/conservation.cpp
// differs from [P]: z+ = A (z + g_new - g), where [P] has A z + g_new - g (the form of s_ab); mass travels as running
// sums, as in R-FAST, so that the mass of a closed edge can be returned exactly.
// Per round, in vectors, three passes, with dw in-edges of W, da in-edges and db out-edges of A:
//   reads x, z, 2 da rho / x, dw x_j / z, g, g_new, db rho;   writes x, z / x / z, db rho.
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
struct push_pull_descent {
  T const* x;
  T* x_new;
  tracking_terms<T, U> track;
  Arithmetic ledger;
  Rule step;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const z = consumed(at, ledger, track, at.load(track.z));  // (P.C)
    store_tracker(at, track, z);
    store_model(at, x_new, step(at, at.load(x), ledger.direction(at, z)));  // (P.D)
  }
  static constexpr bool raises = backend::may_raise<Arithmetic>;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

template<class T>
struct push_pull_mixing {
  T const* x;
  T* x_new;
  pull_terms<T> pull;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    store_model(at, x_new, pulled(at, pull, at.load(x)));  // (P.W)
  }
  static constexpr bool raises = false;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

template<class T, class U, class Arithmetic>
struct push_pull_tracking {
  tracking_terms<T, U> s;
  Arithmetic ledger;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const z = tracked(at, ledger, s, at.load(s.z));  // (P.T)
    store_tracker(at, s, pushed(at, ledger, s, z));  // (P.A)
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
class push_pull
    : public detail::tracking_core<Backend, Step, weighting::constant, synchrony::rounds, Ledger, codec::identity> {
  using core = detail::tracking_core<Backend, Step, weighting::constant, synchrony::rounds, Ledger, codec::identity>;

 public:
  using typename core::options, typename core::scalar, typename core::value, typename core::due;
  static constexpr auto name() -> std::string_view { return "Push-Pull"; }
  static constexpr bool pulls_models = true;
  static void visit_state(auto& self, auto&& visit) { core::visit_state(self, visit), visit("next", self.next_); }

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step.
  push_pull(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o} {}

  void on_patch(instant now, patch const& p, outbox& out) {
    this->take(p, out);
    go_on(now, out);
  }
  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    auto const k = this->iterations_ + 1;
    auto const first = !this->tracker_.has_tracked();  // the gradient under way belongs to no round
    switch (next_) {
      case place::descent:
        this->change_edges(change, {.model = k, .sums = k - 1});
        break;
      case place::mixing:
        this->change_edges(change, {.model = k, .sums = k});
        break;
      case place::gradient:
        this->change_edges(change, first ? due{.model = k, .sums = k - 1} : due{.model = k + 1, .sums = k});
        break;
    }
    go_on(now, out);
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    auto const first = !this->tracker_.has_tracked();  // z_0 = g(x_0): nothing is pushed yet
    this->tracker_.receive(std::move(g.value));
    track({.tracks = true, .pushes = !first}, now, out);
    if (!first) ++this->iterations_;
    next_ = place::descent;
    go_on(now, out);
  }

 private:
  enum class place : std::uint8_t { descent, mixing, gradient };

  /// Goes on towards the next gradient, as far as messages allow.
  void go_on(instant now, outbox& out) {
    auto const done = this->iterations_;
    if (next_ == place::descent && !out.failure &&
        this->take_due_messages(this->tracker_.in(), channel_id::tracker, done, out)) {
      descend(now, out);
      next_ = place::mixing;
    }
    if (next_ == place::mixing && !out.failure &&
        this->take_due_messages(this->models_.in(), channel_id::model, done + 1, out)) {
      mix(now, out);
      next_ = place::gradient;
    }
  }

  void track(detail::pass_parts does, instant now, outbox& out) {
    static_cast<void>(this->sweep(does, now, out, [](auto const&, auto const& track, auto const& ledger) {
      return detail::push_pull_tracking<scalar, value, std::remove_cvref_t<decltype(ledger)>>{track, ledger};
    }));
  }

  void descend(instant now, outbox& out) {
    auto x_new = this->backend_.template allocate<scalar>(this->size());
    auto const step = this->next_step(now);
    auto const kernel = [&](auto const&, auto const& track, auto const& ledger) {
      return detail::push_pull_descent<scalar, value, std::remove_cvref_t<decltype(ledger)>,
                                       std::remove_cvref_t<decltype(step)>>{this->x(), x_new.data(), track, ledger,
                                                                            step};
    };
    if (!this->sweep({.consumes = true}, now, out, kernel)) return;
    this->x_ = std::move(x_new).publish();
    this->post_model(this->x_, now, out);
  }

  void mix(instant now, outbox& out) {
    auto x_new = this->backend_.template allocate<scalar>(this->size());
    auto const kernel = [&](auto const& pull, auto const&, auto const&) {
      return detail::push_pull_mixing<scalar>{this->x(), x_new.data(), pull};
    };
    if (!this->sweep({.pulls = true}, now, out, kernel)) return;
    this->x_ = std::move(x_new).publish();
    this->ask_gradient(out);
  }

  place next_ = place::gradient;
};

}  // namespace rubato
