// SPDX-License-Identifier: MIT
// Graphs in text files: one edge "FROM TO" a line, with blanks, tabs, a comma or a semicolon between. '#', '%' and '//'
// start a comment, titles of columns may stand first, and before the edges
//   nodes N       how many nodes there are (else: the largest id + 1)
//   undirected    every line stands for both directions
//   root R        where trees are rooted (else: node 0)
// MatrixMarket's coordinate files and KONECT's are known by their first line; there ids begin at 1. A third column is a
// weight. The only file of this folder that touches the file system, but for zlib.hpp, which reads the same gzipped.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
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
#include <rubato/core/text.hpp>
#include <rubato/topology/digraph.hpp>

namespace rubato::topology {

/// Edges with a weight each, as a file lists them; an edge from a node to itself is the weight that it keeps.
/// mixing::from_edge_weights() makes a matrix of them.
struct weighted_edges {
  std::size_t nodes = 0;
  std::vector<edge> edges;
  std::vector<double> weights;  ///< by edge
  std::string name;  ///< of the source
};

/// The graph that `text` describes; `source` names it, in errors and as the graph's name.
/// Throws config_error naming the source and the line at fault; a third column, too, is refused.
[[nodiscard]] auto parse_edge_list(std::string_view text, std::string_view source) -> digraph;

/// The edges and weights of `text`. Each line is "FROM TO WEIGHT": the weight with which TO counts what comes from
/// FROM. In MatrixMarket files, and under the titles i, j, w_ij, a line is an entry of W: row TO, column FROM. A line
/// "NODE NODE WEIGHT" is what a node keeps. Throws config_error naming the source and the line at fault.
[[nodiscard]] auto parse_edge_weights(std::string_view text, std::string_view source) -> weighted_edges;

/// Throws config_error if the file cannot be read or a line of it is wrong.
[[nodiscard]] auto read_edge_list(std::string const& path) -> digraph;
/// The same with weights.
[[nodiscard]] auto read_edge_weights(std::string const& path) -> weighted_edges;

/// Text that parse_edge_list() turns into an equal graph; undirected graphs name each pair once.
[[nodiscard]] auto to_edge_list(digraph const& graph) -> std::string;

/// Throws config_error if the file cannot be written in full.
void write_edge_list(digraph const& graph, std::string const& path);

#if RUBATO_BODIES
namespace detail {

/// Up to four words of a line; `count` is 5 where there are more.
struct line_words {
  std::array<std::string_view, 4> word;
  std::size_t count = 0;
  bool fields = false;  ///< a comma or a semicolon stands between them

  auto operator[](std::size_t i) const -> std::string_view { return word[i]; }
};

/// The words of a line; nothing where it has an empty field.
RUBATO_INLINE auto words_of(std::string_view line) -> std::optional<line_words> {
  constexpr auto blanks = std::string_view{" \t\v\f"};
  constexpr auto ends = std::string_view{" \t\v\f,;"};
  auto words = line_words{};
  auto open = true;  // a field begins here
  for (auto at = line.find_first_not_of(blanks); at != line.npos; at = line.find_first_not_of(blanks, at)) {
    if (line[at] == ',' || line[at] == ';') {
      if (open) return std::nullopt;
      open = words.fields = true;
      ++at;
      continue;
    }
    auto const end = (std::min)(line.find_first_of(ends, at), line.size());
    auto word = line.substr(at, end - at);
    if (word.size() > 2 && word.front() == '"' && word.back() == '"') word = word.substr(1, word.size() - 2);
    if (words.count < 4) words.word[words.count] = word;
    words.count = std::min<std::size_t>(words.count + 1, 5);
    open = false;
    at = end;
  }
  if (open && words.fields) return std::nullopt;
  return words;
}

RUBATO_INLINE auto in_lower_case(std::string_view word) -> std::string {
  auto text = std::string{word};
  for (auto& letter : text)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  return text;
}

template<std::size_t N>
auto is_among(std::string_view word, std::array<std::string_view, N> const& names) -> bool {
  return std::find(names.begin(), names.end(), in_lower_case(word)) != names.end();
}

/// Whether an edge list has a third column: then every line must have it.
enum class third_column : std::uint8_t { refused, weight };

class edge_list_parser {
 public:
  edge_list_parser(std::string_view text, std::string_view source, third_column third)
      : text_{text}, source_{escaped(source)}, third_{third} {}

