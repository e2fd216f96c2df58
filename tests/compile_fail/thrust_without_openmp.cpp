// SPDX-License-Identifier: MIT
// Cases are compiled without -fopenmp, so that Thrust has no threads to hand out.
// illegal: omp
// legal:   cpp
// error:   this system of Thrust cannot be compiled here: omp needs -fopenmp
#include <rubato/backend/thrust.hpp>

template class rubato::backend::thrust<float, rubato::backend::system::SUBJECT>;
