// SPDX-License-Identifier: MIT
// The links of a graph in matchings: sets of links without a common node, which can all be used at the same time. By
// the edge colouring of Misra and Gries (1992), which needs at most one colour more than the largest degree.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/edge_list.hpp>

namespace rubato::topology {

/// Every link of the graph, taken as undirected, in exactly one matching, as an edge from the smaller id to the larger.
/// At most one matching more than the largest degree; sorted, and so are the edges in each. O(links * nodes).
[[nodiscard]] auto matchings(digraph const& graph) -> std::vector<std::vector<edge>>;

#if RUBATO_BODIES
namespace detail {

/// Colours of the links of a graph; no two at a node are equal.
class edge_colouring {
 public:
  edge_colouring(std::size_t nodes, std::size_t colours)
      : colours_{colours}, at_(nodes, std::vector<std::size_t>(colours, none)) {}

  /// Gives the link u - v, which has no colour yet, one of them; other links may change theirs.
  void add(std::size_t u, std::size_t v) {
    for (auto colour = std::size_t{0}; colour < colours_; ++colour)
      if (at_[u][colour] == none && at_[v][colour] == none) return set(u, v, colour);  // keeps colours few
    auto const fan = fan_of(u, v);
    auto const c = free_at(u), d = free_at(fan.back());
    if (c != d) swap_path(u, c, d);
    auto last = std::size_t{0};  // the first of the fan at which d is free: the fan up to it is one after the swap too
    while (at_[fan[last]][d] != none) ++last;
    for (auto k = std::size_t{0}; k < last; ++k) {
      auto const next = colour_of(u, fan[k + 1]);
      clear(u, fan[k + 1], next);
      set(u, fan[k], next);
    }
    set(u, fan[last], d);
  }
  /// The links of a colour.
  [[nodiscard]] auto of(std::size_t colour) const -> std::vector<edge> {
    std::vector<edge> all;
    for (auto i = std::size_t{0}; i < at_.size(); ++i)
      if (auto const j = at_[i][colour]; j != none && i < j) all.push_back({to_node(i), to_node(j)});
    return all;
  }

 private:
  static constexpr auto none = static_cast<std::size_t>(-1);

  [[nodiscard]] auto free_at(std::size_t i) const -> std::size_t {
    auto const& row = at_[i];
    return static_cast<std::size_t>(std::find(row.begin(), row.end(), none) - row.begin());
  }
  [[nodiscard]] auto colour_of(std::size_t u, std::size_t v) const -> std::size_t {
    return static_cast<std::size_t>(std::find(at_[u].begin(), at_[u].end(), v) - at_[u].begin());
  }
  void set(std::size_t u, std::size_t v, std::size_t colour) {
    at_[u][colour] = v;
    at_[v][colour] = u;
  }
  void clear(std::size_t u, std::size_t v, std::size_t colour) { at_[u][colour] = at_[v][colour] = none; }

  /// A maximal fan of u: neighbours, from v on, such that the colour of each link is free at the node before it.
  [[nodiscard]] auto fan_of(std::size_t u, std::size_t v) const -> std::vector<std::size_t> {
    std::vector<std::size_t> fan{v};
    for (auto grown = true; grown;) {
      grown = false;
      for (auto colour = std::size_t{0}; colour < colours_ && !grown; ++colour) {
        auto const w = at_[u][colour];
        if (w == none || at_[fan.back()][colour] != none || std::find(fan.begin(), fan.end(), w) != fan.end()) continue;
        fan.push_back(w);
        grown = true;
      }
    }
    return fan;
  }
  /// Swaps c, which is free at u, and d along the path of links of these colours that begins at u, so that d is free
  /// there.
  void swap_path(std::size_t u, std::size_t c, std::size_t d) {
    std::vector<std::size_t> path{u};
    for (auto colour = d; at_[path.back()][colour] != none; colour = colour == d ? c : d)
      path.push_back(at_[path.back()][colour]);
    for (auto k = std::size_t{1}; k < path.size(); ++k) clear(path[k - 1], path[k], k % 2 == 1 ? d : c);
    for (auto k = std::size_t{1}; k < path.size(); ++k) set(path[k - 1], path[k], k % 2 == 1 ? c : d);
  }

  std::size_t colours_;
  std::vector<std::vector<std::size_t>> at_;  // [node][colour]: the other end
};

}  // namespace detail

RUBATO_INLINE auto matchings(digraph const& graph) -> std::vector<std::vector<edge>> {
  auto const links = graph.with_both_directions();
  auto largest = std::size_t{0};
  for (auto i = std::size_t{0}; i < links.nodes(); ++i) largest = (std::max)(largest, links.out_of(to_node(i)).size());
  auto colouring = detail::edge_colouring{links.nodes(), largest + 1};
  for (auto const e : links.edges())
    if (e.from < e.to) colouring.add(to_index(e.from), to_index(e.to));
  std::vector<std::vector<edge>> all;
  for (auto colour = std::size_t{0}; colour <= largest; ++colour)
    if (auto one = colouring.of(colour); !one.empty()) all.push_back(std::move(one));
  std::sort(all.begin(), all.end(),
            [](auto const& a, auto const& b) { return std::pair{a[0].from, a[0].to} < std::pair{b[0].from, b[0].to}; });
  return all;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
