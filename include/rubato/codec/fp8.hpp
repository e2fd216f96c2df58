// SPDX-License-Identifier: MIT
// Floats of 8 bits (OCP OFP8): e4m3 with 4 bits of exponent and 3 of fraction, e5m2 with 5 and 2. Each chunk of a
// vector is scaled so that its largest value becomes the largest code.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/codec/detail/chunks.hpp>
#include <rubato/codec/detail/parts.hpp>
#include <rubato/codec/detail/small_float.hpp>

namespace rubato::codec {

enum class fp8_format : std::uint8_t {
  e4m3,  ///< 2^-6 to 448 in steps of 1/8; one NaN, no infinity
  e5m2,  ///< 2^-14 to 57344 in steps of 1/4
};

/// Policy, see codec/concepts.hpp. A byte a value and a scale a chunk, max |v| / 448 (e5m2: 57344). The error of a
/// value is at most 2^-4 (2^-3) of it, or half the smallest step below 2^-6 (2^-14) scales. Rounding is deterministic,
/// so there is a small bias. A chunk that holds NaN or an infinity decodes to NaN throughout, and so does one with a
/// negative scale, which is never encoded; one whose scale would be below the least normal number decodes to zeros.
/// Codes of NaN and infinities, which are not encoded either, decode to them. On the host only. Passes: encode reads x
/// twice, the second time from the cache.
template<fp8_format Format>
struct basic_fp8 {
  static constexpr auto name() -> std::string_view { return Format == fp8_format::e4m3 ? "fp8 e4m3" : "fp8 e5m2"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("values of a chunk", self.chunk_values, "values that share one scale; 0: all of them");
  }
  template<class T>
  using code = std::byte;
  static constexpr auto error = error_class::contractive;
  static constexpr bool needs_lossless_links = false;

  std::size_t chunk_values = 4096;  ///< 0: all

  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return detail::chunks{chunk_values}.template codes<T>(n, bytes);
  }
  [[nodiscard]] auto relative_error(std::size_t n) const -> double {
    auto const rounding = Format == fp8_format::e4m3 ? 0x1p-8 : 0x1p-6;
    auto const floor = format::template least<double> / 2 / largest<double>;  // of the chunk's largest value
    return rounding + static_cast<double>(detail::chunks{chunk_values}.largest(n)) * floor * floor;
  }

  template<class Backend>
  void encode(Backend& backend, typename Backend::scalar const* x, std::size_t n, std::byte* codes) const {
    static_assert(detail::check_on_host<Backend>());
    using T = typename Backend::scalar;
    constexpr auto tiny = (std::numeric_limits<T>::min)() * largest<T>;
    detail::chunks{chunk_values}.for_each<T, std::uint8_t>(n, codes, bytes, [&](range r, T* scale, std::uint8_t* to) {
      auto const most = detail::greatest_magnitude(x + r.begin, r.size());
      auto const finite = std::isfinite(most);
      *scale = !finite ? std::numeric_limits<T>::quiet_NaN() : most < tiny ? T{0} : most / largest<T>;
      if (!finite || most < tiny) return std::fill(to, to + r.size(), std::uint8_t{0});
      backend.sweep({0, r.size()},
                    detail::to_small_kernel<format, T, std::uint8_t>{x + r.begin, to, largest<T> / most});
    });
  }
  template<class Backend>
  void decode(Backend& backend, std::byte const* codes, std::size_t n, typename Backend::scalar* x) const {
    using T = typename Backend::scalar;
    detail::chunks{chunk_values}.for_each<T const, std::uint8_t const>(
        n, codes, bytes, [&](range r, T const* scale, std::uint8_t const* from) {
          backend.sweep({0, r.size()}, detail::from_small_kernel<format, T, std::uint8_t>{from, x + r.begin,
                                                                                          detail::scale_from(*scale)});
        });
  }

 private:
  using format =
      std::conditional_t<Format == fp8_format::e4m3, detail::small_float<4, 3, detail::top_exponent::one_nan>,
                         detail::small_float<5, 2, detail::top_exponent::saturates>>;
  template<class T>
  static constexpr T largest = Format == fp8_format::e4m3 ? T{448} : T{57344};
  static constexpr auto bytes(std::size_t m) -> std::size_t { return m; }
};

using fp8_e4m3 = basic_fp8<fp8_format::e4m3>;
using fp8_e5m2 = basic_fp8<fp8_format::e5m2>;

}  // namespace rubato::codec
