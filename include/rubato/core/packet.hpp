// SPDX-License-Identifier: MIT
// What travels: a node posts packets (whole vectors), drivers hand in patches (aligned ranges of what arrived).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <rubato/core/blocks.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato {

/// How a message must be delivered (law 3).
enum class channel_kind : std::uint8_t {
  state,  ///< the newest wins: may be lost, overtaken, duplicated, conflated
  event,  ///< every message counts exactly once, in order per pair of nodes
};

/// What a message is about. The numbers go on the wire, so they never change.
enum class channel_id : std::uint8_t { model = 0, tracker = 1, chunk = 2, gradient = 3, control = 4 };
inline constexpr std::size_t channel_count = 5;

constexpr auto name_of(channel_id c) -> std::string_view {
  constexpr std::array<std::string_view, channel_count> names{"model", "tracker", "chunk", "gradient", "control"};
  return names[static_cast<std::size_t>(c)];
}

/// The typed scalars that can travel beside a body; a channel declares which ones it carries.
enum class scalar_slot : std::uint8_t { push_sum_weight = 0, sample_count = 1, loss = 2, duration_ns = 3 };
inline constexpr std::size_t scalar_slot_count = 4;

/// A few optional scalars. Weights and losses are doubles, counts and durations 64-bit integers; bits travel unchanged.
class scalars {
 public:
  static void visit_state(auto& self, auto&& visit) { visit("words", self.words_), visit("mask", self.mask_); }
  auto set(scalar_slot slot, double value) -> scalars& { return put(slot, std::bit_cast<std::uint64_t>(value)); }
  auto set(scalar_slot slot, std::uint64_t value) -> scalars& { return put(slot, value); }

  [[nodiscard]] auto real(scalar_slot slot) const -> std::optional<double> {
    if (!has(slot)) return std::nullopt;
    return std::bit_cast<double>(words_[static_cast<std::size_t>(slot)]);
  }
  [[nodiscard]] auto count(scalar_slot slot) const -> std::optional<std::uint64_t> {
    if (!has(slot)) return std::nullopt;
    return words_[static_cast<std::size_t>(slot)];
  }
  [[nodiscard]] auto has(scalar_slot slot) const -> bool { return ((mask_ >> static_cast<unsigned>(slot)) & 1U) != 0; }
  [[nodiscard]] auto mask() const -> std::uint8_t { return mask_; }
  [[nodiscard]] auto word(std::size_t slot) const -> std::uint64_t { return words_[slot]; }
  friend auto operator==(scalars const&, scalars const&) -> bool = default;

 private:
  auto put(scalar_slot slot, std::uint64_t bits) -> scalars& {
    words_[static_cast<std::size_t>(slot)] = bits;
    mask_ = static_cast<std::uint8_t>(mask_ | (1U << static_cast<unsigned>(slot)));
    return *this;
  }
  std::array<std::uint64_t, scalar_slot_count> words_{};
  std::uint8_t mask_ = 0;
};

/// A bit mask over scalar slots.
template<class... Slots>
constexpr auto carrying(Slots... those) -> std::uint8_t {
  return static_cast<std::uint8_t>(((1U << static_cast<unsigned>(those)) | ... | 0U));
}

/// How many values the bodies of a channel hold, as far as this is known without the algorithm.
enum class body_form : std::uint8_t {
  whole,  ///< exactly the message's blocks
  part,  ///< a part of a vector, at most all of it
  codes,  ///< as many as a codec makes of one or two vectors: at most 32 times the values, and 2048
  none,  ///< its messages are complete without a body
};

/// What a node type declares of a channel that it uses; drivers check its packets against it (core/channel_table.hpp).
struct channel_spec {
  channel_id channel{};
  channel_kind kind{};
  element values{};  ///< element type of the bodies
  std::uint8_t carried_scalars = 0;  ///< see carrying()
  body_form body = body_form::whole;
};

/// One message as posted: a whole vector (or, on the chunk channel, one chunk), shared by all its receivers.
struct packet {
  node_id from{};
  node_id to{};
  channel_id channel{};
  session_id session{};
  iteration number{};  ///< the sender's own count, from 1 upwards, per channel
  iteration based_on{};  ///< the iteration of the value this answers, where a protocol needs it
  instant posted_at{};
  shared_buffer body;
  scalars extra;

  static void visit_state(auto& self, auto&& visit) {
    visit("from", self.from), visit("to", self.to), visit("channel", self.channel), visit("session", self.session);
    visit("number", self.number), visit("based on", self.based_on), visit("posted at", self.posted_at);
    visit("body", self.body), visit("extra", self.extra);
  }
};

/// One message as it came in: an aligned range of blocks of one sender's vector on one channel.
/// `numbers` holds one iteration for all blocks, or one a block; it is valid during the call only, the body may be
/// kept.
struct patch {
  node_id from{};
  node_id to{};
  channel_id channel{};
  session_id session{};
  iteration based_on{};
  instant posted_at{};  ///< of the oldest part, on the run's clock
  range blocks{};
  std::span<iteration const> numbers;
  shared_buffer body;  ///< the values of these blocks, in order
  scalars extra;

  [[nodiscard]] auto number_of(std::size_t block) const -> iteration {
    return numbers.size() == 1 ? numbers[0] : numbers[block - blocks.begin];
  }
};

/// These blocks of a message as they come in: the body is `body`, and the number is read where the packet has it, so
/// the packet must outlive the patch.
[[nodiscard]] inline auto patch_of(packet const& p, range blocks, shared_buffer&& body) -> patch {
  return {p.from,      p.to,   p.channel,      p.session,       p.based_on,
          p.posted_at, blocks, {&p.number, 1}, std::move(body), p.extra};
}
/// The same of a message that comes with its body, shared.
[[nodiscard]] inline auto patch_of(packet const& p, range blocks) -> patch {
  return patch_of(p, blocks, shared_buffer{p.body});
}

}  // namespace rubato
