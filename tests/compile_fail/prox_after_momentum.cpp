// SPDX-License-Identifier: MIT
// A proximal map belongs to a plain step of size gamma.
// illegal: momentum
// legal:   sgd
// error:   a prox follows a plain step, step::sgd
#include <rubato/algorithm/prox_dgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/step/momentum.hpp>

template class rubato::prox_dgd<rubato::backend::host<double>, rubato::prox::l1, rubato::step::SUBJECT>;
