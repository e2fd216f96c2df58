// SPDX-License-Identifier: MIT
// What codecs that keep k of n values share: how many are kept, and which are the largest.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <rubato/codec/detail/parts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::codec::detail {

/// How many of n values are kept: `count`, or if that is 0 `share` of them, one at least.
struct kept_values {
  std::size_t count;
  double share;

  [[nodiscard]] auto of(std::size_t n) const -> std::size_t {
    if (count != 0) return (std::min)(count, n);
    auto const part = std::ceil(share * static_cast<double>(n));
    return (std::min)(n, (std::max)(std::size_t{1}, static_cast<std::size_t>(part)));
  }
  /// Throws config_error unless so many of n values can be kept, and places fit 32 bits.
  void check(std::size_t n) const {
    if (count > n && n > 0) {
      throw config_error{"a codec cannot keep " + std::to_string(count) + " of " + std::to_string(n) +
                         " values; keep fewer, or give a share"};
    }
    if (count == 0 && !(share > 0 && share <= 1)) {
      throw config_error{"the share of values that a codec keeps is above 0 and at most 1, not " + shortest(share)};
    }
    if (n > (std::numeric_limits<std::uint32_t>::max)()) {
      throw config_error{"a codec that keeps places in 32 bits cannot take " + std::to_string(n) + " values"};
    }
  }
};

/// Magnitudes as integers, in the order of the magnitudes; NaN comes above infinity.
template<class T>
[[nodiscard]] auto magnitude_of(T x) -> word_of<T> {
  return bits_of(x) & format<T>::without_sign;
}

/// A magnitude that about 1.3 k of the n values reach, by a sample; 0 if n is small. A guess: fewer than k may.
template<class T>
[[nodiscard]] auto sampled_threshold(T const* x, std::size_t n, std::size_t k) -> word_of<T> {
  constexpr std::size_t samples = 8192;
  if (n < 4 * samples) return 0;
  auto const stride = n / samples;
  auto const expected = static_cast<double>(k) / static_cast<double>(stride);
  auto const rank = static_cast<std::size_t>(expected + 4 * std::sqrt(expected) + 4);
  if (rank >= samples) return 0;
  std::vector<word_of<T>> sample(samples);
  for (std::size_t i = 0; i < samples; ++i) sample[i] = magnitude_of(x[i * stride]);
  auto const at = sample.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(sample.begin(), at, sample.end(), [](auto a, auto b) { return a > b; });
  return *at;
}

/// The places of all values that reach a magnitude, in ascending order, and their magnitudes.
template<class T>
void collect(T const* x, std::size_t n, word_of<T> least, std::vector<std::uint32_t>& places,
             std::vector<word_of<T>>& magnitudes) {
  constexpr auto lanes = backend::detail::native_bytes / sizeof(T);
  constexpr std::size_t group = 4 * lanes;
  using part = typename backend::detail::native_vector<T, lanes>::type;
  auto const wanted = [least](part const& v) {
    return (bits_of(v) & splat<words_of<part>>(format<T>::without_sign)) >= splat<words_of<part>>(least);
  };
  auto const take = [&](std::size_t i) {
    if (auto const m = magnitude_of(x[i]); m >= least) {
      places.push_back(static_cast<std::uint32_t>(i));
      magnitudes.push_back(m);
    }
  };
  std::size_t i = 0;
  for (; i + group <= n; i += group) {
    auto any = wanted(backend::detail::load_vector<part>(x + i));
    for (std::size_t j = 1; j < 4; ++j) any |= wanted(backend::detail::load_vector<part>(x + i + j * lanes));
    if (backend::detail::is_zero(any)) continue;
    for (std::size_t j = 0; j < group; ++j) take(i + j);
  }
  for (; i < n; ++i) take(i);
}

/// The places of the k values of greatest magnitude, ties to the lower place, in ascending order. Reads x once, and
/// what a sampled threshold leaves of it a few times more. On the host.
template<class T>
[[nodiscard]] auto largest_places(T const* x, std::size_t n, std::size_t k) -> std::vector<std::uint32_t> {
  std::vector<std::uint32_t> places;
  std::vector<word_of<T>> magnitudes;
  if (k == 0) return places;
  auto const least = sampled_threshold(x, n, k);
  collect(x, n, least, places, magnitudes);
  if (places.size() < k) {
    places.clear(), magnitudes.clear();
    collect(x, n, word_of<T>{0}, places, magnitudes);
  }
  auto ordered = magnitudes;
  auto const last = ordered.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(ordered.begin(), last, ordered.end(), [](auto a, auto b) { return a > b; });
  auto const cut = *last;
  auto above = static_cast<std::size_t>(std::count_if(ordered.begin(), last, [cut](auto m) { return m > cut; }));
  auto ties = k - above;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (magnitudes[i] < cut || (magnitudes[i] == cut && ties == 0)) continue;
    if (magnitudes[i] == cut) --ties;
    places[kept++] = places[i];
  }
  places.resize(kept);
  return places;
}

}  // namespace rubato::codec::detail
