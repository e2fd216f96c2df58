// SPDX-License-Identifier: MIT
// Marks functions that kernels call, so that a device compiler builds them for the device too; nothing elsewhere.
#pragma once

#include <rubato/core/language.hpp>

#if defined(__CUDACC__)
#define RUBATO_HOST_DEVICE __host__ __device__
#else
#define RUBATO_HOST_DEVICE
#endif
