// SPDX-License-Identifier: MIT
// x <- x - gamma d: the plain step along a direction (a gradient, or a tracked one).
#pragma once

#include <cstddef>
#include <string_view>

#include <rubato/core/host_device.hpp>

namespace rubato::step {

/// Policy. A step policy is a value of hyper-parameters; its arrays live in state<Backend>, made when the size is
/// known. Required of a state: next(gamma) advances the step's own counters and returns the rule of this local
/// iteration, a trivially copyable function of (lanes, x, direction) that returns the new x and may read and write
/// arrays by index; its static bytes_per_value() says how much of them it moves, and from(begin) is the rule for a part
/// of the vector whose index 0 is index `begin` of the whole. A state that can be saved lists its parts
/// (core/visit_state.hpp) and has present(gamma), the rule that next(gamma) gave last.
/// Optional: `static constexpr bool is_linear = true` if x moves by a linear function of the directions alone: such a
/// step takes a tracked gradient as it is, and any other takes it as a share (algorithm/detail/shared_step.hpp).
/// next(gamma, norm) in place of next(gamma): the step needs the norm of its direction beforehand.
struct sgd {
  static constexpr bool is_linear = true;
  static constexpr auto name() -> std::string_view { return "sgd"; }
  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;

    struct rule {
      scalar gamma;
      /// Bytes that the rule itself reads and writes per value.
      [[nodiscard]] static constexpr auto bytes_per_value() -> std::size_t { return 0; }
      [[nodiscard]] auto from(std::size_t) const -> rule { return *this; }
      template<class At, class V>
      RUBATO_HOST_DEVICE auto operator()(At&, V x, V direction) const -> V {
        return x - gamma * direction;
      }
    };

    state(sgd const&, Backend&, std::size_t) {}
    [[nodiscard]] auto next(double gamma) const -> rule { return {static_cast<scalar>(gamma)}; }
  };
};

}  // namespace rubato::step
