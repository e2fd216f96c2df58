// SPDX-License-Identifier: MIT
// Graphs in text files. One edge "FROM TO" a line, '#' starts a comment; before the edges may stand
//   nodes N       how many nodes there are (else: the largest id + 1)
//   undirected    every line stands for both directions
//   root R        where trees are rooted (else: node 0)
// The only file of this folder that touches the file system.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/topology/digraph.hpp>

namespace rubato::topology {
namespace detail {

class edge_list_parser {
 public:
  edge_list_parser(std::string_view text, std::string_view source) : text_{text}, source_{source} {}

  auto parse() -> digraph {
    while (!text_.empty()) {
      auto const length = (std::min)(text_.find('\n'), text_.size());
      ++line_;
      read_line(text_.substr(0, length));
      text_.remove_prefix((std::min)(length + 1, text_.size()));
    }
    if (!nodes_ && edges_.empty())
      throw config_error("graph file '" + source_ + "' names no node: give edges 'FROM TO', or 'nodes N'");
    auto graph = from_edges(nodes_.value_or(id_max_ + 1), std::move(edges_), source_);
    return root_ ? graph.with_root_hint(*root_) : graph;
  }

 private:
  [[noreturn]] void refuse(std::string const& sentence) const {
    throw config_error("graph file '" + source_ + "', line " + std::to_string(line_) + ": " + sentence);
  }

  void read_line(std::string_view line) {
    line = line.substr(0, line.find('#'));
    auto const words = words_of(line);
    if (words.empty()) return;
    auto const is_edge = words[0][0] >= '0' && words[0][0] <= '9';
    if (is_edge) return read_edge(words, line);
    if (!edges_.empty()) refuse("'" + std::string{words[0]} + "' must stand before the first edge");
    if (words[0] == "undirected" && words.size() == 1) {
      undirected_ = true;
    } else if (words[0] == "nodes" && words.size() == 2) {
      if (nodes_) refuse("'nodes' was given before: keep one of the two");
      nodes_ = number(words[1]);
      if (*nodes_ == 0) refuse("'nodes 0' leaves no node: a topology needs at least one");
    } else if (words[0] == "root" && words.size() == 2) {
      root_ = id(words[1]);
    } else {
      refuse("'" + std::string{line} + "' is none of 'FROM TO', 'nodes N', 'undirected' and 'root R'");
    }
  }

  void read_edge(std::vector<std::string_view> const& words, std::string_view line) {
    if (words.size() != 2) refuse("'" + std::string{line} + "' is not an edge: write 'FROM TO'");
    auto const e = edge{id(words[0]), id(words[1])};
    if (e.from == e.to)
      refuse("edge " + text_of(e) + " joins a node to itself: leave it out, every node keeps a weight of its own");
    edges_.push_back(e);
    if (undirected_) edges_.push_back({e.to, e.from});
  }

  auto id(std::string_view word) -> node_id {
    auto const value = number(word);
    if (nodes_ && value >= *nodes_)
      refuse("node " + std::string{word} + " does not exist: nodes are 0 .. " + std::to_string(*nodes_ - 1));
    id_max_ = (std::max)(id_max_, value);
    return to_node(value);
  }

  auto number(std::string_view word) const -> std::size_t {
    auto value = std::uint32_t{};
    auto const* const begin = word.data();
    auto const* const end = begin + word.size();
    auto const read = std::from_chars(begin, end, value);
    // Two below the largest: the node count, and a server's id, must fit as well.
    if (read.ec != std::errc{} || read.ptr != end || value > (std::numeric_limits<std::uint32_t>::max)() - 2)
      refuse("'" + std::string{word} + "' is not a whole number from 0 to 4294967293");
    return value;
  }

  static auto words_of(std::string_view line) -> std::vector<std::string_view> {
    constexpr auto blanks = std::string_view{" \t\r\v\f"};
    auto words = std::vector<std::string_view>{};
    for (auto at = line.find_first_not_of(blanks); at != line.npos; at = line.find_first_not_of(blanks, at)) {
      auto const end = (std::min)(line.find_first_of(blanks, at), line.size());
      words.push_back(line.substr(at, end - at));
      at = end;
    }
    return words;
  }

  std::string_view text_;
  std::string source_;
  std::size_t line_ = 0;
  std::size_t id_max_ = 0;
  bool undirected_ = false;
  std::optional<std::size_t> nodes_;
  std::optional<node_id> root_;
  std::vector<edge> edges_;
};

struct close_file {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using open_file = std::unique_ptr<std::FILE, close_file>;

}  // namespace detail

/// The graph that `text` describes; `source` names it, in errors and as the graph's name.
/// Throws config_error naming the source and the line at fault.
[[nodiscard]] inline auto parse_edge_list(std::string_view text, std::string_view source) -> digraph {
  return detail::edge_list_parser{text, source}.parse();
}

/// Throws config_error if the file cannot be read or a line of it is wrong.
[[nodiscard]] inline auto read_edge_list(std::string const& path) -> digraph {
  auto const file = detail::open_file{std::fopen(path.c_str(), "rb")};
  if (!file) throw config_error("graph file '" + path + "' cannot be opened: check the path and its permissions");
  auto text = std::string{};
  char piece[4096];
  for (auto got = std::size_t{1}; got > 0;) {
    got = std::fread(piece, 1, sizeof piece, file.get());
    text.append(piece, got);
  }
  if (std::ferror(file.get()) != 0) throw config_error("graph file '" + path + "' cannot be read: is it a plain file?");
  return parse_edge_list(text, path);
}

/// Text that parse_edge_list() turns into an equal graph; undirected graphs name each pair once.
[[nodiscard]] inline auto to_edge_list(digraph const& graph) -> std::string {
  auto text = "nodes " + std::to_string(graph.nodes()) + "\n";
  auto const undirected = graph.is_undirected();
  if (undirected) text += "undirected\n";
  if (graph.root_hint() != node_id{0}) text += "root " + detail::text_of(graph.root_hint()) + "\n";
  for (auto const e : graph.edges())
    if (!undirected || e.from < e.to) text += detail::text_of(e.from) + " " + detail::text_of(e.to) + "\n";
  return text;
}

/// Throws config_error if the file cannot be written in full.
inline void write_edge_list(digraph const& graph, std::string const& path) {
  auto const text = to_edge_list(graph);
  auto file = detail::open_file{std::fopen(path.c_str(), "wb")};
  auto const written = file && std::fwrite(text.data(), 1, text.size(), file.get()) == text.size();
  // Buffered bytes may still fail on the way out, so the result of closing counts too.
  if (!written || std::fclose(file.release()) != 0)
    throw config_error("graph file '" + path + "' cannot be written: check the path, its permissions and the disk");
}

}  // namespace rubato::topology
