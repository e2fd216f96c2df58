// SPDX-License-Identifier: MIT
// R-FAST whose running sums travel in 16 bits: (R.T) to (R.W) of r_fast.hpp, where the receiver restores rho_ji of
// (R.A) from the low bits of a shifted number (codec/low_bits.hpp). Conservation is still exact; the optimum is less
// precise.
#pragma once

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/codec/low_bits.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

template<backend::array_backend Backend, class Step = step::sgd, class Weighting = weighting::constant>
using r_fast_low_bits = r_fast<Backend, Step, Weighting, ledger::fixed_point, codec::low_bits>;

}  // namespace rubato
