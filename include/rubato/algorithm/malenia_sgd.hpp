// SPDX-License-Identifier: MIT
// Malenia SGD: a round collects gradients at the current model until it has enough of every worker, and steps along the
// mean of the workers' means, so that all workers count the same.
//   (Ml.S)  the round ends when n / (sum 1/B_i) >= S/n, with B_i the gradients of worker i; so all B_i >= 1
//   (Ml.X)  x_{k+1} <- x_k - gamma (1/n) sum_i (1/B_i) (sum of the B_i gradients at x_k)
// Formulas (As.*): server_sgd.hpp, whose class this composes. Source: Tyurin and Richtarik, arXiv 2305.12387.
// limit: the optimum of the mean. A worker that leaves holds the round up until it returns.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/current_only.hpp>
#include <rubato/server/mean_of_means.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// For differing data. `.aggregation.size`: S, by default n, with which a round ends when every worker has sent one.
template<backend::array_backend Backend, class Step = step::sgd>
using malenia_sgd =
    server_sgd<Backend, server::current_only, weighting::constant, server::mean_of_means, server::same_worker, Step>;

}  // namespace rubato
