// SPDX-License-Identifier: MIT
// FedBuff: workers make Q local steps; the server steps along the mean of K of their results, which it collects in a
// buffer. Nobody waits.
//   (Fb.L)  worker i: s <- (1 - mu eta) s + g(x_v - eta s), Q times from s = 0, with eta = rate gamma; sends s
//   (Fb.X)  server: x <- x - gamma (1/K) sum w s  over K arrivals, w by their delays
// With y the worker's last local model, eta s = x_v - y: in the paper's terms the server's step is 1 / rate.
// Formulas (As.*): server_sgd.hpp, whose class this composes. Source: Nguyen et al., arXiv 2106.06639 (there with a
// secure sum). limit: as asgd, by frequency and mean weight; with Q > 1 also by the local steps.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/collected.hpp>
#include <rubato/server/local_steps.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/polynomial.hpp>

namespace rubato {

/// For data that do not differ much. `.aggregation.size`: K, by default n; `.assignment.count`: Q, by default 1.
template<backend::array_backend Backend, class Weight = weighting::polynomial, class Step = step::sgd>
using fedbuff = server_sgd<Backend, server::accept_all, Weight, server::collected, server::local_steps, Step>;

}  // namespace rubato
