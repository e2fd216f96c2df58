// SPDX-License-Identifier: MIT
// What program this is, as far as rounding goes.
#pragma once

#include <string>

#include <rubato/backend/lanes.hpp>
#include <rubato/version.hpp>

namespace rubato {
inline namespace RUBATO_INSTRUCTION_SET {  // for files of one program may be compiled for several (backend/lanes.hpp)

/// Names what must be the same for two programs to round alike: version, compiler, and the vector unit in use. In a
/// program of files for several instruction sets, that of the file that calls it.
[[nodiscard]] inline auto build_text() -> std::string {
#if defined(__FMA__) || defined(__AVX512F__)  // the latter fuses by itself
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
