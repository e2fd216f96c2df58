// SPDX-License-Identifier: MIT
// Asynchronous SGD, a server and n workers: every gradient moves the server's model at once, by gamma w along it, and
// its worker goes on at the new model. Formulas (As.*): server_sgd.hpp, whose class this composes. Source: Koloskova,
// Stich, Jaggi, arXiv 2206.08307.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/apply_at_once.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// Delay-adaptive with a weighting other than constant. In the limit workers count by their speed: for data that do not
/// differ from worker to worker.
template<backend::array_backend Backend, class Weight = weighting::constant, class Step = step::sgd>
using asgd = server_sgd<Backend, server::accept_all, Weight, server::apply_at_once, server::same_worker, Step>;

}  // namespace rubato
