// SPDX-License-Identifier: MIT
// Random undirected graphs that are drawn until they are connected: pure functions of their arguments. A graph's name
// says how many draws were not connected. Regular ones are in random_regular.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/places.hpp>
#include <rubato/topology/reachability.hpp>

namespace rubato::topology {

/// Each pair is joined with this probability. O(n^2) a draw. Throws config_error if it is not in [0, 1], or no draw of
/// 1,000 is connected; ln(n) / n is where graphs begin to be.
[[nodiscard]] auto erdos_renyi(std::size_t n, double probability, std::uint64_t seed) -> digraph;
/// With the probability min(1, 2 ln(n) / n), at which most graphs are connected.
[[nodiscard]] auto erdos_renyi(std::size_t n) -> digraph;

/// Watts and Strogatz 1998: a ring on which everyone is joined with `degree` / 2 nodes on each side; then each edge
/// (i, i+h), outer loop h, keeps its end i and takes, with the probability `rewired`, another end that is uniform among
/// all nodes but i and its neighbours. Where the ring has fewer than `degree` others, it is complete, and stays so.
/// Throws config_error if the degree is odd or 0, the probability is not in [0, 1], or no draw is connected.
[[nodiscard]] auto small_world(std::size_t n, std::size_t degree, double rewired, std::uint64_t seed) -> digraph;
/// Four neighbours, a tenth of the edges rewired.
[[nodiscard]] auto small_world(std::size_t n) -> digraph;
/// Newman and Watts 1999: for each edge of the ring, with the probability `added`, one more edge between two random
/// nodes. No edge is removed, so each draw is connected. Throws config_error as small_world() does.
[[nodiscard]] auto newman_watts(std::size_t n, std::size_t degree, double added, std::uint64_t seed) -> digraph;

/// A graph whose nodes have places.
struct placed_graph {
  digraph graph;
  std::vector<point> places;  ///< by node
};

/// Uniform points in the unit square, joined if they are no farther apart than `radius`. O(n^2) a draw. Throws
/// config_error if the radius is not above 0, or if none of 1,000 draws is connected.
[[nodiscard]] auto geometric_with_places(std::size_t n, double radius, std::uint64_t seed) -> placed_graph;
[[nodiscard]] auto geometric(std::size_t n, double radius, std::uint64_t seed) -> digraph;
/// With the radius sqrt(2 ln(n) / (pi n)), at which a node has about 2 ln(n) neighbours.
[[nodiscard]] auto geometric(std::size_t n) -> digraph;

/// The radius that geometric(n) takes.
[[nodiscard]] auto connecting_radius(std::size_t n) -> double;

#if RUBATO_BODIES
namespace detail {

/// The first of 1,000 draws that is connected. `draw(stream)` returns edges, each in one direction.
template<class Draw>
auto connected_draw(std::size_t n, random_stream const& key, std::string const& name, Draw const& draw) -> digraph {
  constexpr auto draws_max = 1'000;
  for (auto k = 0; k < draws_max; ++k) {
    auto graph = from_edges(n, draw(key.with(static_cast<std::uint64_t>(k))), name).with_both_directions();
    if (!search_from(graph, node_id{0}).reaches_all()) continue;
    return k == 0 ? graph : graph.with_name(name + ", draw " + std::to_string(k + 1));
  }
  throw config_error(name + " was not connected in " + std::to_string(draws_max) +
                     " draws: take more edges, or another seed");
}

RUBATO_INLINE auto random_name(char const* kind, std::size_t n, std::string const& parameters, std::uint64_t seed)
    -> std::string {
  auto name = kind + ("(" + std::to_string(n)) + ", " + parameters + ", seed " + std::to_string(seed) + ")";
  require_nodes(n, name);
  return name;
}

RUBATO_INLINE void require_probability(double p, std::string const& name) {
  if (!(p >= 0 && p <= 1)) throw config_error(name + " cannot be drawn: a probability is from 0 to 1");
}

/// Which nodes are joined, while edges are still moving.
class moving_edges {
 public:
  explicit moving_edges(std::size_t n) : peers_(n) {}

  auto are_joined(std::size_t a, std::size_t b) const -> bool {
    return std::find(peers_[a].begin(), peers_[a].end(), b) != peers_[a].end();
  }
  auto degree(std::size_t a) const -> std::size_t { return peers_[a].size(); }
  void join(std::size_t a, std::size_t b) {
    if (a == b || are_joined(a, b)) return;
    peers_[a].push_back(b);
    peers_[b].push_back(a);
  }
  void part(std::size_t a, std::size_t b) {
    std::erase(peers_[a], b);
    std::erase(peers_[b], a);
  }
  auto edges() const -> std::vector<edge> {
    auto all = std::vector<edge>{};
    for (auto a = std::size_t{0}; a < peers_.size(); ++a)
      for (auto const b : peers_[a])
        if (a < b) all.push_back({to_node(a), to_node(b)});
    return all;
  }

