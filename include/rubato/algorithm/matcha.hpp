// SPDX-License-Identifier: MIT
// MATCHA, node i.   [M] = Wang, Sahu, Yang, Joshi, Kar, arXiv 1905.09435.   x, g in R^d
// The links of the network lie in m matchings with Laplacians L_j. Round k, from 1, with g (or a batch) at x:
//   x <- x - gamma g                     (DA.D) of d_psgd_atc.hpp, whose rounds these are
//   x <- x - alpha sum_j b_j (L_j X)_i   (DA.W) with W(k) = I - alpha sum_j b_j L_j, b_j drawn by the key (seed, k, j)
// P(b_j = 1) = p_j, sum_j p_j <= budget * m. p and alpha are made from network and budget
// (mixing/communication_budget.hpp). All nodes draw the same b_j without talking, and a link that is not drawn carries
// nothing. Between processes all must be builds for one instruction set: p and alpha are compared to the last bit. With
// budget 1 this is d_psgd_atc with W = I - 2 L / (lambda_2 + lambda_n). W(k) may have negative entries on
// its diagonal.
// With contribution::finished (non_blocking_matcha.hpp) a batch ends as soon as a neighbour of the round has finished
// its own. Nobody hears of a node that is alone in its round, and that node computes its whole batch.
// differs from [M]: matchings are by Misra and Gries, p and alpha without a semidefinite program.
// Per round, in vectors, two passes: as d_psgd_atc, with the links of the round.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/contribution/all.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/communication_budget.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

template<class Step, class Contribution>
struct matcha_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  double budget = 0.5;  ///< in (0, 1]: the share of the links that a round uses on average
  Step step_rule{};
  Contribution contribution{};
  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("budget", self.budget, "share of the links that a round uses on average, above 0 and up to 1");
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("contribution", self.contribution, "which part of a batch counts");
  }
  /// Throws config_error unless the budget lies in (0, 1].
  void check() const { mixing::detail::require_budget(budget); }
};

}  // namespace detail

/// As d_psgd_atc, but each round uses a random part of the links, those that matter most more often.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Contribution>
class matcha : public detail::d_psgd_atc_core<Backend, Step, Contribution, detail::matcha_options<Step, Contribution>> {
  using core = detail::d_psgd_atc_core<Backend, Step, Contribution, detail::matcha_options<Step, Contribution>>;

 public:
  using typename core::options;

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step or budget.
  matcha(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), plan, self, std::move(x0), o} {
    o.check();
  }

  static constexpr auto name() -> std::string_view { return "MATCHA"; }
  static constexpr bool pulls_models = true;

  /// The matchings of the network and how often each is used.
  [[nodiscard]] static auto make_plan(topology::pair const& network, options const& o = {}) -> mixing::plan {
    return mixing::matcha_plan(network, o.budget, o.seed);
  }
};

}  // namespace rubato
