// SPDX-License-Identifier: MIT
// Ringleader ASGD: asynchronous SGD along a mean to which every worker contributes the mean G_i / b_i of its b_i
// gradients of this round; a round is n steps, after each of which another worker gets the new model.
//   (Rl.G)  gather: gradients go into the table of this round until every worker is in it
//   (Rl.U)  then n steps  x <- x - gamma (1/n) sum_i G_i / b_i:  at once for the worker that came last, and for each
//           worker that comes first in this phase, once its gradient is in the table
//   (Rl.N)  a gradient of a worker that has had its step goes into the table of the next round, which replaces this
//           one after n steps; its worker goes on at the current x
// Formulas (As.*): server_sgd.hpp, whose class this composes. Source: Maranjyan and Richtarik, arXiv 2509.22860.
// invariant: every gradient enters one table once, and none in use is more than 2n - 2 versions old.
// limit: the optimum of the mean. A worker that leaves holds the round up until it returns.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/server/two_tables.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// For differing data.
template<backend::array_backend Backend, class Step = step::sgd>
using ringleader_asgd =
    server_sgd<Backend, server::accept_all, weighting::constant, server::two_tables, server::same_worker, Step>;

}  // namespace rubato
