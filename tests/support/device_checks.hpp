// SPDX-License-Identifier: MIT
// For tests that nvcc compiles, which have no Catch: checks that are counted, and the end of such a program.
#pragma once

#include <cstdio>
#include <string>

#include <rubato/core/errors.hpp>

namespace rubato::test {

inline int broken = 0, held = 0;

inline void check(bool holds, std::string const& sentence) {
  ++(holds ? held : broken);
  if (!holds) std::printf("does not hold: %s\n", sentence.c_str());
}

/// The status of a program whose main is this: 77 where there is no device, so that nothing was run.
template<class Device, class Body>
auto run_on_device(Body&& body) -> int {
  try {
    Device const probe;
  } catch (config_error const& e) {
    std::printf("skipped: no device (%s)\n", e.what());
    return 77;
  }
  body();
  std::printf("%d checks held, %d did not\n", held, broken);
  return broken == 0 && held > 0 ? 0 : 1;
}

}  // namespace rubato::test
