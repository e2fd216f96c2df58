// SPDX-License-Identifier: MIT
// The version of the headers; CMake reads it from here.
#pragma once

#include <rubato/core/language.hpp>

#define RUBATO_VERSION_MAJOR 0
#define RUBATO_VERSION_MINOR 2
#define RUBATO_VERSION_PATCH 0
