// SPDX-License-Identifier: MIT
// AD-PSGD with the roles of its paper, node i.   [A] = Lian et al., arXiv 1710.06952.   x, s, m in R^d; x^ = the model
// at which the gradient under way was requested. Every edge joins an active and a passive node:
//   (BP.G)  x <- x - gamma g_i(x^)               when the gradient arrives
//   (BP.Q)  active: s = x, sent to a neighbour   with every request for a gradient, unless one is unanswered
//   (BP.M)  passive, asked with s:  m = x + (s - x) / 2;  answer m;  x <- m       the passive side sets the mean
//   (BP.R)  active, answered with m:  x <- m if x is still s, else x <- x + (m - s)
// Both ends have the same mean, to the bit, if no gradient came between. A gradient that did come stays: in (BP.R) x is
// not replaced by m then.
// invariant: sum_i x_i + sum over answers under way of (m - s) changes by (BP.G) alone, up to the rounding of each sum
//                                                                         tests/unit/algorithm/bipartite_ad_psgd.cpp
// At rest sum_i r_i grad f_i = 0 as for ad_psgd: r_i = gradients of node i per second, and fast nodes weigh more.
// The larger side of the graph is active (mixing/sides.hpp); a graph with a cycle of odd length is refused. The
// neighbour in (BP.Q) is chosen by a policy (algorithm/partner.hpp).
// differs from [A]: the protocol is ours: nothing is locked, and an active node computes on while its question is under
// way. Passive nodes never wait, so there is no deadlock. [A] leaves open what travels: here a model and a mean.
// Per local iteration, in vectors: (BP.G) reads x, g; (BP.M) reads x, s; (BP.R) reads m, or x, m, s; each but
// the former writes x once. Sent: 1 by active nodes, and 1 for each answer by passive ones, by reference.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <rubato/algorithm/detail/pairwise_core.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/mixing/sides.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

/// Nobody waits for anybody. Needs lossless, ordered links and a bipartite graph. A neighbour whose edge closes, or
/// that has ended its run, is no longer asked; an average under way on the edge is given up, which moves the sum by
/// m - s if only the passive end took its part. A node without neighbours goes on alone.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Partner>
class bipartite_ad_psgd : public detail::pairwise_core<Backend, detail::pairwise_options<Step, Partner>, Partner> {
  using core = detail::pairwise_core<Backend, detail::pairwise_options<Step, Partner>, Partner>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "AD-PSGD, bipartite"; }
  /// Its networks are bipartite.
  static constexpr bool needs_two_sides = true;

  /// Any connected bipartite network, with its edges taken both ways. Throws config_error naming a cycle of odd length.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::with_sides(mixing::gossip_plan(network));
  }
  /// The same for rounds whose union is bipartite; as for ad_psgd, who asks decides on the round.
  [[nodiscard]] static auto make_plan(mixing::schedule rounds) -> mixing::plan {
    return mixing::with_sides(mixing::gossip_plan(std::move(rounds)));
  }
  static constexpr bool takes_changing_graphs = true, takes_graphs_by_time = true;

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step, for partners that never
  /// bring all models together, and for a plan without two sides.
  bipartite_ad_psgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o, active_in{&plan}}, active_{active_in{&plan}(self)} {
    for (auto const& e : plan.nodes[to_index(self)].pull_from) {
      if (active_in{&plan}(e.peer) != active_) continue;
      throw config_error{"nodes " + std::to_string(to_index(self)) + " and " + std::to_string(to_index(e.peer)) +
                         " are neighbours and both " + (active_ ? "active" : "passive") +
                         ": make the plan with mixing::with_sides"};
    }
  }

  void start(instant now, outbox& out) { begin(now, out); }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    ++this->iterations_;
    if (!this->step_along(now, core::values_of(g.value)))
      out.failure = detail::blame{this->self_}.gradient(g.value).sentence();  // (BP.G)
    begin(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto const [from, s] = this->hear(now, p, out);
    if (from == nullptr) return;
    if (!s && active_) {
      out.failure = fault{detail::text_of_message(p, to_count(p.numbers[0])) + " is a question to node " +
                          std::to_string(to_index(this->self_)) + ", which is active and answers nobody"};
    } else if (!s) {
      this->approach(p, this->x_, 0.5, out);  // (BP.M)
      if (!out.failure) this->post_model(*from, p.numbers[0], now, out);
    } else if (this->x_ == s) {
      this->take_over(p, out);  // (BP.R)
    } else {
      this->approach(p, s, 1, out);  // (BP.R)
    }
  }

 private:
  struct active_in {
    mixing::plan const* plan;
    auto operator()(node_id i) const -> bool { return plan->nodes[to_index(i)].part != mixing::role::passive; }
  };
  void begin(instant now, outbox& out) {
    this->ask_gradient(out);
    if (active_ && this->may_ask()) this->ask(now, out);  // (BP.Q)
  }

  bool active_;
};

}  // namespace rubato
