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
  auto* const option = app.add_option(row.name, [set](CLI::results_t const& texts) { return set(texts); }, help);
  option->type_name(row.value)->type_size(1)->expected(1);
  option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args(false);
}

/// The sentence for an option that this program has not; of one that others have it names those.
[[noreturn]] inline void refuse_unknown(std::string const& text, std::string const& program) {
  auto const name = text.substr(0, text.find('='));
  std::string why;
  for (auto const& row : option_rows()) {
    if (row.name == name) why = "only " + heeders_of(row) + " can do something with it; ";
  }
  throw config_error{"unknown option '" + text + "': " + why + program + " --help lists those there are"};
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
    refuse_unknown(rest.empty() ? std::string{e.what()} : rest.front(), app.get_name());
  } catch (CLI::ParseError const& e) {
    throw config_error{std::string{e.what()} + "; " + app.get_name() + " --help says what each option takes"};
  }
  return true;
}

}  // namespace detail

/// Nothing after --help, which it has printed. Throws config_error with one sentence for whatever is wrong.
[[nodiscard]] inline auto read_command_line(int argc, char const* const* argv) -> std::optional<race_options> {
  auto options = default_options();
  CLI::App app{
      "Trains softmax regression with several algorithms on the same data, split, seeds and scenario, side by side.",
      "race"};
  app.set_help_flag("--help,-h", "print this and end");
  for (auto const& row : option_rows()) detail::add_row(app, row, options);
  app.add_flag("--quiet", options.quiet, "no progress bar and no header");
  if (!detail::parsed(app, argc, argv)) return std::nullopt;
  return options;
}

/// Throws config_error for options that race's driver cannot heed, where `options` came from a command line.
inline void refuse_unheeded(race_options const& options) {
  auto const driver = std::string{name_of(options.driver)};
  auto const mine = options.driver == race_driver::sim ? by_sim : by_threads;
  for (auto const& row : option_rows()) {
    if ((row.heeded & mine) == 0 && was_given(options, row.name)) {
      throw config_error{std::string{row.name} + " means nothing to --driver " + driver + ": only " + heeders_of(row) +
                         " can do something with it"};
    }
  }
  if (options.driver == race_driver::sim && options.compute.mean().count() == 0) {
    throw config_error{
        "--compute must be a model with a time above 0 for --driver sim, whose clock nothing else moves, "
        "not '" +
        options.compute_text + "'"};
  }
}

}  // namespace rubato::examples
