// SPDX-License-Identifier: MIT
// A ready observer that ends a run whose loss has stopped falling.
#pragma once

#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include <rubato/core/errors.hpp>
#include <rubato/run/observer.hpp>

namespace rubato {

/// Asks to stop when the least loss has not fallen by more than `tolerance` times itself (at a loss of 0: at all) for
/// `patience`, on the run's clock. Looks without a loss are ignored. It remembers what it has seen, so give each run
/// its own.
class stop_when_flat {
 public:
  /// Throws config_error unless patience is above 0 and tolerance is a number from 0 up.
  explicit stop_when_flat(std::chrono::nanoseconds patience, double tolerance = 1e-4)
      : patience_{patience}, tolerance_{tolerance} {
    if (patience.count() <= 0) throw config_error{"stop_when_flat needs a patience above 0"};
    if (!(tolerance >= 0) || std::isinf(tolerance))
      throw config_error{"stop_when_flat needs a tolerance that is a number from 0 up"};
  }

  [[nodiscard]] auto operator()(look const& l) -> verdict {
    if (std::isnan(l.seen.loss)) return verdict::go_on;
    auto const enough = std::isinf(best_) ? 0.0 : tolerance_ * std::abs(best_);
    if (!since_ || l.seen.loss < best_ - enough) {
      best_ = l.seen.loss;
      since_ = l.seen.at;
    }
    return l.seen.at - *since_ >= patience_ ? verdict::stop : verdict::go_on;
  }

 private:
  std::chrono::nanoseconds patience_;
  double tolerance_;
  double best_ = std::numeric_limits<double>::infinity();
  std::optional<std::chrono::nanoseconds> since_{};  // when it fell for the last time
};

}  // namespace rubato
