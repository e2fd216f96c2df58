// SPDX-License-Identifier: MIT
// Numbers as text, the same on every machine: no locale, and for files the shortest digits that read back bit for bit.
#pragma once

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <string>

#include <rubato/core/text.hpp>

namespace rubato::report {
namespace detail {

inline auto written(std::array<char, 400> const& digits, std::to_chars_result end) -> std::string {
  return {digits.data(), static_cast<char const*>(end.ptr)};
}

}  // namespace detail

/// The shortest text that reads back as exactly x; empty for NaN, "inf" or "-inf" for infinities.
[[nodiscard]] inline auto shortest(double x) -> std::string {
  return std::isnan(x) ? std::string{} : rubato::shortest(x);
}

/// x with that many decimals; "-" for NaN. The exact binary value is rounded, ties to even, so 0.125 gives 0.12.
[[nodiscard]] inline auto fixed(double x, int decimals) -> std::string {
  if (std::isnan(x)) return "-";
  auto digits = std::array<char, 400>{};
  auto const last = digits.data() + digits.size();
  return detail::written(digits, std::to_chars(digits.data(), last, x, std::chars_format::fixed, decimals));
}

/// x for a reader: four decimals if they suffice, else four digits and an exponent; "-" for NaN.
[[nodiscard]] inline auto readable(double x) -> std::string {
  auto const size = std::abs(x);
  if (size == 0 || !std::isfinite(x) || (size >= 1e-2 && size < 1e6)) return fixed(x, 4);
  auto digits = std::array<char, 400>{};
  auto const last = digits.data() + digits.size();
  return detail::written(digits, std::to_chars(digits.data(), last, x, std::chars_format::scientific, 3));
}

/// Seconds as the double nearest to their decimal value, so that 300 ms is written 0.3 (a product with 1e-9 is not).
[[nodiscard]] inline auto seconds_of(std::chrono::nanoseconds d) -> double {
  return static_cast<double>(d.count()) / 1e9;
}

}  // namespace rubato::report
