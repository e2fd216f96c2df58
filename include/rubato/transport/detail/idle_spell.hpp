// SPDX-License-Identifier: MIT
// A thread that waits for what comes soon may stay awake for a while: a core that has gone to sleep takes some 30 us to
// come back, longer than a short message or a small gradient takes.
#pragma once

#include <chrono>
#include <thread>

#include <rubato/core/language.hpp>

namespace rubato::transport::detail {

/// From when a thread has nothing to do until something comes; in the first `awake` of each spell it does not sleep.
/// Times are of any one clock that never goes back.
template<class Time>
class idle_spell {
 public:
  explicit idle_spell(std::chrono::nanoseconds awake) : awake_{awake} {}

  /// Asked before each wait: until when it may last. While the thread stays awake that is `now`, after others of its
  /// core could run; then `latest`.
  [[nodiscard]] auto end_of_wait(Time now, Time latest) -> Time {
    if (!is_under_way_) begun_ = now;
    else if (now - begun_ < awake_) std::this_thread::yield();
    is_under_way_ = true;
    return now - begun_ < awake_ ? now : latest;
  }
  /// Something has come.
  void end() { is_under_way_ = false; }

 private:
  std::chrono::nanoseconds awake_;
  Time begun_{};
  bool is_under_way_ = false;
};

}  // namespace rubato::transport::detail
