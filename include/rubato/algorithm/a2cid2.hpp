// SPDX-License-Identifier: MIT
// A2CiD2: averages in pairs with continuous momentum, node i.   [N] = Nabli, Belilovsky, Oyallon, arXiv 2306.08289.
// shapes: x, y, a, b in R^d, y the second model (x~ in [N]);  x^ = the model at which the gradient was requested
//   (AC.M)  x, y <- x - c (x - y), y + c (x - y),  c = (1 - exp(-2 eta s)) / 2       before anything else happens
//           s: since this was done last, in units of the time from one question of this node to the next
//   (AC.G)  x <- x - gamma g_i(x^),  y <- y - gamma g_i(x^)     the same step, when the gradient arrives
//   (AC.A)  a = x, sent to a neighbour           with every request for a gradient, unless one is unanswered
//   (AC.P)  asked with a:     answer b = x;  x <- x + (a - b) / 2,  y <- y + alpha~ (a - b)
//   (AC.I)  answered with b:  x <- x + (b - a) / 2,  y <- y + alpha~ (b - a)         a as it was sent
// invariants: (AC.M) keeps x + y at each node; and sum_i x_i, sum_i y_i with the parts of (AC.I) under way are changed
//   by (AC.M) and (AC.G) alone, up to rounding                                  tests/unit/algorithm/a2cid2.cpp
// Both ends post x after (AC.M) and apply one difference of what was posted: in the public code of [N] an end mixes
// after it has posted, so the ends apply different ones and the sum drifts.
// With eta = 0, alpha~ = 1/2 and y = x it is ad_psgd. eta and alpha~ are made from the graph
// (mixing/pair_momentum.hpp): on graphs of small gap models come together in the square root of the time.
// At rest sum_i r_i grad f_i = 0 as for ad_psgd: r_i = gradients of node i per second, and fast nodes weigh more.
// differs from [N]: there an exchange takes no time; here each end applies the old difference when it comes to know it,
// as ad_psgd does, so nothing is locked and nobody waits. There time is counted in gradients, of which a given number
// goes to an exchange; here in the node's own questions (their mean interval, in which the newest counts a tenth). That
// is the same while answers come within a gradient. A question may be as old as an interval when its answer comes, so
// the constants are made for differences that are half an interval old; with those of [N] the models of a ring of 24 do
// not come together if links are as slow as a gradient.
// Per local iteration, in vectors: (AC.M) with (AC.G) reads x, y, g; an average that this node asked for reads x, y, a,
// b, one that it answers reads x, y twice and a; each writes x, y once a pass. Sent: as ad_psgd. Memory: one more.
#pragma once

#include <chrono>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/pairwise_core.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/pair_momentum.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

/// (AC.M) and, with a gradient, (AC.G): reads 3n, writes 2n.
template<class T, class Rule>
struct mix_and_descend_kernel {
  static constexpr bool raises = false;
  T const* x;
  T* x_new;
  T* y;
  T const* g;
  T c;
  Rule rule;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const before = at.load(x);
    auto const moved = c * (before - at.load(y));
    auto const mixed = before - moved;  // (AC.M)
    auto const fresh = rule(at, mixed, at.load(g));
    at.expect_finite(fresh);
    at.store(x_new, fresh);
    at.store(y, at.load(y) + moved + (fresh - mixed));  // (AC.G)
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 5 * sizeof(T) + Rule::bytes_per_value(); }
};

/// (AC.M) and, unless `theirs` is null, a share of a difference: reads 4n, writes 2n.
template<class T>
struct mix_and_approach_kernel {
  static constexpr bool raises = false;
  T const* x;
  T* x_new;
  T* y;
  T const* theirs;
  T const* mine;
  T c;
  T share;  // of y
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const moved = c * (at.load(x) - at.load(y));
    auto fresh = at.load(x) - moved;
    auto second = at.load(y) + moved;  // (AC.M)
    if (theirs != nullptr) {
      auto const difference = at.load(theirs) - at.load(mine);
      fresh = fresh + T(0.5) * difference;
      second = second + share * difference;
      at.expect_finite(second);
    }
    at.expect_finite(fresh);
    at.store(x_new, fresh);
    at.store(y, second);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 6 * sizeof(T); }
};

}  // namespace detail

