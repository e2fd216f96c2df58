// SPDX-License-Identifier: MIT
// The end of a benchmark of a device: 77 where there is none, 1 and a sentence where it fails.
#pragma once

#include <cstdio>
#include <exception>

#include <rubato/core/errors.hpp>

namespace bench {

template<class Body>
auto device_program(Body&& body) -> int {
  try {
    body();
    return 0;
  } catch (rubato::config_error const& e) {
    std::printf("skipped: no device (%s)\n", e.what());
    return 77;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench/gpu: %s\n", e.what());
    return 1;
  }
}

}  // namespace bench
