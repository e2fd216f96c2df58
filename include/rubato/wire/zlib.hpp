// SPDX-License-Identifier: MIT
// The checksum of frames on real wires: zlib's CRC-32, which detects every wrong bit and every burst of up to 32 wrong
// bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <zlib.h>

#include <rubato/core/language.hpp>

namespace rubato::wire {

/// For seal::check. **Thread safety:** a pure function.
inline auto crc32_of(std::uint32_t so_far, std::span<std::byte const> bytes) -> std::uint32_t {
  if (bytes.empty()) return so_far;  // a null pointer would make zlib start from zero
  return static_cast<std::uint32_t>(
      crc32_z(so_far, reinterpret_cast<unsigned char const*>(bytes.data()), bytes.size()));
}

}  // namespace rubato::wire
