// SPDX-License-Identifier: MIT
// What nodes make of the mean of their local work D = mean(s - x_i), s being the model that they began at: the outer
// step  s <- s - rate R(D)  along the rule R, a step policy:
//   mean           s - D                         the mean of the models, at rate 1
//   slow_momentum  m <- beta m + D;  s - rate m            SlowMo
//   nesterov       m <- beta m + D;  s - rate (D + beta m) DiLoCo
// One of your own is a struct of two members (here Adam on D, as FedOpt has it):
//   struct adaptive {
//     double rate = 0.01;
//     rubato::step::adam rule{};
//   };
#pragma once

#include <concepts>
#include <string_view>

#include <rubato/server/concepts.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato::outer {

/// Settings: a rate, which stands for gamma in the rule, and the rule, a step policy that needs no norm. Options are
/// listed in visit_options. Models: mean, slow_momentum, nesterov, pair_momentum.
template<class O, class Backend>
concept policy = std::copyable<O> && std::default_initializable<O> && requires(O const& o) {
  { o.rate } -> std::convertible_to<double>;
  requires step::policy<decltype(O::rule), Backend> && !step::needs_norm<decltype(O::rule), Backend>;
};

/// Checked where a node uses it.
template<class O, class Backend>
consteval auto check_outer() -> bool {
  static_assert(
      policy<O, Backend>,
      "an outer step has a rate and a rule, and the rule is a step policy that needs no norm of its direction");
  return true;
}

/// Throws config_error unless the rate is a positive number.
template<class O>
void check_rate(O const& o) {
  server::check_outer_rate(o.rate);
}

namespace detail {
void visit_outer(auto& self, auto&& visit) {
  visit("rate", self.rate, "the outer step, in terms of the mean local work");
  visit("rule", self.rule, "how the outer step is made of the mean local work");
}
}  // namespace detail

/// Policy. At rate 1 the nodes go on at the mean of their models. No memory of its own.
struct mean {
  static constexpr auto name() -> std::string_view { return "mean"; }
  static void visit_options(auto& self, auto&& visit) { detail::visit_outer(self, visit); }
  double rate = 1;
  step::sgd rule{};
};

/// Policy: heavy-ball momentum between merges, one vector a node.
struct slow_momentum {
  static constexpr auto name() -> std::string_view { return "slow momentum"; }
  static void visit_options(auto& self, auto&& visit) { detail::visit_outer(self, visit); }
  double rate = 1;
  step::momentum rule{0.5};
};

/// Policy: Nesterov's momentum between merges, one vector a node.
struct nesterov {
  static constexpr auto name() -> std::string_view { return "nesterov"; }
  static void visit_options(auto& self, auto&& visit) { detail::visit_outer(self, visit); }
  double rate = 0.7;
  step::momentum rule{0.9, step::momentum_form::nesterov};
};

/// Policy: slow_momentum with the values of NoLoCo, where the rate is also that at which nodes approach each other.
struct pair_momentum {
  static constexpr auto name() -> std::string_view { return "pair momentum"; }
  static void visit_options(auto& self, auto&& visit) { detail::visit_outer(self, visit); }
  double rate = 0.7;
  step::momentum rule{0.3};
};

}  // namespace rubato::outer
