// SPDX-License-Identifier: MIT
// The names under which compositions of policies are published.
#pragma once

#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/codec/low_bits.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/contribution/finished.hpp>

namespace rubato {

/// R-FAST whose running sums travel in 16 bits (codec/low_bits.hpp): as exact a conservation, a coarser optimum.
template<backend::array_backend Backend, class Step = step::sgd, class Weighting = weighting::constant>
using r_fast_low_bits = r_fast<Backend, Step, Weighting, ledger::fixed_point, codec::low_bits>;

/// D-PSGD: gradient at the model before mixing, computed while models travel. Lian et al., arXiv 1705.09056.
template<backend::array_backend Backend, class Order = order::combine_while_computing, class Step = step::sgd>
using d_psgd = gossip<Backend, Order, Step, weighting::constant, synchrony::rounds, ledger::floating>;

/// D-PSGD in the adapt-then-combine order, as the codes of MATCHA and SGP run it.
template<backend::array_backend Backend, class Step = step::sgd>
using d_psgd_atc = d_psgd<Backend, order::adapt_then_combine, Step>;

/// Synchronous SGD whose gradients travel in a byte a value. BAGUA's ByteGrad, arXiv 2107.01499.
template<backend::array_backend Backend, class Step = step::sgd>
using byte_grad = scatter_allreduce_sgd<Backend, codec::minmax_u8, Step>;
/// Non-blocking SGD over an all-reduce: a round ends when the fastest are done. He, Dube, arXiv 2211.00889.
template<backend::array_backend Backend, class Step = step::sgd>
using non_blocking_allreduce = ring_allreduce_sgd<Backend, Step, contribution::finished>;

/// Non-blocking SGD over D-PSGD: a node's round ends when its fastest neighbour is done. He, Dube, arXiv 2211.00889.
template<backend::array_backend Backend, class Order = order::combine_while_computing, class Step = step::sgd>
using non_blocking_d_psgd = gossip<Backend, Order, Step, weighting::constant, synchrony::rounds, ledger::floating,
                                   codec::identity, contribution::finished>;

}  // namespace rubato
