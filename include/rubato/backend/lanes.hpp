// SPDX-License-Identifier: MIT
// The language in which update kernels are written: a kernel is one function of a group of neighbouring indices.
// One index on the reference backend and on devices (scalar_lanes); four hardware vectors on the host (vector_lanes).
// A kernel says load, store, stream (a store that will not be read soon) and arithmetic; it never says how wide it is.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include <rubato/core/host_device.hpp>

#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>  // a tenth of what the other takes a compiler
#endif

// Everything here is inlined, so no vector is ever passed: how one would be passed without -mavx does not matter.
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

// What depends on the instruction set has names of its own for each, so that one program may hold files compiled for
// several: under one name, the linker would keep one file's definition and give it the other's vectors.
#if defined(__AVX512F__)
#define RUBATO_INSTRUCTION_SET avx512
#elif defined(__AVX__) && defined(__FMA__)
#define RUBATO_INSTRUCTION_SET avx_fma
#elif defined(__AVX__)
#define RUBATO_INSTRUCTION_SET avx
#elif defined(__SSE2__)
#define RUBATO_INSTRUCTION_SET sse2
#else
#define RUBATO_INSTRUCTION_SET generic
#endif

namespace rubato::backend {

/// Bits that a kernel flagged; a sweep returns their union over all indices.
using flag_bits = std::uint32_t;
/// The one of expect_finite(). Magnitudes (magnitude_bits) leave it free.
inline constexpr flag_bits not_finite = flag_bits{1} << 31;

namespace detail::inline RUBATO_INSTRUCTION_SET {

#if defined(__AVX512F__)
inline constexpr std::size_t native_bytes = 64;
#elif defined(__AVX__)
inline constexpr std::size_t native_bytes = 32;
#else
inline constexpr std::size_t native_bytes = 16;
#endif

template<class U, std::size_t Lanes>
struct native_vector {
  typedef U type __attribute__((vector_size(Lanes * sizeof(U))));
};

// One hardware vector at a time: g++ copies a larger object through the stack, at five times the cost.
template<class V>
inline auto load_vector(void const* at) -> V {
  V v;
  std::memcpy(&v, at, sizeof v);
  return v;
}
template<class V>
inline void store_vector(void* at, V const& v) {
  std::memcpy(at, &v, sizeof v);
}

// A function call rather than a cast: the one spelling that all compilers take, nvcc with it.
template<class To, class From>
inline auto same_bits(From const& v) -> To {
  static_assert(sizeof(To) == sizeof(From));
  return load_vector<To>(&v);
}

RUBATO_HOST_DEVICE inline auto rounded(float x) -> std::int32_t {
#if defined(__CUDA_ARCH__)
  return fabsf(x) < 0x1p31F ? __float2int_rn(x) : INT32_MIN;  // __float2int_rn alone would saturate, and map NaN to 0
#elif defined(__SSE2__)
  return _mm_cvtss_si32(_mm_set_ss(x));
#else
  return std::abs(x) < 0x1p31F ? static_cast<std::int32_t>(std::lrint(x)) : (std::numeric_limits<std::int32_t>::min)();
#endif
}
RUBATO_HOST_DEVICE inline auto rounded(double x) -> std::int32_t {
#if defined(__CUDA_ARCH__)
  return fabs(x) < 0x1p31 ? __double2int_rn(x) : INT32_MIN;
#elif defined(__SSE2__)
  return _mm_cvtsd_si32(_mm_set_sd(x));
#else
  return std::abs(x) < 0x1p31 ? static_cast<std::int32_t>(std::lrint(x)) : (std::numeric_limits<std::int32_t>::min)();
#endif
}

template<class V, class W>
inline auto rounded_vector(W const& x) -> V {
#if defined(__AVX512F__)
  if constexpr (sizeof(W) == 64 && sizeof(x[0]) == 4) return reinterpret_cast<V>(_mm512_maskz_cvtps_epi32(0xFFFF, x));
  else if constexpr (sizeof(W) == 64) return reinterpret_cast<V>(_mm512_maskz_cvtpd_epi32(0xFF, x));
  else
#endif
#if defined(__AVX__)
      if constexpr (sizeof(W) == 32 && sizeof(x[0]) == 4)
    return reinterpret_cast<V>(_mm256_cvtps_epi32(x));
  else if constexpr (sizeof(W) == 32) return reinterpret_cast<V>(_mm256_cvtpd_epi32(x));
  else
#endif
#if defined(__SSE2__)
      if constexpr (sizeof(W) == 16 && sizeof(x[0]) == 4)
    return reinterpret_cast<V>(_mm_cvtps_epi32(x));
  else
#endif
  {
    V out{};
    for (std::size_t i = 0; i < sizeof(W) / sizeof(x[0]); ++i) out[i] = rounded(x[i]);
    return out;
  }
}

/// Element by element; correctly rounded, as std::sqrt.
template<class V>
inline auto root_vector(V const& x) -> V {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64 && sizeof(x[0]) == 4) return reinterpret_cast<V>(_mm512_maskz_sqrt_ps(0xFFFF, x));
  else if constexpr (sizeof(V) == 64) return reinterpret_cast<V>(_mm512_maskz_sqrt_pd(0xFF, x));
  else
#endif
#if defined(__AVX__)
      if constexpr (sizeof(V) == 32 && sizeof(x[0]) == 4)
    return reinterpret_cast<V>(_mm256_sqrt_ps(x));
  else if constexpr (sizeof(V) == 32) return reinterpret_cast<V>(_mm256_sqrt_pd(x));
  else
#endif
#if defined(__SSE2__)
      if constexpr (sizeof(V) == 16 && sizeof(x[0]) == 4)
    return reinterpret_cast<V>(_mm_sqrt_ps(x));
  else if constexpr (sizeof(V) == 16) return reinterpret_cast<V>(_mm_sqrt_pd(x));
  else
#endif
  {
    V out{};
    for (std::size_t i = 0; i < sizeof(V) / sizeof(x[0]); ++i) out[i] = std::sqrt(x[i]);
    return out;
  }
}

/// Element by element; a NaN compares with nothing and stays.
template<class V, class T>
inline auto clamped_vector(V const& x, T limit) -> V {
  auto const high = V{} + limit, low = V{} - limit;
  V const below = x > high ? high : x;
  return below < low ? low : below;
}

/// The union of the bits of 32-bit lanes.
template<class V>
inline auto any_bits(V const& v) -> flag_bits {
  std::uint32_t lanes[sizeof(V) / 4];
  std::memcpy(lanes, &v, sizeof v);
  flag_bits all = 0;
  for (auto const lane : lanes) all |= lane;
  return all;
}
template<class V>
inline auto is_zero(V const& v) -> bool {
  std::uint64_t words[(sizeof(V) + 7) / 8]{};
  std::memcpy(words, &v, sizeof v);
  std::uint64_t any = 0;
  for (auto const word : words) any |= word;
  return any == 0;
}

/// Hardware prefetchers stop at the end of a 4 KiB page, and a kernel would begin some fourteen vectors anew on the
/// next one. So in the last kilobyte of a page this fetches what is a kilobyte ahead into the second-level cache. It is
/// worth a tenth of the bandwidth from memory; other distances, the first level, or all of a page cost more than they
/// save.
inline void fetch_next_page(void const* at, std::size_t bytes) {
#if defined(__SSE2__)
  constexpr std::uintptr_t page = 4096, lead = 1024;
  auto const address = reinterpret_cast<std::uintptr_t>(at);
  if (address % page < page - lead) return;
  for (std::size_t i = 0; i < bytes; i += 64) _mm_prefetch(static_cast<char const*>(at) + lead + i, _MM_HINT_T1);
#else
  static_cast<void>(at), static_cast<void>(bytes);
#endif
}

/// A non-temporal store of one hardware vector to memory aligned to its size.
template<class V>
inline void stream_vector(void* at, V const& v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    _mm512_stream_si512(static_cast<__m512i*>(at), reinterpret_cast<__m512i>(v));
    return;
  }
#endif
#if defined(__AVX__)
  if constexpr (sizeof(V) == 32) {
    _mm256_stream_si256(static_cast<__m256i*>(at), reinterpret_cast<__m256i>(v));
    return;
  }
#endif
#if defined(__SSE2__)
  if constexpr (sizeof(V) == 16) {
    _mm_stream_si128(static_cast<__m128i*>(at), same_bits<__m128i>(v));
    return;
  }
#endif
  std::memcpy(at, &v, sizeof v);
}

