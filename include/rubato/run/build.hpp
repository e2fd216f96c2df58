// SPDX-License-Identifier: MIT
// What program this is, as far as rounding goes.
#pragma once

#include <string>

#include <rubato/backend/lanes.hpp>
#include <rubato/version.hpp>

namespace rubato {
inline namespace RUBATO_INSTRUCTION_SET {  // for files of one program may be compiled for several (backend/lanes.hpp)

/// Names what two programs must have in common to round alike: version, compiler, and vector unit. If the files of a
/// program are compiled for several instruction sets, this describes the file that calls it.
[[nodiscard]] inline auto build_text() -> std::string {
#if defined(__FMA__) || defined(__AVX512F__)  // AVX-512 includes fused operations
  constexpr auto fused = ", fused multiply-add";
#else
  constexpr auto fused = "";
#endif
  return "rubato " + std::to_string(RUBATO_VERSION_MAJOR) + "." + std::to_string(RUBATO_VERSION_MINOR) + "." +
         std::to_string(RUBATO_VERSION_PATCH) + ", " __VERSION__ ", vectors of " +
         std::to_string(backend::detail::native_bytes) + " bytes" + fused;
}

}  // namespace RUBATO_INSTRUCTION_SET

}  // namespace rubato
