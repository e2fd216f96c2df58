// SPDX-License-Identifier: MIT
// Numbers as text and text as numbers, the same whatever the locale; and foreign text made fit for a sentence.
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

#if !defined(__cpp_lib_to_chars)  // a library that writes floating numbers so, but does not read them yet
#include <clocale>
#include <cstdlib>
#endif

#include <rubato/core/language.hpp>

namespace rubato {

/// The shortest text that reads back as exactly x; "inf", "-inf" and "nan" for what is not finite.
template<std::floating_point T>
[[nodiscard]] auto shortest(T x) -> std::string {
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, x).ptr};
}

/// x with at most `digits` digits (17 or fewer), as printf's %g writes it.
[[nodiscard]] inline auto with_digits(double x, int digits) -> std::string {
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, x, std::chars_format::general, digits).ptr};
}

/// Reads the decimal number at the beginning of `text`. Returns its length in bytes, or 0 if there is none or it
/// exceeds a double.
[[nodiscard]] inline auto read_number(std::string_view text, double& value) -> std::size_t {
#if defined(__cpp_lib_to_chars)
  auto const read = std::from_chars(text.data(), text.data() + text.size(), value);
  return read.ec == std::errc{} ? static_cast<std::size_t>(read.ptr - text.data()) : 0;
#else
  static auto const plain = ::newlocale(LC_ALL_MASK, "C", ::locale_t{});
  auto const first = text.substr(0, text.find_first_not_of("+-.0123456789abcdefinABCDEFIN"));
  if (first.empty() || first[0] == '+') return 0;
  auto const copy = std::string{first};
  char* end = nullptr;
  auto const read = ::strtod_l(copy.c_str(), &end, plain);
  auto const bytes = static_cast<std::size_t>(end - copy.c_str());
  if (bytes == 0 || (copy.find_first_of("inIN") > bytes && !(read - read == 0))) return 0;
  value = read;
  return bytes;
#endif
}

/// Foreign text (a file's content or name) on one line and safe for a terminal: escapes such as \n, \t and \x1b replace
/// what cannot be shown. A text longer than `most` bytes is cut and ends with "...".
[[nodiscard]] auto escaped(std::string_view text, std::size_t most = std::string_view::npos) -> std::string;

#if RUBATO_BODIES
namespace detail {

/// The length in bytes of the first letter, if it may be shown as it is; otherwise 0. Not shown are control characters,
/// bytes that are not UTF-8, and marks that change the direction of the text after them.
[[nodiscard]] constexpr auto shown_bytes(std::string_view text) -> std::size_t {
  auto const at = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(text[i])); };
  auto const first = at(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  auto const bytes = first >= 0xc2 && first <= 0xdf   ? 2U
                     : first >= 0xe0 && first <= 0xef ? 3U
                     : first >= 0xf0 && first <= 0xf4 ? 4U
                                                      : 0U;
  if (bytes == 0 || text.size() < bytes) return 0;
  for (auto i = std::size_t{1}; i < bytes; ++i)
    if ((at(i) & 0xc0U) != 0x80) return 0;
  auto const second = at(1);
  if ((first == 0xc2 && second < 0xa0) || (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f))
    return 0;
  if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return 0;
  if (first == 0xe2 && second == 0x80 && at(2) >= 0xa8 && at(2) <= 0xae) return 0;
  if (first == 0xe2 && second == 0x81 && at(2) >= 0xa6 && at(2) <= 0xa9) return 0;
  return bytes;
}

}  // namespace detail

RUBATO_INLINE auto escaped(std::string_view text, std::size_t most) -> std::string {
  constexpr auto digits = std::string_view{"0123456789abcdef"};
  auto const cut = text.size() > most;
  auto clean = std::string{};
  for (text = text.substr(0, most); !text.empty();) {
    auto const bytes = detail::shown_bytes(text);
    auto const c = static_cast<unsigned char>(text[0]);
    if (bytes > 0) clean += text.substr(0, bytes);
    else if (c == '\n') clean += "\\n";
    else if (c == '\t') clean += "\\t";
    else (clean += "\\x").append({digits[c >> 4U], digits[c & 15U]});
    text.remove_prefix(bytes > 0 ? bytes : 1);
  }
  return cut ? clean + "..." : clean;
}
#endif  // RUBATO_BODIES

}  // namespace rubato
