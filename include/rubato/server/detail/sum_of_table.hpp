// SPDX-License-Identifier: MIT
// The weighted sum of any number of vectors in one pass.
#pragma once

#include <cstddef>

#include <rubato/core/host_device.hpp>

namespace rubato::server::detail {

template<class T>
struct table_entry {
  T const* values;
  T share;
};

/// y <- the sum of share * values over a table. Reads its vectors, writes y.
template<class T>
struct sum_of_table_kernel {
  table_entry<T> const* entries;
  std::size_t size;
  T* y;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    auto sum = entries[0].share * at.load(entries[0].values);
    for (std::size_t j = 1; j < size; ++j) sum = sum + entries[j].share * at.load(entries[j].values);
    at.store(y, sum);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return (size + 1) * sizeof(T); }
};

}  // namespace rubato::server::detail
