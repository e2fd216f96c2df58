// SPDX-License-Identifier: MIT
// Parses the values of race's options strictly: the whole text is one value, or a sentence says what is expected.
#pragma once

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/environment/compute.hpp>

namespace rubato::examples {

/// The name of an option and its value as written.
struct given {
  std::string_view option;
  std::string_view text;
};

[[noreturn]] inline void refuse(given g, std::string_view right) {
  throw config_error{std::string{g.option} + " must be " + std::string{right} + ", not '" + std::string{g.text} + "'"};
}

/// A number and the letters right after it; nothing if the text does not begin with a number.
struct quantity {
  double value = 0;
  std::string_view unit;
};
[[nodiscard]] inline auto quantity_in(std::string_view text) -> std::optional<quantity> {
  quantity q;
  auto const bytes = read_number(text, q.value);
  if (bytes == 0) return std::nullopt;
  q.unit = text.substr(bytes);
  return q;
}

/// A finite number, at least `least`.
[[nodiscard]] inline auto number_in(given g, double least, std::string_view right) -> double {
  auto const q = quantity_in(g.text);
  if (!q || !q->unit.empty() || !std::isfinite(q->value) || !(q->value >= least)) refuse(g, right);
  return q->value;
}

[[nodiscard]] inline auto step_in(given g) -> double {
  constexpr auto right = std::string_view{"a positive number"};
  auto const step = number_in(g, 0, right);
  if (step == 0) refuse(g, right);
  return step;
}

[[nodiscard]] inline auto count_in(given g, std::uint64_t least, std::string_view right) -> std::uint64_t {
  std::uint64_t count = 0;
  auto const* const end = g.text.data() + g.text.size();
  auto const read = std::from_chars(g.text.data(), end, count);
  if (read.ec == std::errc::result_out_of_range && read.ptr == end) {
    throw config_error{std::string{g.option} + " must be less than 2^64, not '" + std::string{g.text} + "'"};
  }
  if (read.ec != std::errc{} || read.ptr != end || count < least) refuse(g, right);
  return count;
}

/// Of this machine, for a page: auto, or its number as text.
[[nodiscard]] inline auto page_port_in(given g) -> std::string {
  constexpr auto right = std::string_view{"a port from 1 to 65535, or auto"};
  if (g.text != "auto" && count_in(g, 1, right) > 65535) refuse(g, right);
  return std::string{g.text};
}

/// 115 days: about a hundred of them, plus the longest run, can be added before a clock in nanoseconds overflows.
inline constexpr auto longest_time = 1e7;  // in seconds
inline constexpr auto longest_run = 9e9;

/// 250us, 1.5ms, 60s, 2min; 0 needs no unit.
[[nodiscard]] inline auto duration_in(given g, double most_seconds = longest_time) -> std::chrono::nanoseconds {
  constexpr auto right = std::string_view{"a time of 0 or more with one of the units ns, us, ms, s and min (as 1.5ms)"};
  constexpr std::pair<std::string_view, double> units[] = {
      {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}};
  auto const q = quantity_in(g.text);
  if (!q || !(q->value >= 0)) refuse(g, right);
  if (q->value == 0 && q->unit.empty()) return {};
  for (auto const& [unit, scale] : units) {
    if (unit != q->unit) continue;
    if (q->value * scale > most_seconds * 1e9)
      refuse(g, most_seconds == longest_run ? "a time of at most 9e9 s" : "a time of at most 1e7 s");
    return std::chrono::nanoseconds{std::llround(q->value * scale)};
  }
  refuse(g, right);
}

/// Bits per second: 100Mbit, 1Gbit; 0 stands for "unlimited".
[[nodiscard]] inline auto rate_in(given g) -> double {
  constexpr auto right =
      std::string_view{"a positive rate in bit, kbit, Mbit or Gbit a second (as 1Gbit), or unlimited"};
  constexpr std::pair<std::string_view, double> units[] = {{"bit", 1}, {"kbit", 1e3}, {"Mbit", 1e6}, {"Gbit", 1e9}};
  if (g.text == "unlimited") return 0;
  auto const q = quantity_in(g.text);
  if (!q || !(q->value > 0) || !std::isfinite(q->value)) refuse(g, right);
  for (auto const& [unit, scale] : units) {
    if (q->unit == unit) return q->value * scale;
  }
  refuse(g, right);
}

/// "7:4" as node and factor.
[[nodiscard]] inline auto slow_in(given g, std::string_view right = "NODE:FACTOR with a factor above 0 (as 7:4)")
    -> std::pair<std::uint32_t, double> {
  auto const colon = g.text.find(':');
  if (colon == g.text.npos) refuse(g, right);
  auto const factor = number_in({g.option, g.text.substr(colon + 1)}, 0, right);
  auto const node = count_in({g.option, g.text.substr(0, colon)}, 0, right);
  if (factor == 0 || node > std::numeric_limits<std::uint32_t>::max()) refuse(g, right);
  return {static_cast<std::uint32_t>(node), factor};
}

[[nodiscard]] inline auto file_in(given g) -> std::string {
  if (g.text.empty()) refuse(g, "the name of a file");
  return std::string{g.text};
}
[[nodiscard]] inline auto folder_in(given g) -> std::string {
  if (g.text.empty()) refuse(g, "the name of a folder");
  return std::string{g.text};
}

/// The parts of a text between commas.
[[nodiscard]] inline auto list_in(std::string_view text) -> std::vector<std::string> {
  std::vector<std::string> parts;
  while (true) {
    auto const comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == text.npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

[[nodiscard]] inline auto joined(std::vector<std::string> const& parts) -> std::string {
  std::string text;
  for (auto const& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

/// A form of --compute: a name, a time, and this many numbers after it.
struct compute_form {
  std::string_view name;
  std::string_view right;
  std::size_t numbers;
  auto (*make)(std::chrono::nanoseconds, std::span<double const> numbers) -> environment::compute_model;
};
inline constexpr compute_form compute_forms[] = {
    {"fixed", "fixed:TIME", 0, [](auto time, auto) { return environment::fixed(time); }},
    {"lognormal", "lognormal:MEAN,COEFFICIENT_OF_VARIATION", 1,
     [](auto mean, auto n) { return environment::lognormal(mean, n[0]); }},
    {"half_normal", "half_normal:MEAN", 0, [](auto mean, auto) { return environment::half_normal(mean); }},
    {"shifted_exponential", "shifted_exponential:MEAN,COEFFICIENT_OF_VARIATION", 1,
     [](auto mean, auto n) { return environment::shifted_exponential(mean, n[0]); }},
    {"two_regime", "two_regime:MEAN,PROBABILITY,FACTOR", 2,
     [](auto mean, auto n) { return environment::two_regime(mean, n[0], n[1]); }},
    {"random_slow", "random_slow:MEAN,PROBABILITY,LEAST_FACTOR,GREATEST_FACTOR", 3,
     [](auto mean, auto n) { return environment::random_slow(mean, n[0], n[1], n[2]); }}};

[[nodiscard]] inline auto compute_names() -> std::string {
  std::string names;
  for (auto const& form : compute_forms) names += (names.empty() ? "" : ", ") + std::string{form.right};
  return names;
}

/// One of the forms above; times may be 0, which only drivers with a real clock accept.
[[nodiscard]] inline auto compute_in(given g) -> environment::compute_model {
  auto const colon = g.text.find(':');
  auto const name = g.text.substr(0, colon);
  for (auto const& form : compute_forms) {
    if (form.name != name) continue;
    auto const parts = list_in(colon == g.text.npos ? std::string_view{} : g.text.substr(colon + 1));
    if (colon == g.text.npos || parts.size() != 1 + form.numbers) refuse(g, form.right);
    auto const time = duration_in({g.option, parts[0]});
    std::array<double, 3> numbers{};
    for (std::size_t k = 0; k < form.numbers; ++k) numbers[k] = number_in({g.option, parts[k + 1]}, 0, form.right);
    return form.make(time, numbers);
  }
  throw config_error{std::string{g.option} + " knows no model '" + std::string{name} + "'; there are " +
                     compute_names()};
}

}  // namespace rubato::examples
