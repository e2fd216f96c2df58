// SPDX-License-Identifier: MIT
// A program's only signal handler: Ctrl-C, SIGTERM or a closed terminal ends the run in order.
#pragma once

#include <rubato/run/stop_on_signals.hpp>

namespace rubato::examples {

/// Starts listening with the first call.
inline auto signals() -> stop_on_signals& {
  static stop_on_signals all;
  return all;
}
[[nodiscard]] inline auto interrupted() -> bool { return signals().heard(); }

}  // namespace rubato::examples
