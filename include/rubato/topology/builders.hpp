// SPDX-License-Identifier: MIT
// Named graphs. Every builder takes any n >= 1: one node has no edges, and with two nodes double edges collapse.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/edge_list.hpp>
#include <rubato/topology/lattices.hpp>
#include <rubato/topology/places.hpp>
#include <rubato/topology/random_graphs.hpp>
#include <rubato/topology/random_regular.hpp>

namespace rubato::topology {

/// 0 - 1 - 2 - ... - (n-1), both ways.
[[nodiscard]] auto line(std::size_t n) -> digraph;

/// i - (i+1 mod n), both ways.
[[nodiscard]] auto ring(std::size_t n) -> digraph;

/// i -> (i+1 mod n).
[[nodiscard]] auto directed_ring(std::size_t n) -> digraph;

/// Node 0 with all others, both ways.
[[nodiscard]] auto star(std::size_t n) -> digraph;

/// Everyone with everyone.
[[nodiscard]] auto complete(std::size_t n) -> digraph;

/// Root 0; the parent of i is (i-1)/2; both ways.
[[nodiscard]] auto binary_tree(std::size_t n) -> digraph;

/// The static exponential graph: i -> (i + 2^m mod n) for all m with 2^m < n.
[[nodiscard]] auto exponential(std::size_t n) -> digraph;

namespace detail {

struct named_builder {
  std::string_view name;
  digraph (*build)(std::size_t);
};

inline constexpr named_builder named_builders[] = {{"line", &line},
                                                   {"ring", &ring},
                                                   {"directed-ring", &directed_ring},
                                                   {"star", &star},
                                                   {"complete", &complete},
                                                   {"binary-tree", &binary_tree},
                                                   {"exponential", &exponential},
                                                   {"grid", &grid},
                                                   {"torus", &torus},
                                                   {"hierarchical", &hierarchical},
                                                   {"small-world", &small_world},
                                                   {"geometric", &geometric},
                                                   {"erdos-renyi", &erdos_renyi}};

/// Forms beside the names above.
inline constexpr std::string_view other_forms =
    "hypercube, grid:ROWSxCOLUMNS, torus:ROWSxCOLUMNS, hierarchical:GROUPS, random-regular:DEGREE[:SEED], "
    "small-world:DEGREE:REWIRED[:SEED], geometric:RADIUS[:SEED], erdos-renyi:PROBABILITY[:SEED] or file:PATH";

}  // namespace detail

/// What by_name() takes, as a list for a sentence.
[[nodiscard]] auto known_names() -> std::string;

/// Whether by_name() has a graph of this name, be its parameters right or wrong.
[[nodiscard]] auto knows_name(std::string_view asked) -> bool;

/// The graph that a command line names: a builder's name, with hyphens or underscores; one with parameters, as
/// "torus:4x5" (detail::other_forms lists them); or "file:PATH", which `read` reads. Where a form or a file says how
/// many nodes there are, n must agree, or be 0 to take what it says. Throws config_error with known_names() for any
/// other.
[[nodiscard]] auto by_name(std::string_view asked, std::size_t n, digraph (*read)(std::string const&) = &read_edge_list)
    -> digraph;

/// Places for the graph that by_name() made of this name: rows and columns of a lattice, the square of a geometric
/// graph, circles of groups; for any other, places_of().
[[nodiscard]] auto places_by_name(std::string_view asked, digraph const& graph) -> std::vector<point>;

#if RUBATO_BODIES
namespace detail {

RUBATO_INLINE auto named(char const* name, std::size_t n) -> std::string {
  auto full = name + ("(" + std::to_string(n)) + ")";
  require_nodes(n, full);
  return full;
}

RUBATO_INLINE void join(std::vector<edge>& edges, std::size_t a, std::size_t b) {
  edges.push_back({to_node(a), to_node(b)});
  edges.push_back({to_node(b), to_node(a)});
}

}  // namespace detail

RUBATO_INLINE auto line(std::size_t n) -> digraph {
  auto name = detail::named("line", n);
  auto edges = std::vector<edge>{};
  for (auto i = std::size_t{1}; i < n; ++i) detail::join(edges, i - 1, i);
  return from_edges(n, std::move(edges), std::move(name));
}

RUBATO_INLINE auto ring(std::size_t n) -> digraph {
  auto name = detail::named("ring", n);
  auto edges = std::vector<edge>{};
  for (auto i = std::size_t{0}; i < n && n > 1; ++i) detail::join(edges, i, (i + 1) % n);
  return from_edges(n, std::move(edges), std::move(name));
}

RUBATO_INLINE auto directed_ring(std::size_t n) -> digraph {
  auto name = detail::named("directed_ring", n);
  auto edges = std::vector<edge>{};
  for (auto i = std::size_t{0}; i < n && n > 1; ++i) edges.push_back({to_node(i), to_node((i + 1) % n)});
  return from_edges(n, std::move(edges), std::move(name));
}

RUBATO_INLINE auto star(std::size_t n) -> digraph {
  auto name = detail::named("star", n);
  auto edges = std::vector<edge>{};
  for (auto i = std::size_t{1}; i < n; ++i) detail::join(edges, 0, i);
  return from_edges(n, std::move(edges), std::move(name));
}

RUBATO_INLINE auto complete(std::size_t n) -> digraph {
  auto name = detail::named("complete", n);
  auto edges = std::vector<edge>{};
  edges.reserve(n * (n - 1));
  for (auto i = std::size_t{0}; i < n; ++i)
    for (auto j = std::size_t{0}; j < i; ++j) detail::join(edges, i, j);
  return from_edges(n, std::move(edges), std::move(name));
}

RUBATO_INLINE auto binary_tree(std::size_t n) -> digraph {
  auto name = detail::named("binary_tree", n);
  auto edges = std::vector<edge>{};
  for (auto i = std::size_t{1}; i < n; ++i) detail::join(edges, (i - 1) / 2, i);
  return from_edges(n, std::move(edges), std::move(name));
}

RUBATO_INLINE auto exponential(std::size_t n) -> digraph {
  auto name = detail::named("exponential", n);
  auto edges = std::vector<edge>{};
  for (auto hop = std::size_t{1}; hop < n; hop *= 2)
    for (auto i = std::size_t{0}; i < n; ++i) edges.push_back({to_node(i), to_node((i + hop) % n)});
  return from_edges(n, std::move(edges), std::move(name));
}

RUBATO_INLINE auto known_names() -> std::string {
  auto names = std::string{};
  for (auto const& known : detail::named_builders) names += std::string{known.name} + ", ";
  return names + std::string{detail::other_forms};
}

namespace detail {

[[noreturn]] RUBATO_INLINE void refuse_name(std::string_view asked, std::string const& known = known_names()) {
  throw config_error("there is no topology '" + escaped(asked) + "': take one of " + known);
}

/// The parameters after a builder's name, each after a colon. What is not as it should be is refused as unknown.
class name_parameters {
 public:
  /// `known`: what there is, as a list for a sentence.
  name_parameters(std::string_view asked, std::string_view after_name, std::string (*known)())
      : asked_{asked}, known_{known} {
    while (!after_name.empty()) {
      after_name.remove_prefix(1);
      auto const part = after_name.substr(0, after_name.find(':'));
      parts_.push_back(part);
      after_name.remove_prefix(part.size());
    }
  }

