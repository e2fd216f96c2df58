// SPDX-License-Identifier: MIT
// What every plan must satisfy, whatever it was made from.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include <rubato/mixing/neighbourhood.hpp>

#include "support/catch.hpp"

namespace rubato::test {

inline auto peers_of(std::vector<mixing::weighted_edge> const& list) -> std::vector<node_id> {
  auto peers = std::vector<node_id>{};
  for (auto const& w : list) peers.push_back(w.peer);
  return peers;
}

inline auto holds(std::vector<node_id> const& list, node_id id) -> bool {
  return std::find(list.begin(), list.end(), id) != list.end();
}

/// Lists are sorted without doubles or self-loops, their sums are one, and the two ends of each edge agree.
inline void check_plan(mixing::plan const& made) {
  auto const sum_of = [](double self, std::vector<mixing::weighted_edge> const& others) {
    for (auto const& w : others) self += w.weight;
    return self;
  };
  for (auto i = std::size_t{0}; i < made.nodes.size(); ++i) {
    auto const& node = made.nodes[i];
    CHECK(node.self == to_node(i));
    CHECK(sum_of(node.pull_self, node.pull_from) == Approx(1.0).epsilon(1e-12));
    CHECK(sum_of(node.push_self, node.push_to) == Approx(1.0).epsilon(1e-12));
    auto const lists = {peers_of(node.pull_from), node.pull_to, peers_of(node.push_to), node.push_from};
    for (auto const& list : lists) {
      CHECK(std::adjacent_find(list.begin(), list.end(), std::greater_equal<>{}) == list.end());
      CHECK_FALSE(holds(list, node.self));
    }
    for (auto const& w : node.pull_from) CHECK(holds(made.nodes[to_index(w.peer)].pull_to, node.self));
    for (auto const id : node.pull_to) CHECK(holds(peers_of(made.nodes[to_index(id)].pull_from), node.self));
    for (auto const& w : node.push_to) CHECK(holds(made.nodes[to_index(w.peer)].push_from, node.self));
    for (auto const id : node.push_from) CHECK(holds(peers_of(made.nodes[to_index(id)].push_to), node.self));
  }
  CHECK(made.gain > 0);
  CHECK_FALSE(made.summary.empty());
}

}  // namespace rubato::test
