// SPDX-License-Identifier: MIT
// NoLoCo: local steps whose merge is with one partner at a time, and an outer step with momentum; node i of n. No
// all-reduce. x, g, f, y in R^d;   f = the slow model, at which a round began: each node has its own
// Round r, from 1:
//   (NL.S)  x <- x - gamma g(x)                k times, from x = f;  x is posted as model r
//   (NL.M)  y = w_ii x + sum_j w_ij x_j        the mean with the partner of the round; waits for its model
//   (NL.O)  f <- f - rate R(f - y),  x <- f    with the default rule: m <- beta m + (f - y);  f <- f - rate m
// The partners of a round are one matching of the network's links, drawn by the key (seed, r) with equal chances; who
// has no partner goes on with y = x. W is symmetric and doubly stochastic in every round, and a plan may have any such
// graph, one that stays or one that changes, in place of pairs: gossip with local steps and an outer step (GASLoC,
// arXiv 2606.11081, is of that kind).
// Source: Kolehmainen et al., arXiv 2506.10911, and its public code, in which alpha = gamma = rate: then
//   alpha (mean drift) + gamma (mean f - f) = rate (y - f), so one message carries both.
// invariant: the mean of f moves by the rule along the mean of f - x, as in slowmo    tests/unit/algorithm/noloco.cpp
// limit: off the optimum as d_psgd, and by the local steps as local_sgd. With rate 1, a plain rule and k = 1 it is
// d_psgd_atc.
// Per round, in vectors: k local steps read x, g and write x; a merge reads x, f, w x_j and writes f, one pass.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/d_psgd_core.hpp>
#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/outer.hpp>
#include <rubato/algorithm/rhythm.hpp>
#include <rubato/backend/counting_lanes.hpp>
#include <rubato/contribution/all.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/matchings.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

template<class Outer, class Step>
struct noloco_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  rhythm::steady rhythm{};
  Outer outer{};
  Step step_rule{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("rhythm", self.rhythm, "when nodes merge");
    visit("outer", self.outer, "what is made of the mean local work");
    visit("step rule", self.step_rule, "how a local step is made of a direction");
  }
};

template<class T, class Rule>
struct noloco_kernel {
  T const* x;
  T const* begun_at;
  T* x_new;
  pull_terms<T> pull;
  Rule step;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const f = at.load(begun_at);
    auto const y = pulled(at, pull, at.load(x));  // (NL.M)
    store_model(at, x_new, step(at, f, f - y));  // (NL.O)
  }
  static constexpr bool raises = false;
  static constexpr bool fits_short_lanes = true;
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }
};

}  // namespace detail

/// Needs lossless, ordered links; a node waits for its partner only, so slow nodes delay others by and by. Iterations
/// are rounds. `.rhythm.local_steps`: k. Memory in vectors: x, f, g, what the rules need, one per in-edge of the round.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Outer, class Step>
class noloco : public detail::d_psgd_core<Backend, Step, contribution::all, detail::noloco_options<Outer, Step>> {
  using core = detail::d_psgd_core<Backend, Step, contribution::all, detail::noloco_options<Outer, Step>>;
  using outer_state = typename decltype(Outer::rule)::template state<Backend>;
  static_assert(outer::check_outer<Outer, Backend>());

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "NoLoCo"; }
  static constexpr bool pulls_models = true;
  static constexpr std::array<std::string_view, 1> own_options{"step"};

  /// Random pairs of neighbours. Throws config_error naming a node that is not connected to node 0.
  [[nodiscard]] static auto make_plan(topology::pair const& network, options const& o = {}) -> mixing::plan {
    auto made = mixing::gossip_plan(network);  // its refusal of a graph in two parts
    auto const all = topology::matchings(network.underlying());
    if (all.empty()) return made;
    std::vector<mixing::matrix> parts;
    for (auto const& links : all) {
      std::vector<mixing::entry> halves;
      for (auto const& e : links) halves.push_back({e.from, e.to, 0.5});
      parts.push_back(mixing::from_pairs(network.nodes(), halves, "pairs of a matching"));
    }
    std::vector<double> const chances(all.size(), 1.0 / static_cast<double>(all.size()));
    return mixing::gossip_plan(
        mixing::schedule::one_of(std::move(parts), chances, o.seed, "matchings of " + network.name()));
  }
  [[nodiscard]] static auto make_plan(mixing::schedule rounds) -> mixing::plan {
    return mixing::gossip_plan(std::move(rounds));
  }
  static void resolve_options(options& o, block_partition const&, std::span<double const>, std::size_t) {
    o.rhythm.check();
    outer::check_rate(o.outer);
  }

  noloco(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o},
        outer_{core::options_->outer.rule, core::backend_, core::size()},
        begun_at_{core::x_} {}

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    if (!this->step_along(now, core::values_of(g.value))) {  // (NL.S)
      out.failure = detail::blame{this->self_}.gradient(g.value).sentence();
      return;
    }
    if (++local_steps_ < this->options_->rhythm.local_steps) return this->ask_gradient(out);
    local_steps_ = 0;
    this->computes_ = false;
    this->post_model(now, out);
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
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("outer", self.outer_), visit("begun at", self.begun_at_), visit("local steps", self.local_steps_);
  }

 private:
  /// Ends the round, if the models that it needs are there.
  void go_on(instant now, outbox& out) {
    if (out.failure || this->computes_ || !this->models_are_there(out)) return;
    using rule = typename outer_state::rule;
    auto const step = outer_.next(this->options_->outer.rate);
    auto const done = this->sweep({}, out, [&](scalar* x_new, auto const& pull) {
      return detail::noloco_kernel<scalar, rule>{this->x(), core::values_of(begun_at_), x_new, pull, step};
    });
    if (done) this->models_.record_ages(now);
    begun_at_ = this->x_;
    ++this->iterations_;
    this->computes_ = true;
    this->has_sent_ = false;
    this->ask_gradient(out);
  }

  outer_state outer_;
  shared_buffer begun_at_;  // f
  std::uint64_t local_steps_ = 0;  // of this round
};

}  // namespace rubato
