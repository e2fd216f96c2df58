// SPDX-License-Identifier: MIT
// D-PSGD, node i: x_i <- sum_j w_ij x_j - gamma g_i(x_i), the gradient at the model before mixing, computed while models
// travel.   Source: Lian et al., arXiv 1705.09056. It is the order combine_while_computing of gossip.hpp, in rounds.
#pragma once

#include <rubato/algorithm/gossip.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/synchrony/rounds.hpp>

namespace rubato {

template<backend::array_backend Backend, class Order = order::combine_while_computing, class Step = step::sgd>
using d_psgd = gossip<Backend, Order, Step, weighting::constant, synchrony::rounds, ledger::floating>;

}  // namespace rubato
