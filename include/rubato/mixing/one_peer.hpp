// SPDX-License-Identifier: MIT
// Sequences of matrices with few edges a round: one-peer exponential, pairs across two halves, and groups with leaders;
// and rounds without an edge between those of any sequence. One matrix a round; a run repeats them. How near a
// sequence comes to the mean of all is residual(), 0 if it is exact.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/spectral.hpp>
#include <rubato/topology/lattices.hpp>

namespace rubato::mixing {

/// Round k of ceil(log2 n): node i averages with what comes from i - 2^k mod n, half and half. Directed; rows and
/// columns sum to one. All rounds together are exact, J = 1 1^T / n, if and only if n is a power of two (Ying et al.
/// 2021). One node has one round, which changes nothing.
[[nodiscard]] auto one_peer_exponential(std::size_t n) -> std::vector<matrix>;

/// Pairs across two halves of an even number of nodes, half and half: in round s = 0 .. n/2 - 1 node r of the first
/// half meets node ((r + s) mod n/2) + n/2. Symmetric; two of different halves meet once in n/2 rounds. BAGUA's
/// shift-one, of its public code. Throws config_error if n is odd.
[[nodiscard]] auto shift_one(std::size_t n) -> std::vector<matrix>;

/// The same rounds with k - 1 between any two, and before the first, in which every node keeps what it has: nodes that
/// exchange models every k iterations. Throws config_error unless k is at least 1, and for more than 2^22 rows of all
/// these matrices, each of which is held.
[[nodiscard]] auto every(std::size_t k, std::vector<matrix> const& rounds) -> std::vector<matrix>;

/// Groups that average among themselves `inside_rounds` times, then their leaders once, then the groups once more, each
/// time with Metropolis-Hastings weights on these edges of topology::hierarchical(). Symmetric. Ours.
[[nodiscard]] auto hierarchical_rounds(std::size_t n, std::size_t groups, std::size_t inside_rounds = 1,
                                       topology::inside_groups inside = topology::inside_groups::complete,
                                       topology::among_leaders among = topology::among_leaders::ring)
    -> std::vector<matrix>;

/// ||P - J||_2, where P applies the rounds in their order: how much disagreement is left after all of them.
/// *requires* at least one matrix, all for the same nodes and doubly stochastic (config_error).
[[nodiscard]] auto residual(std::vector<matrix> const& rounds) -> double;

#if RUBATO_BODIES
namespace detail {

/// Whether every node keeps what it has, as in most rounds of every().
RUBATO_INLINE auto keeps_all(matrix const& round) -> bool {
  for (auto i = std::size_t{0}; i < round.nodes(); ++i) {
    auto const& row = round.row(to_node(i));
    if (row.size() != 1 || row[0].peer != to_node(i)) return false;
  }
  return true;
}

/// Applies `next` after `first`.
RUBATO_INLINE auto composed(matrix const& first, matrix const& next) -> matrix {
  if (first.nodes() != next.nodes())
    throw config_error("a sequence has weights for " + std::to_string(first.nodes()) + " and for " +
                       std::to_string(next.nodes()) + " nodes: all rounds need the same");
  auto const n = first.nodes();
  auto entries = std::vector<entry>{};
  auto row = std::vector<double>(n);
  for (auto i = std::size_t{0}; i < n; ++i) {
    std::fill(row.begin(), row.end(), 0.0);
    for (auto const& a : next.row(to_node(i)))
      for (auto const& b : first.row(a.peer)) row[to_index(b.peer)] += a.weight * b.weight;
    for (auto j = std::size_t{0}; j < n; ++j) entries.push_back({to_node(i), to_node(j), row[j]});
  }
  return from_entries(n, std::move(entries), stochasticity::doubly, "product of rounds", signs::any);
}

/// The edges of `graph` whose ends fulfil a condition, with Metropolis-Hastings weights.
template<class Condition>
auto metropolis_hastings_where(topology::digraph const& graph, Condition const& holds) -> matrix {
  auto edges = graph.edges();
  std::erase_if(edges, [&](topology::edge e) { return !holds(to_index(e.from), to_index(e.to)); });
  return metropolis_hastings(topology::from_edges(graph.nodes(), std::move(edges), graph.name()));
}

}  // namespace detail

RUBATO_INLINE auto one_peer_exponential(std::size_t n) -> std::vector<matrix> {
  auto const name = "one-peer exponential weights";
  topology::detail::require_nodes(n, name);
  auto rounds = std::vector<matrix>{};
  for (auto hop = std::size_t{1}; hop < n || rounds.empty(); hop *= 2) {
    auto entries = std::vector<entry>{};
    for (auto i = std::size_t{0}; i < n; ++i) {
      entries.push_back({to_node(i), to_node(i), n == 1 ? 1.0 : 0.5});
      if (n > 1) entries.push_back({to_node(i), to_node((i + n - hop) % n), 0.5});
    }
    rounds.push_back(from_entries(n, std::move(entries), stochasticity::doubly, name));
  }
  return rounds;
}

RUBATO_INLINE auto shift_one(std::size_t n) -> std::vector<matrix> {
  auto const name = "shift-one weights";
  topology::detail::require_nodes(n, name);
  if (n % 2 != 0)
    throw config_error("shift-one pairs the nodes of two halves, and " + std::to_string(n) + " nodes have none");
  auto const half = n / 2;
  auto rounds = std::vector<matrix>{};
  for (auto s = std::size_t{0}; s < half; ++s) {
    auto entries = std::vector<entry>{};
    for (auto r = std::size_t{0}; r < half; ++r) {
      auto const one = to_node(r), other = to_node((r + s) % half + half);
      for (auto const i : {one, other})
        for (auto const j : {one, other}) entries.push_back({i, j, 0.5});
    }
    rounds.push_back(from_entries(n, std::move(entries), stochasticity::doubly, name));
  }
  return rounds;
}

RUBATO_INLINE auto every(std::size_t k, std::vector<matrix> const& rounds) -> std::vector<matrix> {
  if (k == 0) throw config_error("nodes exchange models every iteration or less often, and not every 0 iterations");
  auto rows = std::size_t{0};
  for (auto const& round : rounds) rows += round.nodes();
  auto const most = rows == 0 ? k : (std::max)((std::size_t{1} << 22) / rows, std::size_t{1});
  if (k > most)
    throw config_error("a cycle of " + std::to_string(rounds.size()) + " rounds, each of which comes after " +
                       std::to_string(k - 1) + " without weights, has too many matrices to hold: nodes may exchange " +
                       "models every " + std::to_string(most) + " iterations or more often");
  auto all = std::vector<matrix>{};
  for (auto const& round : rounds) {
    auto alone = std::vector<entry>{};
    for (auto i = std::size_t{0}; i < round.nodes(); ++i) alone.push_back({to_node(i), to_node(i), 1});
    for (auto r = std::size_t{1}; r < k; ++r)
      all.push_back(from_entries(round.nodes(), alone, stochasticity::doubly, "no weights"));
    all.push_back(round);
  }
  return all;
}

RUBATO_INLINE auto hierarchical_rounds(std::size_t n, std::size_t groups, std::size_t inside_rounds,
                                       topology::inside_groups inside, topology::among_leaders among)
    -> std::vector<matrix> {
  auto const graph = topology::hierarchical(n, groups, inside, among);
  auto const begins = topology::group_begins(n, groups);
  auto const group_of = [&](std::size_t i) {
    return std::upper_bound(begins.begin(), begins.end(), i) - begins.begin();
  };
  auto const within = detail::metropolis_hastings_where(
      graph, [&](std::size_t i, std::size_t j) { return group_of(i) == group_of(j); });
  auto rounds = std::vector<matrix>(inside_rounds, within);
  rounds.push_back(detail::metropolis_hastings_where(
      graph, [&](std::size_t i, std::size_t j) { return group_of(i) != group_of(j); }));
  rounds.push_back(within);
  return rounds;
}

RUBATO_INLINE auto residual(std::vector<matrix> const& rounds) -> double {
  if (rounds.empty()) throw config_error("a sequence of no rounds has no residual: give at least one matrix");
  auto all = rounds.front();
  for (auto k = std::size_t{1}; k < rounds.size(); ++k) {
    if (rounds[k].nodes() != all.nodes() || !detail::keeps_all(rounds[k])) all = detail::composed(all, rounds[k]);
  }
  return second_singular_value(all);
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
