// SPDX-License-Identifier: MIT
// DC-ASGD: asynchronous SGD whose late gradients are corrected, elementwise, for how far the model has moved since x_v.
//   (Dc.C)  constant:  x <- x - gamma (g + lambda g g (x - x_v))
//   (Dc.A)  adaptive:  the same with lambda / sqrt(q_i + 1e-7) for lambda, where q_i <- keep q_i + (1 - keep) g g
// Formulas (As.*): server_sgd.hpp, whose class this composes. Source: Zheng et al., arXiv 1609.08326.
// invariant: lambda = 0 is asgd. q_i is one vector a worker, as in the authors' code.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/delay_compensated.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// For data that do not differ from worker to worker.
template<backend::array_backend Backend, class Weight = weighting::constant, class Step = step::sgd>
using dc_asgd = server_sgd<Backend, server::accept_all, Weight, server::delay_compensated, server::same_worker, Step>;

}  // namespace rubato
