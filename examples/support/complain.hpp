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

/// Exit statuses of these programs, see examples/RUNNING.md.
namespace status {
inline constexpr int done = 0;
inline constexpr int failed = 1;
inline constexpr int bad_input = 2;
inline constexpr int cut_off = 3;  ///< done, but without some node
inline constexpr int failed_elsewhere = 4;  ///< this node's run failed because of another node
inline constexpr int interrupted = 130;
}  // namespace status

/// To be called in a handler that catches everything: prints what was thrown and returns the exit status.
inline auto complain(char const* program) -> int {
  auto const say = [program](char const* what, int its_status) {
    std::fprintf(stderr, "%s: %s\n", program, escaped(what).c_str());
    return its_status;
  };
  constexpr auto too_large = "there is not enough memory for what was asked: take fewer values, samples or nodes";
  try {
    throw;
  } catch (config_error const& e) {
    return say(e.what(), status::bad_input);
  } catch (std::bad_alloc const&) {
    return say(too_large, status::bad_input);
  } catch (std::length_error const&) {
    return say(too_large, status::bad_input);
  } catch (peer_error const& e) {
    return say(e.what(), status::failed_elsewhere);
  } catch (std::exception const& e) {
    return say(e.what(), status::failed);
  }
}

}  // namespace rubato::examples
