// SPDX-License-Identifier: MIT
// From argv to options, by CLI11.
#pragma once

#include <CLI/CLI.hpp>

#include <optional>
#include <string>
#include <vector>

#include "support/race_options.hpp"

namespace rubato::examples {

namespace detail {

inline void add_row(CLI::App& app, option_row const& row, race_options& options) {
  auto const set = [&options, row](std::vector<std::string> const& texts) {
    if (texts.size() > 1 && row.repeats == repeatable::no) {
      throw config_error{std::string{row.name} + " is given " + std::to_string(texts.size()) + " times; give it once"};
    }
    for (auto const& text : texts) {
      row.set(options, {row.name, text});
      options.arguments.insert(options.arguments.end(), {row.name, text});
    }
    return true;
  };
  auto const help = row.initial.empty() ? std::string{row.help} : row.help + (" (default: " + row.initial) + ")";
  auto* const option = app.add_option(
      row.name, [set](CLI::results_t const& texts) { return set(texts); }, help);
  option->type_name(row.value)->type_size(1)->expected(1);
  option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args(false);
}

/// Parses, and says in one sentence what is wrong; false after --help.
inline auto parsed(CLI::App& app, int argc, char const* const* argv) -> bool {
  try {
    app.parse(argc, argv);
  } catch (CLI::CallForHelp const& help) {
    app.exit(help);
    return false;
  } catch (CLI::ExtrasError const& e) {
    auto const rest = app.remaining();
    throw config_error{"unknown option '" + (rest.empty() ? std::string{e.what()} : rest.front()) + "': " +
                       app.get_name() + " --help lists those there are"};
  } catch (CLI::ParseError const& e) {
    throw config_error{std::string{e.what()} + "; " + app.get_name() + " --help says what each option takes"};
  }
  return true;
}

}  // namespace detail

/// Nothing after --help, which it has printed. Throws config_error with one sentence for whatever is wrong.
[[nodiscard]] inline auto read_command_line(int argc, char const* const* argv) -> std::optional<race_options> {
  auto options = default_options();
  CLI::App app{"Trains softmax regression with several algorithms on the same data, split, seeds and scenario, side by side.",
               "race"};
  app.set_help_flag("--help,-h", "print this and end");
  for (auto const& row : option_rows()) detail::add_row(app, row, options);
  app.add_flag("--quiet", options.quiet, "no progress bar and no header");
  if (!detail::parsed(app, argc, argv)) return std::nullopt;
  return options;
}

}  // namespace rubato::examples
