// SPDX-License-Identifier: MIT
// What a refused configuration or a failed run says: tests look for the thing at fault in the sentence.
#pragma once

#include <string>

#include <rubato/core/errors.hpp>

namespace rubato::test {

/// The sentence of the config_error that `action` throws; empty if it throws none.
template<class Action>
auto refusal(Action&& action) -> std::string {
  try {
    action();
  } catch (config_error const& error) {
    return error.what();
  }
  return {};
}

/// The sentence of the run_error that `action` throws; empty if it throws none.
template<class Action>
auto failure(Action&& action) -> std::string {
  try {
    action();
  } catch (run_error const& error) {
    return error.what();
  }
  return {};
}

inline auto says(std::string const& sentence, char const* part) -> bool {
  return sentence.find(part) != std::string::npos;
}

}  // namespace rubato::test
