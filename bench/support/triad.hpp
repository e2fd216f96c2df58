// SPDX-License-Identifier: MIT
// The yardstick: STREAM's triad a = b + s c, as a compiler writes it and with streaming stores. 12 bytes a value.
#pragma once

#include <immintrin.h>

#include <cstddef>

#include <rubato/core/shared_buffer.hpp>

namespace bench {

inline constexpr std::size_t triad_bytes_per_value = 12;

class triad {
 public:
  triad(rubato::buffer_pool pool, std::size_t n)
      : a_{pool.allocate<float>(n)}, b_{pool.allocate<float>(n)}, c_{pool.allocate<float>(n)} {
    for (std::size_t i = 0; i < n; ++i) a_.data()[i] = b_.data()[i] = c_.data()[i] = 1.0F;
  }

  __attribute__((noinline)) void plain() {
    auto* __restrict a = a_.data();
    auto const* __restrict b = b_.data();
    auto const* __restrict c = c_.data();
    auto const s = scale_;
    for (std::size_t i = 0; i < a_.size(); ++i) a[i] = b[i] + s * c[i];
  }

  /// Requires a multiple of 64 values.
  __attribute__((noinline)) void streaming() {
    auto* a = a_.data();
    auto const* b = b_.data();
    auto const* c = c_.data();
    auto const n = a_.size();
#if defined(__AVX512F__)
    auto const s = _mm512_set1_ps(scale_);
    for (std::size_t i = 0; i < n; i += 64) {
      for (std::size_t k = 0; k < 64; k += 16) {
        _mm512_stream_ps(a + i + k, _mm512_fmadd_ps(s, _mm512_loadu_ps(c + i + k), _mm512_loadu_ps(b + i + k)));
      }
    }
#elif defined(__AVX__)
    auto const s = _mm256_set1_ps(scale_);
    for (std::size_t i = 0; i < n; i += 32) {
      for (std::size_t k = 0; k < 32; k += 8) {
        _mm256_stream_ps(a + i + k,
                         _mm256_add_ps(_mm256_mul_ps(s, _mm256_loadu_ps(c + i + k)), _mm256_loadu_ps(b + i + k)));
      }
    }
#else
    auto const s = _mm_set1_ps(scale_);
    for (std::size_t i = 0; i < n; i += 16) {
      for (std::size_t k = 0; k < 16; k += 4) {
        _mm_stream_ps(a + i + k, _mm_add_ps(_mm_mul_ps(s, _mm_loadu_ps(c + i + k)), _mm_loadu_ps(b + i + k)));
      }
    }
#endif
    _mm_sfence();
  }

  [[nodiscard]] auto first() const -> float { return a_.data()[0]; }

 private:
  rubato::writable_buffer<float> a_, b_, c_;
  float scale_ = 0.5F;
};

}  // namespace bench
