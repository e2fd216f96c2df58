// SPDX-License-Identifier: MIT
// What waits for one peer's link: the newest packet of each state channel, and events in order up to a bound.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include <rubato/core/packet.hpp>
#include <rubato/transport/concepts.hpp>

namespace rubato::transport {

/// **Thread safety:** one owner.
class send_queue {
 public:
  /// When `bound` events wait, the owner should begin no gradient. When sixteen times as many wait, no more are
  /// accepted.
  explicit send_queue(std::size_t bound = 64) : bound_{bound} {}

  auto put(channel_kind kind, packet p) -> send_status {
    if (kind == channel_kind::event) {
      if (events_.size() >= 16 * bound_) return send_status::refused;
      events_.push_back(std::move(p));
      return full() ? send_status::full : send_status::accepted;
    }
    auto& newest = states_[static_cast<std::size_t>(p.channel)];
    auto const status = newest ? send_status::replaced : send_status::accepted;
    newest = std::move(p);
    return status;
  }

  /// Events and channels take turns, so that none starves on a slow link.
  [[nodiscard]] auto take() -> std::optional<packet> {
    for (std::size_t k = 0; k <= channel_count; ++k) {
      auto const source = (turn_ + k) % (channel_count + 1);
      auto found = take_from(source);
      if (!found) continue;
      turn_ = source + 1;
      return found;
    }
    return std::nullopt;
  }

  [[nodiscard]] auto empty() const -> bool {
    return events_.empty() && std::none_of(states_.begin(), states_.end(), [](auto const& p) { return p.has_value(); });
  }
  [[nodiscard]] auto full() const -> bool { return events_.size() >= bound_; }
  void clear() { *this = send_queue{bound_}; }

 private:
  auto take_from(std::size_t source) -> std::optional<packet> {
    if (source < channel_count) return std::exchange(states_[source], std::nullopt);
    if (events_.empty()) return std::nullopt;
    auto first = std::move(events_.front());
    events_.pop_front();
    return first;
  }

  std::size_t bound_;
  std::size_t turn_ = 0;
  std::array<std::optional<packet>, channel_count> states_;
  std::deque<packet> events_;
};

}  // namespace rubato::transport
