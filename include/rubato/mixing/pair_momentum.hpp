// SPDX-License-Identifier: MIT
// The two constants of accelerated averaging in pairs.   [N] = Nabli, Belilovsky, Oyallon, arXiv 2306.08289.
// Edge e exchanges r_e times in a unit of time: r_e = q (1 / degree of one end + 1 / degree of the other), if each node
// asks a neighbour, at random, q times in it. L = sum_e r_e (e_i - e_j)(e_i - e_j)^T.
//   chi1 = 1 / lambda_2(L)          chi2 = max_e (e_i - e_j)^T L^+ (e_i - e_j) / 2
//   with chi2 + delay in its place where a difference is that old when it is used (ours):
//   eta = 1 / (2 sqrt(chi1 chi2))   alpha~ = sqrt(chi1 / chi2) / 2
// Models then come together in sqrt(chi1 chi2) units, where plain averages need chi1.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/mixing/detail/dense.hpp>
#include <rubato/mixing/neighbourhood.hpp>
#include <rubato/mixing/plan.hpp>

namespace rubato::mixing {

/// For the edges of a plan of gossip; `questions`: q above; `delay`: in units of time, 0 for exchanges that take none.
/// Throws config_error unless questions is above 0, delay is not negative and both are finite; and for more than 512
/// nodes, since it decomposes a dense matrix. O(nodes^3).
[[nodiscard]] auto momentum_of(plan const& gossip, double questions = 1, double delay = 0) -> pair_momentum;

/// The same plan with its constants, for nodes that ask once in a unit of time.
[[nodiscard]] auto accelerated(plan gossip, double delay = 0.5) -> plan;

#if RUBATO_BODIES
RUBATO_INLINE auto momentum_of(plan const& gossip, double questions, double delay) -> pair_momentum {
  if (!(questions > 0 && std::isfinite(questions) && delay >= 0 && std::isfinite(delay)))
    throw config_error{"accelerated averaging in pairs needs questions above 0 and a delay that is not negative, not " +
                       shortest(questions) + " and " + shortest(delay)};
  auto const n = gossip.nodes.size();
  if (n < 2) return {};
  if (n > 512)
    throw config_error{
        "accelerated averaging in pairs decomposes a matrix of all nodes, and takes up to 512 of them, "
        "not " +
        std::to_string(n) + ": use ad_psgd"};
  auto const degree = [&](std::size_t i) { return static_cast<double>(gossip.nodes[i].pull_from.size()); };
  auto laplacian = detail::square{n};
  for (std::size_t i = 0; i < n; ++i) {
    for (auto const& e : gossip.nodes[i].pull_from) {
      auto const rate = questions * (1 / degree(i) + 1 / degree(to_index(e.peer)));
      laplacian(i, to_index(e.peer)) -= rate;
      laplacian(i, i) += rate;
    }
  }
  auto const chi1 = 1 / detail::eigenvalues(laplacian)[1];
  for (auto& v : laplacian.entries()) v += 1.0;  // L + 11^T is definite; its inverse is that of L on differences
  auto const factor = detail::cholesky(std::move(laplacian));
  if (!factor) throw config_error{"accelerated averaging in pairs needs a connected graph: " + gossip.summary};
  auto const inverse = detail::inverse(*factor);
  auto chi2 = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    for (auto const& e : gossip.nodes[i].pull_from) {
      auto const j = to_index(e.peer);
      chi2 = (std::max)(chi2, (inverse(i, i) + inverse(j, j) - 2 * inverse(i, j)) / 2);
    }
  }
  chi2 += delay;
  return {1 / (2 * std::sqrt(chi1 * chi2)), std::sqrt(chi1 / chi2) / 2};
}

RUBATO_INLINE auto accelerated(plan gossip, double delay) -> plan {
  gossip.momentum = momentum_of(gossip, 1, delay);
  return gossip;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
