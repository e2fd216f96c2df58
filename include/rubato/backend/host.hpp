// SPDX-License-Identifier: MIT
// The reference backend: plain memory and obvious loops, one index after the other. It is the definition of correct;
// every other backend is compared with it.
#pragma once

#include <cstddef>
#include <utility>

#include <rubato/backend/concepts.hpp>

namespace rubato::backend {

/// Vectors in ordinary memory. A cheap handle: copies share one pool.
/// **Thread safety:** distinct copies may be used from different threads. **Models:** array_backend.
/// **Determinism:** run to run, same binary.
template<std::floating_point T>
class host {
 public:
  using scalar = T;
  static constexpr auto level = determinism::run_to_run;
  static constexpr auto name() -> std::string_view { return "host"; }

  host() = default;
  explicit host(buffer_pool pool) : pool_{std::move(pool)} {}

  template<class U>
  [[nodiscard]] auto allocate(std::size_t n) -> writable_buffer<U> {
    return pool_.allocate<U>(n);
  }
  [[nodiscard]] auto pool() const -> buffer_pool const& { return pool_; }

  template<class Kernel>
  auto sweep(range r, Kernel const& kernel) -> flag_bits {
    scalar_lanes<T> at{r.begin};
    for (auto i = r.begin; i < r.end; ++i) {
      at.move_to(i);
      kernel(at);
    }
    return at.raised();
  }

  template<class Entry>
  [[nodiscard]] auto table(Entry const* entries, std::size_t n) const -> backend::table<Entry> {
    return {entries, n};
  }

  /// Sum of x_i y_i in double, left to right.
  [[nodiscard]] auto dot(T const* x, T const* y, std::size_t n) const -> double {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
    return sum;
  }

  void multiply(product_shape s, T alpha, T const* a, T const* b, T beta, T* c) const {
    for (std::size_t i = 0; i < s.rows; ++i) {
      for (std::size_t j = 0; j < s.columns; ++j) {
        T sum = 0;
        for (std::size_t k = 0; k < s.inner; ++k) {
          auto const left = s.a == transposed::yes ? a[k * s.rows + i] : a[i * s.inner + k];
          auto const right = s.b == transposed::yes ? b[j * s.inner + k] : b[k * s.columns + j];
          sum += left * right;
        }
        auto& out = c[i * s.columns + j];
        out = beta == T{0} ? alpha * sum : alpha * sum + beta * out;
      }
    }
  }

 private:
  buffer_pool pool_;
};

}  // namespace rubato::backend
