// SPDX-License-Identifier: MIT
// The one bridge from signals of a program: Ctrl-C, SIGTERM, or a terminal that is gone end what runs, in order.
#pragma once

#include <rubato/run/stop_on_signals.hpp>

namespace rubato::examples {

/// Listens from the first call on.
inline auto signals() -> stop_on_signals& {
  static stop_on_signals all;
  return all;
}
[[nodiscard]] inline auto interrupted() -> bool { return signals().heard(); }

}  // namespace rubato::examples
