// SPDX-License-Identifier: MIT
// Random words for kernels: word j of a run is a hash of a key and j, so that a kernel may take the indices in any
// order. Up to 512 words a key; a longer vector takes further keys from its stream.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <rubato/codec/detail/parts.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato::codec::detail {

inline constexpr std::size_t words_of_a_key = 512;

/// Different for every index, so that a kernel that does not know its index can load it.
inline constexpr auto index_words = [] {
  std::array<std::int32_t, words_of_a_key> words{};
  for (std::size_t j = 0; j < words_of_a_key; ++j) {
    words[j] = static_cast<std::int32_t>(static_cast<std::uint32_t>(rubato::detail::mixed(j + 1)));
  }
  return words;
}();
/// The same in the backend's memory, where kernels read.
template<class Backend>
[[nodiscard]] auto index_words_of(Backend& backend) -> writable_buffer<std::int32_t> {
  auto words = backend.template allocate<std::int32_t>(words_of_a_key);
  std::copy(index_words.begin(), index_words.end(), words.data());
  return words;
}

template<class W>
RUBATO_HOST_DEVICE auto as_unsigned(W const& w) {
  if constexpr (std::is_arithmetic_v<W>) return static_cast<std::uint32_t>(w);
  else
    return backend::detail::same_bits<typename backend::detail::native_vector<std::uint32_t, sizeof(W) / 4>::type>(w);
}
template<class W, class U>
RUBATO_HOST_DEVICE auto as_signed(U const& u) -> W {
  if constexpr (std::is_arithmetic_v<W>) return static_cast<W>(u);
  else return backend::detail::same_bits<W>(u);
}

struct draw_key {
  std::uint32_t first, second;
  explicit draw_key(random_stream& from) {
    auto const bits = from.bits();
    first = static_cast<std::uint32_t>(bits);
    second = static_cast<std::uint32_t>(bits >> 32);
  }
};

/// 32 bits of a key and an index word, of which the high ones are to be used; W: a number or a hardware vector of
/// 32-bit integers. Over keys they are uniform at each index, which is what unbiasedness and a bound on the error need,
/// and nearly independent between two indices (multiply-shift with a random odd multiplier).
template<class W>
RUBATO_HOST_DEVICE auto hashed(draw_key const& key, W const& index_word) -> W {
  return as_signed<W>((as_unsigned(index_word) ^ key.first) * (key.second | 1U));
}

/// f(range, key) for pieces of at most words_of_a_key values.
template<class F>
void for_each_key(std::size_t n, random_stream& stream, F const& f) {
  for (std::size_t begin = 0; begin < n; begin += words_of_a_key) {
    f(range{begin, (std::min)(n, begin + words_of_a_key)}, draw_key{stream});
  }
}

}  // namespace rubato::codec::detail