#if defined(__SSE2__)
/// Four vectors of integers as one of their lowest bytes or two of their lower halves, and back. Compilers convert to
/// and from such short vectors value by value, which takes three times as long.
template<class U>
inline void narrow_vectors(__m128i const (&v)[4], void* out) {
  if constexpr (sizeof(U) == 1) {
    auto const low = _mm_set1_epi32(0xFF);
    auto const first = _mm_packs_epi32(_mm_and_si128(v[0], low), _mm_and_si128(v[1], low));
    auto const second = _mm_packs_epi32(_mm_and_si128(v[2], low), _mm_and_si128(v[3], low));
    store_vector(out, _mm_packus_epi16(first, second));
  } else {
    auto const low = [](__m128i x) { return _mm_srai_epi32(_mm_slli_epi32(x, 16), 16); };
    __m128i const halves[2] = {_mm_packs_epi32(low(v[0]), low(v[1])), _mm_packs_epi32(low(v[2]), low(v[3]))};
    std::memcpy(out, halves, sizeof halves);
  }
}
inline void widen_bytes(void const* in, __m128i (&out)[4]) {
  auto const zero = _mm_setzero_si128();
  auto const bytes = load_vector<__m128i>(in);
  auto const low = _mm_unpacklo_epi8(bytes, zero), high = _mm_unpackhi_epi8(bytes, zero);
  out[0] = _mm_unpacklo_epi16(low, zero);
  out[1] = _mm_unpackhi_epi16(low, zero);
  out[2] = _mm_unpacklo_epi16(high, zero);
  out[3] = _mm_unpackhi_epi16(high, zero);
}
#endif

