// SPDX-License-Identifier: MIT
// Node types that the library rubato::instances compiles once, so that no file that assembles one compiles it again.
// That target defines RUBATO_USE_INSTANCES, and with it rubato/rubato.hpp includes this; without it nothing is
// different. (instances/eigen.hpp has those of backend::eigen.)
#pragma once

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/run/assemble.hpp>

/// All that assembling and running nodes of this type compiles. HOW is `extern` where it is declared and empty where it
/// is compiled.
#define RUBATO_NODE_INSTANCE(HOW, ...)                                                                                 \
  HOW template void detail::add_nodes<__VA_ARGS__>(assembly&, mixing::plan const&, std::vector<__VA_ARGS__::options>&, \
                                                   __VA_ARGS__::backend_type const&, shared_buffer const&,             \
                                                   std::span<double const>)

/// r_fast, push_pull, d_psgd, ad_psgd, ring_allreduce_sgd and asgd of one backend, with the policies that their aliases
/// have by default.
#define RUBATO_NODE_INSTANCES(HOW, BACKEND)               \
  RUBATO_NODE_INSTANCE(HOW, r_fast<BACKEND>);             \
  RUBATO_NODE_INSTANCE(HOW, push_pull<BACKEND>);          \
  RUBATO_NODE_INSTANCE(HOW, d_psgd<BACKEND>);             \
  RUBATO_NODE_INSTANCE(HOW, ad_psgd<BACKEND>);            \
  RUBATO_NODE_INSTANCE(HOW, ring_allreduce_sgd<BACKEND>); \
  RUBATO_NODE_INSTANCE(HOW, asgd<BACKEND>)

#if RUBATO_USE_INSTANCES
namespace rubato {
RUBATO_NODE_INSTANCES(extern, backend::host<float>);
RUBATO_NODE_INSTANCES(extern, backend::host<double>);
}  // namespace rubato
#endif
