// SPDX-License-Identifier: MIT
// The options of a policy or an algorithm, each listed once. All that need them by name walk this list: what processes
// must agree on (run/assemble.hpp), and what command lines offer (examples/support/node_options.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/core/text.hpp>

namespace rubato {

namespace detail {
struct ignores_options {
  template<class V>
  void operator()(std::string_view, V&, std::string_view = {}) const {}
};
}  // namespace detail

/// A type lists its options in a static member, each data member once and in the order of their declaration:
///   static void visit_options(auto& self, auto&& visit) { visit("beta", self.beta_); visit("form", self.form_); }
/// What an option means may follow as a third argument, in a few words for --help: visit("beta", self.beta_, "share of
/// the former step that is kept"). The name consists of words. The value is a number, a bool, a std::chrono duration,
/// an enumerator with a name_of(), a vector of numbers, or another type that lists its options. (Enumerators count from
/// 0; name_of() gives the last one's name for all numbers beyond.) `self` may be const; if it is not, a visitor may
/// write to it. After writing it calls check() const, if the type has one, which throws config_error for a value that
/// the type does not accept.
template<class P>
concept lists_options = requires(P const& p, detail::ignores_options v) { P::visit_options(p, v); };

namespace detail {

/// The type as this compiler spells it: the same under all compilers for plain types, but not for templates.
template<class P>
constexpr auto spelling_of() -> std::string_view {
  std::string_view const all = __PRETTY_FUNCTION__;  // "... [with P = name; ...]" or "... [P = name]"
  auto const begin = all.find("P = ") + 4;
  return all.substr(begin, all.find_first_of(";]", begin) - begin);
}

}  // namespace detail

/// The name by which other processes know a policy or an algorithm, whatever compiler built them: its static name(), or
/// its spelling in C++ if it has none.
template<class P>
[[nodiscard]] constexpr auto name_of_type() {
  if constexpr (requires { P::name(); }) return P::name();
  else return detail::spelling_of<P>();
}

/// Numbers as rubato::shortest has them.
[[nodiscard]] inline auto option_text(double v) -> std::string { return shortest(v); }
template<class V>
  requires std::is_integral_v<V>
[[nodiscard]] auto option_text(V v) -> std::string {
  return std::to_string(v);
}
[[nodiscard]] inline auto option_text(bool v) -> std::string { return v ? "yes" : "no"; }
[[nodiscard]] inline auto option_text(std::chrono::nanoseconds v) -> std::string {
  return shortest(std::chrono::duration<double>{v}.count()) + "s";
}
template<class V>
  requires std::is_enum_v<V>
[[nodiscard]] auto option_text(V v) -> std::string {
  return std::string{name_of(v)};
}
template<class V>
[[nodiscard]] auto option_text(std::vector<V> const& all) -> std::string {
  std::string text;
  for (auto const& v : all) text += (text.empty() ? "" : " ") + option_text(v);
  return text;
}

/// Calls line(name, text) for every option of `p`, in order. A policy gives a line with its name, and then one line
/// "policy option" for each of its options. A type with members that lists nothing gives one line, `unlisted_options`.
inline constexpr std::string_view unlisted_options = "(settings that are not listed)";

template<class P, class Line>
void each_option(P const& p, Line&& line, std::string const& under = {}) {
  if constexpr (lists_options<P>) {
    P::visit_options(p, [&](std::string_view its, auto const& value, std::string_view = {}) {
      auto const name = under.empty() ? std::string{its} : under + " " + std::string{its};
      if constexpr (requires { option_text(value); }) {
        line(name, option_text(value));
      } else {
        line(name, std::string{name_of_type<std::remove_cvref_t<decltype(value)>>()});
        each_option(value, line, name);
      }
    });
  } else if constexpr (!std::is_empty_v<P>) {
    line(under, std::string{unlisted_options});
  }
}

}  // namespace rubato
