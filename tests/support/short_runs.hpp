// SPDX-License-Identifier: MIT
// Whether long tests should do a tenth: in programs built with a sanitizer, and where RUBATO_SHORT is set.
#pragma once

#include <cstdlib>

namespace rubato::test {

inline auto short_runs() -> bool {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return true;
#endif
#endif
  return std::getenv("RUBATO_SHORT") != nullptr;
}

}  // namespace rubato::test
