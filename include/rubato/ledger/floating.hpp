// SPDX-License-Identifier: MIT
// Plain floating sums: the arithmetic of the papers. Conservation holds to rounding, which walks in long float32 runs.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/backend/lanes.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::ledger {

/// Policy: z, rho and rho~ are values of the run's scalar type. Default for double.
struct floating {
  static constexpr auto name() -> std::string_view { return "floating"; }
  template<class T>
  using value = T;
  static constexpr bool exact = false;

  /// Nothing to agree on before a run.
  void calibrate(block_partition const&, std::span<double const>, std::size_t) {}

  /// The arithmetic of one range of blocks; see fixed_point::arithmetic for the meaning of the members.
  template<class T>
  struct arithmetic {
    static constexpr bool raises = false;  // see backend::may_raise
    template<class At, class V> RUBATO_HOST_DEVICE auto quantise(At&, V g) const -> V { return g; }
    template<class V> RUBATO_HOST_DEVICE auto add(V a, V b) const -> V { return a + b; }
    template<class V> RUBATO_HOST_DEVICE auto sub(V a, V b) const -> V { return a - b; }
    template<class At, class V> RUBATO_HOST_DEVICE auto share(At&, V z, T weight) const -> V { return weight * z; }
    template<class V> RUBATO_HOST_DEVICE auto kept(V z, T self_weight, V) const -> V { return self_weight * z; }
    template<class At, class V> RUBATO_HOST_DEVICE auto direction(At&, V z) const -> V { return z; }
    template<class At, class V> RUBATO_HOST_DEVICE void watch(At&, V) const {}
  };
  template<class T>
  [[nodiscard]] auto arithmetic_for(std::size_t) const -> arithmetic<T> {
    return {};
  }
  /// Blocks from `block` on that share one arithmetic.
  [[nodiscard]] auto uniform_end(std::size_t, std::size_t blocks) const -> std::size_t { return blocks; }
  [[nodiscard]] auto quantum(std::size_t) const -> double { return 1; }
  [[nodiscard]] static auto out_of_range(backend::flag_bits) -> bool { return false; }
  [[nodiscard]] auto range_sentence(std::size_t) const -> std::string { return {}; }
};

}  // namespace rubato::ledger
