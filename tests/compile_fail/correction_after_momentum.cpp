// SPDX-License-Identifier: MIT
// LEAD's correction grows by the disagreement over eta, which is the size of a plain step only.
// illegal: momentum
// legal:   sgd
// error:   LEAD takes plain steps, step::sgd
#include <rubato/algorithm/lead.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/step/momentum.hpp>

template class rubato::lead<rubato::backend::host<double>, rubato::codec::minmax_u8, rubato::step::SUBJECT>;
