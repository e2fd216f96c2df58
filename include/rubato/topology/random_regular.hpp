// SPDX-License-Identifier: MIT
// Random connected regular graphs: the pairing model, with switches that repair loops and double edges.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/random.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/reachability.hpp>

namespace rubato::topology {

/// A connected undirected graph in which every node has `degree` neighbours: a pure function of its arguments.
/// Nearly uniform over all such graphs (switches repair what the pairing model would reject). O(n degree).
/// Throws config_error if there is no such graph.
[[nodiscard]] auto random_regular(std::size_t n, std::size_t degree, std::uint64_t seed) -> digraph;

#if RUBATO_BODIES
namespace detail {

/// Pairs of an undirected graph that is being drawn; only membership is asked of the set, so its order is never seen.
class pairing {
 public:
  /// Deals `degree` stubs a node, shuffles them, and pairs neighbours in the deal.
  pairing(std::size_t n, std::size_t degree, random_stream& gen) : gen_{gen} {
    auto stubs = std::vector<std::uint32_t>{};
    stubs.reserve(n * degree);
    for (auto i = std::size_t{0}; i < n * degree; ++i) stubs.push_back(static_cast<std::uint32_t>(i / degree));
    for (auto i = stubs.size(); i > 1; --i) std::swap(stubs[i - 1], stubs[gen_.below(i)]);
    present_.reserve(stubs.size());
    for (auto i = std::size_t{0}; i < stubs.size(); i += 2) place(stubs[i], stubs[i + 1]);
  }

  /// Trades ends of each faulty pair (u, v) with a random good pair (x, y): u-x and v-y keep all degrees.
  /// Returns whether all could be repaired; dense small graphs may need a new deal.
  auto repair() -> bool {
    for (auto const& [u, v] : faulty_)
      if (!switched(u, v)) return false;
    return true;
  }

  auto pairs() const -> std::vector<std::pair<std::uint32_t, std::uint32_t>> const& { return good_; }

 private:
  static auto key(std::uint32_t u, std::uint32_t v) -> std::uint64_t {
    return (static_cast<std::uint64_t>((std::min)(u, v)) << 32) | (std::max)(u, v);
  }
  auto is_free(std::uint32_t u, std::uint32_t v) const -> bool { return u != v && !present_.contains(key(u, v)); }
  void place(std::uint32_t u, std::uint32_t v) {
    if (!is_free(u, v)) {
      faulty_.emplace_back(u, v);
      return;
    }
    present_.insert(key(u, v));
    good_.emplace_back(u, v);
  }
  auto switched(std::uint32_t u, std::uint32_t v) -> bool {
    for (auto tries = 0; tries < 200 && !good_.empty(); ++tries) {
      auto const at = gen_.below(good_.size());
      auto [x, y] = good_[at];
      if (gen_.chance(0.5)) std::swap(x, y);
      if (!is_free(u, x) || !is_free(v, y)) continue;
      present_.erase(key(x, y));
      present_.insert(key(u, x));
      present_.insert(key(v, y));
      good_[at] = {u, x};
      good_.emplace_back(v, y);
      return true;
    }
    return false;
  }

  random_stream& gen_;
  std::unordered_set<std::uint64_t> present_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> good_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> faulty_;
};

RUBATO_INLINE auto both_ways(std::vector<std::pair<std::uint32_t, std::uint32_t>> const& pairs) -> std::vector<edge> {
  auto edges = std::vector<edge>{};
  edges.reserve(2 * pairs.size());
  for (auto const& [u, v] : pairs) {
    edges.push_back({node_id{u}, node_id{v}});
    edges.push_back({node_id{v}, node_id{u}});
  }
  return edges;
}

RUBATO_INLINE auto complement_of(digraph const& graph) -> std::vector<edge> {
  auto edges = std::vector<edge>{};
  for (auto i = std::size_t{0}; i < graph.nodes(); ++i)
    for (auto j = std::size_t{0}; j < graph.nodes(); ++j)
      if (i != j && !graph.has_edge(to_node(i), to_node(j))) edges.push_back({to_node(i), to_node(j)});
  return edges;
}

/// A regular graph of two edges a node is connected only as one cycle, so the cycle is drawn directly.
RUBATO_INLINE auto random_cycle(std::size_t n, random_stream& gen) -> std::vector<edge> {
  auto tour = std::vector<std::uint32_t>(n);
  for (auto i = std::size_t{0}; i < n; ++i) tour[i] = static_cast<std::uint32_t>(i);
  for (auto i = n; i > 1; --i) std::swap(tour[i - 1], tour[gen.below(i)]);
  auto pairs = std::vector<std::pair<std::uint32_t, std::uint32_t>>{};
  for (auto i = std::size_t{0}; i < n; ++i) pairs.emplace_back(tour[i], tour[(i + 1) % n]);
  return both_ways(pairs);
}

RUBATO_INLINE void require_regular(std::size_t n, std::size_t degree, std::string const& name) {
  require_nodes(n, name);
  if (degree >= n)
    throw config_error(name + " asks for " + std::to_string(degree) + " neighbours a node, and there are only " +
                       std::to_string(n - 1) + " others: take a smaller degree");
  if (n % 2 == 1 && degree % 2 == 1)
    throw config_error(name + " cannot exist, because nodes times degree is odd: make one of the two even");
  if (n > 1 && degree + 1 < n && degree < 2)
    throw config_error(name + " cannot be connected: take a degree of at least 2");
}

/// One draw; empty when the repair got stuck or the graph fell apart.
RUBATO_INLINE auto regular_draw(std::size_t n, std::size_t degree, random_stream gen, std::string const& name)
    -> std::optional<digraph> {
  if (degree == 2) return from_edges(n, random_cycle(n, gen), name);
  // A dense graph is drawn by its sparse complement: there the repair has room.
  auto const dense = 2 * degree >= n;
  auto deal = pairing{n, dense ? n - 1 - degree : degree, gen};
  if (!deal.repair()) return std::nullopt;
  auto graph = from_edges(n, both_ways(deal.pairs()), name);
  if (dense) graph = from_edges(n, complement_of(graph), name);
  if (!search_from(graph, node_id{0}).reaches_all()) return std::nullopt;
  return graph;
}

}  // namespace detail

RUBATO_INLINE auto random_regular(std::size_t n, std::size_t degree, std::uint64_t seed) -> digraph {
  auto const name =
      "random_regular(" + std::to_string(n) + ", " + std::to_string(degree) + ", " + std::to_string(seed) + ")";
  detail::require_regular(n, degree, name);
  if (n == 1) return from_edges(1, {}, name);
  for (auto attempt = std::uint64_t{0}; attempt < 1000; ++attempt)
    if (auto graph = detail::regular_draw(n, degree, random_stream{seed, n, degree, attempt}, name)) return *graph;
  throw config_error(name + " could not be drawn in 1000 attempts: take another seed or degree");
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
