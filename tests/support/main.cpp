// SPDX-License-Identifier: MIT
// The main function of a test binary with Catch2 v2; v3 brings its own (Catch2WithMain).
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
