// SPDX-License-Identifier: MIT
// Gradient tracking makes the direction of a step inside the pass that moves x, so its norm cannot be known before.
// illegal: clipped_by_norm
// legal:   clipped_by_value
// error:   this algorithm makes the direction of a step inside the pass that moves x, so its norm is not known before
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/step/clipped_by_norm.hpp>
#include <rubato/step/clipped_by_value.hpp>

template class rubato::r_fast<rubato::backend::host<double>, rubato::step::SUBJECT<>>;