#if defined(__AVX2__)
/// Between bytes and words, eight or sixteen at a time, where g++ would take an instruction a value.
template<class To, class From, std::size_t Lanes>
inline constexpr bool is_byte_conversion = (Lanes == 8 || (Lanes == 16 && native_bytes == 64)) &&
                                           ((std::is_same_v<From, std::uint8_t> && std::is_same_v<To, std::int32_t>) ||
                                            (std::is_same_v<From, std::int32_t> && std::is_same_v<To, std::uint8_t>));

/// Element by element, as static_cast.
template<class To, class From>
inline auto converted_bytes(From const& v) -> To {
#if defined(__AVX512F__)
  if constexpr (sizeof(To) == 64) return same_bits<To>(_mm512_maskz_cvtepu8_epi32(0xFFFF, same_bits<__m128i>(v)));
  else if constexpr (sizeof(From) == 64)
    return same_bits<To>(_mm512_maskz_cvtepi32_epi8(0xFFFF, same_bits<__m512i>(v)));
  else
#endif
      if constexpr (sizeof(To) == 32) {
    return same_bits<To>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<__m128i const*>(&v))));
  } else {
    auto const low = _mm256_and_si256(same_bits<__m256i>(v), _mm256_set1_epi32(0xFF));
    auto const words = _mm_packs_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    To out;
    _mm_storel_epi64(reinterpret_cast<__m128i*>(&out), _mm_packus_epi16(words, words));
    return out;
  }
}
#else
template<class To, class From, std::size_t Lanes>
inline constexpr bool is_byte_conversion = false;
template<class To, class From>
auto converted_bytes(From const& v) -> To = delete;
#endif

inline void finish_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace detail::inline RUBATO_INSTRUCTION_SET

