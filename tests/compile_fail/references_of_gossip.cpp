// SPDX-License-Identifier: MIT
// gossip holds no references at either end of an edge; r_fast and asy_sonata do.
// illegal: referenced_bits
// legal:   adaptive_bits
// error:   differences from references that are confirmed are for r_fast and asy_sonata
#include <rubato/algorithm/gossip.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/adaptive_bits.hpp>
#include <rubato/codec/referenced_bits.hpp>
#include <rubato/ledger/fixed_point.hpp>

using namespace rubato;
template class rubato::gossip<backend::host<float>, order::r_fast, step::sgd, weighting::constant, synchrony::free,
                              ledger::fixed_point, codec::SUBJECT<>>;
