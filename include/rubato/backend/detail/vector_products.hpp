// SPDX-License-Identifier: MIT
// Dot and matrix products from the same hardware vectors as sweeps, for host backends without a library of their own.
// Both work on a part of the result, so that a backend can hand parts to threads; the bits do not depend on how many.
#pragma once

#include <algorithm>
#include <cstddef>

#include <rubato/backend/concepts.hpp>
#include <rubato/backend/lanes.hpp>
#include <rubato/backend/vector_sweep.hpp>

namespace rubato::backend::detail {

inline namespace RUBATO_INSTRUCTION_SET {

/// Sum of x_i y_i over r. Each lane adds up in T, the lanes in double, so r should have some 10^4 values at most.
/// Two streams are what the hardware fetches ahead best, so nothing is fetched by hand here. Reads 2.
template<class T>
[[gnu::flatten]] auto vector_dot(T const* x, T const* y, range r) -> double {
  using lanes = vector_lanes<T, false>;
  auto const whole = r.begin + r.size() / lanes::width * lanes::width;
  lanes at{r.begin};
  auto sum = at.broadcast(T{0});
  for (auto i = r.begin; i < whole; i += lanes::width) {
    at.move_to(i);
    sum = sum + at.load(x) * at.load(y);
  }
  double total = 0;
  for (std::size_t lane = 0; lane < lanes::lanes; ++lane) {
    total += (static_cast<double>(sum.a[lane]) + static_cast<double>(sum.b[lane])) +
             (static_cast<double>(sum.c[lane]) + static_cast<double>(sum.d[lane]));
  }
  for (auto i = whole; i < r.end; ++i) total += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return total;
}

}  // namespace RUBATO_INSTRUCTION_SET

/// A row of C over its columns: c <- (alpha left) B + beta c, with `inner` rows of B, `columns` apart.
template<class T>
struct product_row_kernel {
  T const* left;
  T const* b;
  T* c;
  std::size_t inner;
  std::size_t columns;
  T alpha;
  T beta;
  template<class Lanes>
  void operator()(Lanes& at) const {
    auto sum = at.broadcast(T{0});
    for (std::size_t k = 0; k < inner; ++k) sum = sum + left[k] * at.load(b + k * columns);
    at.store(c, beta == T{0} ? alpha * sum : alpha * sum + beta * at.load(c));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return (inner + 2) * sizeof(T); }
};

/// The operands of a product whose op(A) is stored row by row; `transposed` was applied to A before.
template<class T>
struct product_operands {
  product_shape shape;
  T alpha;
  T const* left;  // rows x inner
  T const* b;
  T beta;
  T* c;
};

inline namespace RUBATO_INSTRUCTION_SET {

/// Rows `rows` of C. B is passed in tiles of 256 of its rows, so that one stays in the cache while all of these rows
/// use it.
template<class T>
void multiply_rows(product_operands<T> const& of, range rows) {
  constexpr std::size_t tile = 256, never = ~std::size_t{0};
  auto const [s, alpha, left, b, beta, c] = of;
  if (s.b == transposed::yes) {
    for (auto i = rows.begin; i < rows.end; ++i) {
      for (std::size_t j = 0; j < s.columns; ++j) {
        double sum = 0;
        for (std::size_t k = 0; k < s.inner; k += 16 * tile) {
          sum += vector_dot(left + i * s.inner, b + j * s.inner, {k, (std::min)(s.inner, k + 16 * tile)});
        }
        auto& out = c[i * s.columns + j];
        out = beta == T{0} ? alpha * static_cast<T>(sum) : alpha * static_cast<T>(sum) + beta * out;
      }
    }
    return;
  }
  for (std::size_t k = 0; k < s.inner || k == 0; k += tile) {
    auto const inner = (std::min)(tile, s.inner - k);
    for (auto i = rows.begin; i < rows.end; ++i) {
      auto const kernel = product_row_kernel<T>{
          left + i * s.inner + k, b + k * s.columns, c + i * s.columns, inner, s.columns, alpha, k == 0 ? beta : T{1}};
      vector_sweep<T>({0, s.columns}, kernel, never);
    }
  }
}

}  // namespace RUBATO_INSTRUCTION_SET

}  // namespace rubato::backend::detail
