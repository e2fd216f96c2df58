// SPDX-License-Identifier: MIT
// How a row of the catalogue makes its nodes. Node types are compiled in race_even.cpp and race_odd.cpp, once for all
// programs that run them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <utility>
#include <vector>

#include <rubato/contribution/finished.hpp>
#include <rubato/run/assemble.hpp>

#include "support/catalogue.hpp"
#include "support/node_options.hpp"
#include "support/race_catalogue.hpp"

namespace rubato::examples::detail {

/// The defaults of race, then the given settings. Throws config_error.
template<class Node>
auto options_of(algorithm_settings const& s) -> typename Node::options {
  typename Node::options o;
  o.step = s.step;
  o.seed = s.seed;
  o.block_values = s.block_values;
  if constexpr (requires { o.contribution.by; }) {
    o.contribution = {non_blocking_minibatches, contribution::weigh::nodes};
  }
  for (auto const& each : s.set) set_option(o, s.name, each);
  return o;
}

template<class Node>
auto minibatches_of(typename Node::options const& o) -> std::size_t {
  if constexpr (requires { o.contribution.minibatches; }) return o.contribution.minibatches;
  else return 1;
}

template<class Node>
auto settled(algorithm_settings const& s) -> settled_options {
  auto const o = options_of<Node>(s);
  return {listed(o), o.step, minibatches_of<Node>(o)};
}

template<class Node>
auto assembled_as(race_network const& network, race_objective const& problem, algorithm_settings const& s) -> entrant {
  auto const o = options_of<Node>(s);
  auto const parts = std::max<std::size_t>(minibatches_of<Node>(o), 1);  // for 0 the node itself reports the error
  auto const cut = parts > 1 ? problem.in_minibatches(parts) : problem;
  if (network.members) return {rubato::assemble<Node>(*network.members, cut, o), parts};
  if (network.rounds) return {rubato::assemble<Node>(*network.rounds, cut, o), parts};
  return {rubato::assemble<Node>(network.graphs, cut, o), parts};
}

/// Every second row, beginning with `First`: two files compile the node types, at the same time.
template<std::size_t First>
auto every_second_entry() -> std::vector<algorithm_entry> {
  constexpr auto& rows = catalogue_of<race_backend>;
  constexpr auto count = std::tuple_size_v<std::remove_cvref_t<decltype(rows)>>;
  std::vector<algorithm_entry> entries;
  auto const add = [&]<class Node>(catalogue_row<Node> const& row) {
    entries.push_back({row.name, row.race_step, row.race_network, &assembled_as<Node>, &settled<Node>});
  };
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (add(std::get<2 * I + First>(rows)), ...);
  }(std::make_index_sequence<(count + 1 - First) / 2>{});
  return entries;
}

}  // namespace rubato::examples::detail
