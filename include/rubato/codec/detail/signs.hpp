// SPDX-License-Identifier: MIT
// The sign bits of a vector, eight to a byte: bit r of byte j is the sign of value r * columns + j, where columns =
// n/8; the last n % 8 signs fill one more byte. So eight streams are read and each is shifted alike.
#pragma once

#include <cstddef>
#include <cstdint>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/detail/parts.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::codec::detail {

inline auto bytes_of_signs(std::size_t n) -> std::size_t { return (n + 7) / 8; }

template<class T>
struct to_signs_kernel {
  static constexpr bool raises = false;
  T const* x;
  std::size_t columns;
  std::uint8_t* bytes;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto all = at.broadcast(std::int32_t{0});
    for (int row = 0; row < 8; ++row) {
      auto const negative = by_part([](auto const& v) { return (bits_of(v) >> (8 * sizeof(T) - 1)) & word_of<T>{1}; },
                                    at.load(x + static_cast<std::size_t>(row) * columns));
      all = by_part([row](auto const& sum, auto const& bit) { return sum | bit << row; }, all,
                    at.template cast<std::int32_t>(negative));
    }
    at.store(bytes, at.template cast<std::uint8_t>(all));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 8 * sizeof(T) + 1; }
};

/// Reads n values, writes the bytes.
template<class Backend>
void encode_signs(Backend& backend, typename Backend::scalar const* x, std::size_t n, std::uint8_t* bytes) {
  auto const columns = n / 8;
  backend.sweep({0, columns}, to_signs_kernel<typename Backend::scalar>{x, columns, bytes});
  if (n % 8 == 0) return;
  unsigned last = 0;
  for (auto i = 8 * columns; i < n; ++i) last |= (bits_of(x[i]) < 0 ? 1U : 0U) << (i - 8 * columns);
  bytes[columns] = static_cast<std::uint8_t>(last);
}

/// x <- magnitude(index) with the signs of `bytes`. Magnitude is a kernel's function of `at` and an offset.
template<class T, class Magnitude>
struct from_signs_kernel {
  static constexpr bool raises = false;
  std::uint8_t const* bytes;
  std::size_t columns;
  T* x;
  Magnitude magnitude;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const all = at.template cast<std::int32_t>(at.load(bytes));
    for (int row = 0; row < 8; ++row) {
      auto const offset = static_cast<std::size_t>(row) * columns;
      auto const bit = by_part([row](auto const& b) { return (b >> row) & 1; }, all);
      at.store(x + offset, by_part(
                               []<class V>(V const& v, auto const& negative) {
                                 return from_bits<V>(bits_of(v) | negative << (8 * sizeof(T) - 1));
                               },
                               magnitude(at, offset), at.template cast<word_of<T>>(bit)));
    }
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 8 * (sizeof(T) + 1) + 1; }
};

/// Reads the bytes and whatever magnitudes read, writes n values.
template<class T, class Backend, class Magnitude>
void decode_signs(Backend& backend, std::uint8_t const* bytes, std::size_t n, T* x, Magnitude const& magnitude) {
  auto const columns = n / 8;
  backend.sweep({0, columns}, from_signs_kernel<T, Magnitude>{bytes, columns, x, magnitude});
  for (auto i = 8 * columns; i < n; ++i) {
    backend::scalar_lanes<T> at{i};
    auto const size = magnitude(at, 0);
    x[i] = (bytes[columns] >> (i - 8 * columns) & 1) != 0 ? -size : size;
  }
}

}  // namespace rubato::codec::detail
