// SPDX-License-Identifier: MIT
// Pictures of graphs, as text for Graphviz.
#pragma once

#include <cstddef>
#include <string>

#include <rubato/core/ids.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato::topology {

/// An undirected graph is drawn with one line a pair, any other with arrows.
[[nodiscard]] auto to_dot(digraph const& graph) -> std::string;

/// Pull edges are solid, push edges dashed, the root has a double border.
[[nodiscard]] auto to_dot(pair const& graphs) -> std::string;

#if RUBATO_BODIES
namespace detail {

RUBATO_INLINE auto quoted(std::string const& name) -> std::string {
  auto text = std::string{"\""};
  for (auto const letter : name) {
    if (letter == '"' || letter == '\\') text += '\\';
    text += letter;
  }
  return text + "\"";
}

/// Names every node, so that one without edges is drawn too.
RUBATO_INLINE auto dot_nodes(std::size_t n) -> std::string {
  auto text = std::string{};
  for (auto i = std::size_t{0}; i < n; ++i) text += "  " + std::to_string(i) + ";\n";
  return text;
}

}  // namespace detail

RUBATO_INLINE auto to_dot(digraph const& graph) -> std::string {
  auto const undirected = graph.is_undirected();
  auto text = (undirected ? "graph " : "digraph ") + detail::quoted(graph.name()) + " {\n";
  text += detail::dot_nodes(graph.nodes());
  for (auto const e : graph.edges()) {
    if (undirected && e.to < e.from) continue;
    text += "  " + detail::to_text(e.from) + (undirected ? " -- " : " -> ") + detail::to_text(e.to) + ";\n";
  }
  return text + "}\n";
}

RUBATO_INLINE auto to_dot(pair const& graphs) -> std::string {
  auto text = "digraph " + detail::quoted(graphs.name()) + " {\n";
  text += detail::dot_nodes(graphs.nodes());
  text += "  " + detail::to_text(graphs.root()) + " [peripheries=2];\n";
  for (auto const e : graphs.pull().edges()) text += "  " + detail::to_text(e) + " [style=solid];\n";
  for (auto const e : graphs.push().edges()) text += "  " + detail::to_text(e) + " [style=dashed];\n";
  return text + "}\n";
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