inline namespace RUBATO_INSTRUCTION_SET {

/// Four hardware vectors of U, `Lanes` values each: enough independent work to hide latencies, few enough registers.
template<class U, std::size_t Lanes>
struct pack {
  using value_type = U;
  using part = typename detail::native_vector<U, Lanes>::type;
  static constexpr std::size_t width = 4 * Lanes;
  part a, b, c, d;

  // By reference: g++ remarks on the ABI of each by-value parameter that the processor has no register for.
  friend auto operator+(pack const& x, pack const& y) -> pack { return {x.a + y.a, x.b + y.b, x.c + y.c, x.d + y.d}; }
  friend auto operator-(pack const& x, pack const& y) -> pack { return {x.a - y.a, x.b - y.b, x.c - y.c, x.d - y.d}; }
  friend auto operator*(pack const& x, pack const& y) -> pack { return {x.a * y.a, x.b * y.b, x.c * y.c, x.d * y.d}; }
  friend auto operator/(pack const& x, pack const& y) -> pack { return {x.a / y.a, x.b / y.b, x.c / y.c, x.d / y.d}; }
  friend auto operator*(U s, pack const& y) -> pack { return {s * y.a, s * y.b, s * y.c, s * y.d}; }
  friend auto operator*(pack const& y, U s) -> pack { return s * y; }
};

template<class T>
struct is_pack : std::false_type {};
template<class U, std::size_t L>
struct is_pack<pack<U, L>> : std::true_type {};

}  // namespace RUBATO_INSTRUCTION_SET

namespace detail::inline RUBATO_INSTRUCTION_SET {
template<std::size_t L, class F>
inline auto as_unsigned(pack<std::int32_t, L> const& x, pack<std::int32_t, L> const& y, F const& f)
    -> pack<std::int32_t, L> {
  using v = typename pack<std::int32_t, L>::part;
  using u = typename pack<std::uint32_t, L>::part;
  auto const of = [&](v const& p, v const& q) { return same_bits<v>(f(same_bits<u>(p), same_bits<u>(q))); };
  return {of(x.a, y.a), of(x.b, y.b), of(x.c, y.c), of(x.d, y.d)};
}
}  // namespace detail::inline RUBATO_INSTRUCTION_SET

inline namespace RUBATO_INSTRUCTION_SET {

// Integer sums of the ledger wrap at 2^32 by definition, so they go through unsigned arithmetic.
RUBATO_HOST_DEVICE inline auto wrap_add(std::int32_t x, std::int32_t y) -> std::int32_t {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(x) + static_cast<std::uint32_t>(y));
}
RUBATO_HOST_DEVICE inline auto wrap_sub(std::int32_t x, std::int32_t y) -> std::int32_t {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(x) - static_cast<std::uint32_t>(y));
}
template<std::size_t L>
inline auto wrap_add(pack<std::int32_t, L> const& x, pack<std::int32_t, L> const& y) -> pack<std::int32_t, L> {
  return detail::as_unsigned(x, y, [](auto const& u, auto const& v) { return u + v; });
}
template<std::size_t L>
inline auto wrap_sub(pack<std::int32_t, L> const& x, pack<std::int32_t, L> const& y) -> pack<std::int32_t, L> {
  return detail::as_unsigned(x, y, [](auto const& u, auto const& v) { return u - v; });
}

/// Bits of |x| (of -x-1 where x is negative): their union over many values bounds the largest magnitude by a power of
/// two.
RUBATO_HOST_DEVICE inline auto magnitude_bits(std::int32_t x) -> std::int32_t { return x ^ (x >> 31); }
template<std::size_t L>
inline auto magnitude_bits(pack<std::int32_t, L> const& x) -> pack<std::int32_t, L> {
  return {x.a ^ (x.a >> 31), x.b ^ (x.b >> 31), x.c ^ (x.c >> 31), x.d ^ (x.d >> 31)};
}

/// One index at a time: the definition of what a kernel means.
template<class T>
class scalar_lanes {
 public:
  RUBATO_HOST_DEVICE explicit scalar_lanes(std::size_t at) : at_{at} {}

