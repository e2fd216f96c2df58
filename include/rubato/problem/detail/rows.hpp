// SPDX-License-Identifier: MIT
// Element-wise parts of models that learn from rows of samples, written once for all backends.
#pragma once

#include <cstddef>
#include <limits>

#include <rubato/backend/concepts.hpp>
#include <rubato/backend/for_each.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/problem/sample_rows.hpp>

namespace rubato::problem::detail {

/// h <- relu(h + bias), rows x columns. A value below 0 is multiplied by 0 rather than set to 0: this gives NaN if it
/// was not finite, so a broken model shows in its loss.
template<class T>
struct biased_relu {
  T* h;
  T const* bias;
  std::size_t columns;
  RUBATO_HOST_DEVICE void operator()(std::size_t r, std::size_t k) const {
    auto value = h[r * columns + k] + bias[k];
    if (!(value > 0)) value *= T{0};
    h[r * columns + k] = value;
  }
};
template<class T, class Backend>
void add_bias_and_relu(Backend& b, T* h, T const* bias, std::size_t rows, std::size_t columns) {
  backend::for_each_cell(b, rows, columns, biased_relu<T>{h, bias, columns});
}

/// The slopes behind a relu: 0 where what it gave is 0.
template<class T>
struct relu_slopes {
  T const* active;
  T* slopes;
  RUBATO_HOST_DEVICE void operator()(std::size_t k) const {
    if (!(active[k] > 0)) slopes[k] = 0;
  }
};

/// g <- keep g + share times the sum of the rows of slopes (rows.count x columns).
template<class T, class Backend>
void add_row_sums(Backend& b, sample_rows<T> rows, T const* slopes, std::size_t columns, T keep, T* g) {
  auto const share = T{1} / static_cast<T>(rows.total);
  b.multiply({1, columns, rows.count, backend::transposed::no, backend::transposed::no}, share, rows.ones, slopes, keep,
             g);
}

/// The sum of the losses of rows, from the first to the last. NaN, which means that it is not known, on a device: the
/// host would have to wait for it.
template<class Backend>
auto known_sum(Backend&, writable_buffer<double> const& losses) -> double {
  if constexpr (backend::has_host_twin<Backend>) {
    return std::numeric_limits<double>::quiet_NaN();
  } else {
    double sum = 0;
    for (auto const loss : losses.view()) sum += loss;
    return sum;
  }
}

}  // namespace rubato::problem::detail
