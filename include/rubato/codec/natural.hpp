// SPDX-License-Identifier: MIT
// Natural compression (Horvath et al., arXiv 1905.10988): each value becomes a power of two, the next above with a
// probability that makes the mean right.   |v| = 2^e (1 + t):  2^(e+1) if u < t, else 2^e,  u in [0, 1)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/codec/detail/draws.hpp>
#include <rubato/codec/detail/parts.hpp>
#include <rubato/codec/detail/signs.hpp>
#include <rubato/core/random.hpp>

namespace rubato::codec {

namespace detail {

/// The exponent of float, 0 to 255, to which v rounds with these 32 random bits; bits of v without its sign.
template<class T, class W>
RUBATO_HOST_DEVICE auto natural_exponent(W const& magnitude, W const& random) -> W {
  using word = word_of<T>;
  constexpr int fraction = format<T>::fraction;
  constexpr auto rebias = word{format<T>::bias - 127};
  W uniform;
  if constexpr (fraction <= 32) uniform = (random >> (32 - fraction)) & ((word{1} << fraction) - 1);
  else uniform = (random & word{0xffffffff}) << (fraction - 32);
  W const nothing = magnitude * 0;
  W const below = (magnitude >> fraction) - rebias;
  W const finite = below >= word{255} ? nothing : magnitude;  // a NaN and random bits would overflow
  W exponent = ((finite + uniform) >> fraction) - rebias;  // the carry is the rounding up
  exponent = exponent >= word{255} ? nothing + word{254} : exponent;
  exponent = below >= word{255} ? nothing + word{255} : exponent;
  return exponent < word{0} ? nothing : exponent;
}

template<class T>
struct natural_kernel {
  static constexpr bool raises = false;
  T const* x;
  std::uint8_t* exponents;
  std::int32_t const* words;
  draw_key key;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const draw = by_part([this](auto const& w) { return hashed(key, w); }, at.load(words));
    auto const magnitude = by_part([](auto const& v) { return bits_of(v) & format<T>::without_sign; }, at.load(x));
    auto const exponent = by_part([](auto const& m, auto const& r) { return natural_exponent<T>(m, r); }, magnitude,
                                  at.template cast<word_of<T>>(draw));
    at.store(exponents, at.template cast<std::uint8_t>(exponent));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(T) + 1; }
};

/// 2^(exponent - 127), 0 for 0 and an infinity for 255.
template<class T>
struct power_of_two {
  std::uint8_t const* exponents;
  template<class At>
  RUBATO_HOST_DEVICE auto operator()(At& at, std::size_t offset) const {
    auto const e = at.template cast<std::int32_t>(at.load(exponents + offset));
    auto const bits = by_part([](auto const& v) { return v << 23; }, e);
    return at.template cast<T>(by_part([]<class W>(W const& w) { return from_bits<float_of<W>>(w); }, bits));
  }

 private:
  template<class W>
  struct float_part {
    using type = typename backend::detail::native_vector<float, sizeof(W) / 4>::type;
  };
  template<class W>
    requires std::is_arithmetic_v<W>
  struct float_part<W> {
    using type = float;
  };
  template<class W>
  using float_of = typename float_part<W>::type;
};

}  // namespace detail

/// Policy, see codec/concepts.hpp. 9 bits a value, unbiased, omega = 1/8, for values that are 0 or from 2^-126 to
/// 2^127. Smaller ones become 0 or +-2^-126, larger floats +-2^127, larger doubles and what is not finite +-infinity,
/// so that a run that diverges shows it. 0 and -0 are exact. On the host only.
struct natural {
  static constexpr auto name() -> std::string_view { return "natural"; }
  template<class T>
  using code = std::byte;
  static constexpr auto error = error_class::unbiased;
  static constexpr bool needs_lossless_links = false;

  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return n + detail::bytes_of_signs(n);
  }
  [[nodiscard]] auto relative_error(std::size_t) const -> double { return 0.125; }

  template<class Backend>
  void encode(Backend& backend, typename Backend::scalar const* x, std::size_t n, std::byte* codes,
              random_stream draw) const {
    static_assert(detail::check_on_host<Backend>());
    using T = typename Backend::scalar;
    auto* const bytes = reinterpret_cast<std::uint8_t*>(codes);
    auto const words = detail::index_words_of(backend);
    detail::for_each_key(n, draw, [&](range r, detail::draw_key const& key) {
      backend.sweep({0, r.size()}, detail::natural_kernel<T>{x + r.begin, bytes + r.begin, words.data(), key});
    });
    detail::encode_signs(backend, x, n, bytes + n);
  }
  template<class Backend>
  void decode(Backend& backend, std::byte const* codes, std::size_t n, typename Backend::scalar* x) const {
    using T = typename Backend::scalar;
    auto const* const bytes = reinterpret_cast<std::uint8_t const*>(codes);
    detail::decode_signs(backend, bytes + n, n, x, detail::power_of_two<T>{bytes});
  }
};

}  // namespace rubato::codec
