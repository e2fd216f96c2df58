// SPDX-License-Identifier: MIT
// Symmetric weights that mix as fast as a graph allows (Xiao, Boyd 2004; with weights >= 0: Boyd, Diaconis, Xiao 2004).
//   minimise s over w:  -s I <= W - J <= s I,   W = I - sum_e w_e a_e a_e^T,  a_e = unit_i - unit_j
// is convex. It is solved on its central path by Newton's method: minimise
//   t s - log det(s I - M) - log det(s I + M) [- sum log(w_e) - sum log(room of a node)],   M = W - J.
// The result is within (number of constraints) / t of the best.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/mixing/detail/dense.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/spectral.hpp>
#include <rubato/topology/reachability.hpp>

namespace rubato::mixing {

/// The symmetric doubly stochastic matrix on these edges with the least rho(W), to 1e-9. With signs::any some weights,
/// also of a node for itself, may be negative: legal where gossip_plan() says so. Otherwise no weight is negative, and
/// each node keeps `own_min` or more. Throws config_error if the graph is not undirected and connected, has more than
/// 200 nodes or 600 pairs, or if own_min is not in [0, 1). O((nodes + pairs)^3), seconds for the largest.
[[nodiscard]] auto fastest_mixing(topology::digraph const& graph, signs allowed = signs::not_negative,
                                  double own_min = 1e-3) -> matrix;

/// The least eigenvalue of the Laplacian but for the zero, and its largest, to 1e-8 or better.
struct laplacian_range {
  double second = 0;
  double largest = 0;
};

/// *requires* an undirected connected graph of two nodes or more (config_error).
[[nodiscard]] auto laplacian_range_of(topology::digraph const& graph) -> laplacian_range;

/// I - 2 / (second + largest) L: the fastest of all matrices that have one weight for all edges. A node may keep a
/// negative weight. Throws config_error if the graph is not undirected and connected.
[[nodiscard]] auto best_constant(topology::digraph const& graph) -> matrix;

#if RUBATO_BODIES
namespace detail {

/// The problem above, and its barrier at a point (w_1 .. w_m, s).
class fastest_problem {
 public:
  fastest_problem(topology::digraph const& graph, signs allowed, double own_min)
      : n_{graph.nodes()}, bounded_{allowed == signs::not_negative}, room_{1 - own_min} {
    for (auto const e : graph.edges())
      if (e.from < e.to) links_.emplace_back(to_index(e.from), to_index(e.to));
  }

  auto solved() const -> std::vector<entry> {
    auto const constraints = static_cast<double>(2 * n_ + (bounded_ ? links_.size() + n_ : 0));
    auto at = start();
    for (auto t = 1.0;; t *= 8) {
      centre(at, t);
      if (constraints / t <= 1e-10) break;
    }
    auto pairs = std::vector<entry>{};
    for (auto e = std::size_t{0}; e < links_.size(); ++e)
      pairs.push_back({to_node(links_[e].first), to_node(links_[e].second), at[e]});
    return pairs;
  }

 private:
  using vector = std::vector<double>;

  /// Metropolis-Hastings weights, made smaller until there is room, with an s that is larger than any modulus.
  auto start() const -> vector {
    auto degree = vector(n_, 0.0);
    for (auto const& [i, j] : links_) ++degree[i], ++degree[j];
    auto at = vector{};
    for (auto const& [i, j] : links_) at.push_back(room_ / (1 + (std::max)(degree[i], degree[j])));
    at.push_back(2);
    return at;
  }

  /// s I - M or s I + M.
  auto gap(vector const& at, double sign) const -> square {
    auto result = square{n_};
    auto const mean = 1 / static_cast<double>(n_);
    for (auto i = std::size_t{0}; i < n_; ++i)
      for (auto j = std::size_t{0}; j < n_; ++j) result(i, j) = sign * ((i == j ? 1.0 : 0.0) - mean);
    for (auto e = std::size_t{0}; e < links_.size(); ++e) {
      auto const [i, j] = links_[e];
      result(i, i) -= sign * at[e], result(j, j) -= sign * at[e];
      result(i, j) += sign * at[e], result(j, i) += sign * at[e];
    }
    for (auto i = std::size_t{0}; i < n_; ++i) result(i, i) += at.back();
    return result;
  }

  /// What each node may still give away.
  auto rooms(vector const& at) const -> vector {
    auto left = vector(n_, room_);
    for (auto e = std::size_t{0}; e < links_.size(); ++e)
      left[links_[e].first] -= at[e], left[links_[e].second] -= at[e];
    return left;
  }

  /// The barrier; nothing outside of it.
  auto value(vector const& at, double t) const -> std::optional<double> {
    auto const below = cholesky(gap(at, -1)), above = cholesky(gap(at, 1));
    if (!below || !above) return std::nullopt;
    auto sum = t * at.back() - log_det(*below) - log_det(*above);
    if (!bounded_) return sum;
    auto slack = rooms(at);
    slack.insert(slack.end(), at.begin(), at.end() - 1);
    for (auto const x : slack) {
      if (!(x > 0)) return std::nullopt;
      sum -= std::log(x);
    }
    return sum;
  }

  /// a_e^T P a_f
  auto between(square const& p, std::size_t e, std::size_t f) const -> double {
    auto const [i, j] = links_[e];
    auto const [k, l] = links_[f];
    return p(i, k) - p(i, l) - p(j, k) + p(j, l);
  }

