// SPDX-License-Identifier: MIT
// The backend of this unit: one of RUBATO_BENCH_HOST, RUBATO_BENCH_EIGEN and RUBATO_BENCH_THRUST=cpp, omp, tbb or cuda
// is defined (bench/CMakeLists.txt does it).
#pragma once

#if defined(RUBATO_BENCH_THRUST)
#include <rubato/backend/thrust.hpp>
#elif defined(RUBATO_BENCH_EIGEN)
#include <rubato/backend/eigen.hpp>
#else
#include <rubato/backend/host.hpp>
#endif

namespace bench {

#if defined(RUBATO_BENCH_THRUST)
template<class T>
using chosen = rubato::backend::thrust<T, rubato::backend::system::RUBATO_BENCH_THRUST>;
#elif defined(RUBATO_BENCH_EIGEN)
template<class T>
using chosen = rubato::backend::eigen<T>;
#else
template<class T>
using chosen = rubato::backend::host<T>;
#endif

}  // namespace bench
