// SPDX-License-Identifier: MIT
// Events in order of (virtual time, sequence number): ties break by who was scheduled first, never by address (law 9).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <rubato/core/random.hpp>

namespace rubato::sim {

enum class event_kind : std::uint8_t { arrival, gradient_done, departure, wakeup, measurement, stop, comeback };

struct event {
  std::int64_t at_ns = 0;
  std::uint64_t sequence = 0;
  std::uint32_t node = 0;  ///< whom it concerns
  std::uint32_t slot = 0;  ///< what it is about; meaning by kind
  event_kind kind{};

  /// Both numbers as one: a comparison without a branch that nothing could predict. Requires times of 0 or more.
  [[nodiscard]] auto key() const -> detail::uint128 {
    return detail::uint128{static_cast<std::uint64_t>(at_ns)} << 64 | sequence;
  }
  friend auto operator<(event const& a, event const& b) -> bool { return a.key() < b.key(); }
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
      auto const first = 4 * i + 1;
      auto const best = first + 4 <= n ? least_of_four(first) : least_up_to(first, n);
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
  [[nodiscard]] auto lesser(std::size_t a, std::size_t b) const -> std::size_t { return heap_[b] < heap_[a] ? b : a; }
  [[nodiscard]] auto least_of_four(std::size_t first) const -> std::size_t {
    return lesser(lesser(first, first + 1), lesser(first + 2, first + 3));
  }
  [[nodiscard]] auto least_up_to(std::size_t first, std::size_t end) const -> std::size_t {
    auto best = first;
    for (auto i = first + 1; i < end; ++i) best = lesser(best, i);
    return best;
  }

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