 private:
  std::vector<std::vector<std::size_t>> peers_;
};

RUBATO_INLINE auto ring_lattice(std::size_t n, std::size_t degree) -> moving_edges {
  auto ring = moving_edges{n};
  for (auto hop = std::size_t{1}; hop <= degree / 2 && hop < n; ++hop)
    for (auto i = std::size_t{0}; i < n; ++i) ring.join(i, (i + hop) % n);
  return ring;
}

RUBATO_INLINE void require_ring(std::size_t degree, double probability, std::string const& name) {
  if (degree == 0 || degree % 2 == 1)
    throw config_error(name + " needs an even number of neighbours, half of them on each side: take 2 or more");
  require_probability(probability, name);
}

/// `rewires`: whether an edge that is chosen leaves its place.
RUBATO_INLINE auto ring_with_shortcuts(std::size_t n, std::size_t degree, double probability, bool rewires,
                                       random_stream gen) -> std::vector<edge> {
  auto graph = ring_lattice(n, degree);
  for (auto hop = std::size_t{1}; hop <= degree / 2 && 2 * hop < n; ++hop)
    for (auto i = std::size_t{0}; i < n; ++i) {
      if (!gen.chance(probability)) continue;
      auto const from = rewires ? i : gen.below(n);
      if (graph.degree(from) + 1 >= n || (rewires && !graph.are_joined(i, (i + hop) % n))) continue;
      auto to = gen.below(n);
      while (to == from || graph.are_joined(from, to)) to = gen.below(n);
      if (rewires) graph.part(i, (i + hop) % n);
      graph.join(from, to);
    }
  return graph.edges();
}

/// Words that begin the keys of the draws, so that kinds of graphs do not share them.
enum class random_kind : std::uint64_t { erdos_renyi = 0x65726e79, small_world = 0x736d7764, geometric = 0x67656f6d };

RUBATO_INLINE auto key_of(random_kind kind, std::uint64_t seed, std::size_t n) -> random_stream {
  return random_stream{static_cast<std::uint64_t>(kind), seed, n};
}

}  // namespace detail

RUBATO_INLINE auto erdos_renyi(std::size_t n, double probability, std::uint64_t seed) -> digraph {
  auto const name = detail::random_name("erdos_renyi", n, "probability " + with_digits(probability, 6), seed);
  detail::require_probability(probability, name);
  auto const draw = [&](random_stream gen) {
    auto edges = std::vector<edge>{};
    for (auto i = std::size_t{0}; i < n; ++i)
      for (auto j = std::size_t{0}; j < i; ++j)
        if (gen.chance(probability)) edges.push_back({to_node(i), to_node(j)});
    return edges;
  };
  return detail::connected_draw(n, detail::key_of(detail::random_kind::erdos_renyi, seed, n), name, draw);
}

RUBATO_INLINE auto erdos_renyi(std::size_t n) -> digraph {
  auto const size = static_cast<double>((std::max)(n, std::size_t{1}));
  return erdos_renyi(n, n < 3 ? 1.0 : (std::min)(1.0, 2 * std::log(size) / size), 0);
}

RUBATO_INLINE auto small_world(std::size_t n, std::size_t degree, double rewired, std::uint64_t seed) -> digraph {
  auto const name = detail::random_name(
      "small_world", n, std::to_string(degree) + " neighbours, rewired " + with_digits(rewired, 6), seed);
  detail::require_ring(degree, rewired, name);
  auto const draw = [&](random_stream gen) { return detail::ring_with_shortcuts(n, degree, rewired, true, gen); };
  return detail::connected_draw(n, detail::key_of(detail::random_kind::small_world, seed, n), name, draw);
}

RUBATO_INLINE auto small_world(std::size_t n) -> digraph { return small_world(n, 4, 0.1, 0); }

RUBATO_INLINE auto newman_watts(std::size_t n, std::size_t degree, double added, std::uint64_t seed) -> digraph {
  auto const name = detail::random_name("newman_watts", n,
                                        std::to_string(degree) + " neighbours, added " + with_digits(added, 6), seed);
  detail::require_ring(degree, added, name);
  auto const draw = [&](random_stream gen) { return detail::ring_with_shortcuts(n, degree, added, false, gen); };
  return detail::connected_draw(n, detail::key_of(detail::random_kind::small_world, seed, n), name, draw);
}

RUBATO_INLINE auto connecting_radius(std::size_t n) -> double {
  auto const size = static_cast<double>(n);
  return n < 3 ? 2.0 : std::sqrt(2 * std::log(size) / (3.14159265358979323846 * size));
}

RUBATO_INLINE auto geometric_with_places(std::size_t n, double radius, std::uint64_t seed) -> placed_graph {
  auto const name = detail::random_name("geometric", n, "radius " + with_digits(radius, 6), seed);
  if (!(radius > 0)) throw config_error(name + " cannot be drawn: a radius is above 0");
  auto places = std::vector<point>(n);
  auto const draw = [&](random_stream gen) {
    for (auto& p : places) {
      p.x = gen.uniform();
      p.y = gen.uniform();
    }
    auto edges = std::vector<edge>{};
    for (auto i = std::size_t{0}; i < n; ++i)
      for (auto j = std::size_t{0}; j < i; ++j)
        if (std::hypot(places[i].x - places[j].x, places[i].y - places[j].y) <= radius)
          edges.push_back({to_node(i), to_node(j)});
    return edges;
  };
  auto graph = detail::connected_draw(n, detail::key_of(detail::random_kind::geometric, seed, n), name, draw);
  return {std::move(graph), std::move(places)};
}

RUBATO_INLINE auto geometric(std::size_t n, double radius, std::uint64_t seed) -> digraph {
  return geometric_with_places(n, radius, seed).graph;
}

RUBATO_INLINE auto geometric(std::size_t n) -> digraph { return geometric(n, connecting_radius(n), 0); }
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
