// SPDX-License-Identifier: MIT
// Rescaled asynchronous SGD: asgd whose steps are in proportion to the workers' computation times
// (server/time_scale.hpp), so that all workers count the same, whatever their speed. Formulas (As.*): server_sgd.hpp.
// Source: Mahran, Maranjyan, Richtarik, arXiv 2605.13434.
#pragma once

#include <rubato/algorithm/asgd.hpp>
#include <rubato/server/known_times.hpp>
#include <rubato/server/own_durations.hpp>

namespace rubato {

/// Rescaling: server::own_durations, which measures the times, or server::known_times.
template<backend::array_backend Backend, class Rescaling = server::own_durations, class Step = step::sgd>
using rescaled_asgd = asgd<Backend, Rescaling, Step>;

}  // namespace rubato
