// SPDX-License-Identifier: MIT
// A running 64-bit digest, for telling whether two sequences of words are the same. Not a defence against forgery.
#pragma once

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
  /// The length and then the bytes, eight at a time as they lie in memory: one pass.
  auto add(std::span<std::byte const> bytes) -> digest& {
    add(bytes.size());
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
