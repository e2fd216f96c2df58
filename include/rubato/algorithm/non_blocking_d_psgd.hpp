// SPDX-License-Identifier: MIT
// Non-blocking SGD over D-PSGD: a node's batch of a round ends when it is full or when its fastest neighbour has filled
// its own batch, (N.S) and (N.D) of batch.hpp. Models mix as in d_psgd.hpp, whose class this composes. Source: He,
// Dube, arXiv 2211.00889.
#pragma once

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/contribution/finished.hpp>

namespace rubato {

template<backend::array_backend Backend, class Step = step::sgd>
using non_blocking_d_psgd = d_psgd<Backend, Step, contribution::finished>;

}  // namespace rubato
