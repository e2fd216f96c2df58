// SPDX-License-Identifier: MIT
// Events in order of (virtual time, sequence number): ties break by who was scheduled first, never by address (law 9).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <rubato/core/detail/fetch.hpp>
#include <rubato/core/random.hpp>

namespace rubato::detail {

enum class event_kind : std::uint8_t {
  arrival,
  gradient_done,
  departure,
  wakeup,
  measurement,
  stop,
  restart_done,
  member_change,  // somebody comes or goes; slot: the number of the change, also for the next one
  member_word,  // the node hears of it
  member_enters,  // the node has got a model, and begins
  hang_up  // the node notices that the other end of an edge has closed
};

/// 24 bytes, since a large run has millions and moves each of them a few times.
struct event {
  std::int64_t at_ns = 0;
  std::uint64_t rank = 0;  ///< sequence number and kind, so that the order is that of the sequence
  std::uint32_t node = 0;  ///< whom it concerns
  std::uint32_t slot = 0;  ///< what it is about; meaning by kind

  event() = default;
  /// The queue gives the sequence number.
  event(std::int64_t at, event_kind k, std::uint32_t whom, std::uint32_t what)
      : at_ns{at}, rank{static_cast<std::uint64_t>(k)}, node{whom}, slot{what} {}
  [[nodiscard]] auto kind() const -> event_kind { return static_cast<event_kind>(rank & 255); }
  void number(std::uint64_t sequence) { rank = sequence << 8 | (rank & 255); }

  static void visit_state(auto& self, auto&& visit) {
    visit("at", self.at_ns), visit("rank", self.rank), visit("node", self.node), visit("slot", self.slot);
  }

  /// Both numbers as one, so that a comparison has no unpredictable branch. Requires times of 0 or more.
  [[nodiscard]] auto key() const -> detail::uint128 {
    return detail::uint128{static_cast<std::uint64_t>(at_ns)} << 64 | rank;
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
};

/// A calendar: events are in lists by the day of their time, and a day is so long that a few events fall on it. Only
/// the next few days are sorted. Events that are added to them later are in a heap, and events too far away for the
/// calendar are in another. So an event costs the same however many there are, and touches few cache lines. The length
/// of a day follows the times of the events that have left; their order does not depend on it.
class event_queue {
 public:
  static void visit_state(auto& self, auto&& visit) {
    visit("soon", self.soon_), visit("taken", self.taken_), visit("known", self.known_);
    visit("between", self.between_), visit("later", self.later_);
    visit("first later", self.first_later_), visit("days", self.days_), visit("entries", self.entries_);
    visit("unused", self.unused_), visit("listed", self.listed_), visit("size", self.size_), visit("day", self.day_);
    visit("day bits", self.day_bits_), visit("next sequence", self.next_sequence_);
    visit("looked at", self.looked_at_), visit("look after", self.look_after_), visit("look in", self.look_in_);
    self.last_day_ = self.days_.size() - 1;
  }

  void push(event e) {
    e.number(next_sequence_++);
    ++size_;
    place(e);
  }
  /// The one that leaves next; requires !empty().
  auto next() -> event const& {
    if (known_ - taken_ < fewest_known) order_more();
    return between_is_next() ? between_.next() : soon_[taken_];
  }
  /// Requires !empty().
  auto pop() -> event {
    auto const e = next();
    drop();
    return e;
  }
  /// Removes what next() gave.
  void drop() {
    --size_;
    auto const now = between_is_next() ? between_.pop().at_ns : soon_[taken_++].at_ns;
    if (--look_in_ == 0) look(now);
  }
  /// Most likely the event that leaves k after the next one (k < fewest_known), or null: what it needs can be
  /// prefetched.
  [[nodiscard]] auto ahead(std::size_t k) const -> event const* {
    return taken_ + k < known_ ? &soon_[taken_ + k] : nullptr;
  }
  static constexpr std::size_t fewest_known = 6;