  auto graph() && -> digraph {
    parse();
    auto made = from_edges(node_count(), std::move(edges_), source_);
    return root_ ? made.with_root_hint(*root_) : made;
  }
  auto weighted() && -> weighted_edges {
    parse();
    require_nodes(node_count(), source_);
    return {node_count(), std::move(edges_), std::move(weights_), source_};
  }

 private:
  enum class format : std::uint8_t { plain, matrix_market, konect };

  [[noreturn]] void refuse_file(std::string const& sentence) const {
    throw config_error("graph file '" + source_ + "' " + sentence);
  }
  [[noreturn]] void refuse(std::string const& sentence) const {
    throw config_error("graph file '" + source_ + "', line " + std::to_string(line_) + ": " + sentence);
  }
  static auto quoted(std::string_view text) -> std::string { return "'" + escaped(text, 60) + "'"; }

  void parse() {
    if (text_.starts_with("\x1f\x8b")) refuse_file("is gzipped: unpack it, or read it by <rubato/topology/zlib.hpp>");
    if (text_.starts_with("\xff\xfe") || text_.starts_with("\xfe\xff")) refuse_file("is UTF-16: save it as UTF-8");
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
    while (!text_.empty()) {
      auto const length = (std::min)(text_.find_first_of("\r\n"), text_.size());
      auto const line = text_.substr(0, length);
      ++line_;
      text_.remove_prefix(length);
      text_.remove_prefix(text_.starts_with("\r\n") ? 2 : text_.empty() ? 0 : 1);
      read_line(line);
    }
    if (format_ == format::matrix_market && !nodes_) refuse_file("ends before its size line 'ROWS COLUMNS ENTRIES'");
    if (announced_ && *announced_ != listed_)
      refuse_file("announces " + std::to_string(*announced_) + " edges and lists " + std::to_string(listed_) +
                  ": is it cut?");
    if (!nodes_ && edges_.empty()) refuse_file("names no node: give edges 'FROM TO', or 'nodes N'");
  }
  auto node_count() const -> std::size_t { return nodes_.value_or(id_max_ + 1); }

  void read_line(std::string_view line) {
    if (line_ == 1 && line.starts_with("%")) read_first_comment(line);
    auto const comment = (std::min)({line.find_first_of("#%"), line.find("//"), line.size()});
    if (format_ == format::konect && comment == 0 && listed_ == 0 && line_ > 1) read_konect_size(line.substr(1));
    auto const words = words_of(line.substr(0, comment));
    if (!words) refuse(quoted(line) + " has an empty field: write 'FROM TO'");
    if (words->count == 0) return;
    auto const first = (*words)[0][0];
    if (format_ == format::matrix_market && !nodes_) return read_matrix_size(*words);
    if ((first >= '0' && first <= '9') || first == '-' || first == '+')
      return read_edge(*words, line.substr(0, comment));
    read_word(*words, line.substr(0, comment));
  }

  void read_word(line_words const& words, std::string_view line) {
    if (format_ == format::plain && words[0] == "undirected" && words.count == 1) {
      require_before_edges(words[0]);
      undirected_ = true;
    } else if (format_ == format::plain && words[0] == "nodes" && words.count == 2) {
      require_before_edges(words[0]);
      if (nodes_) refuse("'nodes' was given before: keep one of the two");
      nodes_ = number(words[1]);
      if (*nodes_ == 0) refuse("'nodes 0' leaves no node: a topology needs at least one");
    } else if (format_ == format::plain && words[0] == "root" && words.count == 2) {
      require_before_edges(words[0]);
      root_ = id(words[1]);
    } else if (!are_titles(words)) {
      refuse(quoted(line) + " is none of 'FROM TO', 'nodes N', 'undirected' and 'root R'");
    }
  }
  void require_before_edges(std::string_view word) const {
    if (listed_ > 0) refuse("'" + std::string{word} + "' must stand before the first edge");
  }

  /// The titles of columns, once, before all edges.
  auto are_titles(line_words const& words) -> bool {
    constexpr auto from = std::array<std::string_view, 6>{"from", "source", "src", "tail", "u", "i"};
    constexpr auto to = std::array<std::string_view, 7>{"to", "target", "dst", "destination", "head", "v", "j"};
    constexpr auto weight = std::array<std::string_view, 4>{"weight", "w", "value", "w_ij"};
    if (format_ != format::plain || listed_ > 0 || std::exchange(titled_, true) || words.count < 2 || words.count > 3)
      return false;
    row_first_ = third_ == third_column::weight && is_among(words[0], std::array<std::string_view, 1>{"i"});
    return is_among(words[0], from) && is_among(words[1], to) && (words.count == 2 || is_among(words[2], weight));
  }

