// SPDX-License-Identifier: MIT
// FedAsync: workers make Q local steps of size gamma, (Fb.L) with rate 1; the server mixes each one's model y into its
// own at once.
//   (Fa.X)  x <- (1 - a) x + a y,  a = alpha w, w by the delay; computed as (x - a (x - x_v)) - a gamma s
// Formulas (As.*): server_sgd.hpp, whose class this composes. Source: Xie, Koyejo, Gupta, arXiv 1903.03934.
// invariant: x stays a convex combination of models that workers sent and the first one. So the server's step is plain:
// momentum, Adam or decay, which would lead out of it, do not compile.
// limit: as asgd, by frequency and mean weight; with Q > 1 also by the local steps.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/local_steps.hpp>
#include <rubato/server/mixed_models.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/polynomial.hpp>

namespace rubato {

/// For data that do not differ much. `.aggregation.alpha`; `.assignment.count`: Q; `.assignment.proximal`: mu. The
/// schedule of the step changes the server's part only, so keep it constant.
template<backend::array_backend Backend, class Weight = weighting::polynomial, class Step = step::sgd>
using fedasync = server_sgd<Backend, server::accept_all, Weight, server::mixed_models, server::local_steps, Step>;

}  // namespace rubato
