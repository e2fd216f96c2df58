// SPDX-License-Identifier: MIT
// How one run towards a target ended, and which of two ended better.
#pragma once

#include <limits>

namespace bench {

/// A run that never reached the target has the whole time as its seconds, and `reached` false.
struct finish {
  double seconds = std::numeric_limits<double>::infinity();
  double loss = std::numeric_limits<double>::infinity();
  bool reached = false;
  double bytes = 0;  ///< sent by all nodes, heads of frames and messages sent again included, up to that look
};
/// Sooner, or where neither arrives, lower.
[[nodiscard]] inline auto beats(finish const& a, finish const& b) -> bool {
  if (a.reached != b.reached) return a.reached;
  return a.reached ? a.seconds < b.seconds : a.loss < b.loss;
}

}  // namespace bench
