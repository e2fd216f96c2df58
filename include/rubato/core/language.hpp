// SPDX-License-Identifier: MIT
// Included first by every header that includes no other of rubato, so that an older language ends a compilation with one
// sentence, whichever header it begins with.
#pragma once

#if __cplusplus < 202002L
#error "rubato needs C++20: compile with -std=c++20 or later (with CMake, link rubato::rubato, which asks for it)"
#include <C++20>  // no such file: ends here, since all that follows would be errors
#endif
