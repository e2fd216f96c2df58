// SPDX-License-Identifier: MIT
// DASGD, distributed asynchronous SGD with large delays: asgd whose steps fall so fast that delays may grow without
// bound, on a box.
//   (Dl.Y)  y <- y - gamma s_k g, never projected;  x <- y limited to [-bound, bound];  s_k: step/lazily_projected.hpp
// Formulas (As.*): server_sgd.hpp. Source: Zhou, Mertikopoulos, Bambos, Glynn, Ye, arXiv 2107.02919.
// limit: as asgd, the optimum weighted by frequency, which it approaches without a remainder of the step.
#pragma once

#include <rubato/algorithm/asgd.hpp>
#include <rubato/step/lazily_projected.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// For data that do not differ from worker to worker. `.step_rule`: bound 100, delays that grow linearly, offset 1000.
template<backend::array_backend Backend, class Weight = weighting::constant>
using dasgd = asgd<Backend, Weight, step::lazily_projected>;  // (Dl.Y)

}  // namespace rubato
