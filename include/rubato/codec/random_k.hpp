// SPDX-License-Identifier: MIT
// k values at random places, which the receiver draws from the same seed; all others become 0. Every set of k places is
// equally likely.   unscaled: C(v) = v at the places;   scaled: Q(v) = (n/k) v at the places
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/codec/detail/parts.hpp>
#include <rubato/codec/detail/sparse.hpp>
#include <rubato/core/random.hpp>

namespace rubato::codec {

enum class random_k_form : std::uint8_t {
  unscaled,  ///< contractive, delta = k/n: for error feedback
  scaled,  ///< by n/k; unbiased, omega = n/k - 1: alone, for gradients, to which it adds noise of omega times their
  ///< square; not contractive: under error feedback it diverges
};

namespace detail {

/// k of n places, every set equally likely (Floyd's algorithm; Bentley, CACM 30, 1987), as bits.
inline auto drawn_places(std::size_t n, std::size_t k, random_stream draw) -> std::vector<std::uint64_t> {
  std::vector<std::uint64_t> taken((n + 63) / 64);
  auto const take = [&taken](std::size_t i) {
    auto& word = taken[i / 64];
    auto const before = word;
    word |= std::uint64_t{1} << (i % 64);
    return word != before;
  };
  for (auto j = n - k; j < n; ++j) {
    if (!take(draw.below(j + 1))) take(j);
  }
  return taken;
}

/// f(place) in ascending order.
template<class F>
void for_each_place(std::vector<std::uint64_t> const& taken, F const& f) {
  for (std::size_t w = 0; w < taken.size(); ++w) {
    for (auto rest = taken[w]; rest != 0; rest &= rest - 1) {
      f(64 * w + static_cast<std::size_t>(std::countr_zero(rest)));
    }
  }
}

}  // namespace detail

/// Policy, see codec/concepts.hpp. The seed travels in 8 bytes of the message, then k values; messages with one seed
/// (draws with one key) have the same places, so their codes may be added. Values keep their bits, -0, NaN and
/// infinities too, where they are sent. On the host only. Passes: encode reads k values, decode writes x once; both
/// draw k numbers and clear n bits.
template<random_k_form Form>
struct basic_random_k {
  static constexpr auto name() -> std::string_view {
    return Form == random_k_form::scaled ? "scaled random k" : "random k";
  }
  static void visit_options(auto& self, auto&& visit) {
    visit("k", self.k, "values that are kept; 0: by share");
    visit("share", self.share, "of the values that is kept where k is 0, above 0 and at most 1");
  }
  template<class T>
  using code = std::byte;
  static constexpr auto error = Form == random_k_form::scaled ? error_class::unbiased : error_class::contractive;
  static constexpr bool needs_lossless_links = false;
  static constexpr bool coarse = true;

  std::size_t k = 0;
  double share = 0.01;

  [[nodiscard]] auto kept(std::size_t n) const -> std::size_t { return detail::kept_values{k, share}.of(n); }
  /// Throws config_error.
  void check(std::size_t n) const { detail::kept_values{k, share}.check(n); }

  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return n == 0 ? 0 : 8 + kept(n) * sizeof(T);
  }
  [[nodiscard]] auto relative_error(std::size_t n) const -> double {
    if (n == 0) return 0;
    auto const part = static_cast<double>(kept(n)) / static_cast<double>(n);
    return Form == random_k_form::scaled ? 1 / part - 1 : 1 - part;
  }

  template<class Backend>
  void encode(Backend&, typename Backend::scalar const* x, std::size_t n, std::byte* codes, random_stream draw) const {
    static_assert(detail::check_on_host<Backend>());
    using T = typename Backend::scalar;
    if (n == 0) return;
    auto const seed = draw.bits();
    std::memcpy(codes, &seed, 8);
    auto* at = codes + 8;
    auto const factor = scale<T>(n);
    detail::for_each_place(detail::drawn_places(n, kept(n), random_stream{seed}), [&](std::size_t i) {
      auto const value = factor == T{1} ? x[i] : factor * x[i];
      std::memcpy(at, &value, sizeof(T));
      at += sizeof(T);
    });
  }
  template<class Backend>
  void decode(Backend& backend, std::byte const* codes, std::size_t n, typename Backend::scalar* x) const {
    using T = typename Backend::scalar;
    if (n == 0) return;
    backend.sweep({0, n}, backend::zero_kernel<T>{x});
    std::uint64_t seed;
    std::memcpy(&seed, codes, 8);
    auto const* at = codes + 8;
    detail::for_each_place(detail::drawn_places(n, kept(n), random_stream{seed}), [&](std::size_t i) {
      std::memcpy(x + i, at, sizeof(T));
      at += sizeof(T);
    });
  }

 private:
  template<class T>
  [[nodiscard]] auto scale(std::size_t n) const -> T {
    if constexpr (Form == random_k_form::unscaled) return T{1};
    else return static_cast<T>(static_cast<double>(n) / static_cast<double>(kept(n)));
  }
};

using random_k = basic_random_k<random_k_form::unscaled>;
using scaled_random_k = basic_random_k<random_k_form::scaled>;

}  // namespace rubato::codec
