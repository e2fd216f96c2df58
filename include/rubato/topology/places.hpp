// SPDX-License-Identifier: MIT
// Where nodes stand in a picture: on a circle, by the levels of a tree, in rows and columns, or in groups. One unit is
// about the distance of neighbours; y points down.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/lattices.hpp>
#include <rubato/topology/reachability.hpp>

namespace rubato::topology {

/// A place in a picture.
struct point {
  double x = 0;
  double y = 0;
};

/// Clockwise, node 0 at the top.
[[nodiscard]] auto circle_places(std::size_t n) -> std::vector<point>;

[[nodiscard]] auto lattice_places(lattice_shape shape) -> std::vector<point>;

/// Groups as small circles on a large one, leaders inside. *requires* what group_begins() gives.
[[nodiscard]] auto group_places(std::vector<std::size_t> const& begins) -> std::vector<point>;

/// The breadth-first tree from `root`, level by level downwards; from left to right where it is longer than wide, and
/// around the root where it is much wider than long. *requires* that the root reaches all nodes.
[[nodiscard]] auto tree_places(digraph const& graph, node_id root) -> std::vector<point>;

/// What suits the graph: tree_places() if it is an undirected tree, else circle_places().
[[nodiscard]] auto places_of(digraph const& graph) -> std::vector<point>;

#if RUBATO_BODIES
namespace detail {

inline constexpr auto whole_turn = 6.283185307179586;

/// On a circle of this radius, as a clock hand at this part of a turn.
RUBATO_INLINE auto on_clock(double radius, double part) -> point {
  return {radius * std::sin(whole_turn * part), -radius * std::cos(whole_turn * part)};
}

/// The radius at which n nodes on a circle are one unit apart.
RUBATO_INLINE auto circle_radius(std::size_t n) -> double {
  return n < 2 ? 0.0 : 0.5 / std::sin(whole_turn / 2 / static_cast<double>(n));
}

}  // namespace detail

RUBATO_INLINE auto circle_places(std::size_t n) -> std::vector<point> {
  auto places = std::vector<point>{};
  for (auto i = std::size_t{0}; i < n; ++i)
    places.push_back(detail::on_clock(detail::circle_radius(n), static_cast<double>(i) / static_cast<double>(n)));
  return places;
}

RUBATO_INLINE auto lattice_places(lattice_shape shape) -> std::vector<point> {
  auto places = std::vector<point>{};
  for (auto r = std::size_t{0}; r < shape.rows; ++r)
    for (auto c = std::size_t{0}; c < shape.columns; ++c)
      places.push_back({static_cast<double>(c), static_cast<double>(r)});
  return places;
}

RUBATO_INLINE auto group_places(std::vector<std::size_t> const& begins) -> std::vector<point> {
  auto const groups = begins.size() - 1;
  auto const inner = detail::circle_radius(begins[1] - begins[0]);
  auto const large = detail::circle_radius(groups) * (2 * inner + 1);
  auto places = std::vector<point>{};
  for (auto g = std::size_t{0}; g < groups; ++g) {
    auto const direction = static_cast<double>(g) / static_cast<double>(groups);
    auto const middle = detail::on_clock(large, direction);
    auto const size = begins[g + 1] - begins[g];
    for (auto k = std::size_t{0}; k < size; ++k) {
      // The leader stands opposite to the direction of its group.
      auto const turn = direction + 0.5 + static_cast<double>(k) / static_cast<double>(size);
      auto const at = detail::on_clock(detail::circle_radius(size), turn);
      places.push_back({middle.x + at.x, middle.y + at.y});
    }
  }
  return places;
}

RUBATO_INLINE auto tree_places(digraph const& graph, node_id root) -> std::vector<point> {
  auto const tree = search_from(graph, root);
  RUBATO_EXPECTS(tree.reaches_all(), "tree_places() needs a root that reaches all nodes");
  auto const n = graph.nodes();
  auto leaves = std::vector<std::size_t>(n, 0);  // below each node
  auto level = std::vector<std::size_t>(n, 0);
  auto deepest = std::size_t{0};
  auto const parent = [&](node_id id) { return to_index(tree.parent[to_index(id)]); };
  for (auto k = n; k-- > 0;) {
    auto const id = tree.order[k];
    if (leaves[to_index(id)] == 0) leaves[to_index(id)] = 1;
    if (id != root) leaves[parent(id)] += leaves[to_index(id)];
  }
  auto used = std::vector<double>(n, 0.0);  // by the children placed so far
  auto places = std::vector<point>(n);
  for (auto const id : tree.order) {
    auto const i = to_index(id);
    if (id != root) {
      used[i] = used[parent(id)];
      used[parent(id)] += static_cast<double>(leaves[i]);
      level[i] = level[parent(id)] + 1;
      deepest = (std::max)(deepest, level[i]);
    }
    places[i] = {used[i] + static_cast<double>(leaves[i]) / 2, static_cast<double>(level[i]) * 1.3};
  }
  auto const wide = static_cast<double>(leaves[to_index(root)]);
  auto const around = wide > 16 || (deepest == 1 && n > 3);
  for (auto i = std::size_t{0}; i < n; ++i) {
    auto& p = places[i];
    auto const ring =
        (std::max)(1.0, wide / detail::whole_turn / static_cast<double>((std::max)(deepest, std::size_t{1})));
    if (around) p = detail::on_clock(static_cast<double>(level[i]) * ring, (p.x - 0.5) / wide);
    else if (static_cast<double>(deepest) > wide) p = {p.y, p.x};
  }
  return places;
}

RUBATO_INLINE auto places_of(digraph const& graph) -> std::vector<point> {
  return is_undirected_tree(graph) ? tree_places(graph, graph.root_hint()) : circle_places(graph.nodes());
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
