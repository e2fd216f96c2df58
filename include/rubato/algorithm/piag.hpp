// SPDX-License-Identifier: MIT
// PIAG, proximal incremental aggregated gradient: steps along the mean of the newest gradients of all workers, (Du.M),
// each as small as the age of the oldest asks, so that the steps that any gradient overlaps sum to at most gamma.
//   (Pi.W)  gamma_k = alpha max(gamma - w_k, 0), or gamma / (age + 1) if that is at most gamma - w_k, else 0;
//           w_k = sum of the steps since the oldest entry's model
//   (Pi.X)  x_{k+1} <- prox_{gamma_k h}(x_k - gamma_k mean)
// Formulas (As.*): server_sgd.hpp, whose class this composes. Source: Wu, Magnusson, Feyzmahdavian, Johansson, arXiv
// 2202.08550. invariant: w_k + gamma_k <= gamma. limit: the optimum of the mean plus h.
#pragma once

#include <rubato/algorithm/prox.hpp>
#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/newest_of_each.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/proximal.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// For differing data and speeds. `.aggregation.window`: remaining, the default, or equal; `.step_rule.prox`: h.
template<backend::array_backend Backend, class Prox = prox::none>
using piag = server_sgd<Backend, server::accept_all, weighting::constant, server::newest_in_window, server::same_worker,
                        step::proximal<Prox>>;  // (Pi.X)

}  // namespace rubato
