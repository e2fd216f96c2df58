// SPDX-License-Identifier: MIT
// A running 64-bit digest, for telling whether two sequences of words are the same. Not a defence against forgery.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <rubato/core/random.hpp>

namespace rubato {

/// Every step is a bijection of the state, so sequences of one length that differ in one word never agree; others agree
/// by chance, 1 in 2^64.
class digest {
 public:
  constexpr auto add(std::uint64_t word) -> digest& {
    state_ = detail::mixed((state_ ^ word) + detail::golden);
    return *this;
  }
  /// The length and then the bytes as they lie in memory, eight at a time in four sequences that do not wait for each
  /// other: one pass.
  auto add(std::span<std::byte const> bytes) -> digest& {
    add(bytes.size());
    if (bytes.size() >= 32) {
      std::array<std::uint64_t, 4> lanes{state_, state_ + 1, state_ + 2, state_ + 3};
      for (; bytes.size() >= 32; bytes = bytes.subspan(32)) {
        for (std::size_t k = 0; k < 4; ++k)
          lanes[k] = detail::mixed((lanes[k] ^ word_of(bytes.subspan(8 * k, 8))) + detail::golden);
      }
      for (auto const channel : lanes) add(channel);
    }
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) add(word_of(bytes.first(8)));
    return bytes.empty() ? *this : add(word_of(bytes));
  }
  [[nodiscard]] constexpr auto value() const -> std::uint64_t { return state_; }

 private:
  static auto word_of(std::span<std::byte const> bytes) -> std::uint64_t {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), bytes.size());
    return word;
  }
  std::uint64_t state_ = 0;
};

}  // namespace rubato
