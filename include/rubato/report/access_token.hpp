// SPDX-License-Identifier: MIT
// Tokens: who shows one may read the status of a run.
#pragma once

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include <rubato/core/errors.hpp>
#include <rubato/transport/secret_file.hpp>

namespace rubato::report {

inline constexpr std::size_t token_digits = 32;

/// A new one: 32 hexadecimal digits that nobody can guess. Throws config_error if the system gives no randomness.
[[nodiscard]] inline auto new_token() -> std::string {
  std::array<unsigned char, token_digits / 2> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    throw config_error{"there is no randomness for a token: " + std::string{std::strerror(errno)}};
  std::string text(token_digits, '0');
  transport::write_digits(bytes, text);
  return text;
}

/// The token in that file, which is made if it is not there. Throws config_error, with a sentence, if it holds none, or
/// if other users can read it.
[[nodiscard]] inline auto token_in(std::filesystem::path const& file) -> std::string {
  constexpr auto what = "the token file";
  auto unknown = std::error_code{};
  if (!std::filesystem::exists(file, unknown)) {
    auto const why = transport::write_secret(file, new_token() + "\n");
    if (why != 0 && why != EEXIST)  // else another process was first
      throw config_error{transport::name_of_secret(file, what) + " cannot be made: " + std::strerror(why)};
  }
  std::array<char, token_digits + 16> text{};
  auto const said = transport::read_secret(file, what, text);
  if (said.size() == token_digits && said.find_first_not_of("0123456789abcdef") == said.npos) return std::string{said};
  throw config_error{transport::name_of_secret(file, what) + " holds no token: that is a line of " +
                     std::to_string(token_digits) + " hexadecimal digits"};
}

/// Whether both are the same text, in a time that depends on the length of `given` alone. No text is an empty token.
[[nodiscard]] inline auto is_token(std::string_view given, std::string_view right) -> bool {
  if (right.empty()) return false;
  auto differs = given.size() ^ right.size();
  for (std::size_t i = 0; i < given.size(); ++i) {
    differs |= static_cast<std::size_t>(static_cast<unsigned char>(given[i] ^ right[i % right.size()]));
  }
  auto const volatile all = differs;  // looked at once, at the end
  return all == 0;
}

}  // namespace rubato::report
