// SPDX-License-Identifier: MIT
// Weights on the edges of a graph, as a sparse square matrix that proves at construction which of its sums are one.
// Entry (i, j) is the weight that i gives to data from j, so it belongs to the edge j -> i.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/mixing/neighbourhood.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/edge_list.hpp>

namespace rubato::mixing {

/// Which sums of a matrix are one: rows (pull, W), columns (push, A), or both.
enum class stochasticity : std::uint8_t { row, column, doubly };

/// Which weights are allowed. Averages of models of any age, and tracking, need `not_negative`; rounds of gossip accept
/// `any` sign, also on the diagonal (gossip_plan).
enum class signs : std::uint8_t { not_negative, any };

/// One weight: the one that `row` gives to data from `column`.
struct entry {
  node_id row{};
  node_id column{};
  double weight = 0;
};

class matrix;
/// The symmetric matrix with these weights, one entry for both directions of a pair; each node keeps what its pairs
/// leave of 1. Throws what from_entries() throws.
[[nodiscard]] auto from_pairs(std::size_t n, std::vector<entry> const& pairs, std::string name = "custom weights",
                              signs allowed = signs::not_negative) -> matrix;

/// The matrix of these weights. Entries of weight zero off the diagonal are left out. O(entries log entries). Throws
/// config_error if an entry is out of range, given twice or not finite, or if a sum that should be one is not, naming
/// the row or column; and, unless `allowed` is signs::any, if an entry is negative or a diagonal entry is not positive.
[[nodiscard]] auto from_entries(std::size_t n, std::vector<entry> entries, stochasticity sums,
                                std::string name = "custom weights", signs allowed = signs::not_negative) -> matrix;

/// The same from all entries, row by row: rows[i][j] is the weight at (i, j). Throws config_error if the number of
/// entries in a row differs from the number of rows, and what from_entries() throws.
[[nodiscard]] auto from_rows(std::vector<std::vector<double>> const& rows, stochasticity sums,
                             std::string name = "custom weights", signs allowed = signs::not_negative) -> matrix;

/// A stochastic matrix, sparse by rows; made by from_entries() or from a graph, and never changed afterwards. *ensures*
/// the sums that kind() names are one within 1e-12 per weight; weights >= 0 and diagonal > 0,
/// unless it was made with signs::any.
class matrix {
 public:
  auto nodes() const -> std::size_t { return begin_.size() - 1; }
  auto kind() const -> stochasticity { return kind_; }
  auto name() const -> std::string const& { return name_; }

  /// Weights of row i by column, including the diagonal; *requires* i < nodes(); valid while the matrix lives.
  auto row(node_id i) const -> std::span<weighted_edge const> {
    RUBATO_EXPECTS(to_index(i) < nodes(), "row() needs a node of the matrix");
    auto const at = to_index(i);
    return std::span{weights_}.subspan(begin_[at], begin_[at + 1] - begin_[at]);
  }
  /// The weight at (i, j), zero where there is no edge. O(log degree).
  auto at(node_id i, node_id j) const -> double {
    auto const weights = row(i);
    auto const before = [](weighted_edge const& w, node_id id) { return w.peer < id; };
    auto const found = std::lower_bound(weights.begin(), weights.end(), j, before);
    return found != weights.end() && found->peer == j ? found->weight : 0.0;
  }
  auto diagonal(node_id i) const -> double { return at(i, i); }

  /// Rows become columns; row(j) of the result is column j of this one.
  [[nodiscard]] auto transposed() const -> matrix;

  friend auto from_entries(std::size_t n, std::vector<entry> entries, stochasticity sums, std::string name,
                           signs allowed) -> matrix;

 private:
  matrix(stochasticity kind, std::string name) : kind_{kind}, name_{std::move(name)} {}