  template<class U> RUBATO_HOST_DEVICE auto load(U const* p) const -> U { return p[at_]; }
  template<class U> RUBATO_HOST_DEVICE void store(U* p, U v) const { p[at_] = v; }
  template<class U> RUBATO_HOST_DEVICE void stream(U* p, U v) const { p[at_] = v; }
  /// v at every index.
  template<class U> RUBATO_HOST_DEVICE auto broadcast(U v) const -> U { return v; }
  /// Element-wise conversion, as static_cast.
  template<class To, class U> RUBATO_HOST_DEVICE auto cast(U v) const -> To { return static_cast<To>(v); }
  /// The nearest integer, ties to even; values beyond 32 bits become the smallest integer.
  RUBATO_HOST_DEVICE auto round(T v) const -> std::int32_t { return detail::rounded(v); }
  /// An integer as the run's scalar type.
  RUBATO_HOST_DEVICE auto to_real(std::int32_t v) const -> T { return static_cast<T>(v); }
  RUBATO_HOST_DEVICE auto sqrt(T v) const -> T { return std::sqrt(v); }
  /// v, but at least -limit and at most limit; NaN stays.
  RUBATO_HOST_DEVICE auto clamp(T v, T limit) const -> T { return v > limit ? limit : v < -limit ? -limit : v; }
  /// Adds the bits of v to what the sweep returns.
  RUBATO_HOST_DEVICE void flag(std::int32_t v) { raised_ |= static_cast<flag_bits>(v); }
  /// Flags not_finite if v is NaN or infinite. A kernel that flags nothing else may still declare that it flags nothing
  /// (backend::may_raise): then a device need not wait for the result, and does not report it.
  RUBATO_HOST_DEVICE void expect_finite(T v) {
    if (!(v - v == T{0})) raised_ |= flag_bits{1} << 31;  // device code sees no constant of the namespace
  }
  [[nodiscard]] RUBATO_HOST_DEVICE auto raised() const -> flag_bits { return raised_; }
  RUBATO_HOST_DEVICE void move_to(std::size_t at) { at_ = at; }
  /// Of a single value; lanes of several have no such member (backend/for_each.hpp).
  [[nodiscard]] RUBATO_HOST_DEVICE auto index() const -> std::size_t { return at_; }

 private:
  std::size_t at_;
  flag_bits raised_ = 0;
};

/// `width` neighbouring indices at a time. Streaming, for data beyond the caches: stores bypass them (and need 64-byte
/// aligned bases), loads fetch the next page ahead.
template<class T, bool Streaming>
class vector_lanes {
 public:
  static constexpr std::size_t lanes = detail::native_bytes / sizeof(T);
  static constexpr std::size_t width = 4 * lanes;
  using reals = pack<T, lanes>;
  using integers = pack<std::int32_t, lanes>;

  explicit vector_lanes(std::size_t at) : at_{at} {}

