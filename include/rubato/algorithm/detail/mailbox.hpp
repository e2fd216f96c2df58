// SPDX-License-Identifier: MIT
// The last message of one neighbour on one channel. Whole vectors are kept by reference; parts are assembled, each
// block with its own iteration number, so that a lost datagram makes only its own block older (law 5).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/packet.hpp>

namespace rubato::detail {

/// Newest-wins on state channels, a queue on event channels. Values are in the backend's memory.
template<class Backend, class U>
class mailbox {
 public:
  /// What is known about one block (about all blocks, while the vector is whole).
  struct stamp {
    iteration number{};
    std::uint64_t arrived = 0;  ///< the owner's local iteration at that time
    instant posted{};
    static void visit_state(auto& self, auto&& visit) {
      visit("number", self.number), visit("arrived", self.arrived), visit("posted", self.posted);
    }
  };
  static void visit_state(auto& self, auto&& visit) {
    visit("whole", self.whole_), visit("stamp", self.stamp_), visit("parts", self.parts_);
    visit("queue", self.queue_);
  }

  void start_with(shared_buffer initial) { whole_ = std::move(initial); }

  /// State channel: takes what is newer and returns whether anything was. Whole patches cost no pass; partial ones are
  /// copied once (and the first one copies the previous vector).
  auto accept(Backend& backend, block_partition const& blocks, patch const& p, std::uint64_t own) -> bool {
    auto const covers_all = p.blocks.begin == 0 && p.blocks.end == blocks.blocks() && p.numbers.size() == 1;
    if (covers_all && !(p.numbers[0] > newest_of_any())) {
      if (is_whole() || p.numbers[0] <= number()) return false;
    } else if (covers_all) {
      if (!is_whole()) parts_.reset();
      whole_ = p.body;
      stamp_ = {p.numbers[0], own, p.posted_at};
      return true;
    }
    return accept_parts(backend, blocks, p, own);
  }

  /// Event channel: every message counts, in order. Here a message is numbered by its round: the round that it names,
  /// or the one after that of the message before. In the first session of an edge this equals its own number.
  void enqueue(patch const& p, std::uint64_t own) {
    auto const round = p.based_on == iteration{} ? next(latest()) : p.based_on;
    queue_.push_back({{round, own, p.posted_at}, p.body});
  }
  /// Event channel: forgets everything; the next message is for the round after `round`, unless it names another.
  void begin_at(iteration round) {
    clear();
    stamp_.number = round;
  }
  /// Event channel: steps forward to the message of iteration `wanted`; true if that is now the current one.
  auto advance_to(iteration wanted) -> bool {
    while (stamp_.number < wanted && !queue_.empty()) {
      stamp_ = queue_.front().first;
      whole_ = std::move(queue_.front().second);
      queue_.erase(queue_.begin());
    }
    return stamp_.number >= wanted;
  }

  /// Event channel: drops messages that advance_to(wanted) would skip.
  void drop_passed(iteration wanted) {
    while (queue_.size() > 1 && queue_.front().first.number < wanted) queue_.erase(queue_.begin());
  }
  /// Event channel: drops the oldest message; each later one takes the round of the one before it.
  void skip_oldest() {
    queue_.erase(queue_.begin());
    for (auto& waiting : queue_) waiting.first.number = iteration{to_count(waiting.first.number) - 1};
  }
  [[nodiscard]] auto queued() const -> std::size_t { return queue_.size(); }

  /// Event channel: the newest message that has arrived, whether current or still queued.
  [[nodiscard]] auto latest() const -> iteration { return queue_.empty() ? stamp_.number : queue_.back().first.number; }

  /// Null before the first message: this stands for zeros (and cannot happen after start_with).
  [[nodiscard]] auto values() const -> U const* {
    return is_whole() ? whole_.template view<U>().data() : parts_->values.data();
  }
  /// The newest values that have arrived, whether current or still queued; null before the first message.
  [[nodiscard]] auto newest() const -> U const* {
    return queue_.empty() ? values() : queue_.back().second.template view<U>().data();
  }
  [[nodiscard]] auto newest_number(std::size_t block) const -> iteration {
    return queue_.empty() ? of(block).number : queue_.back().first.number;
  }
  [[nodiscard]] auto is_whole() const -> bool { return whole_ || !parts_; }
  [[nodiscard]] auto whole() const -> shared_buffer const& { return whole_; }
  [[nodiscard]] auto of(std::size_t block) const -> stamp const& { return is_whole() ? stamp_ : parts_->stamps[block]; }
  /// The oldest iteration over all blocks.
  [[nodiscard]] auto number() const -> iteration {
    if (is_whole()) return stamp_.number;
    auto oldest = parts_->stamps.front().number;
    for (auto const& s : parts_->stamps) oldest = (std::min)(oldest, s.number);
    return oldest;
  }
  /// The end of the run of blocks, from `block` on, that arrived together.
  [[nodiscard]] auto uniform_end(std::size_t block, std::size_t blocks) const -> std::size_t {
    if (is_whole()) return blocks;
    auto end = block + 1;
    while (end < blocks && parts_->stamps[end].arrived == parts_->stamps[block].arrived) ++end;
    return end;
  }
  void clear() { *this = mailbox{}; }

 private:
  struct assembly {
    writable_buffer<U> values;
    std::vector<stamp> stamps;
    static void visit_state(auto& self, auto&& visit) { visit("values", self.values), visit("stamps", self.stamps); }
  };

  [[nodiscard]] auto newest_of_any() const -> iteration {
    if (is_whole()) return stamp_.number;
    auto newest = iteration{};
    for (auto const& s : parts_->stamps) newest = (std::max)(newest, s.number);
    return newest;
  }

  auto accept_parts(Backend& backend, block_partition const& blocks, patch const& p, std::uint64_t own) -> bool {
    auto newer = false;
    auto const offset = blocks.values_of(p.blocks).begin;
    auto const* body = p.body.template view<U>().data();
    for (auto block = p.blocks.begin; block < p.blocks.end; ++block) {
      if (p.number_of(block) <= of(block).number) continue;
      if (is_whole()) begin_assembly(backend, blocks);
      auto const r = blocks.values_of({block, block + 1});
      backend.sweep({0, r.size()}, backend::copy_kernel<U>{body + (r.begin - offset), parts_->values.data() + r.begin});
      parts_->stamps[block] = {p.number_of(block), own, p.posted_at};
      newer = true;
    }
    return newer;
  }

  void begin_assembly(Backend& backend, block_partition const& blocks) {
    auto fresh = std::make_unique<assembly>();
    fresh->values = backend.template allocate<U>(blocks.values());
    fresh->stamps.assign(blocks.blocks(), stamp_);
    auto const all = range{0, blocks.values()};
    if (whole_) backend.sweep(all, backend::copy_kernel<U>{whole_.template view<U>().data(), fresh->values.data()});
    else backend.sweep(all, backend::zero_kernel<U>{fresh->values.data()});
    parts_ = std::move(fresh);
    whole_ = {};
  }

  shared_buffer whole_;
  stamp stamp_;
  std::unique_ptr<assembly>
      parts_;  // null while there is a whole_, so nobody reads it then: it lies in another cache line
  std::vector<std::pair<stamp, shared_buffer>> queue_;  // event channels only; as long as a neighbour runs ahead
};

}  // namespace rubato::detail
