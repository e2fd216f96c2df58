// SPDX-License-Identifier: MIT
// One look at a time at the node of a process is measured and shown to observers on a thread of its own, so that the
// thread that owns the node can serve its messages.
#pragma once

#include <array>
#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <utility>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/problem/any_oracle.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/result.hpp>

namespace rubato::detail {

/// **Thread safety:** one owner; `done` is called from the other thread, when a look has been shown.
class look_thread {
 public:
  struct viewers {
    observers watching;
    bool measure_loss = false;
  };

  look_thread(problem::any_oracle oracle, node_id self, viewers who, std::function<void()> done)
      : metrics_{std::move(oracle), to_index(self)}, who_{std::move(who)}, done_{std::move(done)} {}

  /// Whether a look is being shown, or has been shown and was not taken.
  [[nodiscard]] auto is_busy() const -> bool { return showing_.valid(); }

  /// Begins to show a look. If nothing is measured and nobody observes, it goes into the history at once. Requires that
  /// it is not busy.
  void show(measurement const& m, shared_buffer const& model, std::vector<measurement>& history) {
    if (!who_.measure_loss && who_.watching.empty()) return history.push_back(m);
    showing_ = std::async(std::launch::async, [this, m, model] {
      auto s = shown_now(m, model);
      done_();
      return s;
    });
  }
  /// Puts a look that has been shown into the history, and returns the observers' verdict. Throws what they threw.
  auto take(std::vector<measurement>& history) -> verdict {
    if (!is_busy() || showing_.wait_for(std::chrono::seconds{0}) != std::future_status::ready) return verdict::go_on;
    return wait_and_take(history);
  }
  /// The same, but waits for the look. Does nothing if it is not busy.
  auto wait_and_take(std::vector<measurement>& history) -> verdict {
    if (!is_busy()) return verdict::go_on;
    auto const s = showing_.get();
    if (s.thrown) std::rethrow_exception(s.thrown);
    history.push_back(s.seen);
    return s.said;
  }

 private:
  struct shown {
    measurement seen;
    verdict said = verdict::go_on;
    std::exception_ptr thrown{};
  };

  auto shown_now(measurement m, shared_buffer const& model) const -> shown {
    try {
      auto const models = std::array{model};
      if (who_.measure_loss) {
        auto const scored = metrics_.of_models(models, m.at);
        m.loss = scored.loss;
        m.accuracy = scored.accuracy;
      }
      return {m, shown_to(who_.watching, {m, models})};
    } catch (...) {
      return {m, verdict::go_on, std::current_exception()};
    }
  }

  metrics metrics_;
  viewers who_;
  std::function<void()> done_;
  std::future<shown> showing_;  // last: its thread, for which it waits, uses all of the above
};

}  // namespace rubato::detail
