// SPDX-License-Identifier: MIT
// Perron vectors: u^T W = u^T for a row-stochastic W, A v = v for a column-stochastic A, each summing to one. u_i is
// the weight of node i's model in the consensus, v_i the share of the gradient sum that ends up at i. W is a Markov
// chain i -> j with stationary distribution u, which is positive on the pull roots only.
#pragma once

#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/topology/reachability.hpp>

namespace rubato::mixing {

/// u with u^T W = u^T and sum one, by node; zero at every node that is no pull root. *requires* rows that sum to one
/// and no negative weight; throws config_error if this does not hold or if W has more than one such u.
[[nodiscard]] auto perron_left(matrix const& m) -> std::vector<double>;

/// v with A v = v and sum one, by node; zero at every node that is no push root. *requires* columns that sum to one and
/// no negative weight; throws config_error if this does not hold or if A has more than one such v.
[[nodiscard]] auto perron_right(matrix const& m) -> std::vector<double>;

#if RUBATO_BODIES
namespace detail {

/// The part of a row-stochastic matrix on its recurrent nodes, renumbered 0 .. size-1. It is stochastic itself.
struct recurrent_part {
  std::vector<node_id> ids;
  std::vector<std::vector<std::pair<std::size_t, double>>> rows;

  auto size() const -> std::size_t { return ids.size(); }
};

RUBATO_INLINE auto recurrent_part_of(matrix const& m) -> recurrent_part {
  auto const graph = support(m);
  auto part = recurrent_part{topology::roots(graph), {}};
  if (part.ids.empty()) {
    auto const top = topology::candidate_root(graph);
    auto const lost = topology::search_from(graph, top).first_unreached().value_or(top);
    throw config_error("the " + m.name() + " have no unique Perron vector: no node reaches both node " +
                       std::to_string(to_index(top)) + " and node " + std::to_string(to_index(lost)) +
                       "; add edges until one node reaches all");
  }
  constexpr auto outside = static_cast<std::size_t>(-1);
  auto number_of = std::vector<std::size_t>(m.nodes(), outside);
  for (auto k = std::size_t{0}; k < part.size(); ++k) number_of[to_index(part.ids[k])] = k;
  part.rows.resize(part.size());
  // A recurrent node takes from recurrent nodes only, so no part of a row is lost here.
  for (auto k = std::size_t{0}; k < part.size(); ++k)
    for (auto const& w : m.row(part.ids[k])) part.rows[k].emplace_back(number_of[to_index(w.peer)], w.weight);
  return part;
}

RUBATO_INLINE void normalise(std::vector<double>& u) {
  auto const sum = std::accumulate(u.begin(), u.end(), 0.0);
  for (auto& value : u) value /= sum;
}

/// u^T W
RUBATO_INLINE auto advanced(recurrent_part const& part, std::vector<double> const& u) -> std::vector<double> {
  auto next = std::vector<double>(u.size(), 0.0);
  for (auto i = std::size_t{0}; i < u.size(); ++i)
    for (auto const& [j, weight] : part.rows[i]) next[j] += weight * u[i];
  return next;
}

RUBATO_INLINE auto distance(std::vector<double> const& a, std::vector<double> const& b) -> double {
  auto sum = 0.0;
  for (auto i = std::size_t{0}; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum;
}

/// Whether u^T W = u^T to rounding. Also false for a guess that overflowed.
RUBATO_INLINE auto is_stationary(recurrent_part const& part, std::vector<double> const& u) -> bool {
  return distance(u, advanced(part, u)) <= 1e-14;
}

/// The distribution under which flows balance edge by edge, u_i w_ij = u_j w_ji, as on every undirected graph with
/// uniform weights, found by a search from node 0. It is a guess, right only if is_stationary().
RUBATO_INLINE auto balanced_guess(recurrent_part const& part) -> std::vector<double> {
  auto u = std::vector<double>(part.size(), 0.0);
  auto order = std::vector<std::size_t>{0};
  u[0] = 1;
  for (auto next = std::size_t{0}; next < order.size(); ++next) {
    auto const i = order[next];
    for (auto const& [j, weight] : part.rows[i]) {
      if (u[j] > 0) continue;
      for (auto const& [back, reverse] : part.rows[j])
        if (back == i) u[j] = u[i] * weight / reverse;
      if (u[j] > 0) order.push_back(j);
    }
  }
  normalise(u);
  return u;
}

/// Grassmann, Taksar, Heyman 1985: elimination without a subtraction, so every entry is right to rounding however
/// slowly the graph mixes. Sparse: the node whose removal joins the fewest pairs goes first.
class elimination {
 public:
  explicit elimination(recurrent_part const& part) : out_(part.size()), in_(part.size()), cost_(part.size()) {
    for (auto i = std::size_t{0}; i < part.size(); ++i)
      for (auto const& [j, weight] : part.rows[i])
        if (j != i) link(i, j, weight);
    for (auto i = std::size_t{0}; i < part.size(); ++i) enqueue(i);
  }

  auto solved() -> std::vector<double> {
    auto removed = std::vector<removal>{};
    while (queue_.size() > 1) removed.push_back(remove(queue_.begin()->second));
    auto u = std::vector<double>(out_.size(), 0.0);
    u[queue_.begin()->second] = 1;
    for (auto k = removed.size(); k-- > 0;)
      for (auto const& [i, share] : removed[k].shares) u[removed[k].node] += u[i] * share;
    normalise(u);
    return u;
  }

 private:
  struct removal {
    std::size_t node;
    std::vector<std::pair<std::size_t, double>> shares;  ///< u of the node as a weighted sum over the remaining nodes
  };

  void link(std::size_t i, std::size_t j, double weight) {
    out_[i][j] += weight;
    in_[j].insert(i);
  }
  void enqueue(std::size_t i) {
    cost_[i] = out_[i].size() * in_[i].size();
    queue_.emplace(cost_[i], i);
  }
  /// Redirects the flow through k past it. A node's weight on itself cancels out of the method and is left out.
  auto remove(std::size_t k) -> removal {
    auto leaving = 0.0;
    for (auto const& [j, weight] : out_[k]) leaving += weight;
    auto result = removal{k, {}};
    auto touched = in_[k];
    for (auto const& [j, weight] : out_[k]) touched.insert(j);
    for (auto const i : touched) queue_.erase({cost_[i], i});
    queue_.erase({cost_[k], k});
    for (auto const i : in_[k]) {
      auto const share = out_[i][k] / leaving;
      result.shares.emplace_back(i, share);
      out_[i].erase(k);
      for (auto const& [j, weight] : out_[k])
        if (j != i) link(i, j, share * weight);
    }
    for (auto const& [j, weight] : out_[k]) in_[j].erase(k);
    for (auto const i : touched) enqueue(i);
    return result;
  }

  std::vector<std::map<std::size_t, double>> out_;
  std::vector<std::set<std::size_t>> in_;
  std::vector<std::size_t> cost_;
  std::set<std::pair<std::size_t, std::size_t>> queue_;
};

/// Repeated averaging, the fastest way on large graphs that mix well. If it settles in this many rounds, each round
/// shrinks the error by 1.5 % or more, so a last change of 1e-13 leaves an error below 1e-11.
RUBATO_INLINE auto iterated(recurrent_part const& part) -> std::optional<std::vector<double>> {
  auto u = std::vector<double>(part.size(), 1.0 / static_cast<double>(part.size()));
  for (auto round = 0; round < 2'000; ++round) {
    auto next = advanced(part, u);
    normalise(next);
    auto const change = distance(u, next);
    u = std::move(next);
    if (change <= 1e-13) return u;
  }
  return std::nullopt;
}

RUBATO_INLINE auto stationary(recurrent_part const& part) -> std::vector<double> {
  constexpr auto few = std::size_t{256};
  // First two guesses that are often right and cost one pass each, then iteration if exact elimination may be slow.
  auto even = std::vector<double>(part.size(), 1.0 / static_cast<double>(part.size()));
  if (is_stationary(part, even)) return even;
  auto balanced = balanced_guess(part);
  if (is_stationary(part, balanced)) return balanced;
  if (part.size() > few)
    if (auto settled = iterated(part)) return *std::move(settled);
  return elimination{part}.solved();
}

}  // namespace detail

RUBATO_INLINE auto perron_left(matrix const& m) -> std::vector<double> {
  detail::require_rows(m);
  detail::require_not_negative(m, "a Perron vector");
  auto const part = detail::recurrent_part_of(m);
  auto const on_part = detail::stationary(part);
  auto u = std::vector<double>(m.nodes(), 0.0);
  for (auto k = std::size_t{0}; k < part.size(); ++k) u[to_index(part.ids[k])] = on_part[k];
  return u;
}

RUBATO_INLINE auto perron_right(matrix const& m) -> std::vector<double> {
  detail::require_columns(m);
  return perron_left(m.transposed());
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
