// SPDX-License-Identifier: MIT
// Everything that needs the standard library alone: the maths, the simulator and the threads driver. Backends with a
// dependency are included by name (rubato/backend/eigen.hpp), and so are reports (rubato/report.hpp).
#pragma once

#include <rubato/algorithm/a2cid2.hpp>
#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/adsgd.hpp>
#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/asy_sonata.hpp>
#include <rubato/algorithm/async_dgd_atc.hpp>
#include <rubato/algorithm/async_model_average.hpp>
#include <rubato/algorithm/bipartite_ad_psgd.hpp>
#include <rubato/algorithm/byte_grad.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/delayed_randomized_gossip.hpp>
#include <rubato/algorithm/dsgt.hpp>
#include <rubato/algorithm/extra.hpp>
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/low_precision_d_psgd.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/matcha.hpp>
#include <rubato/algorithm/non_blocking_allreduce.hpp>
#include <rubato/algorithm/non_blocking_d_psgd.hpp>
#include <rubato/algorithm/non_blocking_matcha.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/prox_dgd.hpp>
#include <rubato/algorithm/push_diging.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/r_fast_low_bits.hpp>
#include <rubato/algorithm/rasgp.hpp>
#include <rubato/algorithm/rescaled_asgd.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/algorithm/ringmaster_asgd.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/algorithm/sgp.hpp>
#include <rubato/backend/checked.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/bf16.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/mixing.hpp>
#include <rubato/problem.hpp>
#include <rubato/server/buffered.hpp>
#include <rubato/server/known_times.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/step/clipped_by_norm.hpp>
#include <rubato/step/clipped_by_value.hpp>
#include <rubato/step/decayed.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/synchrony/bounded_staleness.hpp>
#include <rubato/topology.hpp>
#include <rubato/version.hpp>
#include <rubato/weighting/drop_older_than.hpp>
#include <rubato/weighting/exponential.hpp>
#include <rubato/weighting/hinge.hpp>
#include <rubato/weighting/polynomial.hpp>

#if RUBATO_USE_INSTANCES
#include <rubato/instances.hpp>
#endif
