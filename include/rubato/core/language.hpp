// SPDX-License-Identifier: MIT
// Included first by every header that includes no other header of rubato. So a compiler with an older language stops
// with one sentence, whichever header comes first.
#pragma once

#if __cplusplus < 202002L
#error "rubato needs C++20: compile with -std=c++20 or later (with CMake, link rubato::rubato, which asks for it)"
#include <C++20>  // no such file: ends here, since all that follows would be errors
#endif

// Functions that are no templates: header-only, each file compiles those that it calls. The target rubato::instances
// defines RUBATO_USE_INSTANCES; then headers only declare them, and that library (RUBATO_COMPILE_INSTANCES) defines
// them.
#if RUBATO_USE_INSTANCES && !RUBATO_COMPILE_INSTANCES
#define RUBATO_BODIES 0
#else
#define RUBATO_BODIES 1
#endif
#if RUBATO_USE_INSTANCES
#define RUBATO_INLINE
#else
#define RUBATO_INLINE inline
#endif
