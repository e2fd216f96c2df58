// SPDX-License-Identifier: MIT
// The names of the server-and-worker family. Include the policies of server/ that you set.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/delay_threshold.hpp>
#include <rubato/server/known_times.hpp>
#include <rubato/server/own_durations.hpp>

namespace rubato {

/// Asynchronous SGD; with a weighting, delay-adaptive. Its limit counts workers by their speed: for data that do not differ
/// from worker to worker. Koloskova, Stich, Jaggi, arXiv 2206.08307.
template<backend::array_backend Backend, class Weight = weighting::constant, class Step = step::sgd>
using asgd = server_sgd<Backend, server::accept_all, Weight, server::apply_at_once, server::same_worker, Step>;

/// Rescaled ASGD: steps in proportion to computation times, so that all workers count the same, however fast. Rescaling:
/// own_durations, or known_times. Mahran, Maranjyan, Richtarik, arXiv 2605.13434.
template<backend::array_backend Backend, class Rescaling = server::own_durations, class Step = step::sgd>
using rescaled_asgd = asgd<Backend, Rescaling, Step>;

/// Ringmaster ASGD: no step along a gradient that is too old. For data that do not differ from worker to worker.
/// Maranjyan, Tyurin, Richtarik, arXiv 2501.16168.
template<backend::array_backend Backend, class Weight = weighting::constant, class Step = step::sgd>
using ringmaster_asgd =
    server_sgd<Backend, server::delay_threshold, Weight, server::apply_at_once, server::same_worker, Step>;

}  // namespace rubato
