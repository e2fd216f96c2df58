// SPDX-License-Identifier: MIT
// The host backend for real work: sweeps in hardware vectors with streaming stores, products and sums by Eigen. Users
// include eigen.hpp, which has the products; this part does not need Eigen.
#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/backend/vector_sweep.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato::backend {

/// Vectors in ordinary memory, computed on by SIMD. A cheap handle: copies share one pool.
/// **Thread safety:** distinct copies may be used from different threads. **Models:** array_backend.
/// **Determinism:** run to run, same binary.
template<std::floating_point T>
class eigen {
 public:
  using scalar = T;
  static constexpr auto level = determinism::run_to_run;
  static constexpr auto name() -> std::string_view { return "eigen"; }

  eigen() = default;
  /// `streaming_bytes`: data of one sweep above which stores bypass the caches.
  explicit eigen(buffer_pool pool, std::size_t streaming_bytes = default_streaming_bytes)
      : pool_{std::move(pool)}, streaming_bytes_{streaming_bytes} {}

  template<class U>
  [[nodiscard]] auto allocate(std::size_t n) -> writable_buffer<U> {
    return pool_.allocate<U>(n);
  }
  [[nodiscard]] auto pool() const -> buffer_pool const& { return pool_; }

  template<class Kernel>
  auto sweep(range r, Kernel const& kernel) -> flag_bits {
    return vector_sweep<T>(r, kernel, streaming_bytes_);
  }

  template<class Entry>
  [[nodiscard]] auto table(Entry const* entries, std::size_t n) const -> backend::table<Entry> {
    return {entries, n};
  }

  [[nodiscard]] auto dot(T const* x, T const* y, std::size_t n) const -> double;

  void multiply(product_shape s, T alpha, T const* a, T const* b, T beta, T* c) const;

 private:
  buffer_pool pool_;
  std::size_t streaming_bytes_ = default_streaming_bytes;
};

}  // namespace rubato::backend
