// SPDX-License-Identifier: MIT
// Marks functions that kernels call, so that a device compiler builds them for the device too; nothing elsewhere.
#pragma once

#include <rubato/core/language.hpp>

#if defined(__CUDACC__)
#define RUBATO_HOST_DEVICE __host__ __device__
// Before a template of such a function that the host also calls with what only the host has, such as hardware vectors:
// without it nvcc warns, though that instance is never called on a device.
#define RUBATO_ALSO_HOST_ONLY _Pragma("nv_exec_check_disable")
#else
#define RUBATO_HOST_DEVICE
#define RUBATO_ALSO_HOST_ONLY
#endif
