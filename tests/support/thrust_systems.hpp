// SPDX-License-Identifier: MIT
// The systems of Thrust that this build has. ThreadSanitizer knows neither libgomp's locks nor TBB's, so that a build
// under it has the first alone (cmake/rubato_find_thrust.cmake).
#pragma once

#include <rubato/backend/thrust.hpp>

namespace rubato::test {

/// Calls body(system) for each; every build has one at least.
template<class Body>
void for_each_system(Body&& body) {
  body(backend::system::cpp{});
  if constexpr (backend::system::is_here<backend::system::omp>) body(backend::system::omp{});
  if constexpr (backend::system::is_here<backend::system::tbb>) body(backend::system::tbb{});
}

}  // namespace rubato::test
