// SPDX-License-Identifier: MIT
// Non-blocking SGD over a ring all-reduce: a node's batch of a round ends when it is full or when the fastest nodes
// have filled theirs, (N.S) and (N.C) of batch.hpp; then (A.R), (A.G) and (A.X) of ring_allreduce_sgd.hpp, whose class
// this composes. Source: He, Dube, arXiv 2211.00889.
#pragma once

#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/contribution/finished.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

template<backend::array_backend Backend, class Step = step::sgd>
using non_blocking_allreduce = ring_allreduce_sgd<Backend, Step, contribution::finished>;

}  // namespace rubato
