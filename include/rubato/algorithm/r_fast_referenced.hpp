// SPDX-License-Identifier: MIT
// R-FAST whose running sums and models travel in 2 bits a value, as differences from references that their receivers
// have confirmed: (R.T) to (R.W) of r_fast.hpp, over the messages of codec/referenced_bits.hpp. Conservation is exact,
// and the optimum that of whole vectors. Neighbours must hear each other.
// Passes over memory, besides those of r_fast: for every message to a neighbour one over the vector, its reference and
// the codes, with a sort of every 256 sizes; for every one from a neighbour one over its codes and a reference; and for
// every reference that is confirmed one more, so that it is about three for each message and neighbour.
#pragma once

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/codec/referenced_bits.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

template<backend::array_backend Backend, class Step = step::sgd, class Weighting = weighting::constant>
using r_fast_referenced = r_fast<Backend, Step, Weighting, ledger::fixed_point, codec::referenced_bits<>>;

}  // namespace rubato
