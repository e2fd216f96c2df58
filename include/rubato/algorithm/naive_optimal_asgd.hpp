// SPDX-License-Identifier: MIT
// Naive Optimal ASGD: asgd on the m fastest workers, for times that are known and do not change.
//   (No.M)  m = argmin H_m (1 + noise / m), H_m the harmonic mean of the m smallest times, noise = sigma^2 / epsilon
// Formulas (As.*): server_sgd.hpp, whose class this composes. Source: Maranjyan, Tyurin, Richtarik, arXiv 2501.16168.
// limit: the optimum of the m workers' data, by frequency. Every worker computes one gradient before it is told.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/apply_at_once.hpp>
#include <rubato/server/fastest_workers.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// For data that do not differ from worker to worker. `.acceptance.times`: without them all workers compute.
template<backend::array_backend Backend, class Weight = weighting::constant, class Step = step::sgd>
using naive_optimal_asgd =
    server_sgd<Backend, server::fastest_workers, Weight, server::apply_at_once, server::same_worker, Step>;

}  // namespace rubato
