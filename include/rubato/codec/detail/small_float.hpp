// SPDX-License-Identifier: MIT
// Floating-point numbers of 8 and 16 bits: a sign, an exponent, a fraction; rounded to nearest, ties to even, from the
// wide value in one step; small ones lose their last places one by one (denormals).
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <rubato/codec/detail/parts.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::codec::detail {

/// What the largest exponent means.
enum class top_exponent : std::uint8_t {
  infinities,  ///< infinities and NaNs, as IEEE 754 has it; too large a number becomes an infinity
  saturates,   ///< the same, but too large a number, an infinity too, becomes the largest finite one
  one_nan,     ///< numbers, but for the largest fraction, which is NaN; too large a number becomes the largest
};

template<int Exponent, int Fraction, top_exponent Top>
struct small_float {
  static constexpr int bias = (1 << (Exponent - 1)) - 1;
  static constexpr int sign_place = Exponent + Fraction;
  static constexpr int all_exponents = ((1 << Exponent) - 1) << Fraction;
  static constexpr int nan_code =
      Top == top_exponent::one_nan ? all_exponents + (1 << Fraction) - 1 : all_exponents + (1 << (Fraction - 1));
  static constexpr int largest_code = Top == top_exponent::one_nan ? nan_code - 1 : all_exponents - 1;
  static constexpr int beyond_code = Top == top_exponent::infinities ? all_exponents : largest_code;

  /// 2^e as a T. (std::bit_cast is a function of the host; its builtin is none.)
  template<class T>
  RUBATO_HOST_DEVICE static constexpr auto power(int e) -> T {
    return __builtin_bit_cast(T, static_cast<word_of<T>>(e + format<T>::bias) << format<T>::fraction);
  }
  /// The smallest positive number, as a T.
  template<class T>
  static constexpr T least = power<T>(1 - bias - Fraction);

  /// The code of v; V: a number or a hardware vector.
  RUBATO_ALSO_HOST_ONLY
  template<class V>
  RUBATO_HOST_DEVICE static auto encoded(V const& v) -> words_of<V> {
    using T = element_type<V>;
    using W = words_of<V>;
    using word = word_of<T>;
    constexpr int shift = format<T>::fraction - Fraction;
    constexpr T magic = power<T>(1 - bias - Fraction + format<T>::fraction);  // its last place is `least`
    constexpr auto magic_bits = __builtin_bit_cast(word, magic),
                   normal_bits = __builtin_bit_cast(word, power<T>(1 - bias));
    constexpr auto rebias = static_cast<word>(format<T>::bias - bias) << Fraction;
    constexpr auto half = (word{1} << (shift - 1)) - 1;
    auto const bits = bits_of(v);
    W const magnitude = bits & format<T>::without_sign;
    W const normal = ((magnitude + half + ((magnitude >> shift) & word{1})) >> shift) - rebias;
    W const denormal = bits_of<V>(from_bits<V>(magnitude) + magic) - magic_bits;
    W code = magnitude < normal_bits ? denormal : normal;
    code = code > word{largest_code} ? splat<W>(beyond_code) : code;
    code = magnitude > format<T>::infinity ? splat<W>(nan_code) : code;
    return code | (((bits >> (8 * sizeof(T) - 1)) & word{1}) << sign_place);
  }
  /// The number with this code.
  RUBATO_ALSO_HOST_ONLY
  template<class V>
  RUBATO_HOST_DEVICE static auto decoded(words_of<V> const& code) -> V {
    using T = element_type<V>;
    using W = words_of<V>;
    using word = word_of<T>;
    constexpr auto rebias = static_cast<word>(format<T>::bias - bias) << format<T>::fraction;
    W const magnitude = code & word{(1 << sign_place) - 1};
    W const shifted = magnitude << (format<T>::fraction - Fraction);
    V const denormal = converted<V>(magnitude) * least<T>;
    W bits = magnitude < word{1 << Fraction} ? bits_of(denormal) : shifted + rebias;
    if constexpr (Top == top_exponent::one_nan) {
      bits =
          magnitude == word{nan_code} ? splat<W>(format<T>::infinity | (word{1} << (format<T>::fraction - 1))) : bits;
    } else {
      bits = magnitude >= word{all_exponents} ? shifted | format<T>::infinity : bits;
    }
    return from_bits<V>(bits | ((code >> sign_place) << (8 * sizeof(T) - 1)));
  }
};

// A device cannot call a lambda of the host.
template<class Format>
struct encoding {
  RUBATO_ALSO_HOST_ONLY
  template<class V>
  RUBATO_HOST_DEVICE auto operator()(V const& v) const -> words_of<V> {
    return Format::encoded(v);
  }
};
/// To numbers of type T.
template<class Format, class T>
struct decoding {
  template<class W>
  struct real_part {
    using type = typename backend::detail::native_vector<T, sizeof(W) / sizeof(T)>::type;
  };
  template<class W>
    requires std::is_arithmetic_v<W>
  struct real_part<W> {
    using type = T;
  };
  RUBATO_ALSO_HOST_ONLY
  template<class W>
  RUBATO_HOST_DEVICE auto operator()(W const& w) const -> typename real_part<W>::type {
    return Format::template decoded<typename real_part<W>::type>(w);
  }
};

/// codes <- factor x. Reads x, writes codes.
template<class Format, class T, class Code>
struct to_small_kernel {
  static constexpr bool raises = false;
  T const* x;
  Code* codes;
  T factor;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const code = by_part(encoding<Format>{}, factor * at.load(x));
    at.store(codes, at.template cast<Code>(code));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(T) + sizeof(Code); }
};

/// x <- factor times the numbers with these codes. Reads codes, writes x.
template<class Format, class T, class Code>
struct from_small_kernel {
  static constexpr bool raises = false;
  Code const* codes;
  T* x;
  T factor;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const code = at.template cast<word_of<T>>(at.load(codes));
    at.store(x, factor * by_part(decoding<Format, T>{}, code));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(T) + sizeof(Code); }
};

}  // namespace rubato::codec::detail