/// Nobody waits for anybody. Needs lossless, ordered links: a lost answer would lose half a difference. A neighbour
/// whose edge closes, or that has ended its run, is no longer asked; an average under way on the edge is given up. A
/// node without neighbours goes on alone.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Partner>
class a2cid2 : public detail::pairwise_core<Backend, detail::pairwise_options<Step, Partner>, Partner> {
  using core = detail::pairwise_core<Backend, detail::pairwise_options<Step, Partner>, Partner>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "A2CiD2"; }

  /// Any connected network of up to 512 nodes, with its edges taken both ways.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::accelerated(mixing::gossip_plan(network));
  }

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step, for partners that never
  /// bring all models together, and for a plan without the constants of its graph or with impossible ones.
  a2cid2(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o, [](node_id) { return true; }},
        second_{backend::copied(core::backend_, core::x(), core::size())} {
    if (!plan.momentum)
      throw config_error{"A2CiD2 needs the constants of its graph: make the plan with mixing::accelerated"};
    momentum_ = *plan.momentum;
    for (auto const v : {momentum_.rate, momentum_.share})
      if (!(v >= 0 && std::isfinite(v)))
        throw config_error{"the constants of A2CiD2 must be finite and not negative, and one is " + shortest(v)};
  }

  void start(instant now, outbox& out) {
    mixed_ = now;
    begin(now, out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    ++this->iterations_;
    auto const rule = this->next_rule_along(now, {core::values_of(g.value)});
    auto fresh = this->backend_.template allocate<scalar>(this->size());
    auto const kernel = detail::mix_and_descend_kernel<scalar, std::remove_cvref_t<decltype(rule)>>{
        this->x(), fresh.data(), second_.data(), core::values_of(g.value), mix_until(now), rule};
    auto const raised = this->backend_.sweep({0, this->size()}, kernel);
    this->x_ = std::move(fresh).publish();
    if ((raised & backend::not_finite) != 0) out.failure = detail::blame{this->self_}.gradient(g.value).sentence();
    begin(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto const [from, asked_with] = this->hear(now, p, out);
    if (from == nullptr) return;
    auto const c = mix_until(now);
    if (asked_with) return move(c, &p, asked_with, out);  // (AC.I)
    move(c, nullptr, {}, out);
    this->post_model(*from, p.numbers[0], now, out);
    move(0, &p, this->x_, out);  // (AC.P)
  }

  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("second", self.second_), visit("mixed", self.mixed_), visit("asked at", self.asked_);
    visit("interval", self.interval_);
  }
  /// y, as it was after the last event.
  [[nodiscard]] auto second() const -> writable_buffer<scalar> const& { return second_; }

 private:
  void begin(instant now, outbox& out) {
    this->ask_gradient(out);
    if (!this->may_ask()) return;
    this->ask(now, out);  // (AC.A)
    if (this->may_ask()) return;  // nobody is there
    auto const last = std::exchange(asked_, now);
    if (!last || !(*last < now)) return;
    auto const seconds = std::chrono::duration<double>{now - *last}.count();
    interval_ = interval_ > 0 ? 0.9 * interval_ + 0.1 * seconds : seconds;
  }
  /// c of (AC.M). Before the second question there is no unit of time.
  [[nodiscard]] auto mix_until(instant now) -> scalar {
    auto const since = std::chrono::duration<double>{now - std::exchange(mixed_, now)}.count();
    auto const s = interval_ > 0 && since > 0 ? since / interval_ : 0.0;
    return static_cast<scalar>(-std::expm1(-2 * momentum_.rate * s) / 2);
  }
  void move(scalar c, patch const* p, shared_buffer const& mine, outbox& out) {
    auto fresh = this->backend_.template allocate<scalar>(this->size());
    auto const kernel = detail::mix_and_approach_kernel<scalar>{this->x(),
                                                                fresh.data(),
                                                                second_.data(),
                                                                p == nullptr ? nullptr : core::values_of(p->body),
                                                                p == nullptr ? nullptr : core::values_of(mine),
                                                                c,
                                                                static_cast<scalar>(momentum_.share)};
    auto const raised = this->backend_.sweep({0, this->size()}, kernel);
    this->x_ = std::move(fresh).publish();
    if ((raised & backend::not_finite) == 0) return;
    auto suspects = detail::blame{this->self_};
    if (p != nullptr) suspects.message(p->from, p->channel, p->body);
    out.failure = suspects.sentence();
  }

  mixing::pair_momentum momentum_{};
  writable_buffer<scalar> second_;  // y
  instant mixed_{};  // when (AC.M) was done last
  std::optional<instant> asked_{};  // when the last question was
  double interval_ = 0;  // seconds from one question to the next; 0: not known yet
};

}  // namespace rubato
