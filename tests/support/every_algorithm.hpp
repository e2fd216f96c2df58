// SPDX-License-Identifier: MIT
// Every node type under one roof, for promises that all of them make.
#pragma once

#include <functional>
#include <string>
#include <type_traits>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/server/buffered.hpp>
#include <rubato/topology/builders.hpp>

#include "../../examples/support/catalogue.hpp"
#include "support/catalogue_instances.hpp"

namespace rubato::test {

/// visit(name, make) for each algorithm of the catalogue, and for some that are not in it; make() assembles a run of
/// it on `network`, or on a line of as many nodes if it
/// needs two sides, with a step that suits a mean of quadratics, over a pool() of its own.
template<class Problem>
void for_every_algorithm(
    topology::pair const& network, Problem const& problem,
    std::function<void(std::string const&, std::function<assembly()> const&)> const& visit,
    std::function<buffer_pool()> const& pool = [] { return buffer_pool{}; }) {
  using on_host = backend::host<double>;
  auto const one = [&]<class Node>(std::string const& name, std::type_identity<Node>, auto const& set) {
    visit(name, [&] {
      typename Node::options o;
      o.step = 0.02;
      set(o);
      if constexpr (requires { Node::needs_two_sides; })  // a ring of three has none
        return assemble<Node>(topology::both(topology::line(network.nodes())), problem, o, on_host{pool()});
      else return assemble<Node>(network, problem, o, on_host{pool()});
    });
  };
  examples::for_each_algorithm<on_host>([&]<class Node>(examples::catalogue_row<Node> const& row) {
    one(std::string{row.name}, std::type_identity<Node>{}, [](auto& o) {
      if constexpr (requires { o.contribution.by; }) o.contribution.minibatches = 2;
      if constexpr (std::is_same_v<Node, clipped_asgd<on_host>>) o.step_rule = step::clipped_by_norm<>{step::sgd{}, 10};
      if constexpr (requires { o.trials; }) o.trials = {.deadlines = {0.5}, .counts = {2}};
      if constexpr (requires { o.acceptance.limit; }) o.acceptance = {.limit = 6, .late = server::late_jobs::stop};
    });
  });
  auto const plain = [](auto&) {};
  one("r_fast, fixed point", std::type_identity<r_fast<on_host, step::sgd, weighting::constant, ledger::fixed_point>>{},
      plain);
  one("scatter_allreduce_sgd", std::type_identity<scatter_allreduce_sgd<on_host>>{}, plain);
  one("buffered server",
      std::type_identity<server_sgd<on_host, server::accept_all, weighting::constant, server::buffered>>{},
      [](auto& o) { o.aggregation.size = 2; });
}

}  // namespace rubato::test
