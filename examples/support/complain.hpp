// SPDX-License-Identifier: MIT
// How these programs end after an error: one sentence, and a status that says whether the input or the run is at fault.
#pragma once

#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::examples {

/// To be called in a handler that catches everything: prints what was thrown and returns the exit status, 2 for invalid
/// input, 1 for a failed run.
inline auto complain(char const* program) -> int {
  auto const say = [program](char const* what, int status) {
    std::fprintf(stderr, "%s: %s\n", program, escaped(what).c_str());
    return status;
  };
  constexpr auto too_large = "there is not enough memory for what was asked: take fewer values, samples or nodes";
  try {
    throw;
  } catch (config_error const& e) {
    return say(e.what(), 2);
  } catch (std::bad_alloc const&) {
    return say(too_large, 2);
  } catch (std::length_error const&) {
    return say(too_large, 2);
  } catch (std::exception const& e) {
    return say(e.what(), 1);
  }
}

}  // namespace rubato::examples
