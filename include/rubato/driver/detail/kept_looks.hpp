// SPDX-License-Identifier: MIT
// The looks that one process keeps until its run has ended: when the next one is due, and which are kept if their
// models would take too much memory.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <rubato/run/peer_result.hpp>

namespace rubato::detail {

/// Looks are due at multiples of an interval. A late look is taken once and delays the next: after a look, at least
/// nine times its duration passes without one. If the models would take too much memory, every second look is dropped
/// and the interval doubles. The first one is always kept.
class kept_looks {
 public:
  /// `every`: 0 or less means one look, at the start.
  kept_looks(std::chrono::nanoseconds every, std::size_t most_bytes) : every_{every}, most_bytes_{most_bytes} {}

  /// When the next one is due, after the start; nothing if there is none.
  [[nodiscard]] auto due() const -> std::optional<std::chrono::nanoseconds> { return due_; }
  /// The due time that a look taken now belongs to. The first look belongs to the start, however late it is.
  [[nodiscard]] auto time_of(std::chrono::nanoseconds now) const -> std::chrono::nanoseconds {
    return every_.count() > 0 && !all_.empty() ? now / every_ * every_ : std::chrono::nanoseconds{};
  }

  /// Adds a look that began and ended at these times; `l.at` comes from time_of.
  void add(peer_look l, std::chrono::nanoseconds began, std::chrono::nanoseconds ended) {
    bytes_ += bytes_of(l);
    all_.push_back(std::move(l));
    while (bytes_ > most_bytes_ && all_.size() > 1) drop_every_second();
    plan(later_by({ended}, 9 * (ended - began)).since_start);
  }

  /// Takes all looks, in order.
  [[nodiscard]] auto take() -> std::vector<peer_look> { return std::exchange(all_, {}); }

 private:
  static auto bytes_of(peer_look const& l) -> std::size_t { return sizeof(peer_look) + l.model.size_bytes(); }

  void drop_every_second() {
    every_ *= 2;
    std::erase_if(all_, [this](peer_look const& l) {
      auto const goes = l.at % every_ != std::chrono::nanoseconds{};
      if (goes) bytes_ -= bytes_of(l);
      return goes;
    });
  }
  /// Schedules the next look: the first due time that is not before `earliest` and after the last look.
  void plan(std::chrono::nanoseconds earliest) {
    due_.reset();
    if (every_.count() <= 0) return;
    auto const last = all_.back().at / every_;
    auto const next = (std::max)(last + 1, (earliest - std::chrono::nanoseconds{1}) / every_ + 1);
    if (next < (std::chrono::nanoseconds::max)() / every_) due_ = next * every_;
  }

  std::chrono::nanoseconds every_;
  std::size_t most_bytes_;
  std::size_t bytes_ = 0;
  std::optional<std::chrono::nanoseconds> due_ = std::chrono::nanoseconds{};
  std::vector<peer_look> all_;
};

}  // namespace rubato::detail
