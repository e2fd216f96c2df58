// SPDX-License-Identifier: MIT
// Graphs that change, by name, as programs take them beside the names of topology::by_name().
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/mixing/base_graph.hpp>
#include <rubato/mixing/equi_topo.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/one_peer.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/topology/builders.hpp>

namespace rubato::mixing {

/// What rounds_by_name() takes, as a list for a sentence.
[[nodiscard]] auto known_rounds() -> std::string;

/// A cycle of rounds, by name with hyphens or underscores; nothing for a name that is none of these. Throws
/// config_error for parameters that do not fit, and for no nodes.
///   one-peer-exponential            directed: one_peer_exponential(n)
///   shift-one, shift-one:K          symmetric: every(K, shift_one(n)), K = 1 unless it is given, K n^2/2 <= 2^22
///   base-k, base-k:K                symmetric: base_graph(n, K), K = 1 unless it is given
///   one-peer-equitopo, ...:SEED     symmetric: 4 n rounds of ou_equi_dyn(), at most 256, drawn once
///   one-peer-equitopo-directed, ... directed: the same of od_equi_dyn()
///   hierarchical-rounds:GROUPS      symmetric: hierarchical_rounds(n, GROUPS)
[[nodiscard]] auto rounds_by_name(std::string_view asked, std::size_t n) -> std::optional<schedule>;

#if RUBATO_BODIES
namespace detail {
RUBATO_INLINE auto drawn_rounds(std::size_t n, std::uint64_t seed,
                                matrix (*draw)(std::size_t, equi_options const&, std::uint64_t))
    -> std::vector<matrix> {
  std::vector<matrix> all;
  for (std::uint64_t k = 1; k <= (std::min)(4 * n, std::size_t{256}); ++k) all.push_back(draw(n, {.seed = seed}, k));
  return all;
}
/// Nothing for a name that is none.
RUBATO_INLINE auto named_matrices(std::string_view name, topology::detail::name_parameters const& given, std::size_t n)
    -> std::vector<matrix> {
  if (name == "one-peer-exponential") {
    given.require(0, 0);
    return one_peer_exponential(n);
  }
  if (name == "shift-one") {
    given.require(0, 1);
    return every(given.empty() ? 1 : given.count(0), shift_one(n));
  }
  if (name == "base-k") {
    given.require(0, 1);
    return base_graph(n, given.empty() ? 1 : given.count(0));
  }
  if (name == "one-peer-equitopo" || name == "one-peer-equitopo-directed") {
    given.require(0, 1);
    return drawn_rounds(n, given.seed(0), name == "one-peer-equitopo" ? &ou_equi_dyn : &od_equi_dyn);
  }
  if (name == "hierarchical-rounds") {
    given.require(1, 1);
    return hierarchical_rounds(n, given.count(0));
  }
  return {};
}
}  // namespace detail

RUBATO_INLINE auto known_rounds() -> std::string {
  return "one-peer-exponential, shift-one[:K], base-k[:K], one-peer-equitopo[:SEED], "
         "one-peer-equitopo-directed[:SEED], hierarchical-rounds:GROUPS";
}

RUBATO_INLINE auto rounds_by_name(std::string_view asked, std::size_t n) -> std::optional<schedule> {
  auto const [name, given] = topology::detail::name_in(asked, &known_rounds);
  auto made = detail::named_matrices(name, given, n);
  if (made.empty()) return std::nullopt;
  return schedule::cycle(std::move(made), "rounds of " + std::string{asked} + "(" + std::to_string(n) + ")");
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