  template<class U>
  auto load(U const* p) const -> pack<U, lanes> {
    using part = typename pack<U, lanes>::part;
    auto const* const q = p + at_;
    if constexpr (Streaming) detail::fetch_next_page(q, sizeof(pack<U, lanes>));
    if constexpr (sizeof(part) < 16 && sizeof(pack<U, lanes>) == 4 * sizeof(part))
      return detail::load_vector<pack<U, lanes>>(q);
    else
      return {detail::load_vector<part>(q), detail::load_vector<part>(q + lanes),
              detail::load_vector<part>(q + 2 * lanes), detail::load_vector<part>(q + 3 * lanes)};
  }
  template<class U>
  void store(U* p, pack<U, lanes> const& v) const {
    auto* const q = p + at_;
    if constexpr (sizeof(v.a) < 16 && sizeof(v) == 4 * sizeof(v.a)) return detail::store_vector(q, v);
    detail::store_vector(q, v.a);
    detail::store_vector(q + lanes, v.b);
    detail::store_vector(q + 2 * lanes, v.c);
    detail::store_vector(q + 3 * lanes, v.d);
  }
  template<class U>
  void stream(U* p, pack<U, lanes> const& v) const {
    if constexpr (Streaming) {
      detail::stream_vector(p + at_, v.a);
      detail::stream_vector(p + at_ + lanes, v.b);
      detail::stream_vector(p + at_ + 2 * lanes, v.c);
      detail::stream_vector(p + at_ + 3 * lanes, v.d);
    } else {
      store(p, v);
    }
  }
  template<class U>
  auto broadcast(U v) const -> pack<U, lanes> {
    auto const part = typename pack<U, lanes>::part{} + v;
    return {part, part, part, part};
  }
  template<class To, class U>
  auto cast(pack<U, lanes> const& v) const -> pack<To, lanes> {
    using part = typename pack<To, lanes>::part;
#if defined(__SSE2__)
    constexpr auto to_short = std::is_same_v<To, std::uint8_t> || std::is_same_v<To, std::uint16_t>;
    if constexpr (lanes == 4 && std::is_same_v<U, std::int32_t> && to_short) {
      pack<To, lanes> out;
      detail::narrow_vectors<To>({detail::same_bits<__m128i>(v.a), detail::same_bits<__m128i>(v.b),
                                  detail::same_bits<__m128i>(v.c), detail::same_bits<__m128i>(v.d)},
                                 &out);
      return out;
    } else if constexpr (lanes == 4 && std::is_same_v<U, std::uint8_t> && std::is_same_v<To, std::int32_t>) {
      __m128i out[4];
      detail::widen_bytes(&v, out);
      return {detail::same_bits<part>(out[0]), detail::same_bits<part>(out[1]), detail::same_bits<part>(out[2]),
              detail::same_bits<part>(out[3])};
    } else
#endif
        if constexpr (detail::is_byte_conversion<To, U, lanes>) {
      return {detail::converted_bytes<part>(v.a), detail::converted_bytes<part>(v.b),
              detail::converted_bytes<part>(v.c), detail::converted_bytes<part>(v.d)};
    } else {
      return {__builtin_convertvector(v.a, part), __builtin_convertvector(v.b, part),
              __builtin_convertvector(v.c, part), __builtin_convertvector(v.d, part)};
    }
  }
  auto round(reals const& v) const -> integers {
    using part = typename integers::part;
    return {detail::rounded_vector<part>(v.a), detail::rounded_vector<part>(v.b), detail::rounded_vector<part>(v.c),
            detail::rounded_vector<part>(v.d)};
  }
  auto to_real(integers const& v) const -> reals { return cast<T>(v); }
  auto sqrt(reals const& v) const -> reals {
    return {detail::root_vector(v.a), detail::root_vector(v.b), detail::root_vector(v.c), detail::root_vector(v.d)};
  }
  auto clamp(reals const& v, T limit) const -> reals {
    return {detail::clamped_vector(v.a, limit), detail::clamped_vector(v.b, limit), detail::clamped_vector(v.c, limit),
            detail::clamped_vector(v.d, limit)};
  }
  void flag(integers const& v) {
    raised_.a |= v.a;
    raised_.b |= v.b;
    raised_.c |= v.c;
    raised_.d |= v.d;
  }
  /// v - v is zero or NaN: two cheap instructions a vector.
  void expect_finite(reals const& v) {
    differences_ |= detail::same_bits<words>(v.a - v.a) | detail::same_bits<words>(v.b - v.b) |
                    detail::same_bits<words>(v.c - v.c) | detail::same_bits<words>(v.d - v.d);
  }
  [[nodiscard]] auto raised() const -> flag_bits {
    return detail::any_bits(raised_.a | raised_.b | raised_.c | raised_.d) |
           (detail::is_zero(differences_ << 1) ? 0 : not_finite);  // without the sign, which a zero may have
  }
  void move_to(std::size_t at) { at_ = at; }

 private:
  using word = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  using words = typename detail::native_vector<word, lanes>::type;

  std::size_t at_;
  integers raised_{};
  words differences_{};
};

}  // namespace RUBATO_INSTRUCTION_SET

}  // namespace rubato::backend

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <rubato/backend/short_lanes.hpp>
