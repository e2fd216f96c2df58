// SPDX-License-Identifier: MIT
// Which numbered datagrams have come, so that none counts twice.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>

#include <rubato/core/language.hpp>

namespace rubato::transport::detail {

/// Of the last 1,024 numbers up to the highest one it knows which have come; older ones count as come.
class replay_window {
 public:
  static constexpr std::size_t width = 1024;

  [[nodiscard]] auto is_new(std::uint64_t number) const -> bool {
    return number >= next_ || (next_ - number <= width && !come_[number % width]);
  }
  /// Requires a number whose datagram is known to be genuine.
  void note(std::uint64_t number) {
    if (number >= next_) {
      auto const passed = number - next_;
      if (passed >= width) come_.reset();
      else
        for (auto n = next_; n < number; ++n) come_[n % width] = false;
      next_ = number + 1;
    }
    come_[number % width] = true;
  }
  /// One more than the highest number that has come.
  [[nodiscard]] auto next() const -> std::uint64_t { return next_; }

 private:
  std::uint64_t next_ = 0;
  std::bitset<width> come_;
};

}  // namespace rubato::transport::detail
