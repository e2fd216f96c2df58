// SPDX-License-Identifier: MIT
// One node's mailbox in a process: packets with the time at which they are due, kept in order of that time.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <rubato/core/packet.hpp>

namespace rubato {

/// Bounded. For each sender and state channel, at most one packet is kept that was due when the newest was posted. Of
/// events, at most `most_unread` that are due are kept.
/// **Thread safety:** any thread may put and wake; one thread takes and waits.
class inbox {
 public:
  static constexpr std::size_t most_unread = 4096;  ///< events of one sender

  /// Returns how many older packets of the same state channel and sender this one replaced. Returns nothing, and does
  /// not take the packet, if it is an event and too many of its sender are unread.
  auto put(instant due, channel_kind kind, packet p) -> std::optional<std::uint64_t> {
    std::uint64_t replaced = 0;
    {
      auto const lock = std::lock_guard{mutex_};
      if (kind == channel_kind::state) replaced = conflate(due, p);
      else if (letters_.size() >= most_unread && unread(p) >= most_unread) return std::nullopt;
      auto const at =
          std::upper_bound(letters_.begin(), letters_.end(), due, [](instant t, letter const& l) { return t < l.due; });
      letters_.insert(at, {due, kind, std::move(p)});
    }
    arrived_.notify_one();
    return replaced;
  }

  /// All packets due by now, in order.
  [[nodiscard]] auto take_due(instant now) -> std::vector<packet> {
    std::vector<packet> due;
    auto const lock = std::lock_guard{mutex_};
    auto const end =
        std::upper_bound(letters_.begin(), letters_.end(), now, [](instant t, letter const& l) { return t < l.due; });
    for (auto it = letters_.begin(); it != end; ++it) due.push_back(std::move(it->p));
    letters_.erase(letters_.begin(), end);
    return due;
  }

  /// Sleeps until something may be due, wake() is called, or `latest` is reached. `on_clock` maps instants to time
  /// points.
  template<class Clock>
  void wait_until(instant latest, Clock const& on_clock) {
    auto lock = std::unique_lock{mutex_};
    if (woken_) return;
    if (!letters_.empty()) latest = (std::min)(latest, letters_.front().due);
    arrived_.wait_until(lock, on_clock(latest));
  }

  /// Ends this and every later wait at once.
  void wake() {
    {
      auto const lock = std::lock_guard{mutex_};
      woken_ = true;
    }
    arrived_.notify_one();
  }

 private:
  struct letter {
    instant due{};
    channel_kind kind{};
    packet p;
  };

  // Unread packets that are older than a packet due no earlier: the newest wins.
  auto conflate(instant due, packet const& p) -> std::uint64_t {
    return std::erase_if(letters_, [&](letter const& l) {
      return l.p.from == p.from && l.p.channel == p.channel && l.due <= p.posted_at && l.p.number < p.number &&
             l.due <= due;
    });
  }

  [[nodiscard]] auto unread(packet const& newest) const -> std::size_t {
    return static_cast<std::size_t>(std::count_if(letters_.begin(), letters_.end(), [&](letter const& l) {
      return l.p.from == newest.from && l.due <= newest.posted_at && l.kind == channel_kind::event;
    }));
  }

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<letter> letters_;
  bool woken_ = false;
};

}  // namespace rubato
