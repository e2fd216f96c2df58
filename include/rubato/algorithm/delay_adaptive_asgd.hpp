// SPDX-License-Identifier: MIT
// Delay-adaptive asynchronous SGD: asgd whose steps are smaller for gradients that are late, so that its step need not
// suit the largest delay. In both published forms the weight is 1 up to a delay T (by default n, the number of jobs
// under way):
//   (Da.I)  inverse:    w = T / max(T, delay)                             Mishchenko et al., arXiv 2206.07638
//   (Da.T)  threshold:  w = 1 up to T, then min(1, share / delay)         Koloskova, Stich, Jaggi, arXiv 2206.08307
// Formulas (As.*): server_sgd.hpp. invariant: with equal speeds this is asgd; no step is larger than gamma.
// differs from the second: share is an option, where the paper allows any below 1/(4 L gamma); 0 drops late gradients.
#pragma once

#include <rubato/algorithm/asgd.hpp>
#include <rubato/server/delay_adaptive.hpp>

namespace rubato {

/// For data that do not differ from worker to worker: in the limit fast workers count even more than in asgd.
template<backend::array_backend Backend, class Step = step::sgd>
using delay_adaptive_asgd = asgd<Backend, server::delay_adaptive, Step>;

}  // namespace rubato