  std::vector<std::size_t> begin_;
  std::vector<weighted_edge> weights_;
  stochasticity kind_;
  std::string name_;
};

namespace detail {

inline auto to_text(double value) -> std::string { return with_digits(value, 15); }

/// Throws unless the rows of `m` sum to one, naming the first that does not.
void require_rows(matrix const& m);

/// Throws unless the columns of `m` sum to one, naming the first that does not.
void require_columns(matrix const& m);

/// Whether no weight is negative and the whole diagonal is positive.
auto is_not_negative(matrix const& m) -> bool;

/// Throws unless is_not_negative(m), naming the entry; `who` is the subject of "needs" in the message.
void require_not_negative(matrix const& m, char const* who);

}  // namespace detail

/// The matrix of the weights in an edge list (topology::read_edge_weights): w_(to, from) for each edge. A node without
/// a diagonal weight in the list keeps the rest of its row. Throws what from_entries() throws.
[[nodiscard]] auto from_edge_weights(topology::weighted_edges const& list, stochasticity sums,
                                     signs allowed = signs::not_negative) -> matrix;

/// The graph of the weights: an edge j -> i for every w_ij other than zero off the diagonal.
[[nodiscard]] auto support(matrix const& m) -> topology::digraph;

/// Equal weights for pulling: w_ij = 1 / (1 + in-degree of i); rows sum to one.
[[nodiscard]] auto uniform_pull(topology::digraph const& graph) -> matrix;

/// Equal weights for pushing: a_ji = 1 / (1 + out-degree of i); columns sum to one.
[[nodiscard]] auto uniform_push(topology::digraph const& graph) -> matrix;

/// w_ij = 1 / (1 + max(d_i, d_j)), the rest on the diagonal: symmetric, and both sums are one. Throws config_error
/// naming an edge that has no reverse.
[[nodiscard]] auto metropolis_hastings(topology::digraph const& graph) -> matrix;

#if RUBATO_BODIES
namespace detail {

RUBATO_INLINE auto place_of(entry const& e) -> std::string {
  return "(" + std::to_string(to_index(e.row)) + ", " + std::to_string(to_index(e.column)) + ")";
}

RUBATO_INLINE void require_entry(entry const& e, std::size_t n, std::string const& name, signs allowed) {
  if (to_index(e.row) >= n || to_index(e.column) >= n)
    throw config_error("entry " + place_of(e) + " of the " + name + " does not exist: rows and columns are 0 .. " +
                       std::to_string(n - 1));
  if (!std::isfinite(e.weight) || (e.weight < 0 && allowed == signs::not_negative))
    throw config_error("entry " + place_of(e) + " of the " + name + " is " + to_text(e.weight) +
                       ": a weight is a finite number" +
                       (allowed == signs::any ? "" : " and not negative, unless made with signs::any"));
}

/// Throws unless the sum of `count` weights is one to within 1e-12 each.
RUBATO_INLINE void require_sum(char const* what, std::size_t at, double sum, std::size_t count,
                               std::string const& name) {
  if (!(std::abs(sum - 1.0) <= 1e-12 * static_cast<double>(count)))
    throw config_error(std::string{what} + " " + std::to_string(at) + " of the " + name + " sums to " + to_text(sum) +
                       ": the weights of a " + what + " must sum to 1");
}

RUBATO_INLINE void require_rows(matrix const& m) {
  for (auto i = std::size_t{0}; i < m.nodes(); ++i) {
    auto sum = 0.0;
    for (auto const& w : m.row(to_node(i))) sum += w.weight;
    require_sum("row", i, sum, m.row(to_node(i)).size(), m.name());
  }
}

RUBATO_INLINE void require_columns(matrix const& m) {
  auto sums = std::vector<double>(m.nodes(), 0.0);
  auto counts = std::vector<std::size_t>(m.nodes(), 0);
  for (auto i = std::size_t{0}; i < m.nodes(); ++i)
    for (auto const& w : m.row(to_node(i))) {
      sums[to_index(w.peer)] += w.weight;
      ++counts[to_index(w.peer)];
    }
  for (auto j = std::size_t{0}; j < m.nodes(); ++j) require_sum("column", j, sums[j], counts[j], m.name());
}

RUBATO_INLINE auto same_place(entry const& a, entry const& b) -> bool { return a.row == b.row && a.column == b.column; }

RUBATO_INLINE void require_distinct(std::vector<entry> const& sorted, std::string const& name) {
  auto const twice = std::adjacent_find(sorted.begin(), sorted.end(), same_place);
  if (twice != sorted.end())
    throw config_error("entry " + place_of(*twice) + " of the " + name + " is given twice: give each weight once");
}

RUBATO_INLINE void require_diagonal(matrix const& m) {
  for (auto i = std::size_t{0}; i < m.nodes(); ++i)
    if (!(m.diagonal(to_node(i)) > 0))
      throw config_error("node " + std::to_string(i) + " keeps no weight of its own in the " + m.name() +
                         ": the diagonal must be positive");
}

RUBATO_INLINE auto first_negative(matrix const& m) -> std::optional<entry> {
  for (auto i = std::size_t{0}; i < m.nodes(); ++i) {
    for (auto const& w : m.row(to_node(i)))
      if (w.weight < 0) return entry{to_node(i), w.peer, w.weight};
    if (!(m.diagonal(to_node(i)) > 0)) return entry{to_node(i), to_node(i), m.diagonal(to_node(i))};
  }
  return std::nullopt;
}

RUBATO_INLINE auto is_not_negative(matrix const& m) -> bool { return !first_negative(m); }

RUBATO_INLINE void require_not_negative(matrix const& m, char const* who) {
  if (auto const e = first_negative(m))
    throw config_error(std::string{who} + " needs weights that are not negative and a positive diagonal, and entry " +
                       place_of(*e) + " of the " + m.name() + " is " + to_text(e->weight));
}

}  // namespace detail

RUBATO_INLINE auto from_entries(std::size_t n, std::vector<entry> entries, stochasticity sums, std::string name,
                                signs allowed) -> matrix {
  if (n == 0) throw config_error("the " + name + " have no row: a matrix of weights needs at least one node");
  for (auto const& e : entries) detail::require_entry(e, n, name, allowed);
  std::sort(entries.begin(), entries.end(),
            [](entry const& a, entry const& b) { return a.row != b.row ? a.row < b.row : a.column < b.column; });
  detail::require_distinct(entries, name);

  auto m = matrix{sums, std::move(name)};
  m.begin_.assign(n + 1, 0);
  m.weights_.reserve(entries.size());
  for (auto const& e : entries) {
    if (e.weight == 0) continue;
    m.weights_.push_back({e.column, e.weight});
    ++m.begin_[to_index(e.row) + 1];
  }
  for (auto i = std::size_t{0}; i < n; ++i) m.begin_[i + 1] += m.begin_[i];

  if (allowed == signs::not_negative) detail::require_diagonal(m);
  if (sums != stochasticity::column) detail::require_rows(m);
  if (sums != stochasticity::row) detail::require_columns(m);
  return m;
}

RUBATO_INLINE auto from_pairs(std::size_t n, std::vector<entry> const& pairs, std::string name, signs allowed)
    -> matrix {
  auto entries = std::vector<entry>{};
  entries.reserve(n + 2 * pairs.size());
  auto kept = std::vector<double>(n, 1.0);
  for (auto const& p : pairs) {
    detail::require_entry(p, n, name, allowed);
    entries.push_back(p);
    entries.push_back({p.column, p.row, p.weight});
    kept[to_index(p.row)] -= p.weight;
    kept[to_index(p.column)] -= p.weight;
  }
  for (auto i = std::size_t{0}; i < n; ++i) entries.push_back({to_node(i), to_node(i), kept[i]});
  return from_entries(n, std::move(entries), stochasticity::doubly, std::move(name), allowed);
}

RUBATO_INLINE auto from_rows(std::vector<std::vector<double>> const& rows, stochasticity sums, std::string name,
                             signs allowed) -> matrix {
  auto entries = std::vector<entry>{};
  for (auto i = std::size_t{0}; i < rows.size(); ++i) {
    if (rows[i].size() != rows.size())
      throw config_error("row " + std::to_string(i) + " of the " + name + " has " + std::to_string(rows[i].size()) +
                         " entries, and there are " + std::to_string(rows.size()) +
                         " rows: weights are a square matrix");
    for (auto j = std::size_t{0}; j < rows.size(); ++j)
      if (rows[i][j] != 0) entries.push_back({to_node(i), to_node(j), rows[i][j]});
  }
  return from_entries(rows.size(), std::move(entries), sums, std::move(name), allowed);
}

RUBATO_INLINE auto from_edge_weights(topology::weighted_edges const& list, stochasticity sums, signs allowed)
    -> matrix {
  auto entries = std::vector<entry>{};
  auto left = std::vector<double>(list.nodes, 1.0);
  auto kept = std::vector<bool>(list.nodes, false);
  for (auto k = std::size_t{0}; k < list.edges.size(); ++k) {
    auto const [from, to] = list.edges[k];
    entries.push_back({to, from, list.weights[k]});
    left[to_index(to)] -= list.weights[k];
    if (from == to) kept[to_index(to)] = true;
  }
  for (auto i = std::size_t{0}; i < list.nodes; ++i)
    if (!kept[i]) entries.push_back({to_node(i), to_node(i), left[i]});
  return from_entries(list.nodes, std::move(entries), sums, "weights of '" + list.name + "'", allowed);
}

RUBATO_INLINE auto matrix::transposed() const -> matrix {
  auto turned = std::vector<entry>{};
  turned.reserve(weights_.size());
  for (auto i = std::size_t{0}; i < nodes(); ++i)
    for (auto const& w : row(to_node(i))) turned.push_back({w.peer, to_node(i), w.weight});
  auto const kind = kind_ == stochasticity::row      ? stochasticity::column
                    : kind_ == stochasticity::column ? stochasticity::row
                                                     : stochasticity::doubly;
  return from_entries(nodes(), std::move(turned), kind, name_, signs::any);
}

RUBATO_INLINE auto support(matrix const& m) -> topology::digraph {
  auto edges = std::vector<topology::edge>{};
  for (auto i = std::size_t{0}; i < m.nodes(); ++i)
    for (auto const& w : m.row(to_node(i)))
      if (w.peer != to_node(i)) edges.push_back({w.peer, to_node(i)});
  return topology::from_edges(m.nodes(), std::move(edges), m.name());
}

RUBATO_INLINE auto uniform_pull(topology::digraph const& graph) -> matrix {
  auto entries = std::vector<entry>{};
  entries.reserve(graph.nodes() + graph.edge_count());
  for (auto i = std::size_t{0}; i < graph.nodes(); ++i) {
    auto const peers = graph.into(to_node(i));
    auto const weight = 1.0 / static_cast<double>(1 + peers.size());
    entries.push_back({to_node(i), to_node(i), weight});
    for (auto const j : peers) entries.push_back({to_node(i), j, weight});
  }
  return from_entries(graph.nodes(), std::move(entries), stochasticity::row, "uniform pull weights");
}

RUBATO_INLINE auto uniform_push(topology::digraph const& graph) -> matrix {
  auto entries = std::vector<entry>{};
  entries.reserve(graph.nodes() + graph.edge_count());
  for (auto i = std::size_t{0}; i < graph.nodes(); ++i) {
    auto const peers = graph.out_of(to_node(i));
    auto const weight = 1.0 / static_cast<double>(1 + peers.size());
    entries.push_back({to_node(i), to_node(i), weight});
    for (auto const j : peers) entries.push_back({j, to_node(i), weight});
  }
  return from_entries(graph.nodes(), std::move(entries), stochasticity::column, "uniform push weights");
}

RUBATO_INLINE auto metropolis_hastings(topology::digraph const& graph) -> matrix {
  for (auto const e : graph.edges())
    if (!graph.has_edge(e.to, e.from))
      throw config_error("Metropolis-Hastings weights need an undirected graph, and edge " +
                         topology::detail::to_text(e) + " of '" + graph.name() +
                         "' has no reverse: add it, or use with_both_directions()");
  auto entries = std::vector<entry>{};
  entries.reserve(graph.nodes() + graph.edge_count());
  for (auto i = std::size_t{0}; i < graph.nodes(); ++i) {
    auto const peers = graph.out_of(to_node(i));
    auto const own = 1.0 / static_cast<double>(1 + peers.size());
    // The rest for i as a sum of terms that are not negative, so it cannot come out below zero.
    auto rest = own;
    for (auto const j : peers) {
      auto const weight = (std::min)(own, 1.0 / static_cast<double>(1 + graph.out_of(j).size()));
      entries.push_back({to_node(i), j, weight});
      rest += own - weight;
    }
    entries.push_back({to_node(i), to_node(i), rest});
  }
  return from_entries(graph.nodes(), std::move(entries), stochasticity::doubly, "Metropolis-Hastings weights");
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
