// SPDX-License-Identifier: MIT
// Running sums in 16, 8 or 4 bits that follow how far the sums move. A sum rho in units of q is sent as the low B
// bits of r = round(rho / 2^s); s travels with the message. With k = round(known / 2^s), of the newest sum that it
// knows, the receiver takes (k + d) 2^s, where d in [-2^(B-1), 2^(B-1)) has the low bits of r - k.
//   (A.S)  s is the least with   2^(s_a - 1) + m_a < (2^(B-1) - 1/2 - [s > s_a] / 2) 2^s   for all a of a window
// where s_a is the shift of the message before the last a - 1, and m_a what the sum has moved since, at most. So d is
// right unless a whole window of messages was lost in a row, and the error, 2^(s-1) at most, fades as movements do: it
// ends where whole sums end. Source: ours; it needs no word from the receiver, where references that the receiver
// confirms would.
// Every eighth message only looks whether a higher plane of bits is right (its d is -1, 0 or 1), plane by plane from
// the top, and moves the receiver where it is not: what a lost window has broken is mended so.
// Not for 2 bits: there a sum is off by several times what it moves in a message, and pushed on round a cycle that
// grows.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/codec/detail/parts.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/errors.hpp>

namespace rubato::codec {

/// What a sender of sums remembers of its last messages over an edge.
class sum_motion {
 public:
  static constexpr std::size_t longest = 16;
  static void visit_state(auto& self, auto&& visit) {
    visit("shifts", self.shifts_), visit("moved", self.moved_), visit("messages", self.messages_);
    visit("unsaid", self.unsaid_), visit("looks", self.looks_), visit("plane", self.plane_);
  }

  /// What the next message says: a shift, and whether it only looks.
  struct message {
    int shift;
    bool looks;
  };
  /// `moved`: a bound on what any value has moved since the last message.
  [[nodiscard]] auto next(double moved, int bits, std::size_t window) -> message {
    unsaid_ += moved;
    if (++looks_ % 8 == 0) return {next_plane(bits), true};
    auto const shift = shift_for(bits, window);
    auto const at = messages_ % longest;
    shifts_[at] = shift;
    moved_[at] = unsaid_;
    ++messages_;
    unsaid_ = 0;
    return {shift, false};
  }

 private:
  [[nodiscard]] auto shift_for(int bits, std::size_t window) const -> int {
    auto const known = messages_ < window ? static_cast<std::size_t>(messages_) : window;
    auto const reach = static_cast<double>(1 << (bits - 1));
    auto distance = unsaid_;
    auto shift = 0;
    auto const most = 32 - bits;
    for (std::size_t a = 0; a < known; ++a) {
      auto const at = (messages_ - 1 - a) % longest;
      auto const error = std::ldexp(0.5, shifts_[at]);
      while (shift < most && !(error + distance < (reach - (shift > shifts_[at] ? 1 : 0.5)) * std::ldexp(1.0, shift)))
        ++shift;
      distance += moved_[at];
    }
    // Who has received nothing yet knows that the sum began with 0.
    if (known == messages_) {
      while (shift < most && !(distance < (reach - 0.5) * std::ldexp(1.0, shift))) ++shift;
    }
    return shift;
  }
  /// The planes above the last shift, from the top, again and again.
  [[nodiscard]] auto next_plane(int bits) -> int {
    auto const least = messages_ == 0 ? 0 : shifts_[(messages_ - 1) % longest] + 1;
    auto const most = 32 - bits;
    plane_ = plane_ <= least || plane_ > most ? most : (std::max)(least, plane_ - (bits - 1));
    return plane_;
  }

  std::array<int, longest> shifts_{};
  std::array<double, longest> moved_{};
  std::uint64_t messages_ = 0;
  double unsaid_ = 0;  // moved since the last message that does not only look
  std::uint64_t looks_ = 0;
  int plane_ = 0;
};

/// Policy for the sums of a fixed-point ledger, see codec::adaptive_sum_policy. B bits a value and a byte a message;
/// messages may be lost, doubled and overtaken, but travel whole (one block). Exact conservation. On the host only.
/// Passes: a message reads the sum and the one before, then the sum again, and writes codes; decoding reads codes and
/// the newest sum, and writes the sum.
template<int B = 8>
struct adaptive_bits {
  static_assert(B == 4 || B == 8 || B == 16,
                "sums are sent in 4, 8 or 16 bits: in 2, their errors would grow from node to node");
  static constexpr auto name() -> std::string_view {
    return B == 4 ? "adaptive 4 bits" : B == 8 ? "adaptive 8 bits" : "adaptive 16 bits";
  }
  static void visit_options(auto& self, auto&& visit) {
    visit("window", self.window, "messages that may be lost in a row before a receiver is wrong for a while, 1 to 16");
  }
  template<class U>
  using code = std::byte;
  static constexpr bool needs_lossless_links = false;
  using motion = sum_motion;  // and so encode() is told of one

