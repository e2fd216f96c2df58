// SPDX-License-Identifier: MIT
// How a row of race's catalogue makes its nodes.
#pragma once

#include <rubato/rubato.hpp>

#include "support/race_catalogue.hpp"

namespace rubato::examples {

namespace detail {

template<class Node>
auto assemble_as(topology::pair const& network, race_objective const& problem, race_step const& s) -> entrant {
  typename Node::options o;
  o.step = s.step;
  o.seed = s.seed;
  o.block_values = s.block_values;
  if constexpr (requires { o.m; }) o.m = s.m;
  return {rubato::assemble<Node>(network, problem, o)};
}

/// Weighed by nodes, for the race's nodes hold different labels.
template<class Node>
auto assemble_non_blocking(topology::pair const& network, race_objective const& problem, race_step const& s) -> entrant {
  constexpr auto parts = non_blocking_minibatches;
  typename Node::options o;
  o.step = s.step;
  o.seed = s.seed;
  o.block_values = s.block_values;
  o.contribution = {parts, s.weigh};
  return {rubato::assemble<Node>(network, problem.in_minibatches(parts), o), parts};
}

}  // namespace detail

}  // namespace rubato::examples
