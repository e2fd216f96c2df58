// SPDX-License-Identifier: MIT
// The node types of the catalogue on backend::host<double>, which most tests of algorithms run, compiled once for all
// programs of tests (rubato_catalogue_instances) and not by each file that assembles them. Those that rubato::instances
// has are not here. A law (tests/laws/names_have_files.sh) demands that every row of the catalogue is in one of them.
#pragma once

#include <rubato/backend/host.hpp>
#include <rubato/instances.hpp>

#include "../../examples/support/catalogue.hpp"

#define RUBATO_CATALOGUE_GROUP_0(HOW)                                  \
  RUBATO_NODE_INSTANCE(HOW, r_fast_low_bits<backend::host<double>>);   \
  RUBATO_NODE_INSTANCE(HOW, r_fast_referenced<backend::host<double>>); \
  RUBATO_NODE_INSTANCE(HOW, push_diging<backend::host<double>>);       \
  RUBATO_NODE_INSTANCE(HOW, choco_sgd<backend::host<double>>);         \
  RUBATO_NODE_INSTANCE(HOW, prox_dgd<backend::host<double>>);          \
  RUBATO_NODE_INSTANCE(HOW, a2cid2<backend::host<double>>);            \
  RUBATO_NODE_INSTANCE(HOW, rasgp<backend::host<double>>);             \
  RUBATO_NODE_INSTANCE(HOW, m_synchronous_sgd<backend::host<double>>); \
  RUBATO_NODE_INSTANCE(HOW, clipped_asgd<backend::host<double>>);      \
  RUBATO_NODE_INSTANCE(HOW, asgrad<backend::host<double>>);            \
  RUBATO_NODE_INSTANCE(HOW, dude_asgd<backend::host<double>>);         \
  RUBATO_NODE_INSTANCE(HOW, local_sgd<backend::host<double>>);         \
  RUBATO_NODE_INSTANCE(HOW, slowmo<backend::host<double>>);            \
  RUBATO_NODE_INSTANCE(HOW, qadam<backend::host<double>>);             \
  RUBATO_NODE_INSTANCE(HOW, lead<backend::host<double>>)

#define RUBATO_CATALOGUE_GROUP_1(HOW)                                          \
  RUBATO_NODE_INSTANCE(HOW, asy_sonata<backend::host<double>>);                \
  RUBATO_NODE_INSTANCE(HOW, extra<backend::host<double>>);                     \
  RUBATO_NODE_INSTANCE(HOW, power_sgd<backend::host<double>>);                 \
  RUBATO_NODE_INSTANCE(HOW, non_blocking_d_psgd<backend::host<double>>);       \
  RUBATO_NODE_INSTANCE(HOW, adsgd<backend::host<double>>);                     \
  RUBATO_NODE_INSTANCE(HOW, delayed_randomized_gossip<backend::host<double>>); \
  RUBATO_NODE_INSTANCE(HOW, async_model_average<backend::host<double>>);       \
  RUBATO_NODE_INSTANCE(HOW, rescaled_asgd<backend::host<double>>);             \
  RUBATO_NODE_INSTANCE(HOW, dasgd<backend::host<double>>);                     \
  RUBATO_NODE_INSTANCE(HOW, rennala_sgd<backend::host<double>>);               \
  RUBATO_NODE_INSTANCE(HOW, piag<backend::host<double>>);                      \
  RUBATO_NODE_INSTANCE(HOW, diloco<backend::host<double>>);                    \
  RUBATO_NODE_INSTANCE(HOW, async_diloco<backend::host<double>>);              \
  RUBATO_NODE_INSTANCE(HOW, deepsqueeze<backend::host<double>>);               \
  RUBATO_NODE_INSTANCE(HOW, dasa<backend::host<double>>);                      \
  RUBATO_NODE_INSTANCE(HOW, dcd_sgd<backend::host<double>>)

#define RUBATO_CATALOGUE_GROUP_2(HOW)                                 \
  RUBATO_NODE_INSTANCE(HOW, s_ab<backend::host<double>>);             \
  RUBATO_NODE_INSTANCE(HOW, d_psgd_atc<backend::host<double>>);       \
  RUBATO_NODE_INSTANCE(HOW, matcha<backend::host<double>>);           \
  RUBATO_NODE_INSTANCE(HOW, async_dgd_atc<backend::host<double>>);    \
  RUBATO_NODE_INSTANCE(HOW, sgp<backend::host<double>>);              \
  RUBATO_NODE_INSTANCE(HOW, byte_grad<backend::host<double>>);        \
  RUBATO_NODE_INSTANCE(HOW, ringmaster_asgd<backend::host<double>>);  \
  RUBATO_NODE_INSTANCE(HOW, dc_asgd<backend::host<double>>);          \
  RUBATO_NODE_INSTANCE(HOW, malenia_sgd<backend::host<double>>);      \
  RUBATO_NODE_INSTANCE(HOW, fedbuff<backend::host<double>>);          \
  RUBATO_NODE_INSTANCE(HOW, streaming_diloco<backend::host<double>>); \
  RUBATO_NODE_INSTANCE(HOW, quorum_diloco<backend::host<double>>);    \
  RUBATO_NODE_INSTANCE(HOW, beer<backend::host<double>>);             \
  RUBATO_NODE_INSTANCE(HOW, c_gt<backend::host<double>>)

#define RUBATO_CATALOGUE_GROUP_3(HOW)                                       \
  RUBATO_NODE_INSTANCE(HOW, dsgt<backend::host<double>>);                   \
  RUBATO_NODE_INSTANCE(HOW, low_precision_d_psgd<backend::host<double>>);   \
  RUBATO_NODE_INSTANCE(HOW, non_blocking_matcha<backend::host<double>>);    \
  RUBATO_NODE_INSTANCE(HOW, bipartite_ad_psgd<backend::host<double>>);      \
  RUBATO_NODE_INSTANCE(HOW, osgp<backend::host<double>>);                   \
  RUBATO_NODE_INSTANCE(HOW, non_blocking_allreduce<backend::host<double>>); \
  RUBATO_NODE_INSTANCE(HOW, delay_adaptive_asgd<backend::host<double>>);    \
  RUBATO_NODE_INSTANCE(HOW, naive_optimal_asgd<backend::host<double>>);     \
  RUBATO_NODE_INSTANCE(HOW, ringleader_asgd<backend::host<double>>);        \
  RUBATO_NODE_INSTANCE(HOW, fedasync<backend::host<double>>);               \
  RUBATO_NODE_INSTANCE(HOW, sparse_loco<backend::host<double>>);            \
  RUBATO_NODE_INSTANCE(HOW, mindflayer<backend::host<double>>);             \
  RUBATO_NODE_INSTANCE(HOW, noloco<backend::host<double>>);                 \
  RUBATO_NODE_INSTANCE(HOW, bucketed_allreduce_sgd<backend::host<double>>); \
  RUBATO_NODE_INSTANCE(HOW, post_local_sgd<backend::host<double>>)

#if RUBATO_USE_CATALOGUE_INSTANCES
namespace rubato {
RUBATO_CATALOGUE_GROUP_0(extern);
RUBATO_CATALOGUE_GROUP_1(extern);
RUBATO_CATALOGUE_GROUP_2(extern);
RUBATO_CATALOGUE_GROUP_3(extern);
}  // namespace rubato
#endif