  std::size_t window = 8;

  /// Throws config_error.
  void check(block_partition const& blocks) const {
    if (window < 1 || window > sum_motion::longest) {
      throw config_error{"adaptive bits bear 1 to 16 messages that are lost in a row, not " + std::to_string(window)};
    }
    if (blocks.blocks() > 1) {
      throw config_error{"sums in adaptive bits travel whole: leave block-values at 0"};
    }
  }
  [[nodiscard]] static auto codes(std::size_t n) -> std::size_t { return 1 + (n * B + 7) / 8; }

  /// The message of sums[0 .. n), which were `before` (null: zeros) in the last one. Writes codes(n) codes.
  template<class Backend>
  void encode(Backend&, std::int32_t const* before, std::int32_t const* sums, std::size_t n, sum_motion& past,
              std::byte* bytes) const {
    auto* codes = reinterpret_cast<std::uint8_t*>(bytes);
    static_assert(detail::check_on_host<Backend>());
    std::uint32_t moved = 0;
    for (std::size_t i = 0; i < n; ++i) {
      auto const by = word(sums[i]) - (before == nullptr ? 0 : word(before[i]));
      moved = (std::max)(moved, (std::min)(by, ~by + 1));
    }
    auto const [shift, looks] = past.next(moved, B, window);
    *codes++ = static_cast<std::uint8_t>(shift + (looks ? looks_only : 0));
    auto const half = 1U << shift >> 1;
    auto const of = [&](std::size_t i) { return static_cast<std::uint32_t>(signed_of(word(sums[i]) + half) >> shift); };
    if constexpr (B == 16) {
      for (std::size_t i = 0; i < n; ++i) {
        codes[2 * i] = static_cast<std::uint8_t>(of(i));
        codes[2 * i + 1] = static_cast<std::uint8_t>(of(i) >> 8);
      }
    } else {
      for (std::size_t i = 0; i < n; i += each) {
        std::uint32_t packed = 0;
        for (std::size_t k = 0; k < each && i + k < n; ++k) packed |= (of(i + k) & mask) << (B * k);
        codes[i / each] = static_cast<std::uint8_t>(packed);
      }
    }
  }
  /// sums[0 .. n) of a message, for one who knows `known` (null: zeros). False if it says what no sender does.
  template<class Backend>
  [[nodiscard]] auto decode(Backend&, std::byte const* bytes, std::int32_t const* known, std::size_t n,
                            std::int32_t* sums) const -> bool {
    auto const* codes = reinterpret_cast<std::uint8_t const*>(bytes);
    auto const looks = (*codes & looks_only) != 0;
    auto const shift = *codes & 63;
    if (shift > 32 - B || *codes > 127) return false;
    ++codes;
    auto const half = 1U << shift >> 1;
    for (std::size_t i = 0; i < n; ++i) {
      auto const before = known == nullptr ? 0 : word(known[i]);
      auto const k = static_cast<std::uint32_t>(signed_of(before + half) >> shift);
      auto const d = signed_of((code_at(codes, i) - k) << (32 - B)) >> (32 - B);
      sums[i] = signed_of(looks && d >= -1 && d <= 1 ? before : (k + static_cast<std::uint32_t>(d)) << shift);
    }
    return true;
  }

 private:
  static constexpr std::uint8_t looks_only = 64;
  static constexpr std::size_t each = B < 8 ? 8 / B : 1;  // values in a byte
  static constexpr std::uint32_t mask = (1U << B) - 1;
  static auto word(std::int32_t v) -> std::uint32_t { return static_cast<std::uint32_t>(v); }
  static auto signed_of(std::uint32_t v) -> std::int32_t { return static_cast<std::int32_t>(v); }
  static auto code_at(std::uint8_t const* codes, std::size_t i) -> std::uint32_t {
    if constexpr (B == 16) return codes[2 * i] | static_cast<std::uint32_t>(codes[2 * i + 1]) << 8;
    else return static_cast<std::uint32_t>(codes[i / each]) >> (B * (i % each)) & mask;
  }
};

}  // namespace rubato::codec
