// SPDX-License-Identifier: MIT
// A tracked gradient stays in the sums until the next one replaces it: there is nothing to end early, and no round.
// illegal: finished
// legal:   all
// error:   a contribution that follows the fastest needs rounds and an update order without tracking
#include <rubato/algorithm/gossip.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/contribution/all.hpp>
#include <rubato/contribution/finished.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/synchrony/rounds.hpp>

template class rubato::gossip<rubato::backend::host<double>, rubato::order::r_fast, rubato::step::sgd,
                              rubato::weighting::constant, rubato::synchrony::free, rubato::ledger::floating,
                              rubato::codec::identity, rubato::contribution::SUBJECT>;
