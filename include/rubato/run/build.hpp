// SPDX-License-Identifier: MIT
// What program this is, as far as rounding goes.
#pragma once

#include <string>

#include <rubato/backend/lanes.hpp>
#include <rubato/version.hpp>

namespace rubato {

/// Names what must be the same for two programs to round alike: version, compiler, and the vector unit in use.
[[nodiscard]] inline auto build_text() -> std::string {
#if defined(__FMA__)
  constexpr auto fused = ", fused multiply-add";
#else
  constexpr auto fused = "";
#endif
  return "rubato " + std::to_string(RUBATO_VERSION_MAJOR) + "." + std::to_string(RUBATO_VERSION_MINOR) + "." +
         std::to_string(RUBATO_VERSION_PATCH) + ", " __VERSION__ ", vectors of " +
         std::to_string(backend::detail::native_bytes) + " bytes" + fused;
}

}  // namespace rubato