  /// All that wait, in no particular order.
  [[nodiscard]] auto waiting() const -> std::vector<event> {
    std::vector<event> all{soon_.data() + taken_, soon_.data() + known_};
    all.insert(all.end(), between_.all().begin(), between_.all().end());
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
  static constexpr auto never = (std::numeric_limits<std::int64_t>::max)();
  struct entry {
    event e;
    std::uint32_t next = none;  // of the same day, or of the unused ones
    static void visit_state(auto& self, auto&& visit) { visit("event", self.e), visit("next", self.next); }
  };

  [[nodiscard]] auto day_of(event const& e) const -> std::int64_t { return e.at_ns >> day_bits_; }
  auto first_of(std::int64_t day) -> std::uint32_t& { return days_[static_cast<std::size_t>(day) & last_day_]; }
  [[nodiscard]] auto between_is_next() const -> bool {
    return !between_.empty() && (taken_ == known_ || between_.next() < soon_[taken_]);
  }

  void place(event const& e) {
    auto const day = day_of(e);
    if (static_cast<std::uint64_t>(day - day_ - 1) < last_day_) list(e, first_of(day));
    else place_apart(e);
  }
  void list(event const& e, std::uint32_t& first) {
    auto& mine = entries_[unused_];
    auto const following = std::exchange(mine.next, first);
    mine.e = e;
    first = std::exchange(unused_, following);
    ++listed_;
    if (unused_ == none) add_entry();  // at the end, for there is always one
  }
  // Out of line, since most events are listed.
  [[gnu::noinline]] void place_apart(event const& e) {
    if (day_of(e) <= day_) return between_.push(e);
    later_.push(e);
    first_later_ = day_of(later_.next());
  }
  [[gnu::noinline]] void add_entry() {
    unused_ = static_cast<std::uint32_t>(entries_.size());
    entries_.emplace_back();
  }

  /// Sorts further days, until twice as many events as needed are known.
  [[gnu::noinline]] void order_more() {
    std::copy(soon_.data() + taken_, soon_.data() + known_, soon_.data());
    known_ -= std::exchange(taken_, 0);
    while (known_ < 2 * fewest_known && listed_ + later_.size() > 0) begin_day();
  }
  void begin_day() {
    day_ = listed_ > 0 ? day_ + 1 : first_later_;
    while (first_later_ - day_ <= static_cast<std::int64_t>(last_day_)) from_later();
    auto const before = known_;
    for (auto slot = std::exchange(first_of(day_), none); slot != none; ++known_, --listed_) {
      if (known_ == soon_.size()) soon_.resize(2 * known_ + 4 * fewest_known);
      soon_[known_] = entries_[slot].e;
      auto const following = std::exchange(entries_[slot].next, unused_);
      unused_ = std::exchange(slot, following);
    }
    if (known_ - before == 2 && soon_[before + 1] < soon_[before]) std::swap(soon_[before], soon_[before + 1]);
    if (known_ - before > 2) std::sort(soon_.data() + before, soon_.data() + known_);
    if (auto const soon = first_of(day_ + 16); soon != none) detail::fetch(&entries_[soon]);
  }
  // The first of them; its day is by now a listed one, or the present one.
  [[gnu::noinline]] void from_later() {
    auto const e = later_.pop();
    list(e, first_of(day_of(e)));
    first_later_ = later_.empty() ? never : day_of(later_.next());
  }

  /// Makes days twice as long as the mean time between two events, and as many as hold most events, if they are not so.
  [[gnu::noinline]] void look(std::int64_t now) {
    auto const gap = static_cast<std::uint64_t>(now - looked_at_) / look_after_;
    auto const bits = static_cast<int>(std::bit_width(gap));
    auto const wanted = std::bit_ceil(2 * size_ + 64);
    if (bits > day_bits_ + 1 || bits < day_bits_ - 1 || wanted > days_.size() || 8 * wanted < days_.size()) {
      auto const all = waiting();
      soon_.clear(), between_.clear(), later_.clear(), entries_.assign(1, {});
      taken_ = known_ = 0;
      first_later_ = never;
      unused_ = 0;
      listed_ = 0;
      days_.assign(wanted, none);
      last_day_ = wanted - 1;
      day_bits_ = bits;
      day_ = now >> day_bits_;
      for (auto const& e : all) place(e);
    }
    looked_at_ = now;
    look_in_ = look_after_ = size_ + 1024;
  }

  std::vector<event> soon_;  // up to known_ all until the present day but those in between_, in order
  std::size_t taken_ = 0;  // so many of them have left
  std::size_t known_ = 0;
  event_heap between_;  // came too late to be put in order
  event_heap later_;
  std::int64_t first_later_ = never;  // the day of its first
  std::vector<std::uint32_t> days_ = std::vector<std::uint32_t>(64, none);  // the first entry of each; a power of two
  std::size_t last_day_ = 63;  // of the table
  std::vector<entry> entries_ = std::vector<entry>(1);
  std::uint32_t unused_ = 0;
  std::size_t listed_ = 0;  // entries on days to come
  std::size_t size_ = 0;
  std::int64_t day_ = 0;
  int day_bits_ = 16;
  std::uint64_t next_sequence_ = 0;
  std::int64_t looked_at_ = 0;
  std::uint64_t look_after_ = 256;  // events from then on
  std::uint64_t look_in_ = 256;
};

/// A slab: objects of one type, under small indices that are reused.
template<class T>
class slot_store {
 public:
  static void visit_state(auto& self, auto&& visit) {
    visit("things", self.things_), visit("after", self.after_), visit("closed", self.closed_);
  }

  /// A slot to fill in place. It holds what its last user left in it, so that its memory is reused.
  auto open() -> std::uint32_t {
    if (closed_ == none) close(add());
    return std::exchange(closed_, after_[closed_]);
  }
  /// Slots ever opened.
  [[nodiscard]] auto size() const -> std::size_t { return things_.size(); }
  void close(std::uint32_t slot) { after_[slot] = std::exchange(closed_, slot); }
  auto put(T thing) -> std::uint32_t {
    auto const slot = open();
    things_[slot] = std::move(thing);
    return slot;
  }
  /// Valid until the next slot is opened.
  auto at(std::uint32_t slot) -> T& { return things_[slot]; }
  [[nodiscard]] auto at(std::uint32_t slot) const -> T const& { return things_[slot]; }
  auto take(std::uint32_t slot) -> T {
    close(slot);
    return std::move(things_[slot]);
  }

 private:
  static constexpr std::uint32_t none = ~std::uint32_t{0};
  [[gnu::noinline]] auto add() -> std::uint32_t {
    things_.emplace_back();
    after_.push_back(none);
    return static_cast<std::uint32_t>(things_.size() - 1);
  }

  std::vector<T> things_;
  std::vector<std::uint32_t> after_;  // of a closed slot: the one that was closed before it
  std::uint32_t closed_ = none;  // the last one
};

}  // namespace rubato::detail
