// SPDX-License-Identifier: MIT
// EXTRA adds steps up over rounds: they cancel where gradients do only if steps are linear in them.
// illegal: adam
// legal:   momentum
// error:   EXTRA needs a step that is linear in the gradients
#include <rubato/algorithm/extra.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/step/momentum.hpp>

template class rubato::extra<rubato::backend::host<double>, rubato::step::SUBJECT>;
