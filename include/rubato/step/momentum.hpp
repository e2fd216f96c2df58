// SPDX-License-Identifier: MIT
// Steps along a decaying sum of directions d (gradients, or tracked ones), with one array of its own:
//   m <- beta m + d
//   heavy ball:  x <- x - gamma m                 Polyak, 1964
//   Nesterov:    x <- x - gamma (d + beta m)      Nesterov, 1983, in the form of Sutskever et al., 2013, with g at x
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>

namespace rubato::step {

enum class momentum_form : std::uint8_t { heavy_ball, nesterov };
constexpr auto name_of(momentum_form form) -> std::string_view {
  return form == momentum_form::heavy_ball ? "heavy ball" : "nesterov";
}

/// Policy, see step::sgd. In the long run both forms move 1/(1-beta) times as far as sgd with the same step.
/// Memory: one vector a node; reads and writes it once a local iteration, in the pass that moves x.
class momentum {
 public:
  static constexpr bool is_linear = true;
  static constexpr auto name() -> std::string_view { return "momentum"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("beta", self.beta_, "share of the former sum of directions that is kept"),
        visit("form", self.form_,
              "heavy-ball: along that sum; nesterov: along the direction and what is kept of the new sum");
  }

  /// Throws config_error unless 0 <= beta < 1; 0 is sgd.
  explicit momentum(double beta = 0.9, momentum_form form = momentum_form::heavy_ball) : beta_{beta}, form_{form} {
    check();
  }
  void check() const {
    if (!(beta_ >= 0 && beta_ < 1)) {
      throw config_error{"the beta of momentum must lie in 0 (included) to 1 (excluded), not " + shortest(beta_)};
    }
  }

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;

    struct rule {
      scalar gamma{};
      scalar beta{};
      scalar* sum = nullptr;
      bool looks_ahead = false;
      [[nodiscard]] static constexpr auto bytes_per_value() -> std::size_t { return 2 * sizeof(scalar); }
      [[nodiscard]] auto from(std::size_t begin) const -> rule { return {gamma, beta, sum + begin, looks_ahead}; }
      template<class At, class V>
      RUBATO_HOST_DEVICE auto operator()(At& at, V x, V direction) const -> V {
        auto const m = beta * at.load(sum) + direction;
        at.store(sum, m);
        return looks_ahead ? x - gamma * (direction + beta * m) : x - gamma * m;
      }
    };

    static void visit_state(auto& self, auto&& visit) { visit("sum", self.sum_); }
    state(momentum const& its, Backend& backend, std::size_t values)
        : beta_{static_cast<scalar>(its.beta_)},
          looks_ahead_{its.form_ == momentum_form::nesterov},
          sum_{backend::zeros<scalar>(backend, values)} {}
    [[nodiscard]] auto next(double gamma) -> rule { return present(gamma); }
    [[nodiscard]] auto present(double gamma) -> rule {
      return {static_cast<scalar>(gamma), beta_, sum_.data(), looks_ahead_};
    }

   private:
    scalar beta_;
    bool looks_ahead_;
    writable_buffer<scalar> sum_;
  };

 private:
  double beta_;
  momentum_form form_;
};

}  // namespace rubato::step
