// SPDX-License-Identifier: MIT
// Broken contracts as exceptions, so that a test can look at the sentence.
#pragma once

#include <string>

#include <rubato/core/errors.hpp>

namespace rubato::test {

struct broken_contract {
  std::string sentence;
};

/// The sentence of the contract that `action` breaks; empty if it breaks none.
template<class Action>
auto broken_by(Action&& action) -> std::string {
  auto const former = set_contract_handler(
      [](char const*, char const* sentence, char const*, int) { throw broken_contract{sentence}; });
  std::string sentence;
  try {
    action();
  } catch (broken_contract const& b) {
    sentence = b.sentence;
  }
  set_contract_handler(former);
  return sentence;
}

}  // namespace rubato::test
