// SPDX-License-Identifier: MIT
// The upper half of a float: its sign, its exponent and 7 bits of its fraction, rounded to nearest, ties to even.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::codec {

namespace detail {

using backend::detail::same_bits;

// std::bit_cast is a function of the host; its builtin is none.
RUBATO_HOST_DEVICE inline auto float_bits(float x) -> std::int32_t { return __builtin_bit_cast(std::int32_t, x); }
RUBATO_HOST_DEVICE inline auto float_of(std::int32_t bits) -> float { return __builtin_bit_cast(float, bits); }
template<std::size_t L>
auto float_bits(backend::pack<float, L> const& x) -> backend::pack<std::int32_t, L> {
  using part = typename backend::pack<std::int32_t, L>::part;
  return {same_bits<part>(x.a), same_bits<part>(x.b), same_bits<part>(x.c), same_bits<part>(x.d)};
}
template<std::size_t L>
auto float_of(backend::pack<std::int32_t, L> const& bits) -> backend::pack<float, L> {
  using part = typename backend::pack<float, L>::part;
  return {same_bits<part>(bits.a), same_bits<part>(bits.b), same_bits<part>(bits.c), same_bits<part>(bits.d)};
}

/// The upper 16 bits of the nearest number that has only these. NaN keeps its upper bits and is made quiet (if it were
/// rounded up, some NaNs would become infinities).
RUBATO_HOST_DEVICE inline auto upper_half(std::int32_t bits) -> std::int32_t {
  auto const u = static_cast<std::uint32_t>(bits);
  auto const none = (u & 0x7fffffffU) > 0x7f800000U;
  return static_cast<std::int32_t>((none ? u | 0x400000U : u + 0x7fffU + ((u >> 16) & 1U)) >> 16);
}
template<std::size_t L>
auto upper_half(backend::pack<std::int32_t, L> const& bits) -> backend::pack<std::int32_t, L> {
  using part = typename backend::pack<std::int32_t, L>::part;
  using unsigned_part = typename backend::pack<std::uint32_t, L>::part;
  auto const of = [](part const& v) {
    auto const u = same_bits<unsigned_part>(v);
    auto const none = same_bits<unsigned_part>((v & 0x7fffffff) > 0x7f800000);
    auto const nearest = u + 0x7fffU + ((u >> 16) & 1U);
    return same_bits<part>(((none & (u | 0x400000U)) | (~none & nearest)) >> 16);
  };
  return {of(bits.a), of(bits.b), of(bits.c), of(bits.d)};
}

RUBATO_HOST_DEVICE inline auto shifted_up(std::int32_t v) -> std::int32_t {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(v) << 16);
}
template<std::size_t L>
auto shifted_up(backend::pack<std::int32_t, L> const& v) -> backend::pack<std::int32_t, L> {
  return {v.a << 16, v.b << 16, v.c << 16, v.d << 16};
}

/// Reads x, writes codes.
template<class T>
struct to_bf16_kernel {
  static constexpr bool raises = false;
  T const* x;
  std::uint16_t* codes;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const bits = float_bits(at.template cast<float>(at.load(x)));
    at.store(codes, at.template cast<std::uint16_t>(upper_half(bits)));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(T) + 2; }
};

/// Reads codes, writes x.
template<class T>
struct from_bf16_kernel {
  static constexpr bool raises = false;
  std::uint16_t const* codes;
  T* x;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const bits = shifted_up(at.template cast<std::int32_t>(at.load(codes)));
    at.store(x, at.template cast<T>(float_of(bits)));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(T) + 2; }
};

}  // namespace detail

/// Policy, see codec/concepts.hpp. 2 bytes a value; each value's error is at most 2^-8 of it (of normal floats). Values
/// beyond the largest bf16, 3.39e38, become infinities; infinities and NaN stay what they are.
struct bf16 {
  static constexpr auto name() -> std::string_view { return "bf16"; }
  template<class T>
  using code = std::uint16_t;
  static constexpr auto error = error_class::contractive;
  static constexpr bool needs_lossless_links = false;

  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return n;
  }
  [[nodiscard]] auto relative_error(std::size_t) const -> double { return 0x1p-16; }

  template<class Backend>
  void encode(Backend& backend, typename Backend::scalar const* x, std::size_t n, std::uint16_t* codes) const {
    backend.sweep({0, n}, detail::to_bf16_kernel<typename Backend::scalar>{x, codes});
  }
  template<class Backend>
  void decode(Backend& backend, std::uint16_t const* codes, std::size_t n, typename Backend::scalar* x) const {
    backend.sweep({0, n}, detail::from_bf16_kernel<typename Backend::scalar>{codes, x});
  }
};

}  // namespace rubato::codec
