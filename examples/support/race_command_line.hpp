// SPDX-License-Identifier: MIT
// From argv to options, by CLI11.
#pragma once

#include <CLI/CLI.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "support/race_algorithms.hpp"
#include "support/race_options.hpp"
#include "support/say.hpp"

namespace rubato::examples {

namespace detail {

inline constexpr auto help_text = "print this and exit; --help ALGORITHM: the options of an algorithm";

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

/// Throws the sentence for an unknown option; if other programs or algorithms have it, the sentence names them.
[[noreturn]] inline void refuse_unknown(std::string const& text, std::string const& program) {
  auto const name = text.substr(0, text.find('='));
  std::string why;
  for (auto const& row : option_rows()) {
    if (row.name == name) why = "only " + heeders_of(row) + " can use it; ";
  }
  auto const plain = with_dashes(name.substr(std::min(name.size(), name.find_first_not_of('-'))));
  if (auto const those = algorithms_with(plain); why.empty() && !those.empty()) {
    why = "it is an option of " + those + ", written --set " + plain + "=VALUE; ";
  }
  throw config_error{"unknown option '" + text + "': " + why + program + " --help lists all options"};
}

/// Prints the text of --help: of the program, or of the algorithms named with it.
inline void say_help(CLI::App const& app, race_options const& options) {
  auto names = app.remaining();
  std::erase_if(names, [](auto const& text) { return text.starts_with('-'); });
  if (names.empty()) say(app.help());
  for (auto const& name : names) say(algorithm_help(options, name));
}

/// Parses, and throws one sentence if something is wrong; false after --help, which calls `settle` first.
template<class Settle>
auto parsed(CLI::App& app, int argc, char const* const* argv, race_options const& options, Settle const& settle)
    -> bool {
  app.footer("Options of an algorithm, with their defaults: " + app.get_name() + " --help ALGORITHM");
  try {
    app.parse(argc, argv);
  } catch (CLI::CallForHelp const&) {
    settle();
    say_help(app, options);
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

/// Empty after --help, which has been printed. Throws config_error with one sentence for any error.
[[nodiscard]] inline auto read_command_line(int argc, char const* const* argv) -> std::optional<race_options> {
  auto options = default_options();
  CLI::App app{
      "Runs several algorithms, side by side, on the same problem (softmax regression, or quadratics) and scenario.",
      "race"};
  app.set_help_flag("--help,-h", detail::help_text);
  for (auto const& row : option_rows()) detail::add_row(app, row, options);
  app.add_flag("--quiet", options.quiet, "no progress bar and no header");
  if (!detail::parsed(app, argc, argv, options, [] {})) return std::nullopt;
  return options;
}

/// Throws config_error for options that race's driver cannot use, if `options` came from a command line.
inline void refuse_unheeded(race_options const& options) {
  auto const driver = std::string{name_of(options.driver)};
  auto const mine = options.driver == race_driver::sim ? by_sim : by_threads;
  for (auto const& row : option_rows()) {
    if ((row.heeded & mine) == 0 && was_given(options, row.name)) {
      throw config_error{std::string{row.name} + " has no effect with --driver " + driver + ": only " +
                         heeders_of(row) + " can use it"};
    }
  }
  refuse_without_samples(options);
  if (options.quadratic && !options.record.empty())
    throw config_error{"--record needs --problem softmax: replay reads race's data"};
  if (options.driver == race_driver::sim && options.compute.mean().count() == 0) {
    throw config_error{
        "--compute must be a model with a time above 0 for --driver sim, whose clock nothing else moves, not '" +
        options.compute_text + "'"};
  }
}

}  // namespace rubato::examples
