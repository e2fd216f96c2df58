// SPDX-License-Identifier: MIT
// DiLoCo: local SGD (or Adam) whose mean local work is the gradient of an outer step with Nesterov's momentum: (L.S),
// (L.D) and (L.O) of local_sgd.hpp, whose class this composes, with outer::nesterov:
//   m <- beta m + mean D;  s <- s - rate (mean D + beta m),   rate 0.7, beta 0.9.
// Source: Douillard et al., arXiv 2311.08105, with H = k and AdamW as the rule of local steps (here plain steps by
// default: give Step = step::adamw).
// In the long run the model moves rate / (1 - beta) = 7 times as far as with local_sgd and the same step.
#pragma once

#include <rubato/algorithm/local_sgd.hpp>
#include <rubato/algorithm/outer.hpp>
#include <rubato/algorithm/rhythm.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

/// `.rhythm.local_steps`: H; `.outer.rate`; `.outer.rule`: step::momentum{beta, step::momentum_form::nesterov}.
template<backend::array_backend Backend, class Codec = codec::identity, class Step = step::sgd>
using diloco = local_sgd<Backend, outer::nesterov, rhythm::steady, Codec, Step>;

}  // namespace rubato
