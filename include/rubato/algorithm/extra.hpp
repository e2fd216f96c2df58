// SPDX-License-Identifier: MIT
// EXTRA, node i.   [E] = Shi, Ling, Wu, Yin, arXiv 1404.6264.   x, y, r, g in R^d; W symmetric, its rows sum to 1
// Round k, from 1, with r = x at the start:
//   x is posted as model k; meanwhile g is computed at x
//   p = w_ii x + sum_j w_ij x_j                waits for the models of round k
//   (EX.Y)  y  = p - gamma g                   the step of D-PSGD
//   (EX.X)  x+ = (x - r) + y                   what the former round left, and the step of this one
//   (EX.R)  r  = y - (p - x) / 2
// so that x+ = x + p - (x_old + p_old) / 2 - gamma (g - g_old), the difference form of [E] with W~ = (I + W) / 2, and
// x+ = p - gamma g in round 1.
// invariant: mean x+ = mean x - gamma mean g in every round                              tests/unit/algorithm/extra.cpp
// At rest all x are equal and the sum of gradients is 0: the optimum, with a constant step. [E] proves it for
// gamma < 2 lambda_min(W~) / L.
// differs from [E]: (EX.R) keeps x_old, p_old and g_old in one vector, so that no gradient is kept and gamma may follow
// a schedule. Gradients are of samples; each is used in two rounds, so that the differences telescope.
// rounding: no round takes an error of a former one back, so the mean walks away from the invariant at random, by about
// the rounding of x times the root of the number of rounds. In float that is seen; dsgt counts exactly.
// Per round, in vectors, one pass, with w neighbours: reads x, r, w x_j, g;  writes x, r.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/detail/mixing_core.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/backend/counting_lanes.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/node.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/synchrony/rounds.hpp>

namespace rubato {

namespace detail {

template<class T, class Rule>
struct extra_kernel {
  T const* x;
  T* x_new;
  pull_terms<T> pull;
  T* r;
  T const* g;
  Rule step;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const x_i = at.load(x);
    auto const p = pulled(at, pull, x_i);
    auto const y = step(at, p, at.load(g));  // (EX.Y)
    store_model(at, x_new, (x_i - at.load(r)) + y);  // (EX.X)
    at.store(r, y - T(0.5) * (p - x_i));  // (EX.R)
  }
  static constexpr bool raises = false;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

}  // namespace detail

/// Converges to the optimum of the sum even if data differ between nodes, on an undirected graph, and sends as much as
/// d_psgd. Needs lossless, ordered links and every node; the slowest node sets the pace. Memory in vectors: x, r, g,
/// one per neighbour.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step>
class extra : public detail::mixing_core<Backend, synchrony::rounds, detail::step_options<Step>> {
  using core = detail::mixing_core<Backend, synchrony::rounds, detail::step_options<Step>>;
  static_assert(step::linear<Step>,
                "EXTRA needs a step that is linear in the gradients (step::sgd, step::momentum): what it adds up over "
                "rounds ends where the steps of all nodes cancel, and with other rules that is not the optimum");

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "EXTRA"; }
  static constexpr bool takes_negative_weights = true;  ///< as d_psgd

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step, and unless W is symmetric
  /// (gossip_plan makes no other).
  extra(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o}, r_{backend::copied(this->backend_, this->x(), this->size())} {
    if (!mixing::pulls_symmetrically(plan, self))
      throw config_error("EXTRA averages models with a symmetric W, and that of node " +
                         std::to_string(to_index(self)) + " is not: make the plan of mixing::gossip_plan(W)");
  }

  void start(instant now, outbox& out) {
    post_model(now, out);
    this->ask_gradient(out);
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    g_ = std::move(g.value);
    go_on(now, out);
  }
  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.channel != channel_id::model) return;
    this->models_.take(p, this->requests_, iteration{this->iterations_}, out);
    go_on(now, out);
  }
  /// A round builds on the one before it, in which the same nodes took part.
  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    if (change.what != neighbour_change::edge::resumes || !at_begin())
      return core::refuse_change(
          change, "a run of EXTRA, whose rounds build on former rounds of all nodes; use dsgt where nodes may leave",
          out);
    this->models_.change(change, iteration{this->iterations_});
    this->models_.post_to(change.peer, this->x_, this->posting(channel_id::model, now, out));
  }

  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    return round_state{this->iterations_, at_begin(), 1, 1};
  }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("r", self.r_), visit("gradient of the round", self.g_);
  }

 private:
  /// The model of this round has been posted, and nothing of the round has been used.
  [[nodiscard]] auto at_begin() const -> bool { return this->pending_.under_way(); }

  void post_model(instant now, outbox& out) {
    this->models_.post(this->x_, this->posting(channel_id::model, now, out));
  }

  /// Completes the round if its gradient and all its models are there.
  void go_on(instant now, outbox& out) {
    if (!g_ || out.failure ||
        !core::take_due_messages(this->models_.in(), channel_id::model, this->iterations_ + 1, out))
      return;
    auto const g = std::exchange(g_, {});
    auto const step = this->next_rule_along(now, {core::values_of(g)});
    auto const done = this->sweep(g, out, [&](scalar* x_new, auto const& pull) {
      return detail::extra_kernel<scalar, std::remove_cvref_t<decltype(step)>>{
          this->x(), x_new, pull, r_.data(), core::values_of(g), step};
    });
    if (!done) return;
    this->models_.record_ages(now);
    ++this->iterations_;
    post_model(now, out);
    this->ask_gradient(out);
  }

  writable_buffer<scalar> r_;
  shared_buffer g_;  // the gradient of this round, once it has come
};

}  // namespace rubato
