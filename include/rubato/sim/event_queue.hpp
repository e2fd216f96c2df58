// SPDX-License-Identifier: MIT
// Events in order of (virtual time, sequence number): ties break by who was scheduled first, never by address (law 9).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
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

  static void visit_state(auto& self, auto&& visit) {
    visit("at", self.at_ns), visit("sequence", self.sequence), visit("node", self.node), visit("slot", self.slot);
    visit("kind", self.kind);
  }

  /// Both numbers as one: a comparison without a branch that nothing could predict. Requires times of 0 or more.
  [[nodiscard]] auto key() const -> detail::uint128 {
    return detail::uint128{static_cast<std::uint64_t>(at_ns)} << 64 | sequence;
  }
  friend auto operator<(event const& a, event const& b) -> bool { return a.key() < b.key(); }
};

/// A heap of four children a node: half the levels of a binary one, and its children share a cache line or two.
class event_heap {
 public:
  static void visit_state(auto& self, auto&& visit) { visit("heap", self.heap_); }
  void push(event const& e) {
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

  /// The one that leaves next; requires !empty().
  [[nodiscard]] auto next() const -> event const& { return heap_.front(); }
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

  /// All of them, in no particular order.
  [[nodiscard]] auto all() const -> std::span<event const> { return heap_; }
  void clear() { heap_.clear(); }
  [[nodiscard]] auto empty() const -> bool { return heap_.empty(); }

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
};

/// A calendar: events lie in lists by the day of their time, a day being so long that a few events fall on it, and only
/// those of the present day are in order, in a heap; what is too far away for the calendar waits in another. So an event
/// costs the same however many there are, and touches few cache lines. What the days are is told from the times of the
/// events that left; the order in which events leave does not depend on it.
class event_queue {
 public:
  static void visit_state(auto& self, auto&& visit) {
    visit("today", self.today_), visit("later", self.later_), visit("days", self.days_), visit("entries", self.entries_);
    visit("unused", self.unused_), visit("listed", self.listed_), visit("size", self.size_), visit("day", self.day_);
    visit("day bits", self.day_bits_), visit("next sequence", self.next_sequence_);
    visit("looked at", self.looked_at_), visit("left", self.left_), visit("look after", self.look_after_);
  }

  void push(event e) {
    e.sequence = next_sequence_++;
    ++size_;
    place(e);
  }
  /// The one that leaves next; requires !empty().
  auto next() -> event const& {
    while (today_.empty()) begin_day();
    return today_.next();
  }
  /// Requires !empty().
  auto pop() -> event {
    while (today_.empty()) begin_day();
    --size_;
    auto const e = today_.pop();
    if (++left_ == look_after_) look(e.at_ns);
    return e;
  }

  /// All that wait, in no particular order.
  [[nodiscard]] auto waiting() const -> std::vector<event> {
    std::vector<event> all{today_.all().begin(), today_.all().end()};
    all.insert(all.end(), later_.all().begin(), later_.all().end());
    for (auto first : days_) {
      for (; first != none; first = entries_[first].next) all.push_back(entries_[first].e);
    }
    return all;
  }
  [[nodiscard]] auto empty() const -> bool { return size_ == 0; }
  [[nodiscard]] auto size() const -> std::size_t { return size_; }

 private:
  static constexpr std::uint32_t none = ~std::uint32_t{0};
  struct entry {
    event e;
    std::uint32_t next = none;  // of the same day, or of the unused ones
    static void visit_state(auto& self, auto&& visit) { visit("event", self.e), visit("next", self.next); }
  };

  [[nodiscard]] auto day_of(event const& e) const -> std::int64_t { return e.at_ns >> day_bits_; }
  auto first_of(std::int64_t day) -> std::uint32_t& { return days_[static_cast<std::size_t>(day) & (days_.size() - 1)]; }

  void place(event const& e) {
    auto const day = day_of(e);
    if (day <= day_) return today_.push(e);
    if (static_cast<std::size_t>(day - day_) >= days_.size()) return later_.push(e);
    auto& first = first_of(day);
    auto const slot = unused_ != none ? unused_ : static_cast<std::uint32_t>(entries_.size());
    if (unused_ != none) unused_ = entries_[slot].next;
    else entries_.emplace_back();
    entries_[slot] = {e, first};
    first = slot;
    ++listed_;
  }

  void begin_day() {
    day_ = listed_ > 0 ? day_ + 1 : day_of(later_.next());
    while (!later_.empty() && static_cast<std::size_t>(day_of(later_.next()) - day_) < days_.size()) place(later_.pop());
    for (auto slot = std::exchange(first_of(day_), none); slot != none;) {
      today_.push(entries_[slot].e);
      auto const following = std::exchange(entries_[slot].next, unused_);
      unused_ = std::exchange(slot, following);
      --listed_;
    }
  }

  /// Makes days twice as long as the mean time between two events, and as many as hold most of them, where they differ.
  void look(std::int64_t now) {
    auto const gap = static_cast<std::uint64_t>(now - looked_at_) / left_;
    auto const bits = static_cast<int>(std::bit_width(gap));
    auto const wanted = std::bit_ceil(2 * size_ + 64);
    if (bits > day_bits_ + 1 || bits < day_bits_ - 1 || wanted > days_.size() || 8 * wanted < days_.size()) {
      auto const all = waiting();
      today_.clear(), later_.clear(), entries_.clear();
      unused_ = none;
      listed_ = 0;
      days_.assign(wanted, none);
      day_bits_ = bits;
      day_ = now >> day_bits_;
      for (auto const& e : all) place(e);
    }
    looked_at_ = now;
    left_ = 0;
    look_after_ = size_ + 1024;
  }

  event_heap today_;
  event_heap later_;
  std::vector<std::uint32_t> days_ = std::vector<std::uint32_t>(64, none);  // the first entry of each; a power of two
  std::vector<entry> entries_;
  std::uint32_t unused_ = none;
  std::size_t listed_ = 0;  // entries on days to come
  std::size_t size_ = 0;
  std::int64_t day_ = 0;
  int day_bits_ = 16;
  std::uint64_t next_sequence_ = 0;
  std::int64_t looked_at_ = 0;
  std::uint64_t left_ = 0;  // since then
  std::uint64_t look_after_ = 256;
};

/// Things of one type under reusable small numbers.
template<class T>
class slot_store {
 public:
  static void visit_state(auto& self, auto&& visit) { visit("things", self.things_), visit("free", self.free_); }

  /// A slot to fill in place: it holds what its last user left in it, so that memory is used again.
  auto open() -> std::uint32_t {
    if (free_.empty()) {
      things_.emplace_back();
      return static_cast<std::uint32_t>(things_.size() - 1);
    }
    auto const slot = free_.back();
    free_.pop_back();
    return slot;
  }
  /// Slots ever opened.
  [[nodiscard]] auto size() const -> std::size_t { return things_.size(); }
  void close(std::uint32_t slot) { free_.push_back(slot); }
  auto put(T thing) -> std::uint32_t {
    auto const slot = open();
    things_[slot] = std::move(thing);
    return slot;
  }
  /// Valid until the next slot is opened.
  auto at(std::uint32_t slot) -> T& { return things_[slot]; }
  auto take(std::uint32_t slot) -> T {
    close(slot);
    return std::move(things_[slot]);
  }

 private:
  std::vector<T> things_;
  std::vector<std::uint32_t> free_;
};

}  // namespace rubato::sim
