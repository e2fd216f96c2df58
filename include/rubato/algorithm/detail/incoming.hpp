// SPDX-License-Identifier: MIT
// The checks that a node applies to every message before it uses it: shape, counts, order. Transports check frames
// against their channels, but a node must be safe by itself, since a remote process may send any number.
//   any channel     blocks within the partition; one number in all or one per block, from 1 to most_counted; based_on
//                   up to most_counted; a body of the right type and size
//   event channels  numbers 1, 2, 3, ... from each sender; over an edge that opened again they go on from any number.
//                   Where neighbours agree on the number of a round, a message may name it in based_on: a later round
//                   than that of the message before; far ahead if its receiver was restarted, but at most
//                   most_taken_over
//   state channels  a sender may be any number of iterations ahead, and messages may be lost, duplicated or overtaken.
//                   But numbers and posting times rise together, and no message is overtaken by one that is
//                   most_overtaken iterations newer. So a number that the sender never reached does not silence it:
//                   its next message contradicts that number.
// A message that breaks these rules ends the run with a sentence that names its sender. A message of a closed session
// is no fault. Every message pays for the checks, so they are comparisons only; sentences
// are built out of line, once one fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <rubato/core/blocks.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/core/text.hpp>

namespace rubato::detail {

/// No count of a run gets this high: with a local iteration per microsecond it would take nine years.
inline constexpr std::uint64_t most_counted = std::uint64_t{1} << 48;
/// The highest round that a node goes over to because a message names it. Whatever messages say, as many rounds again
/// remain until counts end.
inline constexpr std::uint64_t most_taken_over = most_counted / 2;
/// No link holds a message back for this many iterations of its sender.
inline constexpr std::uint64_t most_overtaken = std::uint64_t{1} << 20;

/// For example: model message 7 of node 2
[[gnu::cold]] inline auto text_of_message(patch const& p, std::uint64_t number) -> std::string {
  return std::string{name_of(p.channel)} + " message " + std::to_string(number) + " of node " +
         std::to_string(to_index(p.from));
}

[[nodiscard, gnu::cold, gnu::noinline]] inline auto fault_of_counts(patch const& p) -> fault {
  auto const from = "node " + std::to_string(to_index(p.from));
  if (p.numbers.empty()) return {from + " sent a message without a number"};
  for (auto const n : p.numbers) {
    if (to_count(n) - 1 < most_counted) continue;
    return {from + " numbered a message of the channel " + std::string{name_of(p.channel)} + " " +
            std::to_string(to_count(n)) + ", and counts run from 1 to " + std::to_string(most_counted)};
  }
  return {from + " answers number " + std::to_string(to_count(p.based_on)) + ", and counts run up to " +
          std::to_string(most_counted)};
}
[[nodiscard, gnu::cold, gnu::noinline]] inline auto fault_of_body(patch const& p, std::size_t values) -> fault {
  if (p.body.size() != values) return wrong_size(p.from, p.body.size(), values);
  return {"node " + std::to_string(to_index(p.from)) + " sent values of another type than the channel " +
          std::string{name_of(p.channel)} + " carries"};
}
[[nodiscard, gnu::cold, gnu::noinline]] inline auto fault_of_blocks(patch const& p, std::size_t blocks) -> fault {
  return {"node " + std::to_string(to_index(p.from)) + " sent blocks " + std::to_string(p.blocks.begin) + " to " +
          std::to_string(p.blocks.end) + " under " + std::to_string(p.numbers.size()) + " numbers on the channel " +
          std::string{name_of(p.channel)} + ", of a vector that has " + std::to_string(blocks)};
}

[[nodiscard]] inline auto is_counted(iteration number, iteration based_on) -> bool {
  return to_count(number) - 1 < most_counted && to_count(based_on) <= most_counted;
}
/// What is wrong with the counts of a message, whatever its body.
[[nodiscard]] inline auto miscounted(patch const& p) -> std::optional<fault> {
  auto counted = !p.numbers.empty();
  for (auto const n : p.numbers) counted = counted && is_counted(n, p.based_on);
  if (counted) return {};
  return fault_of_counts(p);
}

/// The same with its body, which must have this many values of this type: a part of a vector, codes, or nothing.
[[nodiscard]] inline auto holds(patch const& p, element kind, std::size_t values) -> bool {
  return p.body.size() == values && (values == 0 || p.body.kind() == kind);
}
[[nodiscard]] inline auto malformed(patch const& p, element kind, std::size_t values) -> std::optional<fault> {
  if (auto wrong = miscounted(p)) return wrong;
  if (holds(p, kind, values)) return {};
  return fault_of_body(p, values);
}
[[nodiscard, gnu::noinline]] inline auto malformed_part(patch const& p, block_partition const& blocks,
                                                        channel_spec const& spec) -> std::optional<fault> {
  auto const n = blocks.blocks();
  auto const fits = p.blocks.begin < p.blocks.end && p.blocks.end <= n &&
                    (p.numbers.size() == 1 || p.numbers.size() == p.blocks.size());
  if (!fits || (spec.kind == channel_kind::event && (p.blocks.size() != n || p.numbers.size() != 1))) {
    return fault_of_blocks(p, n);
  }
  return malformed(p, spec.values, blocks.values_of(p.blocks).size());
}
/// The same where the body is the patch's blocks of a vector or, on an event channel, a whole vector with one number.
[[nodiscard]] inline auto malformed(patch const& p, block_partition const& blocks, channel_spec const& spec)
    -> std::optional<fault> {
  auto const whole =
      p.numbers.size() == 1 && p.blocks.begin == 0 && p.blocks.end == blocks.blocks();  // true for nearly all
  if (whole && is_counted(p.numbers[0], p.based_on) && holds(p, spec.values, blocks.values())) return {};
  return malformed_part(p, blocks, spec);
}

/// What is wrong with the push-sum weight of a message, `name`: all weights of a run sum to its number of nodes.
[[nodiscard]] inline auto fault_of_weight(patch const& p, std::optional<double> weight, double most,
                                          std::string_view name = "a push-sum weight") -> std::optional<fault> {
  if (weight && *weight >= 0 && *weight <= most) return {};
  return fault{text_of_message(p, to_count(p.numbers[0])) + " carries " +
               (weight ? std::string{name} + " of " + shortest(*weight) : "no push-sum weight") +
               ", where it must lie in 0 to " + shortest(most)};
}
/// In rounds on a directed graph: a sender that hears nothing from its receiver waits for a node that does, over at
/// most as many edges as there are nodes.
[[nodiscard]] inline auto fault_beyond_rounds(patch const& p, node_id self, std::uint64_t done, std::size_t nodes)
    -> std::optional<fault> {
  if (to_count(p.numbers[0]) <= done + nodes + 1) return {};
  return fault{text_of_message(p, to_count(p.numbers[0])) +
               " is of a round that its sender cannot have reached, since " + "node " + std::to_string(to_index(self)) +
               " has completed " + std::to_string(done) + " only"};
}

/// The numbers from one sender on one channel, in one session of their edge.
class message_order {
 public:
  static void visit_state(auto& self, auto&& visit) { visit("newest", self.newest_), visit("posted", self.posted_); }

