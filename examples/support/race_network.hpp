// SPDX-License-Identifier: MIT
// A network by its name on a command line: a graph, or rounds of graphs that change.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <rubato/mixing/named_rounds.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/topology/zlib.hpp>

namespace rubato::examples {

/// A pair of graphs; where it changes from round to round, all edges of all rounds, and the rounds.
struct race_network : topology::pair {
  race_network(topology::pair graphs) : topology::pair{std::move(graphs)} {}
  std::shared_ptr<mixing::schedule const> rounds{};
};

[[nodiscard]] inline auto known_networks() -> std::string {
  return topology::known_names() + "; or graphs that change: " + mixing::known_rounds();
}

/// `n` nodes, or, if it is empty, 8 or as many as a file has. Throws config_error for a name that is none.
[[nodiscard]] inline auto network_named(std::string const& name, std::optional<std::size_t> n) -> race_network {
  if (auto rounds = mixing::rounds_by_name(name, n.value_or(8))) {
    auto network = race_network{topology::pair{rounds->union_graph()}};
    network.rounds = std::make_shared<mixing::schedule const>(*std::move(rounds));
    return network;
  }
  return topology::pair{
      topology::by_name(name, n.value_or(name.starts_with("file:") ? 0 : 8), &topology::read_zipped_edge_list)};
}

}  // namespace rubato::examples
