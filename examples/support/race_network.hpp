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
#include <rubato/topology/members.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/topology/zlib.hpp>

namespace rubato::examples {

/// All edges of a graph and, where it changes from round to round, the rounds; otherwise null.
struct named_graph {
  topology::digraph edges;
  std::shared_ptr<mixing::schedule const> rounds{};
};

/// The same as algorithms are given it; where members come and go, `graphs` is that of all of them.
struct race_network {
  topology::pair graphs;
  std::shared_ptr<mixing::schedule const> rounds{};
  std::shared_ptr<topology::member_graphs const> members{};
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

/// Graphs of that name for 1, 2, ... `most` members. Throws config_error for one that is not for any number of nodes.
[[nodiscard]] inline auto members_named(std::string const& name, std::size_t most) -> race_network {
  auto const is_fixed = name.starts_with("file:") || name.starts_with("grid:") || name.starts_with("torus:");
  if (is_fixed || mixing::rounds_by_name(name, most))
    throw config_error{
        "members come and go on graphs that there are for any number of nodes, such as ring, star or "
        "binary-tree, and '" +
        escaped(name) + (is_fixed ? "' has a number of its own" : "' changes from round to round")};
  auto const all = std::make_shared<topology::member_graphs const>(
      most, [&](std::size_t k) { return network_named(name, k).graphs; });
  return {all->of(most), {}, all};
}

}  // namespace rubato::examples
