// SPDX-License-Identifier: MIT
// The k largest values of each block, in 2 bits each and 12 for their place: after SparseLoCo (arXiv 2508.15706). The
// quantiser is ours: with m the largest magnitude of the block, a kept value becomes
//   sign(v) m  where |v| >= 2m/3,   sign(v) m/3  where |v| >= m/6,   0 below, where the error would exceed it
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/codec/detail/parts.hpp>
#include <rubato/codec/detail/sparse.hpp>
#include <rubato/core/errors.hpp>

namespace rubato::codec {

/// Policy, see codec/concepts.hpp. Contractive: the largest value of a block is exact and no error exceeds its value,
/// so delta >= 1 / (values of a block); of normal values, with 64 of 4096, it is about 0.1. A block takes one number, 2
/// bytes for its count and 2 for each of the k entries (14 bits are used), whether they are used or not. Ties go to the
/// lower place; 0 and -0 become 0. A block that holds NaN or an infinity decodes to NaN throughout, and so does one
/// that no encoder makes. It drops so much that it needs error feedback. On the host only.
struct block_top_k {
  static constexpr auto name() -> std::string_view { return "block top k"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("values of a block", self.block_values, "1 to 4096");
    visit("k", self.k, "values that are kept of a block");
  }
  template<class T>
  using code = std::byte;
  static constexpr auto error = error_class::contractive;
  static constexpr bool needs_lossless_links = false;
  static constexpr bool coarse = true;

  std::size_t block_values = 4096;
  std::size_t k = 64;

  /// Throws config_error.
  void check() const {
    if (block_values == 0 || block_values > 4096) {
      throw config_error{"a block of block_top_k has 1 to 4096 values, not " + std::to_string(block_values)};
    }
    if (k == 0 || k > block_values) {
      throw config_error{"block_top_k keeps 1 to " + std::to_string(block_values) + " values of a block of " +
                         std::to_string(block_values) + ", not " + std::to_string(k)};
    }
  }
  void check(std::size_t) const { check(); }

  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    if (n == 0) return 0;
    auto const whole = (n - 1) / block_values;
    return whole * bytes<T>(block_values) + bytes<T>(n - whole * block_values);
  }
  [[nodiscard]] auto relative_error(std::size_t n) const -> double {
    return n == 0 ? 0 : 1 - 1 / static_cast<double>((std::min)(n, block_values));
  }

  template<class Backend>
  void encode(Backend&, typename Backend::scalar const* x, std::size_t n, std::byte* codes) const {
    static_assert(detail::check_on_host<Backend>());
    using T = typename Backend::scalar;
    for (std::size_t begin = 0; begin < n; begin += block_values) {
      auto const m = (std::min)(block_values, n - begin);
      encode_block(x + begin, m, codes);
      codes += bytes<T>(m);
    }
  }
  template<class Backend>
  void decode(Backend& backend, std::byte const* codes, std::size_t n, typename Backend::scalar* x) const {
    using T = typename Backend::scalar;
    backend.sweep({0, n}, backend::zero_kernel<T>{x});
    for (std::size_t begin = 0; begin < n; begin += block_values) {
      auto const m = (std::min)(block_values, n - begin);
      if (!decode_block(codes, m, x + begin)) std::fill_n(x + begin, m, std::numeric_limits<T>::quiet_NaN());
      codes += bytes<T>(m);
    }
  }

 private:
  template<class T>
  [[nodiscard]] auto bytes(std::size_t m) const -> std::size_t {
    return sizeof(T) + 2 + 2 * (std::min)(k, m);
  }

  /// The block's largest magnitude, the count, and the entries: place, then a bit for m and one for the sign.
  template<class T>
  void encode_block(T const* x, std::size_t m, std::byte* to) const {
    std::array<std::uint16_t, 4096> entries{};
    auto most = detail::greatest_magnitude(x, m);
    std::uint16_t count = 0;
    if (!std::isfinite(most)) most = std::numeric_limits<T>::quiet_NaN();
    else if (most > 0) {
      for (auto const i : detail::largest_places(x, m, (std::min)(k, m))) {
        auto const size = std::abs(x[i]);
        if (size < most / 6) continue;
        auto const large = size >= most - most / 3 ? 1U << 12 : 0U;
        entries[count++] = static_cast<std::uint16_t>(i | large | (x[i] < 0 ? 1U << 13 : 0U));
      }
    }
    std::memcpy(to, &most, sizeof(T));
    std::memcpy(to + sizeof(T), &count, 2);
    std::memcpy(to + sizeof(T) + 2, entries.data(), 2 * (std::min)(k, m));
  }
  template<class T>
  [[nodiscard]] auto decode_block(std::byte const* from, std::size_t m, T* x) const -> bool {
    T most;
    std::uint16_t count, entry;
    std::memcpy(&most, from, sizeof(T));
    std::memcpy(&count, from + sizeof(T), 2);
    if (!std::isfinite(most) || most < 0 || count > (std::min)(k, m)) return false;
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(&entry, from + sizeof(T) + 2 + 2 * i, 2);
      auto const place = entry & 0xfffU;
      if (place >= m) return false;
      auto const size = (entry & 1U << 12) != 0 ? most : most / 3;
      x[place] = (entry & 1U << 13) != 0 ? -size : size;
    }
    return true;
  }
};

}  // namespace rubato::codec
