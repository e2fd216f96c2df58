// SPDX-License-Identifier: MIT
// The step with which runs end best: from a first guess on in factors of two until the steps on both sides are worse,
// then the two a factor of sqrt(2) beside it. So the best step lies inside of what was tried, whatever the first guess.
#pragma once

#include <cmath>
#include <map>
#include <numbers>

#include "support/finish.hpp"

namespace bench {

struct found_step {
  double step = 0;
  finish with;
  bool at_edge = false;  ///< still better at the last step that may be tried
};

/// `run(step, best)` gives how a run ends with that step; where `best` was reached, a run that is later than that may
/// be cut there. At most `most` doublings or halvings from `first` on.
template<class Run>
[[nodiscard]] auto best_step(double first, Run const& run, int most = 8) -> found_step {
  std::map<int, finish> tried;  // by the power of sqrt(2)
  auto best = 0;
  auto const is_best_after = [&](int power) {
    if (!tried.contains(power)) tried[power] = run(first * std::pow(std::numbers::sqrt2, power), tried[best]);
    if (power == best || !beats(tried[power], tried[best])) return false;
    best = power;
    return true;
  };
  tried[0] = run(first, finish{});
  auto moved = 0;
  while (moved < most && is_best_after(best + 2)) ++moved;
  if (moved == 0)
    while (moved < most && is_best_after(best - 2)) ++moved;
  auto const middle = best;
  for (auto const beside : {1, -1}) static_cast<void>(is_best_after(middle + beside));
  return {first * std::pow(std::numbers::sqrt2, best), tried[best], moved == most};
}

}  // namespace bench
