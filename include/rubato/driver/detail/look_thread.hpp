// SPDX-License-Identifier: MIT
// One look at a time at the node of a process is measured and shown to observers on a thread of its own, so that the
// thread that owns the node can serve its messages.
#pragma once

#include <array>
#include <chrono>
#include <exception>
#include <future>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/problem/any_oracle.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/result.hpp>

namespace rubato::detail {

/// **Thread safety:** one owner.
class look_thread {
 public:
  struct viewers {
    observers watching;
    bool measure_loss = false;
  };

  look_thread(problem::any_oracle oracle, node_id self, viewers who)
      : metrics_{std::move(oracle), to_index(self)}, self_{self}, who_{std::move(who)} {}

  /// Whether a look is being shown, or has been shown and was not taken.
  [[nodiscard]] auto is_busy() const -> bool { return showing_.valid(); }

  /// Begins to show a look. If nothing is measured and nobody observes, it goes into the history at once. Requires that
  /// it is not busy.
  void show(measurement const& m, shared_buffer const& model, std::vector<measurement>& history) {
    if (!who_.measure_loss && who_.watching.empty()) return history.push_back(m);
    showing_ = std::async(std::launch::async, [this, m, model] { return shown_now(m, model); });
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
        auto const scored = scored_at(models, m.at);
        m.loss = scored.loss;
        m.accuracy = scored.accuracy;
      }
      return {m, shown_to(who_.watching, {m, models})};
    } catch (...) {
      return {m, verdict::go_on, std::current_exception()};
    }
  }

  /// What the problem throws is nested in a sentence that names node and time.
  auto scored_at(std::span<shared_buffer const> models, std::chrono::nanoseconds at) const -> measurement {
    try {
      return metrics_.of_models(models, at);
    } catch (run_error const&) {
      throw;
    } catch (...) {
      rethrow_named("the problem threw while node " + std::to_string(to_index(self_)) + " was measured at " +
                    shortest(to_seconds(at)) + " s");
    }
  }

  metrics metrics_;
  node_id self_;
  viewers who_;
  std::future<shown> showing_;  // last: its thread, for which it waits, uses all of the above
};

}  // namespace rubato::detail
