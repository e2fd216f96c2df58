// SPDX-License-Identifier: MIT
// The checksum of frames on real wires: zlib's CRC-32, which detects every wrong bit and every burst of up to 32 wrong
// bits. Where the processor multiplies without carries, long bodies are folded to 64 bytes first, of which zlib makes
// the same number (Gopal et al., Fast CRC Computation Using PCLMULQDQ, Intel 2009): a body is then read about five
// times as fast. As polynomials over two elements, with A followed by D bits:
//   A x^D = A_first (x^(D+64) mod P) + A_last (x^D mod P)   modulo P,   A_first and A_last of 64 bits
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <zlib.h>

#include <rubato/core/language.hpp>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__CUDACC__)
#define RUBATO_CRC_FOLDS 1
#include <emmintrin.h>
#include <wmmintrin.h>
#else
#define RUBATO_CRC_FOLDS 0
#endif

namespace rubato::wire {

namespace detail {

inline auto zlib_crc32(std::uint32_t so_far, std::byte const* bytes, std::size_t count) -> std::uint32_t {
  return static_cast<std::uint32_t>(crc32_z(so_far, reinterpret_cast<unsigned char const*>(bytes), count));
}

#if RUBATO_CRC_FOLDS
/// x^n mod P where bits stand in reverse order, as in zlib. The product of two reversed numbers is one bit off, and 64
/// bits hold 32 bits times x^32: hence the shift, and n, which is 32 less than the power that is meant.
constexpr auto fold_factor(unsigned n) -> long long {
  auto power = std::uint32_t{0x80000000U};
  for (auto k = 0U; k < n; ++k) power = (power >> 1U) ^ ((power & 1U) != 0 ? 0xEDB88320U : 0U);
  return static_cast<long long>(std::uint64_t{power} << 1U);
}

/// `a` moved by the distance of these factors, plus what stands there.
[[gnu::target("pclmul")]] inline auto fold(__m128i a, __m128i factors, __m128i there) -> __m128i {
  auto const first = _mm_clmulepi64_si128(a, factors, 0x00);
  auto const last = _mm_clmulepi64_si128(a, factors, 0x11);
  return _mm_xor_si128(_mm_xor_si128(first, last), there);
}

/// Requires `count` to be 64 at least.
[[gnu::target("pclmul")]] inline auto folded_crc32(std::uint32_t so_far, std::byte const* bytes, std::size_t count)
    -> std::uint32_t {
  auto const load = [&](std::size_t k) { return _mm_loadu_si128(reinterpret_cast<__m128i const*>(bytes) + k); };
  constexpr auto first = fold_factor(512 + 32), last = fold_factor(512 - 32);
  auto const by_64_bytes = _mm_set_epi64x(last, first);
  __m128i sums[] = {load(0), load(1), load(2), load(3)};
  sums[0] = _mm_xor_si128(sums[0], _mm_cvtsi32_si128(static_cast<int>(~so_far)));
  for (bytes += 64, count -= 64; count >= 64; bytes += 64, count -= 64) {
    for (auto k = std::size_t{0}; k < 4; ++k) sums[k] = fold(sums[k], by_64_bytes, load(k));
  }
  alignas(16) std::byte rest[64];
  for (auto k = std::size_t{0}; k < 4; ++k) _mm_store_si128(reinterpret_cast<__m128i*>(rest) + k, sums[k]);
  return zlib_crc32(zlib_crc32(~0U, rest, sizeof rest), bytes, count);  // ~0: what came before is in the sums
}

inline auto can_fold() -> bool {
  static auto const can = __builtin_cpu_supports("pclmul") != 0;
  return can;
}
#endif

}  // namespace detail

/// For seal::check. **Thread safety:** a pure function.
inline auto crc32_of(std::uint32_t so_far, std::span<std::byte const> bytes) -> std::uint32_t {
  if (bytes.empty()) return so_far;  // a null pointer would make zlib start from zero
#if RUBATO_CRC_FOLDS
  if (bytes.size() >= 256 && detail::can_fold()) return detail::folded_crc32(so_far, bytes.data(), bytes.size());
#endif
  return detail::zlib_crc32(so_far, bytes.data(), bytes.size());
}

}  // namespace rubato::wire
