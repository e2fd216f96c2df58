// SPDX-License-Identifier: MIT
// Catch2, whichever version is installed: tests are written for what v2.13 and v3 have in common.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
