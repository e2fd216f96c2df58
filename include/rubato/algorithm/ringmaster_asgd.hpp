// SPDX-License-Identifier: MIT
// Ringmaster ASGD: asynchronous SGD that ignores a gradient computed R or more versions of the model ago. A job whose
// gradient would arrive too late may be stopped, (As.C). Formulas (As.*): server_sgd.hpp, whose class this composes.
// Source: Maranjyan, Tyurin, Richtarik, arXiv 2501.16168.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/apply_at_once.hpp>
#include <rubato/server/delay_threshold.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// For data that do not differ from worker to worker.
template<backend::array_backend Backend, class Weight = weighting::constant, class Step = step::sgd>
using ringmaster_asgd =
    server_sgd<Backend, server::delay_threshold, Weight, server::apply_at_once, server::same_worker, Step>;

}  // namespace rubato
