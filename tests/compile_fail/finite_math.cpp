// SPDX-License-Identifier: MIT
// illegal: 1
// legal:   0
// error:   compile without -ffast-math and its parts
#undef __FINITE_MATH_ONLY__
#define __FINITE_MATH_ONLY__ SUBJECT  // as the compiler says it under these options

#include <rubato/core/errors.hpp>

auto main() -> int { return 0; }
