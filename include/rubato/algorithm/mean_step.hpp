// SPDX-License-Identifier: MIT
// A step along the mean of several gradients, given their sum.
#pragma once

#include <cstddef>

#include <rubato/core/host_device.hpp>

namespace rubato::detail {

/// x_new <- rule(x, share * sum): reads 2n, writes n, besides what the rule reads.
template<class T, class Rule>
struct mean_step_kernel {
  T const* x;
  T const* sum;
  T* x_new;
  T share;
  Rule rule;
  static constexpr bool raises = false;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    at.store(x_new, rule(at, at.load(x), share * at.load(sum)));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T) + Rule::bytes_per_value(); }
};

}  // namespace rubato::detail