  /// Adds -log det(s I - sign M), whose inverse is p, to gradient and Hessian.
  void add_gap(square const& p, double sign, vector& slope, square& curve) const {
    auto const m = links_.size();
    for (auto i = std::size_t{0}; i < n_; ++i) {
      slope[m] -= p(i, i);
      for (auto j = std::size_t{0}; j < n_; ++j) curve(m, m) += p(i, j) * p(i, j);
    }
    for (auto e = std::size_t{0}; e < m; ++e) {
      auto const [i, j] = links_[e];
      slope[e] -= sign * between(p, e, e);
      for (auto k = std::size_t{0}; k < n_; ++k) curve(m, e) += sign * (p(i, k) - p(j, k)) * (p(i, k) - p(j, k));
      for (auto f = std::size_t{0}; f <= e; ++f) {
        auto const x = between(p, e, f);
        curve(e, f) += x * x;
      }
    }
  }

  void add_bounds(vector const& at, vector& slope, square& curve) const {
    auto const left = rooms(at);
    for (auto e = std::size_t{0}; e < links_.size(); ++e) {
      auto const [i, j] = links_[e];
      slope[e] += 1 / left[i] + 1 / left[j] - 1 / at[e];
      curve(e, e) += 1 / (at[e] * at[e]);
      for (auto f = std::size_t{0}; f <= e; ++f)
        for (auto const end : {i, j})
          if (links_[f].first == end || links_[f].second == end) curve(e, f) += 1 / (left[end] * left[end]);
    }
  }

  /// One step of Newton's method with backtracking; returns the squared decrement.
  auto improve(vector& at, double t) const -> double {
    auto const m = links_.size();
    auto slope = vector(m + 1, 0.0);
    auto curve = square{m + 1};
    slope[m] = t;
    add_gap(inverse(*cholesky(gap(at, -1))), 1, slope, curve);
    add_gap(inverse(*cholesky(gap(at, 1))), -1, slope, curve);
    if (bounded_) add_bounds(at, slope, curve);
    auto const factor = cholesky(std::move(curve));
    if (!factor) return 0;  // as near as rounding lets it come
    auto direction = slope;
    solve(*factor, direction);
    auto const decrement = dot(slope, direction);
    auto const now = value(at, t);
    for (auto length = 1.0; length > 1e-12; length /= 2) {
      auto next = at;
      add_scaled(next, -length, direction);
      auto const then = value(next, t);
      if (!then || *then > *now - 0.1 * length * decrement) continue;
      at = std::move(next);
      return decrement;
    }
    return 0;  // no progress beyond rounding
  }

  void centre(vector& at, double t) const {
    for (auto step = 0; step < 50; ++step)
      if (improve(at, t) <= 1e-6) return;
  }

  std::size_t n_;
  bool bounded_;
  double room_;
  std::vector<std::pair<std::size_t, std::size_t>> links_;
};

RUBATO_INLINE void require_mixing_graph(topology::digraph const& graph) {
  static_cast<void>(metropolis_hastings(graph));  // names an edge without a reverse
  if (auto const lost = topology::search_from(graph, node_id{0}).first_unreached())
    throw config_error("weights that mix need a connected graph, and node " + topology::detail::to_text(*lost) +
                       " of '" + graph.name() + "' is not connected to node 0: add edges");
}

/// I - factor L.
RUBATO_INLINE auto constant_weights(topology::digraph const& graph, double factor) -> matrix {
  auto pairs = std::vector<entry>{};
  for (auto const e : graph.edges())
    if (e.from < e.to) pairs.push_back({e.from, e.to, factor});
  return from_pairs(graph.nodes(), pairs, "best constant weights", signs::any);
}

}  // namespace detail

RUBATO_INLINE auto fastest_mixing(topology::digraph const& graph, signs allowed, double own_min) -> matrix {
  detail::require_mixing_graph(graph);
  constexpr auto nodes_max = std::size_t{200}, pairs_max = std::size_t{600};
  if (graph.nodes() > nodes_max || graph.edge_count() / 2 > pairs_max)
    throw config_error("the fastest weights are for up to " + std::to_string(nodes_max) + " nodes and " +
                       std::to_string(pairs_max) + " pairs, and '" + graph.name() + "' has " +
                       std::to_string(graph.nodes()) + " and " + std::to_string(graph.edge_count() / 2) +
                       ": take best_constant() or metropolis_hastings()");
  if (!(own_min >= 0 && own_min < 1))
    throw config_error("the least weight that a node keeps is " + with_digits(own_min, 6) +
                       ": it is at least 0 and below 1");
  auto const name = allowed == signs::any ? "fastest weights of any sign" : "fastest weights";
  if (graph.nodes() == 1) return from_pairs(1, {}, name, allowed);
  return from_pairs(graph.nodes(), detail::fastest_problem{graph, allowed, own_min}.solved(), name, allowed);
}

RUBATO_INLINE auto laplacian_range_of(topology::digraph const& graph) -> laplacian_range {
  detail::require_mixing_graph(graph);
  if (graph.nodes() < 2) throw config_error("the Laplacian of one node has no second eigenvalue: take two or more");
  auto degree_max = std::size_t{0};
  for (auto i = std::size_t{0}; i < graph.nodes(); ++i)
    degree_max = (std::max)(degree_max, graph.out_of(to_node(i)).size());
  // Eigenvalues of I - L / (2 d) are in [0, 1]: the second singular value belongs to the second eigenvalue of L. Those
  // of I - 2 L / d have their largest modulus at the largest, which is at least d + 1.
  auto const d = static_cast<double>(degree_max);
  return {2 * d * (1 - second_singular_value(detail::constant_weights(graph, 1 / (2 * d)))),
          d / 2 * (1 + second_singular_value(detail::constant_weights(graph, 2 / d)))};
}

RUBATO_INLINE auto best_constant(topology::digraph const& graph) -> matrix {
  detail::require_mixing_graph(graph);
  if (graph.nodes() == 1) return detail::constant_weights(graph, 0);
  auto const range = laplacian_range_of(graph);
  return detail::constant_weights(graph, 2 / (range.second + range.largest));
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
