// SPDX-License-Identifier: MIT
// SlowMo: local SGD whose merges have momentum among themselves: (L.S), (L.D) and (L.O) of local_sgd.hpp, whose class
// this composes, with outer::slow_momentum:   m <- beta m + mean D;  s <- s - alpha m.
// Source: Wang, Tantia, Ballas, Rabbat, arXiv 1910.00643, where u = m / gamma and alpha is the slow learning rate.
// differs from [Wang et al.]: m is in units of the model and not of the step, so where the step falls, what was moved
// before it fell counts as it was moved; with a constant step both are the same.
// In the long run the model moves alpha / (1 - beta) times as far as with local_sgd and the same step.
#pragma once

#include <rubato/algorithm/local_sgd.hpp>
#include <rubato/algorithm/outer.hpp>
#include <rubato/algorithm/rhythm.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

/// `.outer.rate`: alpha; `.outer.rule`: step::momentum{beta}.
template<backend::array_backend Backend, class Codec = codec::identity, class Step = step::sgd>
using slowmo = local_sgd<Backend, outer::slow_momentum, rhythm::steady, Codec, Step>;

}  // namespace rubato
