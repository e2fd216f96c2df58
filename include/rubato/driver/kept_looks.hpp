// SPDX-License-Identifier: MIT
// The looks that one process keeps until its run has ended: when the next is due, and which of them stay where their
// models would take more memory than they may.
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

/// Looks are due at multiples of an interval. One that is late is taken once, and delays the next: for each there is
/// nine times as long without one. Where the models take more memory than they may, every second look is dropped and
/// the interval doubles; the first one always stays.
class kept_looks {
 public:
  /// `every`: 0 or less for one look, at the start.
  kept_looks(std::chrono::nanoseconds every, std::size_t most_bytes) : every_{every}, most_bytes_{most_bytes} {}

  /// When the next one is due, after the start; nothing if there is none.
  [[nodiscard]] auto due() const -> std::optional<std::chrono::nanoseconds> { return due_; }
  /// For which of its times a look is that is taken now: the first for the start, however late it is.
  [[nodiscard]] auto time_of(std::chrono::nanoseconds now) const -> std::chrono::nanoseconds {
    return every_.count() > 0 && !all_.empty() ? now / every_ * every_ : std::chrono::nanoseconds{};
  }

  /// A look that began and ended then; `l.at` is what time_of said.
  void add(peer_look l, std::chrono::nanoseconds began, std::chrono::nanoseconds ended) {
    bytes_ += bytes_of(l);
    all_.push_back(std::move(l));
    while (bytes_ > most_bytes_ && all_.size() > 1) drop_every_second();
    plan(later_by({ended}, 9 * (ended - began)).since_start);
  }

  /// All of them in order; none is kept.
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
  /// At the first of its times that is not before `earliest`, and after the last look.
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
