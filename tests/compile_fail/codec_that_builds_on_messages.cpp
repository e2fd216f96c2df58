// SPDX-License-Identifier: MIT
// A codec whose messages build on each other would be spoilt by the first message that a state channel drops.
// illegal: free
// legal:   rounds
// error:   a codec whose messages build on each other needs lossless, ordered links: an event channel
#include <rubato/algorithm/gossip.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/low_bits.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/synchrony/rounds.hpp>

struct steps_of_sums : rubato::codec::low_bits {
  static constexpr bool needs_lossless_links = true;
};

template class rubato::gossip<rubato::backend::host<float>, rubato::order::push_pull, rubato::step::sgd,
                              rubato::weighting::constant, rubato::synchrony::SUBJECT, rubato::ledger::fixed_point,
                              steps_of_sums>;
