// SPDX-License-Identifier: MIT
// DuDe-ASGD, also published as IA2SGD: asynchronous SGD along the mean of the newest gradients of all workers.
//   (Du.M)  mean <- mean + (g - table_i) / n,  table_i <- g;  nothing moves until all workers have sent one
//   (Du.X)  x_{k+1} <- x_k - gamma mean
// Formulas (As.*): server_sgd.hpp, whose class this composes. Source: Wang et al., arXiv 2405.16966.
// invariant: mean = (1/n) sum_i table_i. limit: the optimum of the mean, whatever the speeds.
// Of a worker that leaves, the last gradient keeps counting. differs from the source: the server keeps the gradients
// (workers send no differences), and it recomputes one n-th of the mean with each step against drift.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/newest_of_each.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// For differing data and speeds. A step reads 6 vectors, and not n.
template<backend::array_backend Backend, class Step = step::sgd>
using dude_asgd =
    server_sgd<Backend, server::accept_all, weighting::constant, server::newest_of_each, server::same_worker, Step>;
template<backend::array_backend Backend, class Step = step::sgd>
using ia2sgd = dude_asgd<Backend, Step>;

}  // namespace rubato
