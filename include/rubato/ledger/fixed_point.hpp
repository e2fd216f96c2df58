// SPDX-License-Identifier: MIT
// The exact ledger: tracker, gradient and running sums are 32-bit multiples of q = 2^-k, so conservation is `== 0`
// under any loss and for any number of iterations. Totals wrap at 2^32; only differences of them are ever used.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/backend/lanes.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>

namespace rubato::ledger {

/// Policy: same bytes as float32; error floor about q. Default for float.
/// Differences of totals are right while the mass in flight stays below 2^31 units; it is bounded by the sum of
/// |g| + |z| because pushes telescope. A |z| or |g| of 2^29 units or more ends the run with range_sentence().
/// Old messages alone do not fill the range: on binary_tree(8), with steps that converge, |z| stayed below 1.7 and the
/// mass in flight on an edge below 1.2 times the largest first gradient, whether messages were 1 or 1000 local
/// iterations old, and there is room for 64 times. A run that leaves it diverges, in double too: gradient_tracking.hpp
/// says what step is needed.
struct fixed_point {
  static constexpr auto name() -> std::string_view { return "fixed point"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("exponents", self.exponents, "of the unit 2^-k, by block; nothing: chosen from the first gradients"),
        visit("margin", self.margin, "factor by which values may exceed the first gradients");
  }
  template<class T>
  using value = std::int32_t;
  static constexpr bool exact = true;
  static constexpr int range_bits = 29;

  /// k for each block; one entry stands for all blocks. Empty: to be calibrated. All nodes must agree (run id).
  std::vector<int> exponents{};
  /// How far beyond n times the largest first gradient z may grow; n is fewest_nodes where there are fewer.
  double margin = 8;
  /// Fewer nodes count as this many: in a sum of few gradients a single mini-batch has more influence.
  static constexpr std::size_t fewest_nodes = 4;

  /// Throws config_error.
  void check() const {
    if (!(margin > 0) || !std::isfinite(margin)) {
      throw config_error{"the margin of a ledger must be a positive number, not " + shortest(margin)};
    }
    for (auto const k : exponents) {
      if (k < -60 || k > 60) {
        throw config_error{"an exponent of a ledger must lie in -60 to 60, not be " + std::to_string(k)};
      }
    }
  }

  /// Chooses the exponents from `largest`, the largest |g_i(x0)| of each block over all nodes: |z| may reach
  /// margin * max(nodes, fewest_nodes) * largest. A block that starts at zero takes the run's largest. Keeps exponents
  /// that are set.
  void calibrate(block_partition const& blocks, std::span<double const> largest, std::size_t nodes) {
    check();
    if (!exponents.empty()) {
      if (exponents.size() != 1 && exponents.size() != blocks.blocks()) {
        throw config_error{"the ledger has " + std::to_string(exponents.size()) + " exponents for " +
                           std::to_string(blocks.blocks()) + " blocks; give one for all or one a block"};
      }
      return;
    }
    auto const run_largest = largest.empty() ? 0.0 : *std::max_element(largest.begin(), largest.end());
    if (!std::isfinite(run_largest)) throw config_error{"the first gradient is not finite, so the ledger has no scale"};
    for (auto const of_block : largest) {
      auto const reach =
          margin * static_cast<double>((std::max)(nodes, fewest_nodes)) * (of_block > 0 ? of_block : run_largest);
      exponents.push_back(reach > 0 ? std::clamp(range_bits - 1 - std::ilogb(reach), -60, 60) : 20);
    }
    auto const first = exponents.front();
    if (std::all_of(exponents.begin(), exponents.end(), [&](int k) { return k == first; })) exponents.resize(1);
  }

  /// What the kernels do with values of this ledger, for blocks of one exponent.
  template<class T>
  struct arithmetic {
    T units_per_one;  // 2^k
    T quantum;  // 2^-k

    /// A gradient as it enters the ledger.
    template<class At, class V> RUBATO_HOST_DEVICE auto quantise(At& at, V g) const {
      return at.round(units_per_one * g);
    }
    template<class V> RUBATO_HOST_DEVICE auto add(V a, V b) const -> V { return backend::wrap_add(a, b); }
    template<class V> RUBATO_HOST_DEVICE auto sub(V a, V b) const -> V { return backend::wrap_sub(a, b); }
    /// What a push of weight a takes from z. Any integer near a z conserves the sum; this is the nearest one.
    template<class At, class V> RUBATO_HOST_DEVICE auto share(At& at, V z, T weight) const -> V {
      return at.round(weight * at.to_real(z));
    }
    /// What stays of z after all shares were taken.
    template<class V> RUBATO_HOST_DEVICE auto kept(V z, T, V pushed) const -> V { return backend::wrap_sub(z, pushed); }
    /// z as the step uses it.
    template<class At, class V> RUBATO_HOST_DEVICE auto direction(At& at, V z) const { return quantum * at.to_real(z); }
    /// Reports the magnitude of a value to the sweep's caller (see backend::magnitude_bits).
    template<class At, class V> RUBATO_HOST_DEVICE void watch(At& at, V z) const {
      at.flag(backend::magnitude_bits(z));
    }
  };
  template<class T>
  [[nodiscard]] auto arithmetic_for(std::size_t block) const -> arithmetic<T> {
    auto const k = exponent(block);
    return {static_cast<T>(two_to(k)), static_cast<T>(two_to(-k))};
  }
  [[nodiscard]] auto uniform_end(std::size_t block, std::size_t blocks) const -> std::size_t {
    if (exponents.size() == 1) return blocks;
    auto end = block + 1;
    while (end < blocks && exponents[end] == exponents[block]) ++end;
    return end;
  }
  [[nodiscard]] auto exponent(std::size_t block) const -> int {
    return exponents.size() == 1 ? exponents[0] : exponents[block];
  }
  [[nodiscard]] auto quantum(std::size_t block) const -> double { return two_to(-exponent(block)); }

  /// 2^k, as std::ldexp(1.0, k), which takes longer than a pass over a short vector.
  [[nodiscard]] static auto two_to(int k) -> double {
    auto const is_normal = k > -1023 && k < 1024;
    return is_normal ? std::bit_cast<double>(static_cast<std::uint64_t>(k + 1023) << 52) : std::ldexp(1.0, k);
  }

  /// Whether the union of magnitudes that a sweep reported leaves the range.
  [[nodiscard]] static auto out_of_range(backend::flag_bits magnitudes) -> bool {
    return (magnitudes & ~backend::not_finite) >= (1U << range_bits);
  }
  /// The sentence that ends a run when a value of this block leaves the range.
  [[nodiscard]] auto range_sentence(std::size_t block) const -> std::string {
    auto const reach = std::ldexp(1.0, range_bits - exponent(block));
    return "the ledger's range is exceeded in block " + std::to_string(block) + ": a tracked gradient reached " +
           shortest(reach) + " or more, so exponent " + std::to_string(exponent(block)) +
           " is too large; use a smaller step if the run diverges, as it does over messages that are too old for the "
           "step, "
           "or an exponent of at most " +
           std::to_string(exponent(block) - 2);
  }
};

}  // namespace rubato::ledger
