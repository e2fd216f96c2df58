// SPDX-License-Identifier: MIT
// Non-blocking SGD over D-PSGD: a node's batch of a round ends when it is full or its fastest neighbour has filled its own,
// (N.S) and (N.D) of batch.hpp; models mix as in d_psgd.hpp.   Source: He, Dube, arXiv 2211.00889.
#pragma once

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/contribution/finished.hpp>

namespace rubato {

template<backend::array_backend Backend, class Order = order::combine_while_computing, class Step = step::sgd>
using non_blocking_d_psgd = gossip<Backend, Order, Step, weighting::constant, synchrony::rounds, ledger::floating,
                                   codec::identity, contribution::finished>;

}  // namespace rubato
