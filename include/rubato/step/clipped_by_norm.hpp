// SPDX-License-Identifier: MIT
// Any step along a direction of limited length:   d <- d min(1, c / |d|_2)
// Costs one more pass that reads d (a dot product, for which a device is waited), before the pass that moves x. The
// norm is that of the whole vector at its node, however it is sent in blocks. So it needs the whole direction before
// the pass: an algorithm that makes it inside the pass (gradient tracking) or receives it in chunks (ring all-reduce)
// refuses this step when it is compiled. There, clip by value, or clip gradients (problem::clipped).
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>

#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>
#include <rubato/core/visit_options.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato::step {

/// What a vector of this norm is multiplied by, so that its norm is at most `limit`; NaN if the norm is not finite.
[[nodiscard]] inline auto clipping_factor(double norm, double limit) -> double {
  if (!std::isfinite(norm)) return std::numeric_limits<double>::quiet_NaN();
  return norm > limit ? limit / norm : 1.0;
}

/// Policy, see step::sgd. Memory: that of Rule. A direction whose norm is not finite ends the run.
template<class Rule = sgd>
class clipped_by_norm {
 public:
  static auto name() -> std::string { return std::string{name_of_type<Rule>()} + " clipped by norm"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("rule", self.rule_, "the step along what is clipped"),
        visit("limit", self.limit_, "the largest norm of a direction");
  }

  /// `limit`: c. Throws config_error unless it is a positive number.
  explicit clipped_by_norm(Rule rule = Rule{}, double limit = 1) : rule_{std::move(rule)}, limit_{limit} { check(); }
  void check() const {
    if (!(limit_ > 0) || !std::isfinite(limit_)) {
      throw config_error{"the limit of clipping by norm must be a positive number, not " + shortest(limit_)};
    }
  }

  template<class Backend>
  class state {
    using inner = typename Rule::template state<Backend>;

   public:
    using scalar = typename Backend::scalar;

    struct rule {
      typename inner::rule step{};
      scalar factor{};
      [[nodiscard]] static constexpr auto bytes_per_value() -> std::size_t { return inner::rule::bytes_per_value(); }
      [[nodiscard]] auto from(std::size_t begin) const -> rule { return {step.from(begin), factor}; }
      void decay_at(double share)
        requires requires { step.decay_at(share); }
      {
        step.decay_at(share);
      }
      template<class At, class V>
      RUBATO_HOST_DEVICE auto operator()(At& at, V x, V direction) const -> V {
        return step(at, x, factor * direction);
      }
    };

    static void visit_state(auto& self, auto&& visit) { visit("rule", self.inner_), visit("factor", self.factor_); }
    state(clipped_by_norm const& its, Backend& backend, std::size_t values)
        : limit_{its.limit_}, inner_{its.rule_, backend, values} {}
    /// `norm`: of the direction.
    [[nodiscard]] auto next(double gamma, double norm) -> rule
      requires(!needs_norm<Rule, Backend>)
    {
      factor_ = clipping_factor(norm, limit_);
      return {inner_.next(gamma), static_cast<scalar>(factor_)};
    }
    [[nodiscard]] auto present(double gamma) -> rule {
      return {present_rule(inner_, gamma), static_cast<scalar>(factor_)};
    }

   private:
    double limit_;
    double factor_ = 1;
    inner inner_;
  };

 private:
  Rule rule_;
  double limit_;
};

}  // namespace rubato::step
