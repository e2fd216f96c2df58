// SPDX-License-Identifier: MIT
// DASA, stochastic approximation by many agents whose directions come late: a server looks for the root of h, of which
// each agent sends noisy values, in general of data that are correlated in time. h need not be a gradient; agents send
// -h as theirs. Nobody waits for anybody, and only the fresher half of the directions moves the parameter x.
//   (Ds.H)  server: h_i <- the newest direction of agent i, y_i <- the parameter at which it was made
//   (Ds.E)  after every n-th arrival, at parameter x_k:  e_i = |x_k - y_i|, the Euclidean norm
//   (Ds.M)  M = { i : e_i <= the median of e }, of an even number the lower one
//   (Ds.X)  x_{k+1} <- x_k + gamma (1/|M|) sum over M of h_i
// Formulas (As.*): server_sgd.hpp, whose class this composes. Source: Dal Fabbro et al., arXiv 2403.17247 (the norm,
// ties and what an iteration is are ours: there the server's clock makes steps, here arrivals do).
// limit: the common root of all agents, about which x stays at a mean square distance in proportion to gamma / n, also
// where samples are correlated. invariant: |M| >= n/2, and agents at equal distances all count or all do not.
// Until an agent has sent something it is in no median. The last direction of one that leaves is forgotten, so that
// however many leave, M is of those that are there.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/fresh_half.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// For agents that look for the same root (problem::policy_evaluation). `.aggregation.arrivals`: directions between
/// two steps, by default n.
template<backend::array_backend Backend, class Step = step::sgd>
using dasa =
    server_sgd<Backend, server::accept_all, weighting::constant, server::fresh_half, server::same_worker, Step>;

}  // namespace rubato
