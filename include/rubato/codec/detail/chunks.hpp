// SPDX-License-Identifier: MIT
// The layout of codes of vectors that are cut into chunks with a scale each: the scales, one number of the vector's
// type a chunk, and then the bytes of all chunks, one after the other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <rubato/core/blocks.hpp>

namespace rubato::codec::detail {

/// Chunks of `values` values each; 0: all values are one chunk.
struct chunks {
  std::size_t values;

  [[nodiscard]] auto count(std::size_t n) const -> std::size_t {
    if (n == 0) return 0;
    return values == 0 ? 1 : (n - 1) / values + 1;
  }
  /// Values of the largest chunk.
  [[nodiscard]] auto largest(std::size_t n) const -> std::size_t { return values == 0 ? n : (std::min)(n, values); }
  /// Bytes of all codes, if m values of a chunk take bytes(m) bytes.
  template<class T, class Bytes>
  [[nodiscard]] auto codes(std::size_t n, Bytes const& bytes) const -> std::size_t {
    if (n == 0) return 0;
    auto const whole = count(n) - 1;
    auto const size = largest(n);
    return count(n) * sizeof(T) + whole * bytes(size) + bytes(n - whole * size);
  }
  /// f(values of a chunk, its scale, its bytes) for each chunk of codes.
  template<class T, class Byte, class Codes, class Bytes, class F>
  void for_each(std::size_t n, Codes* codes, Bytes const& bytes, F const& f) const {
    auto* scale = reinterpret_cast<T*>(codes);
    auto* at = reinterpret_cast<Byte*>(codes) + count(n) * sizeof(T);
    for (std::size_t begin = 0, step = largest(n); begin < n; begin += step, ++scale) {
      auto const r = range{begin, (std::min)(n, begin + step)};
      f(r, scale, at);
      at += bytes(r.size());
    }
  }
};

}  // namespace rubato::codec::detail
