// SPDX-License-Identifier: MIT
// The checksum of frames on real wires: XXH3 (https://xxhash.com), whose seed is the sum of the bytes before. A frame
// carries 32 bits of it, so that a damaged one passes with probability 2^-32, however it was damaged. (CRC-32 promises
// to see bursts of up to 32 bits, but is slower; who damages frames on purpose is stopped by neither.)
//
// As it is, this needs the header xxhash.h and nothing to link. Where RUBATO_XXHASH_DISPATCH is defined, the library
// libxxhash is called, which takes the widest instructions of the machine that it runs on: two to five times as fast as
// those that every x86-64 has. The CMake target rubato::xxhash does so where the library can. The sums are equal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

// The switches of xxHash are ours for its header alone, unless the program has set them itself.
#if defined(RUBATO_XXHASH_DISPATCH)
#if defined(XXH_DISPATCH_DISABLE_REPLACE)
#include <xxh_x86dispatch.h>
#else
#define XXH_DISPATCH_DISABLE_REPLACE
#include <xxh_x86dispatch.h>
#undef XXH_DISPATCH_DISABLE_REPLACE
#endif
#elif defined(XXH_INLINE_ALL)
#include <xxhash.h>
#else
#define XXH_INLINE_ALL
#include <xxhash.h>
#undef XXH_INLINE_ALL
#endif

#include <rubato/core/language.hpp>

namespace rubato::wire {

// The namespaces let files of one program be compiled in both ways.
#if defined(RUBATO_XXHASH_DISPATCH)
inline namespace xxhash_dispatched {
/// For seal::check. **Thread safety:** a pure function.
inline auto xxh3_of(std::uint64_t so_far, std::span<std::byte const> bytes) -> std::uint64_t {
  return bytes.empty() ? so_far : XXH3_64bits_withSeed_dispatch(bytes.data(), bytes.size(), so_far);
}
}  // namespace xxhash_dispatched
#else
inline namespace xxhash_inlined {
/// For seal::check. **Thread safety:** a pure function.
inline auto xxh3_of(std::uint64_t so_far, std::span<std::byte const> bytes) -> std::uint64_t {
  return bytes.empty() ? so_far : XXH3_64bits_withSeed(bytes.data(), bytes.size(), so_far);
}
}  // namespace xxhash_inlined
#endif

}  // namespace rubato::wire
