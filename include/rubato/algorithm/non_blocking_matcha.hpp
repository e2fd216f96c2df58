// SPDX-License-Identifier: MIT
// Non-blocking SGD over MATCHA: a node's batch of a round ends when it is full or when the fastest of its neighbours of
// that round has filled its own batch, (N.S) and (N.D) of batch.hpp. The rounds are those of matcha.hpp, whose class
// this composes. Source: He, Dube, arXiv 2211.00889.
#pragma once

#include <rubato/algorithm/matcha.hpp>
#include <rubato/contribution/finished.hpp>

namespace rubato {

template<backend::array_backend Backend, class Step = step::sgd>
using non_blocking_matcha = matcha<Backend, Step, contribution::finished>;

}  // namespace rubato
