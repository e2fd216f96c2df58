// SPDX-License-Identifier: MIT
// Rennala SGD: a round collects S gradients at the current model, from whoever is fast, and steps along their mean.
// Nobody waits; what comes after the round is ignored, or stopped by (As.C).
//   (Rn.X)  x_{k+1} <- x_k - gamma (1/S) sum of the first S gradients at x_k
// Formulas (As.*): server_sgd.hpp, whose class this composes. Source: Tyurin and Richtarik, arXiv 2305.12387.
// limit: the optimum weighted by the gradients B_i that a round takes of worker i.
// A worker that leaves is not missed: the others make up the S.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/collected.hpp>
#include <rubato/server/current_only.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// For data that do not differ from worker to worker. `.aggregation.size`: S, by default n.
template<backend::array_backend Backend, class Step = step::sgd>
using rennala_sgd =
    server_sgd<Backend, server::current_only, weighting::constant, server::collected, server::same_worker, Step>;

}  // namespace rubato
