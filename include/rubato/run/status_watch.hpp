// SPDX-License-Identifier: MIT
// An observer that puts each look at a node on its status board, with the loss as often as that costs little.
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <utility>

#include <rubato/problem/any_oracle.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/observer.hpp>

namespace rubato {

/// Measures loss and accuracy of the models that it is shown, in a tenth of the time at most. A look whose loss is not
/// measured has none (NaN); neither has one at which it cannot be measured, since showing a run does not end it.
/// **Thread safety:** as observers.
class status_watch {
 public:
  status_watch(std::shared_ptr<status_board> board, problem::any_oracle oracle)
      : board_{std::move(board)}, metrics_{std::move(oracle)} {}

  void operator()(look const& l) {
    auto m = l.seen;
    auto const begun = std::chrono::steady_clock::now();
    if (begun >= next_) {
      try {
        auto const scored = metrics_.of_models(l.models, m.at);
        m.loss = scored.loss;
        m.accuracy = scored.accuracy;
      } catch (std::exception const&) {  // the node ends the run by itself if its model is not finite
      }
      auto const ended = std::chrono::steady_clock::now();
      next_ = ended + 9 * (ended - begun);
    }
    board_->add(m);
  }

 private:
  std::shared_ptr<status_board> board_;
  metrics metrics_;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace rubato
