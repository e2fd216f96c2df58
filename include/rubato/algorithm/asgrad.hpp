// SPDX-License-Identifier: MIT
// AsGrad: asynchronous SGD in which the server chooses who computes next; jobs for busy workers queue, (As.A).
//   (Ag.R)  random: a worker drawn uniformly;   pure: the one that arrived, as in asgd
//   (Ag.S)  shuffled: each of n workers once, in an order that is drawn anew for each n jobs
//   (Ag.B)  waiting: after b arrivals, or when no job is under way any more, as many jobs are given at once
// Formulas (As.*): server_sgd.hpp, whose class this composes. Sources: Islamov, Safaryan, Alistarh, arXiv 2310.20452;
// random: Koloskova, Stich, Jaggi, arXiv 2206.08307. differs: the queues are at the server, so a queued job's model is
// the one of its assignment, and a job costs a round trip; each gradient makes a step of its own also when waiting.
// invariant: as many jobs are under way or queued as workers. Random and shuffled give all workers equally many jobs,
// so the limit is the optimum of the mean; the rate is that of the slowest. A leaving worker's queue goes to the next;
// a returning one gets a job that was lost or the last one of the longest queue.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/apply_at_once.hpp>
#include <rubato/server/drawn_order.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// `.assignment.order`: shuffled by default; `.assignment.wait`: b.
template<backend::array_backend Backend, class Weight = weighting::constant, class Step = step::sgd>
using asgrad = server_sgd<Backend, server::accept_all, Weight, server::apply_at_once, server::drawn_order, Step>;

}  // namespace rubato
