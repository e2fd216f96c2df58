// SPDX-License-Identifier: MIT
// Node types that the library rubato::instances compiles once, so that no file that uses one compiles it again. That
// target defines RUBATO_USE_INSTANCES, and with it rubato/rubato.hpp includes this; without it nothing is different.
// (instances/eigen.hpp has those of backend::eigen.)
#pragma once

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/aliases.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/algorithm/server_aliases.hpp>
#include <rubato/backend/host.hpp>

/// r_fast, push_pull, d_psgd, ad_psgd, ring_allreduce_sgd and asgd of one backend, with the policies that their aliases
/// have by default, and the parts that the first three stand on. HOW is `extern` where they are declared and empty where they are compiled.
#define RUBATO_NODE_INSTANCES(HOW, BACKEND)                                                                            \
  HOW template class detail::tracker<BACKEND, detail::default_ledger<BACKEND::scalar>, codec::identity,               \
                                     synchrony::free>;                                                                 \
  HOW template class detail::tracker<BACKEND, detail::default_ledger<BACKEND::scalar>, codec::identity,               \
                                     synchrony::rounds>;                                                               \
  HOW template class detail::model_exchange<BACKEND, weighting::constant, synchrony::free>;                            \
  HOW template class detail::model_exchange<BACKEND, weighting::constant, synchrony::rounds>;                          \
  HOW template class r_fast<BACKEND>;                                                                                  \
  HOW template class push_pull<BACKEND>;                                                                               \
  HOW template class gossip<BACKEND, order::combine_while_computing, step::sgd, weighting::constant,                   \
                            synchrony::rounds, ledger::floating>;                                                      \
  HOW template class ad_psgd<BACKEND>;                                                                                 \
  HOW template class ring_allreduce_sgd<BACKEND>;                                                                      \
  HOW template class server_sgd<BACKEND>

#if RUBATO_USE_INSTANCES
namespace rubato {
RUBATO_NODE_INSTANCES(extern, backend::host<float>);
RUBATO_NODE_INSTANCES(extern, backend::host<double>);
}  // namespace rubato
#endif