  void read_edge(line_words const& words, std::string_view line) {
    auto const weight = weight_in(words, line);
    auto e = edge{id(words[0]), id(words[1])};
    // Entry (i, j) of a matrix is what node i gives to what comes from node j.
    if (row_first_ || (format_ == format::matrix_market && third_ == third_column::weight)) std::swap(e.from, e.to);
    ++listed_;
    if (e.from == e.to && third_ == third_column::refused)
      refuse("edge " + std::string{words[0]} + " -> " + std::string{words[1]} +
             " joins a node to itself: leave it out, every node keeps a weight of its own");
    add(e, weight);
    if (undirected_ && e.from != e.to) add({e.to, e.from}, weight);
  }
  void add(edge e, double weight) {
    edges_.push_back(e);
    if (third_ == third_column::weight) weights_.push_back(weight);
  }

  auto weight_in(line_words const& words, std::string_view line) const -> double {
    auto const timed = format_ == format::konect && words.count == 4;  // a time, which is not used
    if (words.count < 2 || (words.count > 3 && !timed)) refuse(quoted(line) + " is not an edge: write 'FROM TO'");
    auto const counted = format_ == format::konect && unweighted_ && words.count > 2 && words[2] == "1";
    if (third_ == third_column::refused) {
      if (words.count > 2 && !counted)
        refuse(quoted(line) + " has a weight, " + quoted(words[2]) +
               ", and a graph has none: leave the third column out, or make "
               "W of it with read_edge_weights()");
      return 1;
    }
    if (words.count == 2) refuse(quoted(line) + " has no weight: write 'FROM TO WEIGHT'");
    auto weight = 0.0;
    if (read_number(words[2], weight) != words[2].size() || !std::isfinite(weight))
      refuse(quoted(words[2]) + " is not a weight: give a finite number");
    return weight;
  }

  void read_first_comment(std::string_view line) {
    auto const words = words_of(line.substr(line.starts_with("%%") ? 2 : 1));
    if (!words || words->count == 0) return;
    if (line.starts_with("%%") && in_lower_case((*words)[0]) == "matrixmarket")
      return read_matrix_market(line.substr(2));
    constexpr auto sorts = std::array<std::string_view, 3>{"sym", "asym", "bip"};
    if (words->count != 2 || !is_among((*words)[0], sorts)) return;
    format_ = format::konect;
    if ((*words)[0] == "bip") refuse("this is a network of two sorts of nodes (bip): a graph of one sort is needed");
    undirected_ = (*words)[0] == "sym";
    unweighted_ = (*words)[1] == "unweighted";
  }

  void read_matrix_market(std::string_view banner) {
    auto const rest = words_of(banner.substr((std::min)(banner.find_first_of(" \t"), banner.size())));
    auto const word = [&](std::size_t i) {
      return rest && i < rest->count ? in_lower_case((*rest)[i]) : std::string{};
    };
    auto const values = word(2), shape = word(3);
    if (word(0) != "matrix" || word(1) != "coordinate" ||
        (values != "pattern" && values != "real" && values != "integer") ||
        (shape != "general" && shape != "symmetric"))
      refuse(quoted(banner) +
             " is no graph: write 'MatrixMarket matrix coordinate', then pattern, real or integer, then general or "
             "symmetric");
    format_ = format::matrix_market;
    undirected_ = shape == "symmetric";
  }
  void read_matrix_size(line_words const& words) {
    if (words.count != 3) refuse("here must stand ROWS COLUMNS ENTRIES");
    nodes_ = number(words[0]);
    if (number(words[1]) != *nodes_) refuse("the matrix of a graph has as many columns as rows");
    if (*nodes_ == 0) refuse("a matrix without rows leaves no node: a topology needs at least one");
    announced_ = number(words[2]);
  }
  /// "EDGES NODES NODES" in a comment of KONECT's; other text there is for human readers.
  void read_konect_size(std::string_view comment) {
    auto const words = words_of(comment);
    if (nodes_ || !words || words->count < 2 || words->count > 3) return;
    for (auto i = std::size_t{0}; i < words->count; ++i)
      if ((*words)[i].find_first_not_of("0123456789") != std::string_view::npos) return;
    if (unweighted_) announced_ = number((*words)[0]);
    nodes_ = (std::max)(number((*words)[1]), number((*words)[words->count - 1]));
    if (*nodes_ == 0) refuse("a network of 0 nodes leaves none: a topology needs at least one");
  }