  auto empty() const -> bool { return parts_.empty(); }
  /// Throws unless there are from `least` to `most`.
  void require(std::size_t least, std::size_t most) const {
    if (parts_.size() < least || parts_.size() > most) refuse_name(asked_, known_());
  }
  auto count(std::size_t k) const -> std::size_t { return whole<std::size_t>(parts_[k]); }
  auto number(std::size_t k) const -> double {
    auto value = 0.0;
    if (parts_[k].empty() || read_number(parts_[k], value) != parts_[k].size() || !std::isfinite(value))
      refuse_name(asked_, known_());
    return value;
  }
  /// 0 where there is none.
  auto seed(std::size_t k) const -> std::uint64_t { return k < parts_.size() ? whole<std::uint64_t>(parts_[k]) : 0; }
  /// "ROWSxCOLUMNS" for n nodes, or for any number of them if n is 0.
  auto shape(std::size_t k, std::size_t n) const -> lattice_shape {
    auto const cross = parts_[k].find('x');
    if (cross == parts_[k].npos) refuse_name(asked_, known_());
    auto const shape = lattice_shape{whole<std::uint32_t>(parts_[k].substr(0, cross)),
                                     whole<std::uint32_t>(parts_[k].substr(cross + 1))};
    if (n != 0 && shape.rows * shape.columns != n)
      throw config_error("topology '" + escaped(asked_) + "' has " + std::to_string(shape.rows * shape.columns) +
                         " nodes, and " + std::to_string(n) + " were asked for: make the two agree");
    return shape;
  }

