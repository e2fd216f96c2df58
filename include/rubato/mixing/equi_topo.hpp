// SPDX-License-Identifier: MIT
// EquiTopo: Song, Li, Jin, Shi, Yan, Yin, Yuan, NeurIPS 2022, arXiv 2210.07881. A basis matrix of shift u has 1/n on
// the diagonal and (n-1)/n at (i, i+u mod n), so node i receives from i+u. Averages of random shifts mix at a rate that
// hardly depends on n. All draws are keyed, so that all nodes draw the same without talking.
//   D-EquiStatic  the mean of M basis matrices             U-EquiStatic  its symmetric part
//   OD-EquiDyn    (1 - eta) I + eta (one shift a round)     OU-EquiDyn    the same on pairs (i, i+u) that share no node
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>
#include <rubato/mixing/matrix.hpp>

namespace rubato::mixing {

struct equi_options {
  /// M: shifts that are drawn, with replacement, from 1 .. n-1. 0: all shifts, where a form draws one a round.
  std::size_t shifts = 0;
  double eta = 0.5;  ///< of the one-peer forms: the weight of the round's matrix, in (0, 1]
  std::uint64_t seed = 0;
};

/// How many shifts make ||W - J||_2 at most `rho` with this probability of failure: (8/3) ln(2n / failure) / rho^2.
[[nodiscard]] auto equi_shifts(std::size_t n, double rho, double failure) -> std::size_t;

/// D-EquiStatic: each node receives from at most M others. Throws config_error if there are no shifts.
[[nodiscard]] auto d_equi_static(std::size_t n, equi_options const& options) -> matrix;
/// U-EquiStatic: symmetric, at most 2M neighbours. The shift n/2 gives one edge of double weight.
[[nodiscard]] auto u_equi_static(std::size_t n, equi_options const& options) -> matrix;

/// OD-EquiDyn in this round: each node receives from one other. Throws config_error if eta is not in (0, 1].
[[nodiscard]] auto od_equi_dyn(std::size_t n, equi_options const& options, std::uint64_t round) -> matrix;
/// OU-EquiDyn in this round: each node exchanges with at most one other; found greedily from a random start.
[[nodiscard]] auto ou_equi_dyn(std::size_t n, equi_options const& options, std::uint64_t round) -> matrix;

#if RUBATO_BODIES
namespace detail {

RUBATO_INLINE auto equi_key(std::size_t n, std::uint64_t seed) -> random_stream {
  return random_stream{0x65717569, seed, n};
}

RUBATO_INLINE auto equi_draws(std::size_t n, equi_options const& options) -> std::vector<std::size_t> {
  auto gen = equi_key(n, options.seed);
  auto shifts = std::vector<std::size_t>{};
  for (auto k = std::size_t{0}; k < options.shifts && n > 1; ++k) shifts.push_back(1 + gen.below(n - 1));
  return shifts;
}

/// Row i has weights[u] at column i+u mod n; weights[0] is what the others leave.
RUBATO_INLINE auto circulant(std::vector<double> weights, std::string name) -> matrix {
  auto const n = weights.size();
  weights[0] = 1;
  for (auto u = std::size_t{1}; u < n; ++u) weights[0] -= weights[u];
  auto entries = std::vector<entry>{};
  for (auto u = std::size_t{0}; u < n; ++u)
    for (auto i = std::size_t{0}; i < n && weights[u] != 0; ++i)
      entries.push_back({to_node(i), to_node((i + u) % n), weights[u]});
  return from_entries(n, std::move(entries), stochasticity::doubly, std::move(name));
}

RUBATO_INLINE auto equi_weights(std::size_t n, equi_options const& options) -> std::vector<double> {
  topology::detail::require_nodes(n, "EquiTopo");
  if (options.shifts == 0)
    throw config_error("static EquiTopo weights need a number of shifts, as equi_shifts() gives it: take 1 or more");
  auto weights = std::vector<double>(n, 0.0);
  auto const size = static_cast<double>(n);
  for (auto const u : equi_draws(n, options)) weights[u] += (size - 1) / size / static_cast<double>(options.shifts);
  return weights;
}

/// The stream of a round, of which the shift is drawn already.
struct equi_round {
  random_stream gen;
  std::size_t shift = 0;
};

RUBATO_INLINE auto equi_round_of(std::size_t n, equi_options const& options, std::uint64_t round) -> equi_round {
  topology::detail::require_nodes(n, "EquiTopo");
  if (!(options.eta > 0 && options.eta <= 1))
    throw config_error("EquiTopo's eta is " + with_digits(options.eta, 6) + ": it is above 0 and at most 1");
  auto gen = equi_key(n, options.seed).with(round);
  if (n == 1) return {gen, 0};
  if (options.shifts == 0) {
    auto const shift = std::size_t{1 + gen.below(n - 1)};
    return {gen, shift};
  }
  auto const shift = equi_draws(n, options)[gen.below(options.shifts)];
  return {gen, shift};
}

}  // namespace detail

RUBATO_INLINE auto equi_shifts(std::size_t n, double rho, double failure) -> std::size_t {
  if (!(rho > 0 && rho < 1 && failure > 0 && failure < 1))
    throw config_error("the number of shifts needs a rho and a probability of failure between 0 and 1");
  return static_cast<std::size_t>(8.0 / 3.0 * std::log(2 * static_cast<double>(n) / failure) / (rho * rho));
}

RUBATO_INLINE auto d_equi_static(std::size_t n, equi_options const& options) -> matrix {
  return detail::circulant(detail::equi_weights(n, options), "D-EquiStatic weights");
}

RUBATO_INLINE auto u_equi_static(std::size_t n, equi_options const& options) -> matrix {
  auto const directed = detail::equi_weights(n, options);
  auto weights = directed;
  for (auto u = std::size_t{1}; u < n; ++u) weights[u] = (directed[u] + directed[n - u]) / 2;
  return detail::circulant(std::move(weights), "U-EquiStatic weights");
}

RUBATO_INLINE auto od_equi_dyn(std::size_t n, equi_options const& options, std::uint64_t round) -> matrix {
  auto const drawn = detail::equi_round_of(n, options, round);
  auto weights = std::vector<double>(n, 0.0);
  weights[drawn.shift] = options.eta * static_cast<double>(n - 1) / static_cast<double>(n);
  return detail::circulant(std::move(weights), "OD-EquiDyn weights");
}

RUBATO_INLINE auto ou_equi_dyn(std::size_t n, equi_options const& options, std::uint64_t round) -> matrix {
  auto drawn = detail::equi_round_of(n, options, round);
  auto const weight = options.eta * static_cast<double>(n - 1) / static_cast<double>(n);
  auto const start = std::size_t{drawn.gen.below(n)};
  auto taken = std::vector<bool>(n, n == 1);
  auto pairs = std::vector<entry>{};
  for (auto k = std::size_t{0}; k < n; ++k) {
    auto const i = (start + k) % n, j = (i + drawn.shift) % n;
    if (taken[i] || taken[j]) continue;
    taken[i] = taken[j] = true;
    pairs.push_back({to_node(i), to_node(j), weight});
  }
  return from_pairs(n, pairs, "OU-EquiDyn weights");
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
