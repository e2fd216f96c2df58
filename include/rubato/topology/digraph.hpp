// SPDX-License-Identifier: MIT
// A directed graph as a value: which node can send to which, without weights.
// Kept as two sorted neighbour tables (out and in), so that a graph costs O(nodes + edges) and never n squared.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>

namespace rubato::topology {

/// `from` sends, `to` receives: information flows along an edge.
struct edge {
  node_id from{};
  node_id to{};
  static void visit_state(auto& self, auto&& visit) { visit("from", self.from), visit("to", self.to); }
  friend auto operator<=>(edge const&, edge const&) = default;
  friend auto operator==(edge const&, edge const&) -> bool = default;  // nvcc needs it
};

namespace detail {

/// The neighbours of node i are ids[begin[i]] .. ids[begin[i + 1]], sorted.
struct neighbour_table {
  std::vector<std::size_t> begin;
  std::vector<node_id> ids;

  auto of(std::size_t i) const -> std::span<node_id const> {
    return std::span{ids}.subspan(begin[i], begin[i + 1] - begin[i]);
  }
  friend auto operator==(neighbour_table const&, neighbour_table const&) -> bool = default;
};

inline auto to_text(node_id id) -> std::string { return std::to_string(to_index(id)); }
inline auto to_text(edge e) -> std::string { return to_text(e.from) + " -> " + to_text(e.to); }

/// Throws unless 1 <= n and n itself is still an id (a server is node n).
void require_nodes(std::size_t n, std::string const& name);

}  // namespace detail

/// A directed graph without self-loops or double edges; made by from_edges() or a builder, fixed afterwards.
/// Two graphs are equal if they have the same nodes and edges, whatever their names.
class digraph {
 public:
  auto nodes() const -> std::size_t { return nodes_; }
  auto edge_count() const -> std::size_t { return out_.ids.size(); }
  auto name() const -> std::string const& { return name_; }
  /// The default root for algorithms that need one; node 0 for every builder.
  auto root_hint() const -> node_id { return root_hint_; }

  /// The nodes that `id` sends to, sorted; *requires* id < nodes(); valid while the graph lives.
  auto out_of(node_id id) const -> std::span<node_id const> {
    RUBATO_EXPECTS(to_index(id) < nodes_, "out_of() needs a node of the graph");
    return out_.of(to_index(id));
  }
  /// The nodes that `id` receives from, sorted; *requires* id < nodes(); valid while the graph lives.
  auto into(node_id id) const -> std::span<node_id const> {
    RUBATO_EXPECTS(to_index(id) < nodes_, "into() needs a node of the graph");
    return in_.of(to_index(id));
  }
  /// O(log degree).
  auto has_edge(node_id from, node_id to) const -> bool {
    auto const peers = out_of(from);
    return std::binary_search(peers.begin(), peers.end(), to);
  }
  /// All edges, sorted by (from, to).
  auto edges() const -> std::vector<edge>;
  /// Whether every edge has its reverse. O(nodes + edges): both tables are sorted.
  auto is_undirected() const -> bool { return out_ == in_; }

  [[nodiscard]] auto reversed() const -> digraph;
  /// Every edge and its reverse.
  [[nodiscard]] auto with_both_directions() const -> digraph;
  [[nodiscard]] auto with_root_hint(node_id root) const -> digraph;
  [[nodiscard]] auto with_name(std::string name) const -> digraph;

  friend auto operator==(digraph const& a, digraph const& b) -> bool {
    return a.nodes_ == b.nodes_ && a.out_ == b.out_;
  }
  friend auto from_edges(std::size_t n, std::vector<edge> edges, std::string name) -> digraph;

 private:
  digraph(std::size_t n, std::string name) : nodes_{n}, name_{std::move(name)} {}

  std::size_t nodes_;
  detail::neighbour_table out_;
  detail::neighbour_table in_;
  node_id root_hint_{};
  std::string name_;
};

/// The graph of these edges; double edges collapse. O(nodes + edges log edges).
/// Throws config_error naming the first edge whose end does not exist or that joins a node to itself.
[[nodiscard]] auto from_edges(std::size_t n, std::vector<edge> edges, std::string name = "custom") -> digraph;

#if RUBATO_BODIES
namespace detail {

RUBATO_INLINE void require_nodes(std::size_t n, std::string const& name) {
  if (n == 0) throw config_error("graph '" + name + "' has no node: a topology needs at least one");
  if (n >= (std::numeric_limits<std::uint32_t>::max)())
    throw config_error("graph '" + name + "' has " + std::to_string(n) +
                       " nodes, and ids are 32 bits wide: take fewer than 4294967295");
}

RUBATO_INLINE void require_edge(edge e, std::size_t n, std::string const& name) {
  if (to_index(e.from) >= n || to_index(e.to) >= n)
    throw config_error("edge " + to_text(e) + " of graph '" + name +
                       "' has an end that does not exist: nodes are 0 .. " + std::to_string(n - 1));
  if (e.from == e.to)
    throw config_error("edge " + to_text(e) + " of graph '" + name +
                       "' joins a node to itself: leave it out, every node keeps a weight of its own");
}

}  // namespace detail

RUBATO_INLINE auto digraph::edges() const -> std::vector<edge> {
  auto all = std::vector<edge>{};
  all.reserve(edge_count());
  for (auto i = std::size_t{0}; i < nodes_; ++i)
    for (auto const to : out_.of(i)) all.push_back({to_node(i), to});
  return all;
}

RUBATO_INLINE auto digraph::with_name(std::string name) const -> digraph {
  auto copy = *this;
  copy.name_ = std::move(name);
  return copy;
}

RUBATO_INLINE auto from_edges(std::size_t n, std::vector<edge> edges, std::string name) -> digraph {
  detail::require_nodes(n, name);
  for (auto const e : edges) detail::require_edge(e, n, name);
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());

  auto graph = digraph{n, std::move(name)};
  graph.out_.begin.assign(n + 1, 0);
  graph.in_.begin.assign(n + 1, 0);
  for (auto const e : edges) {
    ++graph.out_.begin[to_index(e.from) + 1];
    ++graph.in_.begin[to_index(e.to) + 1];
  }
  for (auto i = std::size_t{0}; i < n; ++i) {
    graph.out_.begin[i + 1] += graph.out_.begin[i];
    graph.in_.begin[i + 1] += graph.in_.begin[i];
  }
  graph.out_.ids.reserve(edges.size());
  graph.in_.ids.resize(edges.size());
  auto free_slot = graph.in_.begin;
  // Edges come sorted by sender, so each list of senders is filled in order.
  for (auto const e : edges) {
    graph.out_.ids.push_back(e.to);
    graph.in_.ids[free_slot[to_index(e.to)]++] = e.from;
  }
  return graph;
}

RUBATO_INLINE auto digraph::reversed() const -> digraph {
  auto copy = *this;
  std::swap(copy.out_, copy.in_);
  return copy;
}

RUBATO_INLINE auto digraph::with_both_directions() const -> digraph {
  auto all = edges();
  auto const one_way = all.size();
  for (auto k = std::size_t{0}; k < one_way; ++k) all.push_back({all[k].to, all[k].from});
  return from_edges(nodes_, std::move(all), name_).with_root_hint(root_hint_);
}

RUBATO_INLINE auto digraph::with_root_hint(node_id root) const -> digraph {
  if (to_index(root) >= nodes_)
    throw config_error("node " + detail::to_text(root) + " cannot be the root of graph '" + name_ +
                       "': nodes are 0 .. " + std::to_string(nodes_ - 1));
  auto copy = *this;
  copy.root_hint_ = root;
  return copy;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
