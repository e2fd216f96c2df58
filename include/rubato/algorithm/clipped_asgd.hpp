// SPDX-License-Identifier: MIT
// Clipped ASGD: asgd whose gradients are shortened to a norm c before they move the model, so that no late one does
// harm.
//   (Cl.X)  x <- x - gamma g min(1, c / |g|)
// Formulas (As.*): server_sgd.hpp. Source: Erickson and Johansson, arXiv 2606.13287.
// limit: where clipping still happens there, workers count by the norm they keep, too: for similar data.
#pragma once

#include <rubato/algorithm/asgd.hpp>
#include <rubato/step/clipped_by_norm.hpp>

namespace rubato {

/// For data that do not differ from worker to worker. `.step_rule`: c, by default 1.
template<backend::array_backend Backend, class Weight = weighting::constant, class Step = step::sgd>
using clipped_asgd = asgd<Backend, Weight, step::clipped_by_norm<Step>>;  // (Cl.X)

}  // namespace rubato
