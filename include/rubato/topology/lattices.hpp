// SPDX-License-Identifier: MIT
// Graphs of rows and columns, hypercubes, and groups with leaders. All are undirected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/topology/digraph.hpp>

namespace rubato::topology {

/// Rows and columns of a lattice; node row * columns + column.
struct lattice_shape {
  std::size_t rows = 1;
  std::size_t columns = 1;
  friend auto operator==(lattice_shape const&, lattice_shape const&) -> bool = default;
};

/// The two factors of n that are closest to each other, rows <= columns; a prime n is one row. O(sqrt(n)).
[[nodiscard]] auto closest_factors(std::size_t n) -> lattice_shape;

/// Each node with the next in its row and in its column. Throws config_error for a side of 0.
[[nodiscard]] auto grid(lattice_shape shape) -> digraph;
/// The same with the closest factors of n.
[[nodiscard]] auto grid(std::size_t n) -> digraph;

/// A grid whose rows and columns are closed to rings: a side of 2 gives one edge, a side of 1 none. Throws config_error
/// for a side of 0.
[[nodiscard]] auto torus(lattice_shape shape) -> digraph;
/// The same with the closest factors of n.
[[nodiscard]] auto torus(std::size_t n) -> digraph;

/// Two nodes are joined if their ids differ in one bit. Throws config_error unless n is a power of two.
[[nodiscard]] auto hypercube(std::size_t n) -> digraph;

/// How the members of a group are joined: everyone with everyone, or each with the leader.
enum class inside_groups : std::uint8_t { complete, star };

/// How leaders are joined; the parent of leader k of the tree is leader (k-1)/2.
enum class among_leaders : std::uint8_t { ring, complete, tree };

/// The first node of each group, which leads it, and n itself at the end: n consecutive nodes in groups whose sizes
/// differ by at most one, larger ones first. Throws config_error unless 1 <= groups <= n.
[[nodiscard]] auto group_begins(std::size_t n, std::size_t groups) -> std::vector<std::size_t>;

/// Groups with leaders. spanning_trees() from node 0 of one with complete leaders is the tree root, leaders, members.
/// Throws what group_begins() throws.
[[nodiscard]] auto hierarchical(std::size_t n, std::size_t groups, inside_groups inside = inside_groups::complete,
                                among_leaders among = among_leaders::ring) -> digraph;
/// The largest number whose square is at most n: so groups are about as large as there are groups.
[[nodiscard]] auto usual_groups(std::size_t n) -> std::size_t;
/// With usual_groups(n), complete inside, and a ring of leaders.
[[nodiscard]] auto hierarchical(std::size_t n) -> digraph;

#if RUBATO_BODIES
namespace detail {

RUBATO_INLINE auto lattice(lattice_shape shape, bool closed, char const* kind) -> digraph {
  auto const [rows, columns] = shape;
  auto name =
      kind + ("(" + std::to_string(rows)) + (rows == 0 || columns == 0 ? ", " : " x ") + std::to_string(columns) + ")";
  if (rows != 0 && columns > static_cast<std::uint32_t>(-1) / rows) require_nodes(static_cast<std::uint32_t>(-1), name);
  require_nodes(rows * columns, name);
  auto edges = std::vector<edge>{};
  auto const join = [&](std::size_t from, std::size_t to) {
    if (from != to) edges.push_back({to_node(from), to_node(to)});
  };
  for (auto r = std::size_t{0}; r < rows; ++r)
    for (auto c = std::size_t{0}; c < columns; ++c) {
      if (closed || c + 1 < columns) join(r * columns + c, r * columns + (c + 1) % columns);
      if (closed || r + 1 < rows) join(r * columns + c, (r + 1) % rows * columns + c);
    }
  return from_edges(rows * columns, std::move(edges), std::move(name)).with_both_directions();
}

}  // namespace detail

RUBATO_INLINE auto closest_factors(std::size_t n) -> lattice_shape {
  detail::require_nodes(n, "lattice");
  auto rows = std::size_t{1};
  for (auto side = std::size_t{2}; side * side <= n; ++side)
    if (n % side == 0) rows = side;
  return {rows, n / rows};
}

RUBATO_INLINE auto grid(lattice_shape shape) -> digraph { return detail::lattice(shape, false, "grid"); }
RUBATO_INLINE auto grid(std::size_t n) -> digraph { return grid(closest_factors(n)); }
RUBATO_INLINE auto torus(lattice_shape shape) -> digraph { return detail::lattice(shape, true, "torus"); }
RUBATO_INLINE auto torus(std::size_t n) -> digraph { return torus(closest_factors(n)); }

RUBATO_INLINE auto hypercube(std::size_t n) -> digraph {
  auto name = "hypercube(" + std::to_string(n) + ")";
  detail::require_nodes(n, name);
  if ((n & (n - 1)) != 0)
    throw config_error(name + " does not exist: the nodes of a hypercube are a power of two, so take 1, 2, 4, 8, ...");
  auto edges = std::vector<edge>{};
  for (auto i = std::size_t{0}; i < n; ++i)
    for (auto bit = std::size_t{1}; bit < n; bit *= 2) edges.push_back({to_node(i), to_node(i ^ bit)});
  return from_edges(n, std::move(edges), std::move(name));
}

RUBATO_INLINE auto group_begins(std::size_t n, std::size_t groups) -> std::vector<std::size_t> {
  detail::require_nodes(n, "hierarchical");
  if (groups == 0 || groups > n)
    throw config_error("a network of " + std::to_string(n) + " nodes cannot have " + std::to_string(groups) +
                       " groups: take from 1 to " + std::to_string(n));
  auto begins = std::vector<std::size_t>{0};
  for (auto g = std::size_t{0}; g < groups; ++g)
    begins.push_back(begins.back() + n / groups + (g < n % groups ? 1 : 0));
  return begins;
}

RUBATO_INLINE auto hierarchical(std::size_t n, std::size_t groups, inside_groups inside, among_leaders among)
    -> digraph {
  auto const begins = group_begins(n, groups);
  auto edges = std::vector<edge>{};
  for (auto g = std::size_t{0}; g < groups; ++g) {
    for (auto i = begins[g]; i < begins[g + 1]; ++i)
      for (auto j = i + 1; j < begins[g + 1] && (i == begins[g] || inside == inside_groups::complete); ++j)
        edges.push_back({to_node(i), to_node(j)});
    auto const join = [&](std::size_t other) { edges.push_back({to_node(begins[g]), to_node(begins[other])}); };
    if (among == among_leaders::ring && groups > 1) join((g + 1) % groups);
    if (among == among_leaders::tree && g > 0) join((g - 1) / 2);
    for (auto other = std::size_t{0}; other < g && among == among_leaders::complete; ++other) join(other);
  }
  constexpr char const* kinds[] = {"ring", "complete", "tree"};
  auto name = "hierarchical(" + std::to_string(n) + ", " + std::to_string(groups) + " groups, " +
              (inside == inside_groups::star ? "star" : "complete") + " inside, " +
              kinds[static_cast<std::size_t>(among)] + " of leaders)";
  return from_edges(n, std::move(edges), std::move(name)).with_both_directions();
}

RUBATO_INLINE auto usual_groups(std::size_t n) -> std::size_t {
  auto groups = std::size_t{1};
  while ((groups + 1) * (groups + 1) <= n) ++groups;
  return groups;
}

RUBATO_INLINE auto hierarchical(std::size_t n) -> digraph { return hierarchical(n, usual_groups(n)); }
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
