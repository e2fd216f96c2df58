// SPDX-License-Identifier: MIT
// How far vectors of a device lie from their mean, computed there.
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::backend {

namespace detail {

/// sums[p] <- the squared distances from the mean of every `parts`-th value, from the p-th on; in double, as on the
/// host.
template<class T>
struct spread_kernel {
  static constexpr bool raises = false;
  table<T const*> vectors;
  std::size_t n, parts;
  double* sums;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    auto const* const x = entries_of(at, vectors);
    auto const count = static_cast<double>(vectors.size());
    double sum = 0;
    for (auto k = at.index(); k < n; k += parts) {
      double mean = 0;
      for (std::size_t j = 0; j < vectors.size(); ++j) mean += static_cast<double>(x[j][k]) / count;
      for (std::size_t j = 0; j < vectors.size(); ++j) {
        auto const off = static_cast<double>(x[j][k]) - mean;
        sum += off * off;
      }
    }
    sums[at.index()] = sum;
  }
};

}  // namespace detail

/// sqrt( (1/m) sum_j |x_j - mean x|^2 ) of m vectors of n values in the memory of a device; requires m > 0. Copies
/// 32 KiB at most to the host, and waits for them.
template<array_backend Backend>
  requires has_host_twin<Backend>
[[nodiscard]] auto spread_of(Backend& b, std::vector<typename Backend::scalar const*> const& vectors, std::size_t n)
    -> double {
  if (n == 0) return 0;
  auto const parts = n < 4096 ? n : std::size_t{4096};
  auto sums = b.template allocate<double>(parts);
  b.sweep({0, parts}, detail::spread_kernel<typename Backend::scalar>{b.table(vectors.data(), vectors.size()), n, parts,
                                                                      sums.data()});
  double sum = 0;
  for (auto const part : b.pool().values(std::as_const(sums).data(), parts)) sum += part;
  return std::sqrt(sum / static_cast<double>(vectors.size()));
}

}  // namespace rubato::backend