 private:
  template<class Whole>
  auto whole(std::string_view text) const -> Whole {
    auto value = Whole{};
    auto const* const end = text.data() + text.size();
    auto const read = std::from_chars(text.data(), end, value);
    if (read.ec != std::errc{} || read.ptr != end) refuse_name(asked_, known_());
    return value;
  }

  std::string_view asked_;
  std::string (*known_)();
  std::vector<std::string_view> parts_;
};

/// A name with hyphens, and its parameters.
RUBATO_INLINE auto name_in(std::string_view asked, std::string (*known)() = &known_names)
    -> std::pair<std::string, name_parameters> {
  auto const end = (std::min)(asked.find(':'), asked.size());
  auto name = std::string{asked.substr(0, end)};
  std::replace(name.begin(), name.end(), '_', '-');
  return {std::move(name), name_parameters{asked, asked.substr(end), known}};
}

/// A builder with parameters, under its name with hyphens.
RUBATO_INLINE auto with_parameters(std::string_view name, name_parameters const& given, std::string_view asked,
                                   std::size_t n) -> digraph {
  if (name == "hypercube") {
    given.require(0, 0);
    return hypercube(n);
  }
  if (name == "grid" || name == "torus") {
    given.require(1, 1);
    return name == "grid" ? grid(given.shape(0, n)) : torus(given.shape(0, n));
  }
  if (name == "hierarchical") {
    given.require(1, 1);
    return hierarchical(n, given.count(0));
  }
  if (name == "small-world") {
    given.require(2, 3);
    return small_world(n, given.count(0), given.number(1), given.seed(2));
  }
  given.require(1, 2);
  if (name == "random-regular") return random_regular(n, given.count(0), given.seed(1));
  if (name == "geometric") return geometric(n, given.number(0), given.seed(1));
  if (name == "erdos-renyi") return erdos_renyi(n, given.number(0), given.seed(1));
  refuse_name(asked);
}

}  // namespace detail

RUBATO_INLINE auto knows_name(std::string_view asked) -> bool {
  auto const name = detail::name_in(asked).first;
  return asked.starts_with("file:") || name == "hypercube" || name == "random-regular" ||
         std::any_of(std::begin(detail::named_builders), std::end(detail::named_builders),
                     [&](auto const& known) { return known.name == name; });
}

RUBATO_INLINE auto by_name(std::string_view asked, std::size_t n, digraph (*read)(std::string const&)) -> digraph {
  constexpr auto file = std::string_view{"file:"};
  if (asked.starts_with(file)) {
    auto const path = std::string{asked.substr(file.size())};
    auto graph = read(path);
    if (n != 0 && n != graph.nodes())
      throw config_error("graph file '" + escaped(path) + "' has " + std::to_string(graph.nodes()) + " nodes, and " +
                         std::to_string(n) + " were asked for: make the two agree");
    return graph;
  }
  auto const [name, parameters] = detail::name_in(asked);
  for (auto const& known : detail::named_builders)
    if (known.name == name && parameters.empty()) return known.build(n);
  return detail::with_parameters(name, parameters, asked, n);
}

RUBATO_INLINE auto places_by_name(std::string_view asked, digraph const& graph) -> std::vector<point> {
  auto const n = graph.nodes();
  if (asked.starts_with("file:")) return places_of(graph);
  auto const [name, given] = detail::name_in(asked);
  if (name == "grid" || name == "torus") return lattice_places(given.empty() ? closest_factors(n) : given.shape(0, n));
  if (name == "hierarchical") return group_places(group_begins(n, given.empty() ? usual_groups(n) : given.count(0)));
  if (name == "geometric")
    return geometric_with_places(n, given.empty() ? connecting_radius(n) : given.number(0), given.seed(1)).places;
  return places_of(graph);
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
