// SPDX-License-Identifier: MIT
// Arithmetic on the bits of floating-point numbers, written once for one number and for hardware vectors: a formula is
// a function of a number or a vector, and by_part() applies it to a value or to each of a pack's four vectors.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::codec::detail {

template<class T>
using word_of = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
template<class V>
struct element_of_part {
  using type = std::remove_cvref_t<decltype(std::declval<V>()[0])>;
};
template<class V>
  requires std::is_arithmetic_v<V>
struct element_of_part<V> {
  using type = V;
};
template<class V>
using element_type = typename element_of_part<V>::type;

/// The signed integers as wide as the reals of V, and the bits of v as such.
template<class V>
struct words {
  using type = decltype(std::declval<V>() < std::declval<V>());
};
template<class V>
  requires std::is_arithmetic_v<V>
struct words<V> {
  using type = word_of<V>;
};
template<class V>
using words_of = typename words<V>::type;
RUBATO_ALSO_HOST_ONLY
template<class V>
RUBATO_HOST_DEVICE auto bits_of(V const& v) -> words_of<V> {
  if constexpr (std::is_arithmetic_v<V>) return __builtin_bit_cast(words_of<V>, v);
  else return backend::detail::same_bits<words_of<V>>(v);
}
RUBATO_ALSO_HOST_ONLY
template<class V>
RUBATO_HOST_DEVICE auto from_bits(words_of<V> const& w) -> V {
  if constexpr (std::is_arithmetic_v<V>) return __builtin_bit_cast(V, w);
  else return backend::detail::same_bits<V>(w);
}
/// c in every lane.
template<class V>
RUBATO_HOST_DEVICE auto splat(element_type<V> c) -> V {
  if constexpr (std::is_arithmetic_v<V>) return c;
  else return V{} + c;
}
/// Element by element, as static_cast.
template<class To, class From>
RUBATO_HOST_DEVICE auto converted(From const& v) -> To {
  if constexpr (std::is_arithmetic_v<From>) return static_cast<To>(v);
  else return __builtin_convertvector(v, To);
}

/// The format of T.
template<class T>
struct format {
  using word = word_of<T>;
  static constexpr int fraction = std::numeric_limits<T>::digits - 1;
  static constexpr int bias = std::numeric_limits<T>::max_exponent - 1;
  static constexpr word without_sign = (std::numeric_limits<word>::max)();
  static constexpr word infinity = std::bit_cast<word>(std::numeric_limits<T>::infinity());
};

/// f of a value, or of each vector of packs. On a device f is a struct whose operator() is marked RUBATO_HOST_DEVICE.
RUBATO_ALSO_HOST_ONLY
template<class F, class T, class... More>
  requires std::is_arithmetic_v<T>
RUBATO_HOST_DEVICE auto by_part(F const& f, T v, More... more) {
  return f(v, more...);
}
template<class F, class U, std::size_t L, class... More>
auto by_part(F const& f, backend::pack<U, L> const& v, backend::pack<More, L> const&... more)
    -> backend::pack<element_type<decltype(f(v.a, more.a...))>, L> {
  return {f(v.a, more.a...), f(v.b, more.b...), f(v.c, more.c...), f(v.d, more.d...)};
}

/// f(v) for each hardware vector of x[0 .. n), then f(value) for each of the rest; on the host.
template<class T, class F>
void for_each_vector(T const* x, std::size_t n, F const& f) {
  constexpr auto lanes = backend::detail::native_bytes / sizeof(T);
  using part = typename backend::detail::native_vector<T, lanes>::type;
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) f(backend::detail::load_vector<part>(x + i));
  for (; i < n; ++i) f(x[i]);
}

/// The greatest |x_i|; NaN or an infinity if there is one. On the host.
template<class T>
[[nodiscard]] auto greatest_magnitude(T const* x, std::size_t n) -> T {
  constexpr auto lanes = backend::detail::native_bytes / sizeof(T);
  using part = typename backend::detail::native_vector<T, lanes>::type;
  words_of<part> in_lanes{};
  word_of<T> most = 0;
  for_each_vector(x, n, [&]<class V>(V const& v) {
    auto const magnitude = bits_of(v) & splat<words_of<V>>(format<T>::without_sign);
    if constexpr (std::is_arithmetic_v<V>) most = magnitude > most ? magnitude : most;
    else in_lanes = magnitude > in_lanes ? magnitude : in_lanes;
  });
  for (std::size_t i = 0; i < lanes; ++i) most = in_lanes[i] > most ? in_lanes[i] : most;
  return from_bits<T>(most);
}

/// A scale as a decoder takes it from a message: no encoder writes a negative one, which becomes NaN.
template<class T>
[[nodiscard]] auto scale_from(T sent) -> T {
  return sent >= 0 ? sent : std::numeric_limits<T>::quiet_NaN();
}

/// Refused where the memory of vectors is not the host's.
template<class Backend>
consteval auto check_on_host() -> bool {
  static_assert(!backend::has_host_twin<Backend>,
                "this codec reads vectors on the host: use codec::identity, bf16, fp16 or minmax_u8 on a device");
  return true;
}

}  // namespace rubato::codec::detail
