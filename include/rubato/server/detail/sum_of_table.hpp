// SPDX-License-Identifier: MIT
// The weighted sum of any number of vectors in one pass.
#pragma once

#include <cstddef>

#include <rubato/backend/concepts.hpp>
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
  backend::table<table_entry<T>> entries;
  T* y;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    auto const* const e = entries_of(at, entries);
    auto sum = e[0].share * at.load(e[0].values);
    for (std::size_t j = 1; j < entries.size(); ++j) sum = sum + e[j].share * at.load(e[j].values);
    at.store(y, sum);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return (entries.size() + 1) * sizeof(T); }
};

}  // namespace rubato::server::detail
