// SPDX-License-Identifier: MIT
// A step followed by the proximal map of gamma h, for problems f + h:   x <- prox_{gamma h}(x - gamma d)
// h is a policy of algorithm/prox.hpp, or one of its form.
#pragma once

#include <cstddef>
#include <string>

#include <rubato/core/host_device.hpp>
#include <rubato/core/visit_options.hpp>

namespace rubato::step {

/// Policy, see step::sgd. It is not linear: where gradients are tracked it acts on a node's own step, so the fixed
/// point is not that of f + h; a server or an all-reduce has it exactly.
template<class Prox>
struct proximal {
  static auto name() -> std::string { return "proximal " + std::string{name_of_type<Prox>()}; }
  static void visit_options(auto& self, auto&& visit) {
    visit("prox", self.prox, "the term h of f + h, by its proximal map");
  }
  Prox prox{};

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;

    struct rule {
      scalar gamma{};
      decltype(Prox{}.template with<scalar>(1.0)) map{};
      [[nodiscard]] static constexpr auto bytes_per_value() -> std::size_t { return 0; }
      [[nodiscard]] auto from(std::size_t) const -> rule { return *this; }
      template<class At, class V>
      RUBATO_HOST_DEVICE auto operator()(At& at, V x, V direction) const -> V {
        auto const moved = x - gamma * direction;
        at.expect_finite(moved);  // before the map, which may make infinity finite
        return map(at, moved);
      }
    };

    state(proximal const& its, Backend&, std::size_t) : prox_{its.prox} {}
    static void visit_state(auto&, auto&&) {}
    [[nodiscard]] auto next(double gamma) const -> rule { return present(gamma); }
    [[nodiscard]] auto present(double gamma) const -> rule {
      return {static_cast<scalar>(gamma), prox_.template with<scalar>(gamma)};
    }

   private:
    Prox prox_;
  };
};

}  // namespace rubato::step
