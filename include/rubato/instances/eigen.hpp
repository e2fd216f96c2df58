// SPDX-License-Identifier: MIT
// The node types of rubato/instances.hpp on backend::eigen; include it instead of rubato/backend/eigen.hpp. With the
// library, Eigen itself is not included.
#pragma once

#include <rubato/instances.hpp>
#if RUBATO_USE_INSTANCES
#include <rubato/backend/eigen_handle.hpp>

namespace rubato {
extern template class backend::eigen<float>;
extern template class backend::eigen<double>;
RUBATO_NODE_INSTANCES(extern, backend::eigen<float>);
RUBATO_NODE_INSTANCES(extern, backend::eigen<double>);
}  // namespace rubato
#else
#include <rubato/backend/eigen.hpp>
#endif
