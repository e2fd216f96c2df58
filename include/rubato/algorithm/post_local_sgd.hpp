// SPDX-License-Identifier: MIT
// Post-local SGD: the mean of models after every local step at first, w times, then after every k steps: (L.S), (L.D)
// and (L.O) of local_sgd.hpp, whose class this composes, with rhythm::after_warm_up. Source: Lin, Stich, Patel, Jaggi,
// arXiv 1808.07217.
// differs from [Lin et al.]: at first models are averaged and not gradients, which is the same for rules that are
// linear in the gradient (their sums of gradients stay those of the nodes, and their mean is that of the all-reduce).
#pragma once

#include <rubato/algorithm/local_sgd.hpp>
#include <rubato/algorithm/outer.hpp>
#include <rubato/algorithm/rhythm.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

/// `.rhythm.warm_up`: w; `.rhythm.local_steps`: k.
template<backend::array_backend Backend, class Codec = codec::identity, class Step = step::sgd>
using post_local_sgd = local_sgd<Backend, outer::mean, rhythm::after_warm_up, Codec, Step>;

}  // namespace rubato
