// SPDX-License-Identifier: MIT
// How often the two ends of each link exchange models at random, and how much of their difference they apply.
// [E] = Even, Hendrikx, Massoulie, arXiv 2106.03585. Link e with delay tau_e, f: the links that touch e, e included:
//   rate    p_e = 1 / tau_e                                    fitted to its own delay: a slow link exchanges rarely
//   weight  k_e = 1 / (1 + sum_f p_f (tau_e + e0 tau_f))       e0 = exp(1)
// Models then come together as under a Laplacian of weights K_e = p_e k_e, and a slow link lowers K of no link but
// itself. The bound k_e is recalled from [E]; on a ring of six, twice and four times as much converges too, and eight
// times as much does not.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/core/visit_options.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato::mixing {

/// What the nodes of a run know of the exchanges on all links.
/// **Thread safety:** const calls may come from several threads at once.
class exchange_times {
 public:
  struct link {
    topology::edge ends{};  ///< from the lower id to the higher
    double delay = 1;  ///< tau, in seconds: from the snapshots to their use
    double weight = 0;  ///< k: the share of the difference that each end applies
    [[nodiscard]] auto rate() const -> double { return 1 / delay; }
  };

  /// `links`: each once. `seed`: of the times. Throws config_error unless delays are positive numbers, and weights
  /// numbers in (0, 1).
  exchange_times(std::vector<link> links, std::uint64_t seed);

  /// *requires* such a link. O(log links).
  [[nodiscard]] auto between(node_id i, node_id j) const -> link const&;
  [[nodiscard]] auto links() const -> std::vector<link> const& { return links_; }
  [[nodiscard]] auto seed() const -> std::uint64_t { return seed_; }
  /// All that it consists of, for hashes: two are equal if these texts are.
  [[nodiscard]] auto text() const -> std::string;

 private:
  std::vector<link> links_;  // by ends
  std::uint64_t seed_;
};

/// The delay of each link, in seconds, by its ends: the greater of both directions counts, as an exchange needs both.
using link_delays = std::vector<std::vector<double>>;

/// Rates and weights as above, for the edges of the graph taken both ways. Throws config_error unless `delays` has an
/// entry for each two nodes, positive numbers on the graph's edges.
[[nodiscard]] auto fitted_exchanges(topology::digraph const& graph, link_delays const& delays, std::uint64_t seed)
    -> exchange_times;

/// For delayed_randomized_gossip, on all edges of both graphs, taken both ways. Throws config_error as above, and
/// naming a node that is not connected to node 0.
[[nodiscard]] auto exchange_plan(topology::pair const& network, link_delays const& delays, std::uint64_t seed) -> plan;
/// The same with times and weights of your own. Throws config_error unless each edge has its link.
[[nodiscard]] auto exchange_plan(topology::pair const& network, exchange_times times) -> plan;

#if RUBATO_BODIES
namespace detail {
/// The links of an undirected graph, each once.
RUBATO_INLINE auto links_of(topology::digraph const& undirected) -> std::vector<topology::edge> {
  auto once = undirected.edges();
  std::erase_if(once, [](topology::edge const& e) { return e.from > e.to; });
  return once;
}
RUBATO_INLINE auto ends_before(topology::edge const& a, topology::edge const& b) -> bool {
  return std::pair{a.from, a.to} < std::pair{b.from, b.to};
}
}  // namespace detail

RUBATO_INLINE exchange_times::exchange_times(std::vector<link> links, std::uint64_t seed)
    : links_{std::move(links)}, seed_{seed} {
  std::sort(links_.begin(), links_.end(),
            [](auto const& a, auto const& b) { return detail::ends_before(a.ends, b.ends); });
  for (auto const& l : links_) {
    auto const which = "link " + topology::detail::to_text(l.ends);
    if (!(l.delay > 0 && std::isfinite(l.delay)))
      throw config_error("the delay of " + which + " must be a positive number of seconds, not " + shortest(l.delay));
    if (!(l.weight > 0 && l.weight < 1))
      throw config_error("the weight of " + which + " must lie between 0 and 1, not " + shortest(l.weight));
  }
}

RUBATO_INLINE auto exchange_times::between(node_id i, node_id j) const -> link const& {
  auto const ends = topology::edge{(std::min)(i, j), (std::max)(i, j)};
  auto const at = std::lower_bound(links_.begin(), links_.end(), ends, [](link const& l, topology::edge const& e) {
    return detail::ends_before(l.ends, e);
  });
  RUBATO_EXPECTS(at != links_.end() && at->ends == ends, "exchange times are asked for a link that they have");
  return *at;
}

RUBATO_INLINE auto exchange_times::text() const -> std::string {
  auto all = "exchanges, seed " + std::to_string(seed_);
  for (auto const& l : links_)
    all += "; " + topology::detail::to_text(l.ends) + " " + option_text(l.delay) + " " + option_text(l.weight);
  return all;
}

RUBATO_INLINE auto fitted_exchanges(topology::digraph const& graph, link_delays const& delays, std::uint64_t seed)
    -> exchange_times {
  auto const n = graph.nodes();
  if (delays.size() != n || !std::all_of(delays.begin(), delays.end(), [n](auto const& r) { return r.size() == n; }))
    throw config_error("delays of links are no square matrix of " + std::to_string(n) +
                       " rows: give one number for each two nodes");
  auto links = std::vector<exchange_times::link>{};
  auto touching = std::vector<double>(n, 0.0);  // by node, sums over its links: p_f, and p_f tau_f = 1
  auto degree = touching;
  for (auto const& e : detail::links_of(graph.with_both_directions())) {
    auto const i = to_index(e.from), j = to_index(e.to);
    auto const delay = delays[i][j] >= delays[j][i] ? delays[i][j] : delays[j][i];
    links.push_back({e, delay, 0.5});
    for (auto const end : {i, j}) touching[end] += 1 / delay, degree[end] += 1;
  }
  auto const e0 = std::exp(1.0);
  for (auto& l : links) {
    auto const i = to_index(l.ends.from), j = to_index(l.ends.to);
    auto const rates = touching[i] + touching[j] - l.rate();  // e touches itself once
    l.weight = 1 / (1 + rates * l.delay + e0 * (degree[i] + degree[j] - 1));
  }
  return {std::move(links), seed};
}

RUBATO_INLINE auto exchange_plan(topology::pair const& network, exchange_times times) -> plan {
  auto made = gossip_plan(network);
  auto const edges = detail::links_of(network.underlying());
  auto const same = [](topology::edge const& e, exchange_times::link const& l) { return e == l.ends; };
  if (!std::equal(edges.begin(), edges.end(), times.links().begin(), times.links().end(), same))
    throw config_error("exchange times are for other links than '" + network.name() +
                       "' has: give each of its links once, from the lower id to the higher");
  made.summary = "exchanges at random times on " + network.name();
  made.exchanges = std::make_shared<exchange_times const>(std::move(times));
  return made;
}

RUBATO_INLINE auto exchange_plan(topology::pair const& network, link_delays const& delays, std::uint64_t seed) -> plan {
  return exchange_plan(network, fitted_exchanges(network.underlying(), delays, seed));
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
