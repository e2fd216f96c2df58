// SPDX-License-Identifier: MIT
// What all processes of a run must have in common, as lines of text, and its hash: the run id that every frame carries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::wire {

/// FNV-1a, 64 bits: the same on every machine, and enough to distinguish options. It is no protection against an
/// attacker.
[[nodiscard]] constexpr auto hash_of(std::string_view text, std::uint64_t so_far = 0xcbf29ce484222325ULL)
    -> std::uint64_t {
  for (auto const c : text) so_far = (so_far ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return so_far;
}
[[nodiscard]] inline auto hash_of(std::span<std::byte const> bytes) -> std::uint64_t {
  return hash_of(std::string_view{reinterpret_cast<char const*>(bytes.data()), bytes.size()});
}

namespace detail {
inline constexpr std::size_t most_shown = 100;  // bytes of what somebody else sent, in a sentence

/// The value of the line NAME=VALUE, where there is one.
auto value_of(std::string_view text, std::string_view name) -> std::optional<std::string_view>;
}  // namespace detail

/// Names and values, one a line, in the order in which they were added.
class agreement {
 public:
  /// The longest text that transports exchange.
  static constexpr std::size_t most_bytes = std::size_t{1} << 14;

  /// Requires a name without '=' and without line breaks; control characters of the value are escaped. Throws
  /// config_error when the text grows too long.
  auto add(std::string_view name, std::string_view value) -> agreement& {
    RUBATO_EXPECTS(name.find('=') == name.npos && name.find('\n') == name.npos,
                   "the name of what nodes agree on has no '=' and is one line");
    RUBATO_EXPECTS(!detail::value_of(text_, name), "what nodes agree on is named once");
    text_.append(name).append("=").append(escaped(value)).append("\n");
    if (text_.size() > most_bytes) throw config_error{"what nodes agree on takes more than 16 KiB of text"};
    return *this;
  }
  auto add(std::string_view name, std::uint64_t value) -> agreement& { return add(name, std::to_string(value)); }

  [[nodiscard]] auto text() const -> std::string const& { return text_; }
  [[nodiscard]] auto id() const -> std::uint64_t { return hash_of(text_); }

 private:
  std::string text_;
};

/// The first difference as a clause about `them`, such as "node 2 has seed 7, but this node has 1"; that of the
/// algorithms, from which others follow, before all. Empty if the texts are equal. `theirs` may be arbitrary bytes.
[[nodiscard]] auto difference(std::string_view mine, std::string_view theirs, std::string const& them,
                              std::string const& me = "this node") -> std::string;

#if RUBATO_BODIES
namespace detail {
RUBATO_INLINE auto line_of(std::string_view& text) -> std::string_view {
  auto const end = text.find('\n');
  auto const line = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  return line;
}
RUBATO_INLINE auto value_of(std::string_view text, std::string_view name) -> std::optional<std::string_view> {
  while (!text.empty()) {
    auto const line = line_of(text);
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == '=') {
      return line.substr(name.size() + 1);
    }
  }
  return std::nullopt;
}
}  // namespace detail

RUBATO_INLINE auto difference(std::string_view mine, std::string_view theirs, std::string const& them,
                              std::string const& me) -> std::string {
  if (mine == theirs) return {};
  auto const clause = [&](std::string_view name, std::string_view other, std::string_view own) {
    return them + " has " + std::string{name} + " " + escaped(other, detail::most_shown) + ", but " + me + " has " +
           escaped(own, detail::most_shown);
  };
  auto const ours = detail::value_of(mine, "algorithm"), its = detail::value_of(theirs, "algorithm");
  if (ours && its && *ours != *its) return clause("algorithm", *its, *ours);
  for (auto rest = mine; !rest.empty();) {
    auto const line = detail::line_of(rest);
    auto const name = line.substr(0, line.find('='));
    auto const own = line.substr(name.size() + 1);
    auto const other = detail::value_of(theirs, name);
    if (!other) {
      return them + " says nothing of " + std::string{name} + ", which is " + escaped(own, detail::most_shown) +
             " here";
    }
    if (*other != own) return clause(name, *other, own);
  }
  for (auto rest = theirs; !rest.empty();) {
    auto const line = detail::line_of(rest);
    auto const name = line.substr(0, line.find('='));
    if (!detail::value_of(mine, name)) {
      return them + " has " + escaped(line, detail::most_shown) + ", which " + me + " does not know";
    }
  }
  return them + " lists the same options in another order or twice";
}
#endif  // RUBATO_BODIES

}  // namespace rubato::wire
