// SPDX-License-Identifier: MIT
// An observer that puts each look at a run on the status boards of its nodes, with losses as often as they cost little.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <limits>
#include <memory>
#include <utility>

#include <rubato/problem/any_oracle.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/observer.hpp>

namespace rubato {

/// Measures loss and accuracy of each model that it is shown, in a tenth of the time at most. A look whose loss is not
/// measured has none (NaN); neither has one at which it cannot be measured, since showing a run does not end it. Where
/// nodes hold parts of one model, or members are not there, each shows the loss of the run.
/// **Thread safety:** as observers.
class status_watch {
 public:
  /// For the one node of a process.
  status_watch(std::shared_ptr<status_board> board, problem::any_oracle oracle)
      : status_watch{status_boards{std::move(board)}, std::move(oracle)} {}
  /// For a run in one process; `boards` of the measured nodes (assembly::measured), in order.
  status_watch(status_boards boards, problem::any_oracle oracle)
      : boards_{std::move(boards)}, dimension_{oracle.dimension()}, metrics_{std::move(oracle)} {}

  void operator()(look const& l) {
    auto const begun = std::chrono::steady_clock::now();
    auto const is_due = begun >= next_;
    for (std::size_t i = 0; i < boards_.size(); ++i) boards_[i]->add(seen_of(l, i, is_due));
    if (!is_due) return;
    auto const ended = std::chrono::steady_clock::now();
    next_ = ended + 9 * (ended - begun);
  }

 private:
  [[nodiscard]] auto seen_of(look const& l, std::size_t i, bool is_due) const -> measurement {
    auto m = l.seen;
    if (l.models.size() != boards_.size() || l.models[i].size() < dimension_) return m;
    auto const whole_run = boards_.size() > 1;
    if (whole_run) m.loss = m.accuracy = std::numeric_limits<double>::quiet_NaN();
    if (!is_due) return m;
    try {
      auto const scored = metrics_.of_models(l.models.subspan(i, 1), m.at);
      m.loss = scored.loss;
      m.accuracy = scored.accuracy;
    } catch (std::exception const&) {  // the node ends the run by itself if its model is not finite
    }
    return m;
  }

  status_boards boards_;
  std::size_t dimension_;
  metrics metrics_;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace rubato