  /// Event channels: accepts the number of p, or says what is wrong with it.
  [[nodiscard]] auto follow(patch const& p) -> std::optional<fault> {
    if (newest_ != 0 || p.session == session_id{}) return follow_on(p);
    newest_ = to_count(p.numbers[0]);
    return {};
  }
  /// The same over edges that never open anew, and resume with the number that was next.
  [[nodiscard]] auto follow_on(patch const& p) -> std::optional<fault> {
    auto const number = to_count(p.numbers[0]);
    if (number != newest_ + 1) return out_of_turn(p, newest_ + 1);
    newest_ = number;
    return {};
  }
  /// A session that goes on after this number.
  void resume_after(std::uint64_t newest) { newest_ = newest; }
  /// State channels: the same. A patch with several numbers has no posting time for each; its numbers are accepted.
  [[nodiscard]] auto rise(patch const& p) -> std::optional<fault> {
    if (p.numbers.size() != 1) return {};
    auto const number = to_count(p.numbers[0]);
    if (number <= newest_ || p.posted_at < posted_) return check_late(p, number);
    newest_ = number;
    posted_ = p.posted_at;
    return {};
  }
  [[nodiscard]] auto newest() const -> std::uint64_t { return newest_; }

 private:
  [[gnu::noinline]] auto check_late(patch const& p, std::uint64_t number) -> std::optional<fault> {
    auto const newer = number > newest_;
    auto const contradicts =
        newest_ != 0 && (newer ? p.posted_at < posted_ : number < newest_ && p.posted_at > posted_);
    if (contradicts || (!newer && newest_ - number > most_overtaken)) {
      return out_of_time(p, contradicts);
    }
    if (newer) {
      newest_ = number;
      posted_ = p.posted_at;
    }
    return {};
  }
  [[nodiscard, gnu::cold, gnu::noinline]] static auto out_of_turn(patch const& p, std::uint64_t next) -> fault {
    return {text_of_message(p, to_count(p.numbers[0])) + " came where message " + std::to_string(next) +
            " was next; here every message counts, once and in order"};
  }
  [[nodiscard, gnu::cold, gnu::noinline]] auto out_of_time(patch const& p, bool contradicts) const -> fault {
    auto const number = to_count(p.numbers[0]);
    return {
        text_of_message(p, number) + " came after message " + std::to_string(newest_) +
        (contradicts ? ", which was posted " + std::string{number > newest_ ? "later" : "earlier"} : ", far too late") +
        ": one of the two numbers is none that the node has reached"};
  }

  std::uint64_t newest_ = 0;
  instant posted_{};
};

}  // namespace rubato::detail
