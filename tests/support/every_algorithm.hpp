// SPDX-License-Identifier: MIT
// Every node type under one roof, for promises that all of them make.
#pragma once

#include <functional>
#include <string>
#include <type_traits>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/async_model_average.hpp>
#include <rubato/algorithm/byte_grad.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/low_precision_d_psgd.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/non_blocking_allreduce.hpp>
#include <rubato/algorithm/non_blocking_d_psgd.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/r_fast_low_bits.hpp>
#include <rubato/algorithm/rescaled_asgd.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/algorithm/ringmaster_asgd.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/server/buffered.hpp>

namespace rubato::test {

/// visit(name, make) for each algorithm; make() assembles a run of it on `network`, with a step that suits a mean of
/// quadratics.
template<class Problem>
void for_every_algorithm(topology::pair const& network, Problem const& problem,
                         std::function<void(std::string const&, std::function<assembly()> const&)> const& visit) {
  using space = backend::host<double>;
  auto const one = [&]<class Node>(std::string const& name, std::type_identity<Node>, auto const& set) {
    visit(name, [&] {
      typename Node::options o;
      o.step = 0.02;
      set(o);
      return assemble<Node>(network, problem, o);
    });
  };
  auto const plain = [](auto&) {};
  one("r_fast", std::type_identity<r_fast<space>>{}, plain);
  one("r_fast, fixed point", std::type_identity<r_fast<space, step::sgd, weighting::constant, ledger::fixed_point>>{},
      plain);
  one("r_fast_low_bits", std::type_identity<r_fast_low_bits<space>>{}, plain);
  one("push_pull", std::type_identity<push_pull<space>>{}, plain);
  one("s_ab", std::type_identity<s_ab<space>>{}, plain);
  one("d_psgd", std::type_identity<d_psgd<space>>{}, plain);
  one("d_psgd_atc", std::type_identity<d_psgd_atc<space>>{}, plain);
  one("non_blocking_d_psgd", std::type_identity<non_blocking_d_psgd<space>>{},
      [](auto& o) { o.contribution.minibatches = 2; });
  one("ad_psgd", std::type_identity<ad_psgd<space>>{}, plain);
  one("osgp", std::type_identity<osgp<space>>{}, plain);
  one("low_precision_d_psgd", std::type_identity<low_precision_d_psgd<space>>{}, plain);
  one("ring_allreduce_sgd", std::type_identity<ring_allreduce_sgd<space>>{}, plain);
  one("non_blocking_allreduce", std::type_identity<non_blocking_allreduce<space>>{},
      [](auto& o) { o.contribution.minibatches = 2; });
  one("scatter_allreduce_sgd", std::type_identity<scatter_allreduce_sgd<space>>{}, plain);
  one("byte_grad", std::type_identity<byte_grad<space>>{}, plain);
  one("async_model_average", std::type_identity<async_model_average<space>>{}, plain);
  one("m_synchronous_sgd", std::type_identity<m_synchronous_sgd<space>>{}, plain);
  one("asgd", std::type_identity<asgd<space>>{}, plain);
  one("rescaled_asgd", std::type_identity<rescaled_asgd<space>>{}, plain);
  one("ringmaster_asgd", std::type_identity<ringmaster_asgd<space>>{},
      [](auto& o) { o.acceptance = {.limit = 6, .late = server::late_jobs::stop}; });
  one("buffered server",
      std::type_identity<server_sgd<space, server::accept_all, weighting::constant, server::buffered>>{},
      [](auto& o) { o.aggregation.size = 2; });
}

}  // namespace rubato::test
