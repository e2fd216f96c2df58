// SPDX-License-Identifier: MIT
// A hint to the processor, which changes no result: memory that will be needed a little later.
#pragma once

#include <cstddef>
#include <cstdint>

#include <rubato/core/language.hpp>

namespace rubato::detail {

/// Prefetches the cache lines at `at` ... `at` + Bytes, which need not all exist.
template<std::size_t Bytes = 64>
inline void fetch(void const* at) {
#if defined(__GNUC__)
  auto const begin =
      reinterpret_cast<std::uintptr_t>(at);  // a pointer past the end of an object must not even be formed
  for (std::size_t i = 0; i < Bytes; i += 64) __builtin_prefetch(reinterpret_cast<void const*>(begin + i));
#else
  static_cast<void>(at);
#endif
}

}  // namespace rubato::detail
