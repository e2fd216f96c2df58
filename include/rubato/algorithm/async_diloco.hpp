// SPDX-License-Identifier: MIT
// Asynchronous DiLoCo: workers make H local steps each at their own pace, and the server takes an outer step along each
// one's work at once, with momentum that every N-th renews; nobody waits.
//   (Fb.L)  worker i: s <- s + g(x_v - gamma s), H times from s = 0; sends s, so D = gamma s
//   (Ad.M)  server, at every N-th arrival:  m <- beta m + mean of the last N
//   (Ad.X)  x <- x - rate gamma (s / N + f beta m),   f = 1 at every N-th and 0 otherwise
// Formulas (As.*): server_sgd.hpp, whose class this composes; (Ad.*): server/delayed_nesterov.hpp. Source: Liu et al.,
// arXiv 2401.09135. limit: as asgd, by frequency: sum r_i D_i = 0 over workers with r_i results per second; with H > 1
// also by the local steps.
// differs from [Liu et al.]: local steps are plain. By default H is the same for all workers; with Work
// server::steps_by_speed a slow one has fewer, (Ss.*), as there. With a grace period, `.assignment.grace`, workers that
// end about together go on at one model, (Wg.*) of server/with_grace.hpp; for both give with_grace<steps_by_speed>.
// In the long run the model moves rate / (1 - beta) = 7 times as far as with fedbuff and the same step.
#pragma once

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/delayed_nesterov.hpp>
#include <rubato/server/local_steps.hpp>
#include <rubato/server/steps_by_speed.hpp>
#include <rubato/server/with_grace.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// For data that do not differ much. `.assignment.count`: H, by default 1; `.aggregation`: N (by default n), rate,
/// beta. The schedule of the step changes the server's part only, so keep it constant.
template<backend::array_backend Backend, class Weight = weighting::constant, class Step = step::sgd,
         class Work = server::with_grace<server::local_steps>>
using async_diloco = server_sgd<Backend, server::accept_all, Weight, server::delayed_nesterov, Work, Step>;

}  // namespace rubato
