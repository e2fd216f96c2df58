// SPDX-License-Identifier: MIT
// Differences from references (codec/referenced_bits.hpp) whose width follows what each link carries, so that slow
// links are not waited for: adaptive compression, after FusionLLM, arXiv 2410.12707, whose formula is not public; ours:
//   (A.W)  the widest of 2, 4, 8, 16 bits and whole values with   rho b <= part T   where b are its bytes,
//          T the sender's time between two messages, and rho the link's seconds a byte
// A receiver tells with each message back how long the newest one took, and in which width. Averages of these by width
// (moving, factor 0.2) give rho as a slope between two widths, in which latency and the difference of two clocks
// cancel. A width that was not heard of for 256 messages is not known any more, so that a link which recovers is found
// out; while no other one is known, the next narrower one is tried, or the next wider one from the narrowest. A width
// is reviewed every eighth message and moves by one step: to a wider one only if it fits 1.2 times.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <rubato/codec/referenced_bits.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>

namespace rubato::codec {

/// What a sender knows of one link, and the width that it uses. Delays are of the run's clock.
class link_width {
 public:
  static constexpr std::array<int, 5> widths{2, 4, 8, 16, 0};  ///< in bits, from the narrowest; 0: whole values
  using sizes = std::array<std::size_t, widths.size()>;

  static void visit_state(auto& self, auto&& visit) {
    visit("width", self.width_), visit("delays", self.delays_), visit("interval", self.interval_);
    visit("heard at", self.heard_at_), visit("sent", self.sent_), visit("last", self.last_);
    visit("messages", self.messages_);
  }

  /// The place in widths of the next message, which leaves now. `bytes`: of a message, by width; `part`: of the time
  /// between two messages.
  [[nodiscard]] auto next(instant now, sizes const& bytes, double part) -> std::size_t {
    if (messages_ > 0 && now > last_) {
      auto const since = to_seconds(now - last_);
      interval_ = interval_ == 0 ? since : 0.8 * interval_ + 0.2 * since;
    }
    last_ = now;
    if (++messages_ % 8 == 0 && knows(width_)) review(bytes, part * interval_);
    sent_ |= std::uint64_t{1} << width_;
    return width_;
  }
  /// The newest message of this width took so long: less than no time, if clocks differ. Of a width that no message had
  /// it is nothing.
  void heard(std::size_t width, double seconds) {
    if (width >= widths.size() || (sent_ >> width & 1U) == 0) return;
    auto& mean = delays_[width];
    mean = knows(width) ? 0.8 * mean + 0.2 * seconds : seconds;
    heard_at_[width] = messages_ + 1;
  }

 private:
  [[nodiscard]] auto knows(std::size_t w) const -> bool {
    return heard_at_[w] != 0 && messages_ + 1 - heard_at_[w] <= 256;
  }
  /// rho: seconds a byte, by this width and the one that is farthest from it in bytes; negative if no other is known.
  [[nodiscard]] auto slope(sizes const& bytes) const -> double {
    auto found = -1.0;
    auto farthest = 0.0;
    for (std::size_t w = 0; w < widths.size(); ++w) {
      auto const apart = static_cast<double>(bytes[width_]) - static_cast<double>(bytes[w]);
      if (w == width_ || !knows(w) || std::abs(apart) <= farthest) continue;
      farthest = std::abs(apart);
      found = (std::max)(0.0, (delays_[width_] - delays_[w]) / apart);
    }
    return found;
  }
  /// (A.W)
  void review(sizes const& bytes, double budget) {
    auto const per_byte = slope(bytes);
    if (per_byte < 0) {
      width_ = width_ == 0 ? 1 : width_ - 1;
      return;
    }
    auto const wider = width_ + 1 < widths.size();
    if (width_ > 0 && per_byte * static_cast<double>(bytes[width_]) > budget) --width_;
    else if (wider && 1.2 * per_byte * static_cast<double>(bytes[width_ + 1]) <= budget) ++width_;
  }

  std::size_t width_ = 1;
  std::array<double, widths.size()> delays_{};  // seconds, by width
  std::array<std::uint64_t, widths.size()> heard_at_{};  // by width: 1 + messages until its newest delay; 0: none
  std::uint64_t sent_ = 0;  // bit w: a message had width w
  double interval_ = 0;  // seconds between two messages
  instant last_{};
  std::uint64_t messages_ = 0;
};

/// Policy for the sums and models of r_fast and asy_sonata, as referenced_bits, with a width for each edge that follows
/// the link. Delays compare the clocks of two nodes, which may differ by up to half an hour: beyond that no delay is
/// told, and the width stays the first one. Their difference should not move by a part of an iteration within 256
/// messages. On the host only.
struct measured_bits {
  template<class U>
  using code = std::byte;
  static constexpr bool needs_lossless_links = false;
  static constexpr bool confirms = true;
  static constexpr bool follows_links = true;
  static constexpr auto name() -> std::string_view { return "measured bits"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("remembered", self.remembered, "messages of which a sender keeps the codes until one is confirmed, 2 to 256");
    visit("part", self.part, "of the time between two messages, that a link may take for one");
  }

  std::size_t remembered = 16;
  double part = 0.5;

  /// Throws config_error.
  void check(block_partition const& blocks) const {
    referenced_bits<>{remembered}.check(blocks);
    if (!(part > 0 && part <= 100)) {
      throw config_error{"a message takes a part above 0 and up to 100 of the time between two, not " + shortest(part)};
    }
  }
};

/// Whether widths follow the links.
template<class C>
inline constexpr bool follows_links = requires { requires C::follows_links; };

}  // namespace rubato::codec