  auto id(std::string_view word) -> node_id {
    auto const first = format_ == format::plain ? std::size_t{0} : std::size_t{1};
    auto const value = number(word);
    if (value < first || (nodes_ && value - first >= *nodes_))
      refuse(
          "node " + std::string{word} + " does not exist: nodes are " + std::to_string(first) + " .. " +
          std::to_string(nodes_ ? *nodes_ - 1 + first : std::size_t{(std::numeric_limits<std::uint32_t>::max)() - 2}));
    id_max_ = (std::max)(id_max_, value - first);
    return to_node(value - first);
  }

  auto number(std::string_view word) const -> std::size_t {
    auto value = std::uint32_t{};
    auto const* const begin = word.data();
    auto const* const end = begin + word.size();
    auto const read = std::from_chars(begin, end, value);
    // Two below the largest: the node count, and a server's id, must fit as well.
    if (read.ec != std::errc{} || read.ptr != end || value > (std::numeric_limits<std::uint32_t>::max)() - 2)
      refuse(quoted(word) + " is not a whole number from 0 to 4294967293");
    return value;
  }

  std::string_view text_;
  std::string source_;
  third_column third_;
  format format_ = format::plain;
  std::size_t line_ = 0;
  std::size_t listed_ = 0;  // lines with an edge
  std::size_t id_max_ = 0;
  bool undirected_ = false;
  bool unweighted_ = false;  // of KONECT's: a third column, if any, counts 1
  bool titled_ = false;
  bool row_first_ = false;
  std::optional<std::size_t> nodes_;
  std::optional<std::size_t> announced_;
  std::optional<node_id> root_;
  std::vector<edge> edges_;
  std::vector<double> weights_;
};

struct close_file {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

using open_file = std::unique_ptr<std::FILE, close_file>;

/// All of a file.
RUBATO_INLINE auto text_in(std::string const& path) -> std::string {
  auto const file = open_file{std::fopen(path.c_str(), "rb")};
  if (!file)
    throw config_error("graph file '" + escaped(path) + "' cannot be opened: check the path and its permissions");
  auto text = std::string{};
  char piece[4096];
  for (auto got = std::size_t{1}; got > 0;) {
    got = std::fread(piece, 1, sizeof piece, file.get());
    text.append(piece, got);
  }
  if (std::ferror(file.get()) != 0)
    throw config_error("graph file '" + escaped(path) + "' cannot be read: is it a plain file?");
  return text;
}

}  // namespace detail

RUBATO_INLINE auto parse_edge_list(std::string_view text, std::string_view source) -> digraph {
  return detail::edge_list_parser{text, source, detail::third_column::refused}.graph();
}

RUBATO_INLINE auto parse_edge_weights(std::string_view text, std::string_view source) -> weighted_edges {
  return detail::edge_list_parser{text, source, detail::third_column::weight}.weighted();
}

RUBATO_INLINE auto read_edge_list(std::string const& path) -> digraph {
  return parse_edge_list(detail::text_in(path), path);
}

RUBATO_INLINE auto read_edge_weights(std::string const& path) -> weighted_edges {
  return parse_edge_weights(detail::text_in(path), path);
}

RUBATO_INLINE auto to_edge_list(digraph const& graph) -> std::string {
  auto text = "nodes " + std::to_string(graph.nodes()) + "\n";
  auto const undirected = graph.is_undirected();
  if (undirected) text += "undirected\n";
  if (graph.root_hint() != node_id{0}) text += "root " + detail::to_text(graph.root_hint()) + "\n";
  for (auto const e : graph.edges())
    if (!undirected || e.from < e.to) text += detail::to_text(e.from) + " " + detail::to_text(e.to) + "\n";
  return text;
}

RUBATO_INLINE void write_edge_list(digraph const& graph, std::string const& path) {
  auto const text = to_edge_list(graph);
  auto file = detail::open_file{std::fopen(path.c_str(), "wb")};
  auto const written = file && std::fwrite(text.data(), 1, text.size(), file.get()) == text.size();
  // Buffered bytes may fail to be written on closing, so its result counts too.
  if (!written || std::fclose(file.release()) != 0)
    throw config_error("graph file '" + escaped(path) +
                       "' cannot be written: check the path, its permissions and the disk");
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
