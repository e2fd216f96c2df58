// SPDX-License-Identifier: MIT
// From the settings on a command line to the settings of each algorithm; and the text of --help ALGORITHM.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>

#include "support/race_catalogue.hpp"
#include "support/race_options.hpp"

namespace rubato::examples {

/// An algorithm of a race, before the data are loaded.
struct planned_algorithm {
  algorithm_settings told;
  double step = 0;
  std::size_t minibatches = 1;
};

namespace detail {

/// Throws config_error for an option that is set twice, or set for an algorithm that does not run.
inline void refuse_senseless(race_options const& o) {
  for (std::size_t i = 0; i < o.settings.size(); ++i) {
    auto const& s = o.settings[i];
    for (std::size_t j = 0; j < i; ++j) {
      if (s.name != o.settings[j].name || s.algorithm != o.settings[j].algorithm) continue;
      throw config_error{"the option " + s.name + " is set twice, to '" + o.settings[j].text + "' and to '" + s.text +
                         "'; set it once"};
    }
    if (s.algorithm.empty()) continue;
    static_cast<void>(algorithm_named(s.algorithm));
    if (std::find(o.algorithms.begin(), o.algorithms.end(), s.algorithm) == o.algorithms.end()) {
      throw config_error{"--set " + s.written() +
                         " sets an option of an algorithm that does not run here: --algorithms names " +
                         joined(o.algorithms)};
    }
  }
}

/// Throws config_error for an option that none of several algorithms has. (For a single one it is reported when set.)
inline void refuse_ownerless(race_options const& o) {
  for (auto const& s : o.settings) {
    if (!s.algorithm.empty() || o.algorithms.size() == 1) continue;
    std::string theirs;
    auto found = false;
    for (auto const& name : o.algorithms) {
      auto const& entry = algorithm_named(name);
      found = found || has_option(entry, s.name);
      theirs += (theirs.empty() ? "" : "; ") + name + " has " + names_of(entry.settle({name, entry.step}).options);
    }
    if (!found) {
      throw config_error{"none of these algorithms has an option '" + s.name + "' (set to '" + s.text +
                         "'): " + theirs};
    }
  }
}

}  // namespace detail

/// The settings of this algorithm: those for it alone, and those for all that have the option. Throws config_error if
/// there is no such algorithm.
[[nodiscard]] inline auto settings_of(race_options const& o, std::string const& name) -> algorithm_settings {
  auto const& entry = algorithm_named(name);
  algorithm_settings told{name, entry.step, o.seed, o.block_values};
  for (auto const& s : o.settings) {
    auto const is_overruled = std::any_of(o.settings.begin(), o.settings.end(), [&](auto const& other) {
      return other.algorithm == name && other.name == s.name;
    });
    auto const for_all =
        s.algorithm.empty() && !is_overruled && (o.algorithms.size() == 1 || has_option(entry, s.name));
    if (s.algorithm == name || for_all) told.set.push_back(s);
  }
  return told;
}

/// Throws config_error for an invalid setting, before anything runs.
[[nodiscard]] inline auto planned_algorithms(race_options const& o) -> std::vector<planned_algorithm> {
  std::vector<planned_algorithm> all;
  for (auto const& name : o.algorithms) static_cast<void>(algorithm_named(name));
  detail::refuse_senseless(o);
  detail::refuse_ownerless(o);
  for (auto const& name : o.algorithms) {
    auto told = settings_of(o, name);
    auto const settled = algorithm_named(name).settle(told);
    if (!(settled.step > 0)) {
      throw config_error{settled.step == 0 && told.step == 0
                             ? "there is no default step for '" + name + "': give --set " + name + ".step=S"
                             : "the option step of " + name + " must be a positive number, not '" +
                                   shortest(settled.step) + "'"};
    }
    all.push_back({std::move(told), settled.step, settled.minibatches});
  }
  return all;
}

/// The options of an algorithm with their default values and, where its lists say so, what they mean.
[[nodiscard]] inline auto algorithm_help(race_options o, std::string const& name) -> std::string {
  o.algorithms = {name};
  o.settings.clear();
  auto const options = algorithm_named(name).settle(settings_of(o, name)).options;
  auto widest = std::size_t{0};
  for (auto const& each : options) widest = std::max(widest, each.name.size());
  auto text = "Options of " + name + ", each as --set NAME=VALUE, or as --set " + name +
              ".NAME=VALUE where several algorithms run:\n";
  for (auto const& each : options) {
    auto const padded = each.name + std::string(widest - each.name.size(), ' ');
    text += "  " + padded + "  " +
            (each.right.empty() ? "is " + each.value
                                : each.right + " (default: " + (each.value.empty() ? "nothing" : each.value) + ")") +
            "\n";
    if (!each.meaning.empty()) text += "      " + each.meaning + "\n";
  }
  return text + "More about them: include/rubato/algorithm/" + name + ".hpp, and the policies that it names.\n";
}

}  // namespace rubato::examples
