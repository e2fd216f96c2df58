// SPDX-License-Identifier: MIT
// Events in order of (virtual time, sequence number): ties break by who was scheduled first, never by address (law 9).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <rubato/core/ids.hpp>

namespace rubato::sim {

enum class event_kind : std::uint8_t { arrival, gradient_done, departure, wakeup, measurement };

struct event {
  std::int64_t at_ns = 0;
  std::uint64_t sequence = 0;
  std::uint32_t node = 0;  ///< whom it concerns
  std::uint32_t slot = 0;  ///< what it is about; meaning by kind
  event_kind kind{};

  friend auto operator<(event const& a, event const& b) -> bool {
    return a.at_ns != b.at_ns ? a.at_ns < b.at_ns : a.sequence < b.sequence;
  }
};

/// A heap of four children a node: half the levels of a binary one, and its children share a cache line or two.
class event_queue {
 public:
  void push(event e) {
    e.sequence = next_sequence_++;
    auto i = heap_.size();
    heap_.push_back(e);
    while (i > 0) {
      auto const parent = (i - 1) / 4;
      if (!(e < heap_[parent])) break;
      heap_[i] = heap_[parent];
      i = parent;
    }
    heap_[i] = e;
  }

  /// Requires !empty().
  auto pop() -> event {
    auto const top = heap_.front();
    auto const last = heap_.back();
    heap_.pop_back();
    auto const n = heap_.size();
    std::size_t i = 0;
    while (4 * i + 1 < n) {
      auto best = 4 * i + 1;
      for (auto child = best + 1; child < std::min(4 * i + 5, n); ++child) {
        if (heap_[child] < heap_[best]) best = child;
      }
      if (!(heap_[best] < last)) break;
      heap_[i] = heap_[best];
      i = best;
    }
    if (n > 0) heap_[i] = last;
    return top;
  }

  [[nodiscard]] auto empty() const -> bool { return heap_.empty(); }
  [[nodiscard]] auto size() const -> std::size_t { return heap_.size(); }

 private:
  std::vector<event> heap_;
  std::uint64_t next_sequence_ = 0;
};

/// Things of one type under reusable small numbers.
template<class T>
class slot_store {
 public:
  auto put(T thing) -> std::uint32_t {
    if (free_.empty()) {
      things_.push_back(std::move(thing));
      return static_cast<std::uint32_t>(things_.size() - 1);
    }
    auto const slot = free_.back();
    free_.pop_back();
    things_[slot] = std::move(thing);
    return slot;
  }
  auto at(std::uint32_t slot) -> T& { return things_[slot]; }
  auto take(std::uint32_t slot) -> T {
    free_.push_back(slot);
    return std::move(things_[slot]);
  }

 private:
  std::vector<T> things_;
  std::vector<std::uint32_t> free_;
};

}  // namespace rubato::sim
