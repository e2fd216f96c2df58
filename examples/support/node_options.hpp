// SPDX-License-Identifier: MIT
// Reads and lists the options of a node type by their names (core/visit_options.hpp). A program that uses this names no
// option itself, so a new option needs no change here.
#pragma once

#include <charconv>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/visit_options.hpp>

#include "race_text.hpp"  // not "support/...", so that a test may include this

namespace rubato::examples {

/// An option of an algorithm, as on a command line, with '-' between words.
struct listed_option {
  std::string name;
  std::string value;
  std::string right;  ///< the values allowed; empty: a policy, which is fixed when the algorithm is compiled
  std::string meaning{};  ///< empty: its list says nothing
};

/// NAME=VALUE, or ALGORITHM.NAME=VALUE.
struct setting {
  std::string algorithm;  ///< empty: every algorithm with this option
  std::string name;
  std::string text;
  [[nodiscard]] auto written() const -> std::string {
    return (algorithm.empty() ? "" : algorithm + ".") + name + "=" + text;
  }
};

/// A name as on command lines; '_' and ' ' are also accepted for '-'.
[[nodiscard]] inline auto with_dashes(std::string text) -> std::string {
  for (auto& c : text) {
    if (c == ' ' || c == '_') c = '-';
  }
  return text;
}

[[nodiscard]] inline auto setting_in(given g) -> setting {
  auto const equals = g.text.find('=');
  auto const dot = g.text.substr(0, equals).find('.');
  auto const begin = dot == g.text.npos ? 0 : dot + 1;
  if (equals == g.text.npos || equals == begin || dot == 0) {
    refuse(g, "NAME=VALUE (as step=0.05) or ALGORITHM.NAME=VALUE (as r_fast.step=0.05)");
  }
  return {std::string{g.text.substr(0, dot == g.text.npos ? 0 : dot)},
          with_dashes(std::string{g.text.substr(begin, equals - begin)}), std::string{g.text.substr(equals + 1)}};
}

namespace detail {

template<class V>
inline constexpr bool is_vector = false;
template<class V>
inline constexpr bool is_vector<std::vector<V>> = true;

/// All enumerators, see lists_options.
template<class E>
auto enumerators() -> std::vector<E> {
  std::vector<E> all;
  for (auto i = 0; i < 256; ++i) {
    auto const e = static_cast<E>(i);
    if (!all.empty() && std::string_view{name_of(e)} == std::string_view{name_of(all.back())}) break;
    all.push_back(e);
  }
  return all;
}

/// The values that this type allows, in words that follow "must be".
template<class V>
auto right_of() -> std::string {
  if constexpr (std::same_as<V, bool>) {
    return "yes or no";
  } else if constexpr (std::is_enum_v<V>) {
    std::string text;
    for (auto const e : enumerators<V>()) text += (text.empty() ? "" : " or ") + with_dashes(option_text(e));
    return text;
  } else if constexpr (is_vector<V>) {
    return "nothing, or with a comma between any two: " + right_of<typename V::value_type>();
  } else if constexpr (std::floating_point<V>) {
    return "a number";
  } else if constexpr (std::integral<V>) {
    using limits = std::numeric_limits<V>;
    if constexpr (std::is_unsigned_v<V> && sizeof(V) == 8) return "a whole number from 0 up";
    return "a whole number from " + std::to_string((limits::min)()) + " to " + std::to_string((limits::max)());
  } else {
    static_assert(std::same_as<V, std::chrono::nanoseconds>, "no command line can say such a value");
    return "a time (as 250us, 1.5ms, 60s, 2min)";
  }
}

/// Throws config_error.
template<class V>
void read_value(V& value, given g) {
  if constexpr (std::same_as<V, bool>) {
    if (g.text != "yes" && g.text != "no") refuse(g, right_of<V>());
    value = g.text == "yes";
  } else if constexpr (std::is_enum_v<V>) {
    for (auto const e : enumerators<V>()) {
      if (with_dashes(option_text(e)) != with_dashes(std::string{g.text})) continue;
      value = e;
      return;
    }
    refuse(g, right_of<V>());
  } else if constexpr (is_vector<V>) {
    value.clear();
    if (g.text.empty()) return;
    for (auto const& part : list_in(g.text)) read_value(value.emplace_back(), {g.option, part});
  } else if constexpr (std::floating_point<V>) {
    value = static_cast<V>(number_in(g, std::numeric_limits<double>::lowest(), right_of<V>()));
  } else if constexpr (std::integral<V>) {
    auto const* const end = g.text.data() + g.text.size();
    auto const read = std::from_chars(g.text.data(), end, value);
    if (read.ec != std::errc{} || read.ptr != end) refuse(g, right_of<V>());
  } else {
    value = duration_in(g);
  }
}

template<class V>
auto written_value(V const& value) -> std::string {
  if constexpr (is_vector<V>) {
    std::string text;
    for (auto const& each : value) text += (text.empty() ? "" : ",") + written_value(each);
    return text;
  } else {
    return with_dashes(option_text(value));
  }
}

inline auto name_under(std::string const& under, std::string_view its) -> std::string {
  return with_dashes(under.empty() ? std::string{its} : under + "-" + std::string{its});
}

/// Calls row(name, value, meaning) for every option of P; for a policy, then also for each option of the policy.
template<lists_options P, class Row>
void walk_options(P& p, Row const& row, std::string const& under = {}) {
  P::visit_options(p, [&](std::string_view its, auto& value, std::string_view meaning = {}) {
    auto const name = name_under(under, its);
    row(name, value, meaning);
    if constexpr (lists_options<std::remove_cvref_t<decltype(value)>>) walk_options(value, row, name);
  });
}

template<class V>
concept plain_option = requires(V const& v) { option_text(v); };

template<class P>
void check_options(P const& p) {
  if constexpr (requires { p.check(); }) p.check();
  if constexpr (lists_options<P>) {
    P::visit_options(p, [](std::string_view, auto const& value, std::string_view = {}) {
      if constexpr (!plain_option<std::remove_cvref_t<decltype(value)>>) check_options(value);
    });
  }
}

}  // namespace detail

/// All options of a node type's `options`, in the order of its lists.
template<lists_options O>
[[nodiscard]] auto listed(O const& options) -> std::vector<listed_option> {
  std::vector<listed_option> all;
  detail::walk_options(options, [&](std::string const& name, auto const& value, std::string_view meaning) {
    using type = std::remove_cvref_t<decltype(value)>;
    if constexpr (detail::plain_option<type>) {
      all.push_back({name, detail::written_value(value), detail::right_of<type>(), std::string{meaning}});
    } else {
      all.push_back({name, with_dashes(std::string{name_of_type<type>()}), {}, std::string{meaning}});
    }
  });
  return all;
}

/// The names of the options that can be set, for a sentence.
[[nodiscard]] inline auto names_of(std::vector<listed_option> const& all) -> std::string {
  std::string names;
  for (auto const& o : all) {
    if (!o.right.empty()) names += (names.empty() ? "" : ", ") + o.name;
  }
  return names;
}

/// Sets one option of `algorithm`; throws config_error if it has no option of this name or the value is not valid.
template<lists_options O>
void set_option(O& options, std::string_view algorithm, setting const& s) {
  auto const who = "the option " + s.name + " of " + std::string{algorithm};
  auto found = false;
  detail::walk_options(options, [&](std::string const& name, auto& value, std::string_view) {
    using type = std::remove_cvref_t<decltype(value)>;
    if (name != s.name) return;
    found = true;
    if constexpr (detail::plain_option<type>) {
      detail::read_value(value, {who, s.text});
    } else {
      throw config_error{who + " is " + std::string{name_of_type<type>()} +
                         ", which is chosen where the algorithm is compiled, and cannot be set to '" + s.text + "'"};
    }
  });
  if (!found) {
    throw config_error{std::string{algorithm} + " has no option '" + s.name + "' (set to '" + s.text + "'); it has " +
                       names_of(listed(options))};
  }
  try {
    detail::check_options(options);
  } catch (config_error const& e) {
    throw config_error{who + " cannot be '" + s.text + "': " + e.what()};
  }
}

}  // namespace rubato::examples
