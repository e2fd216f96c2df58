// SPDX-License-Identifier: MIT
// A network by its name on a command line: a graph, or rounds of graphs that change.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/mixing/named_rounds.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/topology/zlib.hpp>

namespace rubato::examples {

/// All edges of a graph and, where it changes from round to round, the rounds; otherwise null.
struct named_graph {
  topology::digraph edges;
  std::shared_ptr<mixing::schedule const> rounds{};
};

/// The same as algorithms are given it.
struct race_network {
  topology::pair graphs;
  std::shared_ptr<mixing::schedule const> rounds{};
};

[[nodiscard]] inline auto known_networks() -> std::string {
  return topology::known_names() + "; or graphs that change: " + mixing::known_rounds();
}

/// `n` nodes, or, if it is empty, as many as a file or a form like torus:4x5 has, or 8. Throws config_error for a name
/// that is none.
[[nodiscard]] inline auto graph_named(std::string const& name, std::optional<std::size_t> n) -> named_graph {
  if (auto rounds = mixing::rounds_by_name(name, n.value_or(8))) {
    auto edges = rounds->union_graph();
    return {std::move(edges), std::make_shared<mixing::schedule const>(*std::move(rounds))};
  }
  if (!topology::knows_name(name))
    throw config_error{"there is no topology '" + escaped(name) + "': take one of " + known_networks()};
  auto const says_nodes = name.starts_with("file:") || name.starts_with("grid:") || name.starts_with("torus:");
  return {topology::by_name(name, n.value_or(says_nodes ? 0 : 8), &topology::read_zipped_edge_list)};
}
[[nodiscard]] inline auto network_named(std::string const& name, std::optional<std::size_t> n) -> race_network {
  auto graph = graph_named(name, n);
  return {topology::pair{std::move(graph.edges)}, std::move(graph.rounds)};
}

}  // namespace rubato::examples
