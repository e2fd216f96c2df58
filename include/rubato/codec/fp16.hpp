// SPDX-License-Identifier: MIT
// Half precision of IEEE 754: a sign, 5 bits of exponent and 10 of fraction, rounded to nearest, ties to even.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/codec/detail/small_float.hpp>

namespace rubato::codec {

/// Policy, see codec/concepts.hpp. 2 bytes a value; each value's error is at most 2^-11 of it from 2^-14 to 65504, and
/// 2^-25 below (nothing relative is promised there). Values of 65520 and more become infinities; infinities and NaN
/// stay what they are, -0 too. Gradients that leave this range need bf16, which has the exponents of float; error
/// feedback, which would keep the infinity, does not take fp16.
struct fp16 {
  static constexpr auto name() -> std::string_view { return "fp16"; }
  template<class T>
  using code = std::uint16_t;
  static constexpr auto error = error_class::contractive;
  static constexpr bool needs_lossless_links = false;
  static constexpr bool overflows = true;

  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return n;
  }
  /// Of values from 2^-14 to 65504.
  [[nodiscard]] auto relative_error(std::size_t) const -> double { return 0x1p-22; }

  template<class Backend>
  void encode(Backend& backend, typename Backend::scalar const* x, std::size_t n, std::uint16_t* codes) const {
    using T = typename Backend::scalar;
    backend.sweep({0, n}, detail::to_small_kernel<format, T, std::uint16_t>{x, codes, T{1}});
  }
  template<class Backend>
  void decode(Backend& backend, std::uint16_t const* codes, std::size_t n, typename Backend::scalar* x) const {
    using T = typename Backend::scalar;
    backend.sweep({0, n}, detail::from_small_kernel<format, T, std::uint16_t>{codes, x, T{1}});
  }

 private:
  using format = detail::small_float<5, 10, detail::top_exponent::infinities>;
};

}  // namespace rubato::codec
