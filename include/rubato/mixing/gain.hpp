// SPDX-License-Identifier: MIT
// The step gain c: with gradient steps of gamma at every node, the consensus model moves by -c gamma times the average
// gradient in the time in which each node acts once. It differs between graphs by orders of magnitude, so the option
// `step` is divided by it.
//   (gain.tree)     tree pair                 c = n
//   (gain.regular)  regular, equal weights    c = a/(a + (1-a) r) / (1 + (1-w) dW)
//   (gain.perron)   any other                 c = n u.v,  u^T W = u^T,  A v = v
// a = a_ii, w = w_ii; r = mean time from push to consumption, dW = mean age of the model used, in local iterations.
// (gain.tree) is per local iteration of the root. tests/sim/gain.cpp measures (gain.tree) and (gain.regular), within 10
// % at n = 8.
#pragma once

#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/perron.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato::mixing {

/// Mean ages of values when they are used, in local iterations: 1/2 if nodes act at
/// regular times, 1 if at random times.
struct mean_ages {
  double push = 0.5;  ///< r: from the push of a tracked gradient to its consumption
  double pull = 0.5;  ///< dW: of the neighbours' models
};

/// The gain of tracking on this pair with these weights. `ages` matter for regular graphs only.
/// *requires* W row-stochastic with the support of graphs.pull(), A column-stochastic with that of graphs.push();
/// throws config_error if sums are wrong, sizes differ or an age is negative.
[[nodiscard]] auto gain(topology::pair const& graphs, matrix const& pull_weights, matrix const& push_weights,
                        mean_ages ages = {}) -> double;

#if RUBATO_BODIES
namespace detail {

/// Whether every node has the same number of neighbours, in and out.
RUBATO_INLINE auto is_regular(topology::digraph const& graph) -> bool {
  auto const degree = graph.out_of(node_id{0}).size();
  for (auto i = std::size_t{0}; i < graph.nodes(); ++i)
    if (graph.out_of(to_node(i)).size() != degree || graph.into(to_node(i)).size() != degree) return false;
  return true;
}

/// Whether all diagonal weights are equal, and all other weights too.
RUBATO_INLINE auto has_equal_weights(matrix const& m) -> bool {
  if (m.row(node_id{0}).size() < 2) return false;
  auto const own = m.diagonal(node_id{0});
  auto const others = (1.0 - own) / static_cast<double>(m.row(node_id{0}).size() - 1);
  for (auto i = std::size_t{0}; i < m.nodes(); ++i)
    for (auto const& w : m.row(to_node(i)))
      if (std::abs(w.weight - (w.peer == to_node(i) ? own : others)) > 1e-12) return false;
  return true;
}

RUBATO_INLINE void require_same_nodes(topology::pair const& graphs, matrix const& m) {
  if (m.nodes() != graphs.nodes())
    throw config_error("the " + m.name() + " are for " + std::to_string(m.nodes()) + " nodes and '" + graphs.name() +
                       "' has " + std::to_string(graphs.nodes()) + ": make the two agree");
}

}  // namespace detail

RUBATO_INLINE auto gain(topology::pair const& graphs, matrix const& pull_weights, matrix const& push_weights,
                        mean_ages ages) -> double {
  detail::require_same_nodes(graphs, pull_weights);
  detail::require_same_nodes(graphs, push_weights);
  if (!(ages.push >= 0 && ages.pull >= 0))
    throw config_error("mean ages of " + detail::to_text(ages.push) + " (push) and " + detail::to_text(ages.pull) +
                       " (pull) make no sense: ages are not negative");
  auto const n = static_cast<double>(graphs.nodes());
  if (graphs.is_tree_pair()) return n;  // (gain.tree)
  if (graphs.pull() == graphs.push() && detail::is_regular(graphs.pull()) && detail::has_equal_weights(pull_weights) &&
      detail::has_equal_weights(push_weights)) {
    auto const a = push_weights.diagonal(node_id{0});
    auto const w = pull_weights.diagonal(node_id{0});
    return a / (a + (1 - a) * ages.push) / (1 + (1 - w) * ages.pull);  // (gain.regular)
  }
  auto const u = perron_left(pull_weights);
  auto const v = perron_right(push_weights);
  return n * std::inner_product(u.begin(), u.end(), v.begin(), 0.0);  // (gain.perron)
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
