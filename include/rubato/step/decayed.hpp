// SPDX-License-Identifier: MIT
// Any step with decoupled weight decay; adamw is Adam with it.      Loshchilov and Hutter, arXiv 1711.05101
//   x <- x - gamma S(d) - gamma lambda x        x on the right is the model before the step
// The decay is a part of the step and never of a gradient: an average of models does not see it, and neither does the
// law of gradient tracking. With tracking, node i takes its share of it, see algorithm/detail/shared_step.hpp; push-sum
// decays along the de-biased model. The limit of decayed<sgd> is the optimum of sum_i f_i + n lambda |x|^2 / 2.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>
#include <rubato/core/visit_options.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/step/concepts.hpp>

namespace rubato::step {

/// Policy, see step::sgd. Memory and passes: those of Rule.
template<class Rule>
class decayed {
 public:
  static auto name() -> std::string { return std::string{name_of_type<Rule>()} + " with decay"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("rule", self.rule_, "the step beside the decay"),
        visit("decay", self.decay_, "share of a model that a step of 1 takes off it");
  }

  /// `decay`: lambda. Throws config_error unless it is a number of at least 0.
  explicit decayed(Rule rule = Rule{}, double decay = 0.01) : rule_{std::move(rule)}, decay_{decay} { check(); }
  void check() const {
    if (!(decay_ >= 0) || !std::isfinite(decay_)) {
      throw config_error{"the decay of weights must be a number of at least 0, not " + shortest(decay_)};
    }
  }

  template<class Backend>
  class state {
    using inner = typename Rule::template state<Backend>;

   public:
    using scalar = typename Backend::scalar;

    struct rule {
      typename inner::rule step{};
      scalar shrink{};  // gamma lambda
      [[nodiscard]] static constexpr auto bytes_per_value() -> std::size_t { return inner::rule::bytes_per_value(); }
      [[nodiscard]] auto from(std::size_t begin) const -> rule { return {step.from(begin), shrink}; }
      /// The model that decays is `share` times the x that moves.
      void decay_at(double share) { shrink = static_cast<scalar>(static_cast<double>(shrink) * share); }
      template<class At, class V>
      RUBATO_HOST_DEVICE auto operator()(At& at, V x, V direction) const -> V {
        return step(at, x, direction) - shrink * x;
      }
    };

    static void visit_state(auto& self, auto&& visit) { visit("rule", self.inner_); }
    state(decayed const& its, Backend& backend, std::size_t values)
        : decay_{its.decay_}, inner_{its.rule_, backend, values} {}
    [[nodiscard]] auto next(double gamma) -> rule
      requires(!needs_norm<Rule, Backend>)
    {
      return with(inner_.next(gamma), gamma);
    }
    [[nodiscard]] auto next(double gamma, double norm) -> rule
      requires needs_norm<Rule, Backend>
    {
      return with(inner_.next(gamma, norm), gamma);
    }
    [[nodiscard]] auto present(double gamma) -> rule { return with(present_rule(inner_, gamma), gamma); }

   private:
    [[nodiscard]] auto with(typename inner::rule step, double gamma) const -> rule {
      return {step, static_cast<scalar>(gamma * decay_)};
    }
    double decay_;
    inner inner_;
  };

 private:
  Rule rule_;
  double decay_;
};

/// AdamW. step::adamw{step::adam{{.beta2 = 0.99}}, 0.1}
using adamw = decayed<adam>;

}  // namespace rubato::step
