// SPDX-License-Identifier: MIT
// The plan of a run whose members come and go: a plan for each number of members, and the place of each node in it
// (topology/members.hpp). Nodes are assembled with an edge to every other node. Of these the driver opens those of the
// present members' plan, and each node takes its row of W, its column of A, its share and the gain from there. An edge
// that is not open yet, or not any more, leaves its weight to the node: rows of W and columns of A sum to one in any
// case, also while nodes differ about who is present.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/mixing/neighbourhood.hpp>
#include <rubato/topology/members.hpp>

namespace rubato::mixing {

/// **Thread safety:** const calls may come from several threads at once.
class member_plans {
 public:
  /// `by_count`: the plans of 1, 2, ... members, each perhaps with servers behind them, which are always there.
  /// Throws config_error if there is none, a number does not fit, or a plan is more than graphs and weights.
  explicit member_plans(std::vector<plan> by_count);

  [[nodiscard]] auto most() const -> std::size_t { return by_count_.size(); }
  [[nodiscard]] auto servers() const -> std::size_t { return by_count_[0].nodes.size() - 1; }
  /// *requires* 1 <= members <= most().
  [[nodiscard]] auto of(std::size_t members) const -> plan const& {
    RUBATO_EXPECTS(members >= 1 && members <= most(), "there is room for this number of members, which is not 0");
    return by_count_[members - 1];
  }

  /// The neighbourhood of a node among these members; without neighbours if it is none of them. *requires* ids below
  /// most(), in rising order, and at least one.
  [[nodiscard]] auto place(std::span<node_id const> present, node_id self) const -> neighbourhood;

 private:
  std::vector<plan> by_count_;
};

/// What flows over the edge between a node and `peer`: two ends that say the same may open it. Four bits: models and
/// mass to the node with the lower id (1, 2), and from it (4, 8). 0: there is no such edge.
[[nodiscard]] auto flows_with(neighbourhood const& n, node_id peer) -> std::uint8_t;

/// A plan with an edge between every two nodes (between workers and servers, where there are servers), which holds
/// these plans. Its own weights are those of no set of members.
[[nodiscard]] auto member_plan(std::vector<plan> by_count) -> plan;

#if RUBATO_BODIES
namespace detail {

/// The same with other names: member p is called names[p].
RUBATO_INLINE auto renamed(neighbourhood n, std::span<node_id const> names) -> neighbourhood {
  auto const name = [names](node_id& id) { id = names[to_index(id)]; };
  auto const by_id = [](weighted_edge const& a, weighted_edge const& b) { return a.peer < b.peer; };
  name(n.self);
  for (auto* list : {&n.pull_from, &n.push_to}) {
    for (auto& e : *list) name(e.peer);
    std::sort(list->begin(), list->end(), by_id);
  }
  for (auto* list : {&n.pull_to, &n.push_from}) {
    for (auto& id : *list) name(id);
    std::sort(list->begin(), list->end());
  }
  return n;
}

/// Node i with an edge to and from each of the others.
RUBATO_INLINE auto joined_to_all(std::size_t i, std::size_t n, bool pushes) -> neighbourhood {
  auto made = neighbourhood{};
  auto const weight = 1 / static_cast<double>(n);
  made.self = to_node(i);
  made.nodes = n;
  made.pull_self = 1 - static_cast<double>(n - 1) * weight;
  if (pushes) made.push_self = made.pull_self;
  for (std::size_t j = 0; j < n; ++j) {
    if (j == i) continue;
    made.pull_from.push_back({to_node(j), weight});
    made.pull_to.push_back(to_node(j));
    if (!pushes) continue;
    made.push_to.push_back({to_node(j), weight});
    made.push_from.push_back(to_node(j));
  }
  return made;
}

}  // namespace detail

RUBATO_INLINE member_plans::member_plans(std::vector<plan> by_count) : by_count_{std::move(by_count)} {
  if (by_count_.empty()) throw config_error{"a network whose members come and go needs room for at least one"};
  for (std::size_t k = 1; k <= by_count_.size(); ++k) {
    auto const& its = by_count_[k - 1];
    auto const& nodes = its.nodes;
    if (its.rounds || its.exchanges || its.momentum)
      throw config_error{"members come and go on graphs that stay, and the plan of " + std::to_string(k) +
                         " members, " + its.summary + ", has rounds, times or constants of its own"};
    if (nodes.empty() || nodes.front().nodes != k || nodes.size() != k + servers())
      throw config_error{"the plan of " + std::to_string(k) + " members, " + by_count_[k - 1].summary + ", is for " +
                         std::to_string(nodes.empty() ? 0 : nodes.front().nodes) + ": make the two agree"};
  }
}

RUBATO_INLINE auto member_plans::place(std::span<node_id const> present, node_id self) const -> neighbourhood {
  auto names = topology::seats(present);
  for (std::size_t s = 0; s < servers(); ++s) names.push_back(to_node(most() + s));
  auto const at = std::find(names.begin(), names.end(), self);
  if (at == names.end()) {
    auto alone = neighbourhood{};
    alone.self = self;
    return alone;
  }
  return detail::renamed(of(present.size()).nodes[static_cast<std::size_t>(at - names.begin())], names);
}

RUBATO_INLINE auto flows_with(neighbourhood const& n, node_id peer) -> std::uint8_t {
  auto const has = [peer](auto const& list) {
    return std::any_of(list.begin(), list.end(), [peer](auto const& e) {
      if constexpr (requires { e.peer; }) return e.peer == peer;
      else return e == peer;
    });
  };
  auto const in = (has(n.pull_from) ? 1U : 0U) | (has(n.push_from) ? 2U : 0U);
  auto const out = (has(n.pull_to) ? 1U : 0U) | (has(n.push_to) ? 2U : 0U);
  return static_cast<std::uint8_t>(n.self < peer ? in | out << 2 : out | in << 2);
}

RUBATO_INLINE auto member_plan(std::vector<plan> by_count) -> plan {
  auto const all = std::make_shared<member_plans const>(std::move(by_count));
  auto const n = all->most();
  auto made = all->of(n);
  if (all->servers() == 0) {
    auto const& nodes = made.nodes;
    auto const pushes = std::any_of(nodes.begin(), nodes.end(), [](auto const& one) { return !one.push_to.empty(); });
    for (std::size_t i = 0; i < n; ++i) made.nodes[i] = detail::joined_to_all(i, n, pushes);
  }
  made.summary += ", members come and go";
  made.members = all;
  return made;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
