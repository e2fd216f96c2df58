// SPDX-License-Identifier: MIT
// A thread that waits for what came soon the last time stays awake for a while: a core that has gone to sleep takes
// longer to come back than a short message or a small gradient takes.
#pragma once

#include <chrono>
#include <thread>

#include <rubato/core/language.hpp>

namespace rubato::detail {

/// From when a thread has nothing to do until something comes. Times are of any one clock that never goes back.
template<class Time>
class idle_spell {
 public:
  static constexpr auto awake = std::chrono::microseconds{50};
  static constexpr auto soon = 4 * awake;  // with the time that a core takes to wake

  /// Asked before each wait: until when it may last. While the thread stays awake that is `now`, after others of its
  /// core could run; then `latest`.
  [[nodiscard]] auto end_of_wait(Time now, Time latest) -> Time {
    if (!is_under_way_) begun_ = now;
    is_under_way_ = true;
    if (!was_short_ || now - begun_ >= awake) return latest;
    std::this_thread::yield();
    return now;
  }
  /// Something has come.
  void end(Time now) {
    if (is_under_way_) was_short_ = now - begun_ < soon;
    is_under_way_ = false;
  }

 private:
  Time begun_{};
  bool is_under_way_ = false;
  bool was_short_ = false;  // the last spell
};

}  // namespace rubato::detail
