// SPDX-License-Identifier: MIT
// ADSGD: asynchronous decentralised SGD whose step does not depend on delays. Source: Zhou, Pu, arXiv 2505.10322. Its
// iteration, x <- w_ii x + sum_j w_ij x_j(latest) - gamma g(x), is (PX.M) of prox_dgd.hpp with h = 0 and stochastic
// gradients, so it is that class. The source's own bound of the step could not be read; use that of prox_dgd.
#pragma once

#include <rubato/algorithm/prox.hpp>
#include <rubato/algorithm/prox_dgd.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

template<backend::array_backend Backend, class Step = step::sgd>
using adsgd = prox_dgd<Backend, prox::none, Step>;

}  // namespace rubato
