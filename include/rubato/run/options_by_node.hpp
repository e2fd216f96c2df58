// SPDX-License-Identifier: MIT
// Options of all nodes of a run: the same for all, or a table with those of each node; and the lines in which they are
// compared. What concerns one node alone may differ (Node::own_options); all else must be the same everywhere.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/options.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/visit_options.hpp>

namespace rubato {

/// A function from node ids to options, or a table with those of each node of the plan, by id (a server's are the
/// last).
template<class O, class Options>
concept options_by_node = requires(O const& o, node_id i) {
  { o(i) } -> std::convertible_to<Options>;
} || std::convertible_to<O const&, std::vector<Options> const&>;

namespace detail {

/// Names and values of one node's options.
using option_lines = std::vector<std::pair<std::string, std::string>>;

template<class Options>
auto lines_of(Options const& o) -> option_lines {
  option_lines all;
  auto const line = [&](std::string const& name, std::string text) { all.emplace_back(name, std::move(text)); };
  if constexpr (lists_options<Options>) {
    each_option(o, line);
  } else {
    common_options const common{o.step, o.scale, o.seed, o.block_values};
    each_option(common, line);
    if constexpr (sizeof o > sizeof common) line({}, std::string{unlisted_options});
  }
  return all;
}

/// One entry a node, by id, or a single one for all. Throws config_error unless a table has as many as there are
/// nodes.
template<class Options, options_by_node<Options> O>
auto table_of(O const& o, std::size_t nodes) -> std::vector<Options> {
  if constexpr (std::convertible_to<O const&, std::vector<Options> const&>) {
    std::vector<Options> const& table = o;
    if (table.size() != nodes)
      throw config_error{"the table of options is for " + std::to_string(table.size()) + " nodes, and the run has " +
                         std::to_string(nodes)};
    return table;
  } else {
    std::vector<Options> table;
    table.reserve(nodes);
    for (std::size_t i = 0; i < nodes; ++i) table.push_back(o(to_node(i)));
    return table;
  }
}

/// Options that an algorithm lets nodes choose for themselves; a name stands for all that begin with it, word by word.
template<class Node>
constexpr auto own_options_of() -> std::span<std::string_view const> {
  if constexpr (requires { Node::own_options; }) return Node::own_options;  // optional member
  else return {};
}

/// One option of all nodes: a single value if it is the same everywhere, else one a node.
struct option_of_nodes {
  std::string name;
  std::vector<std::string> values;
};

/// The lines of all nodes, or of one that stands for all, as one list. Throws config_error, naming option and node,
/// where one differs that is not among `own`.
auto joined(std::vector<option_lines> const& of_nodes, std::span<std::string_view const> own,
            std::string_view algorithm) -> std::vector<option_of_nodes>;

/// The options of a table. Throws config_error, naming option and node, where one differs that must not.
template<class Node>
auto options_of(std::vector<typename Node::options> const& table) -> std::vector<option_of_nodes> {
  std::vector<option_lines> of_nodes;
  for (auto const& o : table) of_nodes.push_back(lines_of(o));
  return joined(of_nodes, own_options_of<Node>(), name_of_type<Node>());
}

/// That option in lines: as NAME, or as "NAME of node I". More than `most` nodes share lines, "NAME of nodes I to J".
auto lines_of_nodes(option_of_nodes const& o, std::size_t most) -> option_lines;

#if RUBATO_BODIES
RUBATO_INLINE auto is_among(std::string_view name, std::span<std::string_view const> own) -> bool {
  for (auto const each : own)
    if (name.starts_with(each) && (name.size() == each.size() || name[each.size()] == ' ')) return true;
  return false;
}

RUBATO_INLINE auto joined(std::vector<option_lines> const& of_nodes, std::span<std::string_view const> own,
                          std::string_view algorithm) -> std::vector<option_of_nodes> {
  std::vector<option_of_nodes> all;
  for (std::size_t k = 0; k < of_nodes.front().size(); ++k) {
    auto const& [name, text] = of_nodes.front()[k];
    auto& option = all.emplace_back(option_of_nodes{name, {text}});
    for (std::size_t i = 1; i < of_nodes.size(); ++i) {
      if (of_nodes[i].size() <= k || of_nodes[i][k].first != name)
        throw config_error{"node " + std::to_string(i) + " lists other options than node 0, from " + name +
                           " on: a type lists the same options for every node"};
      option.values.push_back(of_nodes[i][k].second);
      if (option.values[i] != text && !is_among(name, own))
        throw config_error{"node " + std::to_string(i) + " has " + name + " " + option.values[i] + ", but node 0 has " +
                           text + ": " + std::string{algorithm} + " needs this option to be the same for all nodes"};
    }
    if (std::all_of(option.values.begin(), option.values.end(), [&](auto const& v) { return v == text; }))
      option.values.resize(1);
  }
  return all;
}

RUBATO_INLINE auto lines_of_nodes(option_of_nodes const& o, std::size_t most) -> option_lines {
  auto const n = o.values.size();
  if (n == 1) return {{o.name, o.values[0]}};
  option_lines all;
  auto const share = (n + most - 1) / most;
  for (std::size_t i = 0; i < n; i += share) {
    auto const end = (std::min)(i + share, n);
    auto text = o.values[i];
    for (auto j = i + 1; j < end; ++j) text += " " + o.values[j];
    auto const who = end - i == 1 ? " of node " + std::to_string(i)
                                  : " of nodes " + std::to_string(i) + " to " + std::to_string(end - 1);
    all.emplace_back(o.name + who, std::move(text));
  }
  return all;
}
#endif  // RUBATO_BODIES

}  // namespace detail
}  // namespace rubato
