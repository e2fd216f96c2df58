// SPDX-License-Identifier: MIT
// DSGT (GT-SGD, stochastic DIGing), node i.   [T] = Pu, Nedic, arXiv 1805.11454.   x, z, g, rho in R^d
// Round k, from 1:
//   (T.T)  z  <- (z - g) + g_new ;  g <- g_new                             g_new at x
//   (T.D)  x  <- x - gamma z                                               posted as model k
//   (T.A)  p_j = w_ji z ;  rho_ji <- rho_ji + p_j ;  z <- z - sum_j p_j    rho is posted as sums k
//   (T.W)  x  <- w_ii x + sum_j w_ij x_j                                   waits for the models of round k
//   (T.C)  z  <- z + sum_j (rho_ij - rho~_ij) ;  rho~ <- rho               waits for the sums of round k
// so that x+ = W (x - gamma z) and z+ = W z + g_new - g, with one wait a round; W is symmetric, its rows sum to 1
// invariant: sum_i z_i + sum_(i->j) (rho_ji - rho~_ji) = sum_i g_i, debts of closed edges counted with z
//                                                                            tests/property/conservation.cpp
// differs from [T]: mass travels as running sums, as in R-FAST, so that the mass of a closed edge can be returned
// exactly.
// Per round, in vectors, two passes, with w neighbours:
//   reads x, z, g, g_new, w rho / x, z, w x_j, 2 w rho;   writes x, z, w rho / x, z.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/tracking_core.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/synchrony/rounds.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

namespace detail {

template<class T, class U, class Arithmetic, class Rule>
struct dsgt_descent {
  T const* x;
  T* x_new;
  tracking_terms<T, U> track;
  Arithmetic ledger;
  Rule step;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const z = tracked(at, ledger, track, at.load(track.z));  // (T.T)
    store_model(at, x_new, step(at, at.load(x), ledger.direction(at, z)));  // (T.D)
    store_tracker(at, track, pushed(at, ledger, track, z));  // (T.A)
  }
  static constexpr bool raises = backend::may_raise<Arithmetic>;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

template<class T, class U, class Arithmetic>
struct dsgt_mixing {
  T const* x;
  T* x_new;
  pull_terms<T> pull;
  tracking_terms<T, U> track;
  Arithmetic ledger;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    store_model(at, x_new, pulled(at, pull, at.load(x)));  // (T.W)
    store_tracker(at, track, consumed(at, ledger, track, at.load(track.z)));  // (T.C)
  }
  static constexpr bool raises = backend::may_raise<Arithmetic>;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

}  // namespace detail

/// Converges to the optimum of the sum even if data differ between nodes, on an undirected graph. Needs lossless,
/// ordered links; the slowest node sets the pace. Memory and policies: as r_fast.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Ledger>
class dsgt
    : public detail::tracking_core<Backend, Step, weighting::constant, synchrony::rounds, Ledger, codec::identity> {
  using core = detail::tracking_core<Backend, Step, weighting::constant, synchrony::rounds, Ledger, codec::identity>;

 public:
  using typename core::options, typename core::scalar, typename core::value;
  static constexpr auto name() -> std::string_view { return "DSGT"; }
  static constexpr bool pulls_models = true;
  static void visit_state(auto& self, auto&& visit) { core::visit_state(self, visit), visit("next", self.next_); }

  /// Metropolis-Hastings weights on all edges of both graphs, for pulling and for pushing. Throws config_error.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    auto made = mixing::gossip_plan(network);
    for (auto& n : made.nodes) {
      n.push_self = n.pull_self;
      n.push_to = n.pull_from;  // W is symmetric: w_ji = w_ij
      n.push_from = n.pull_to;
    }
    return made;
  }

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step, and unless the node
  /// pushes with the weights with which it pulls (tracking_plan(W, W) with a symmetric W).
  dsgt(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), checked(plan, self), self, std::move(x0), o} {}

  void on_patch(instant now, patch const& p, outbox& out) {
    this->take(p, out);
    go_on(now, out);
  }
  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    auto const k = this->iterations_ + 1;
    this->change_edges(change, {.model = k, .sums = k});
    go_on(now, out);
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    this->tracker_.receive(std::move(g.value));
    descend(now, out);
    next_ = place::mixing;
    go_on(now, out);
  }

 private:
  enum class place : std::uint8_t { mixing, gradient };

  static auto checked(mixing::plan const& plan, node_id self) -> mixing::plan const& {
    auto const& n = plan.nodes[to_index(self)];
    auto same = n.push_to.size() == n.pull_from.size() && mixing::pulls_symmetrically(plan, self);
    for (auto const& e : n.pull_from)  // w_ij = w_ji = a_ji
      same = same && std::abs(mixing::weight_of(n.push_to, e.peer) - e.weight) <= 1e-12;
    if (!same)
      throw config_error("DSGT pulls and pushes with one symmetric W, and the weights of node " +
                         std::to_string(to_index(self)) +
                         " are others: make the plan of mixing::tracking_plan(W, W) with a symmetric W");
    return plan;
  }

  /// Goes on to the next gradient if all messages of the round are there.
  void go_on(instant now, outbox& out) {
    auto const k = this->iterations_ + 1;
    if (next_ != place::mixing || out.failure ||
        !this->take_due_messages(this->models_.in(), channel_id::model, k, out) ||
        !this->take_due_messages(this->tracker_.in(), channel_id::tracker, k, out))
      return;
    mix(now, out);
    ++this->iterations_;
    next_ = place::gradient;
  }

  void descend(instant now, outbox& out) {
    auto x_new = this->backend_.template allocate<scalar>(this->size());
    auto const step = this->next_step(now);
    auto const kernel = [&](auto const&, auto const& track, auto const& ledger) {
      return detail::dsgt_descent<scalar, value, std::remove_cvref_t<decltype(ledger)>,
                                  std::remove_cvref_t<decltype(step)>>{this->x(), x_new.data(), track, ledger, step};
    };
    if (!this->sweep({.tracks = true, .pushes = true}, now, out, kernel)) return;
    this->x_ = std::move(x_new).publish();
    this->post_model(this->x_, now, out);
  }

  void mix(instant now, outbox& out) {
    auto x_new = this->backend_.template allocate<scalar>(this->size());
    auto const kernel = [&](auto const& pull, auto const& track, auto const& ledger) {
      return detail::dsgt_mixing<scalar, value, std::remove_cvref_t<decltype(ledger)>>{this->x(), x_new.data(), pull,
                                                                                       track, ledger};
    };
    if (!this->sweep({.pulls = true, .consumes = true}, now, out, kernel)) return;
    this->x_ = std::move(x_new).publish();
    this->ask_gradient(out);
  }

  place next_ = place::gradient;
};

}  // namespace rubato
