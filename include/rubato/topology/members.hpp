// SPDX-License-Identifier: MIT
// Graphs for a network whose members come and go: one for each number of members, and who sits where in it. Both follow
// from the set of present members alone, so every node finds the same graph, and nobody has to tell it.
//   Of k members, those with ids below k sit at the place of their id; the others take the free places, lowest first.
// So if one of k members leaves, those at the places of their ids stay there, unless that place is the last one. The
// others may move. The root of a tree is the place that the builder says, whoever sits there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato::topology {

/// Throws config_error unless these are ids below `most`, in rising order, and at least one.
void require_members(std::span<node_id const> present, std::size_t most);

/// The member at each of the k places; *requires* ids in rising order. O(k).
[[nodiscard]] auto seats(std::span<node_id const> present) -> std::vector<node_id>;

/// A pair of graphs for each number of members, up to the largest.
class member_graphs {
 public:
  /// graph_of(k): a graph or a pair for k members, k = 1 .. most, such as topology::binary_tree. Throws config_error if
  /// `most` is 0 or a graph has another number of nodes, and what a pair throws.
  template<class Builder>
  member_graphs(std::size_t most, Builder const& graph_of) {
    for (std::size_t k = 1; k <= most; ++k) add(pair{graph_of(k)});
    if (most == 0) throw config_error{"a network whose members come and go needs room for at least one"};
  }

  /// The largest number of members; their ids are below it.
  [[nodiscard]] auto most() const -> std::size_t { return by_count_.size(); }
  /// *requires* 1 <= members <= most().
  [[nodiscard]] auto of(std::size_t members) const -> pair const& {
    RUBATO_EXPECTS(members >= 1 && members <= most(), "there is room for this number of members, which is not 0");
    return by_count_[members - 1];
  }
  /// Who is the root of these members' pair. *requires* ids below most(), in rising order.
  [[nodiscard]] auto root(std::span<node_id const> present) const -> node_id {
    return seats(present)[to_index(of(present.size()).root())];
  }

 private:
  void add(pair graphs);
  std::vector<pair> by_count_;
};

#if RUBATO_BODIES
RUBATO_INLINE void require_members(std::span<node_id const> present, std::size_t most) {
  if (present.empty()) throw config_error{"a set of members must hold at least one node"};
  for (std::size_t i = 0; i < present.size(); ++i) {
    auto const who = "node " + std::to_string(to_index(present[i]));
    if (to_index(present[i]) >= most)
      throw config_error{who + " cannot be a member: the network has room for nodes 0 to " + std::to_string(most - 1)};
    if (i > 0 && present[i] == present[i - 1]) throw config_error{who + " is twice in a set of members"};
    if (i > 0 && present[i] < present[i - 1])
      throw config_error{"a set of members is in rising order, and " + who + " comes after node " +
                         std::to_string(to_index(present[i - 1]))};
  }
}

RUBATO_INLINE auto seats(std::span<node_id const> present) -> std::vector<node_id> {
  auto const k = present.size();
  auto const at_home = std::lower_bound(present.begin(), present.end(), to_node(k));
  auto guest = at_home;
  auto home = present.begin();
  auto at = std::vector<node_id>(k);
  for (std::size_t place = 0; place < k; ++place)
    at[place] = home != at_home && to_index(*home) == place ? *home++ : *guest++;
  return at;
}

RUBATO_INLINE void member_graphs::add(pair graphs) {
  auto const k = by_count_.size() + 1;
  if (graphs.nodes() != k)
    throw config_error{"the graph of " + std::to_string(k) + " members, '" + graphs.name() + "', has " +
                       std::to_string(graphs.nodes()) + " nodes: make the two agree"};
  by_count_.push_back(std::move(graphs));
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
