// SPDX-License-Identifier: MIT
// Named graphs. Every builder takes any n >= 1: one node has no edges, and with two nodes double edges collapse.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/edge_list.hpp>
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
                                                   {"exponential", &exponential}};

}  // namespace detail

/// The graph that a command line names: a builder's name, with hyphens or underscores; "random-regular:DEGREE[:SEED]";
/// or "file:PATH", which `read` reads, where n must agree with the file, or be 0 to take what the file has.
/// Throws config_error with the list of names for any other.
[[nodiscard]] auto by_name(std::string_view asked, std::size_t n, digraph (*read)(std::string const&) = &read_edge_list)
    -> digraph;

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

namespace detail {

[[noreturn]] RUBATO_INLINE void refuse_name(std::string_view asked) {
  auto sentence = "there is no topology '" + escaped(asked) + "': take one of ";
  for (auto const& known : named_builders) sentence += std::string{known.name} + ", ";
  throw config_error(sentence + "random-regular:DEGREE, random-regular:DEGREE:SEED or file:PATH");
}

/// Reads "DEGREE" or "DEGREE:SEED".
RUBATO_INLINE auto regular_by_name(std::string_view asked, std::string_view numbers, std::size_t n) -> digraph {
  auto degree = std::size_t{};
  auto seed = std::uint64_t{0};
  auto const* const begin = numbers.data();
  auto const* const end = begin + numbers.size();
  auto read = std::from_chars(begin, end, degree);
  if (read.ec == std::errc{} && read.ptr != end && *read.ptr == ':') read = std::from_chars(read.ptr + 1, end, seed);
  if (read.ec != std::errc{} || read.ptr != end) refuse_name(asked);
  return random_regular(n, degree, seed);
}

}  // namespace detail

RUBATO_INLINE auto by_name(std::string_view asked, std::size_t n, digraph (*read)(std::string const&)) -> digraph {
  constexpr auto file = std::string_view{"file:"};
  constexpr auto regular = std::string_view{"random-regular:"};
  if (asked.starts_with(file)) {
    auto const path = std::string{asked.substr(file.size())};
    auto graph = read(path);
    if (n != 0 && n != graph.nodes())
      throw config_error("graph file '" + escaped(path) + "' has " + std::to_string(graph.nodes()) + " nodes, and " +
                         std::to_string(n) + " were asked for: make the two agree");
    return graph;
  }
  auto name = std::string{asked};
  for (auto& letter : name)
    if (letter == '_') letter = '-';
  if (name.starts_with(regular))
    return detail::regular_by_name(asked, std::string_view{asked}.substr(regular.size()), n);
  for (auto const& known : detail::named_builders)
    if (known.name == name) return known.build(n);
  detail::refuse_name(asked);
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
