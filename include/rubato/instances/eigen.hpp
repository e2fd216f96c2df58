// SPDX-License-Identifier: MIT
// The node types of rubato/instances.hpp on backend::eigen; included instead of rubato/backend/eigen.hpp.
#pragma once

#include <rubato/backend/eigen.hpp>
#include <rubato/instances.hpp>

#if RUBATO_USE_INSTANCES
namespace rubato {
RUBATO_NODE_INSTANCES(extern, backend::eigen<float>);
RUBATO_NODE_INSTANCES(extern, backend::eigen<double>);
}  // namespace rubato
#endif
