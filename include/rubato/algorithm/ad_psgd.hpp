// SPDX-License-Identifier: MIT
// Asynchronous decentralised SGD by pairwise averaging, node i.   [A] = AD-PSGD, Lian et al., arXiv 1710.06952.
// shapes: x, a, b in R^d;   x^ = the model at which the gradient under way was requested
//   (AD.G)  x <- x - gamma g_i(x^)                       when the gradient arrives
//   (AD.A)  a = x, sent to a neighbour drawn at random   with every request for a gradient, unless one is unanswered
//   (AD.P)  asked with a:     answer b = x;  x <- x + (a - b) / 2
//   (AD.I)  answered with b:  x <- x + (b - a) / 2       a as it was sent, whatever x is by now
// invariant: sum_i x_i + sum over answers under way of (b - a) / 2 changes by (AD.G) alone, up to rounding
//   (a - b and b - a differ only in sign, so nothing is lost but the rounding of each sum)
//                                                                                 tests/unit/algorithm/ad_psgd.cpp
// At rest sum_i r_i grad f_i = 0, r_i = gradients of node i per second: a fast node weighs more. r_fast gives sum_i
// grad f_i = 0 whatever the speeds.
// The neighbour in (AD.A) is chosen by a policy (algorithm/partner.hpp); the invariant holds for each.
// Where the graph changes, the neighbour in (AD.A) is one of the asker's present round: of its iteration, or of the
// time. Exchanges are symmetric in themselves and nobody waits, so nodes need not agree on a round.
// differs from [A]: each end averages at its own time, by differences, so there is no lock, nothing waits, and any
// graph will do. In [A] it is a bipartite one, whose active side asks and whose passive side answers: that form is
// bipartite_ad_psgd.hpp.
// Per local iteration, in vectors: (AD.G) reads x, g; an average that this node asked for reads x, a, b, one that it
// answers reads x, a; each writes x once. Sent: 1, and 1 for each answer. A model is
// posted by reference, without a copy.
#pragma once

#include <string_view>
#include <utility>

#include <rubato/algorithm/detail/pairwise_core.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

/// Nobody waits for anybody. Needs lossless, ordered links: a lost answer would lose half a difference. A neighbour
/// whose edge closes, or that has ended its run, is no longer asked; an average under way on the edge is given up,
/// which moves the sum by half a difference if only the other end took its part. A node without neighbours goes on
/// alone.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Partner>
class ad_psgd : public detail::pairwise_core<Backend, detail::pairwise_options<Step, Partner>, Partner> {
  using core = detail::pairwise_core<Backend, detail::pairwise_options<Step, Partner>, Partner>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "AD-PSGD"; }
  static constexpr bool takes_changing_graphs = true, takes_graphs_by_time = true;
  using core::make_plan;
  [[nodiscard]] static auto make_plan(mixing::schedule rounds) -> mixing::plan {
    return mixing::gossip_plan(std::move(rounds));
  }

  ad_psgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o, [](node_id) { return true; }} {}

  void start(instant now, outbox& out) { begin(now, out); }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    ++this->iterations_;
    if (!this->step_along(now, core::values_of(g.value)))
      out.failure = detail::blame{this->self_}.gradient(g.value).sentence();  // (AD.G)
    begin(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto const [from, asked_with] = this->hear(now, p, out);
    if (from == nullptr) return;
    if (asked_with) {
      this->approach(p, asked_with, 0.5, out);  // (AD.I)
      return;
    }
    this->post_model(*from, p.numbers[0], now, out);
    this->approach(p, this->x_, 0.5, out);  // (AD.P)
  }

 private:
  void begin(instant now, outbox& out) {
    this->ask_gradient(out);
    if (this->may_ask()) this->ask(now, out);  // (AD.A)
  }
};

}  // namespace rubato
