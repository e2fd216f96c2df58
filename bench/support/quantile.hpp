// SPDX-License-Identifier: MIT
// Order statistics of a few measurements.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace bench {

/// The value below which the share q of them lies, 0 to 1. Requires at least one.
inline auto quantile(std::vector<double> v, double q) -> double {
  std::sort(v.begin(), v.end());
  return v[static_cast<std::size_t>(q * static_cast<double>(v.size() - 1))];
}

/// The one in the middle, of two the greater. Requires at least one.
inline auto median(std::vector<double> v) -> double {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

}  // namespace bench
