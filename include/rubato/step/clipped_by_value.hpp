// SPDX-License-Identifier: MIT
// Any step along a direction whose values are limited:   d_k <- min(max(d_k, -c), c)
// Fused into the pass that moves x, so it costs no memory traffic. What is clipped is the direction of the step. With
// gradient tracking that is the tracked gradient, which ends at 0: so the limit stays the optimum, and the law of
// tracking never sees the clipping. Gradients themselves are clipped by problem::clipped, and then the limit moves.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>
#include <rubato/core/visit_options.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato::step {

/// Policy, see step::sgd. Memory and passes: those of Rule.
template<class Rule = sgd>
class clipped_by_value {
 public:
  static auto name() -> std::string { return std::string{name_of_type<Rule>()} + " clipped by value"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("rule", self.rule_, "the step along what is clipped"),
        visit("limit", self.limit_, "the largest absolute value of a direction");
  }

  /// `limit`: c. Throws config_error unless it is a positive number.
  explicit clipped_by_value(Rule rule = Rule{}, double limit = 1) : rule_{std::move(rule)}, limit_{limit} { check(); }
  void check() const {
    if (!(limit_ > 0) || !std::isfinite(limit_)) {
      throw config_error{"the limit of clipping by value must be a positive number, not " + shortest(limit_)};
    }
  }

  template<class Backend>
  class state {
    using inner = typename Rule::template state<Backend>;

   public:
    using scalar = typename Backend::scalar;

    struct rule {
      typename inner::rule step{};
      scalar limit{};
      [[nodiscard]] static constexpr auto bytes_per_value() -> std::size_t { return inner::rule::bytes_per_value(); }
      [[nodiscard]] auto from(std::size_t begin) const -> rule { return {step.from(begin), limit}; }
      void decay_at(double share)
        requires requires { step.decay_at(share); }
      {
        step.decay_at(share);
      }
      template<class At, class V>
      RUBATO_HOST_DEVICE auto operator()(At& at, V x, V direction) const -> V {
        return step(at, x, at.clamp(direction, limit));
      }
    };

    static void visit_state(auto& self, auto&& visit) { visit("rule", self.inner_); }
    state(clipped_by_value const& its, Backend& backend, std::size_t values)
        : limit_{static_cast<scalar>(its.limit_)}, inner_{its.rule_, backend, values} {}
    [[nodiscard]] auto next(double gamma) -> rule
      requires(!needs_norm<Rule, Backend>)
    {
      return {inner_.next(gamma), limit_};
    }
    [[nodiscard]] auto present(double gamma) -> rule { return {present_rule(inner_, gamma), limit_}; }

   private:
    scalar limit_;
    inner inner_;
  };

 private:
  Rule rule_;
  double limit_;
};

}  // namespace rubato::step
