// SPDX-License-Identifier: MIT
// How a row of race's catalogue makes its nodes.
#pragma once

#include <rubato/rubato.hpp>

#include "support/race_catalogue.hpp"

namespace rubato::examples {

namespace detail {

template<class Node>
auto options_of(race_step const& s) -> typename Node::options {
  typename Node::options o;
  o.step = s.step;
  o.seed = s.seed;
  o.block_values = s.block_values;
  return o;
}

template<class Node>
auto assemble_as(topology::pair const& network, race_objective const& problem, race_step const& s) -> entrant {
  auto o = options_of<Node>(s);
  if constexpr (requires { o.m; }) o.m = s.m;
  return {rubato::assemble<Node>(network, problem, o)};
}

/// Its nodes compute their batch in parts, and contribute those that are done.
template<class Node>
auto assemble_non_blocking(topology::pair const& network, race_objective const& problem, race_step const& s)
    -> entrant {
  constexpr auto parts = non_blocking_minibatches;
  auto o = options_of<Node>(s);
  o.contribution = {parts, s.weigh};
  return {rubato::assemble<Node>(network, problem.in_minibatches(parts), o), parts};
}

}  // namespace detail

}  // namespace rubato::examples
