// SPDX-License-Identifier: MIT
// Which node holds which samples. By label is the hard case: most nodes never see most classes and can learn them from
// messages only. Dirichlet lies anywhere between that and iid.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>
#include <rubato/problem/dataset.hpp>

namespace rubato::split {

/// For each node, the indices of its samples.
using shards = std::vector<std::vector<std::uint32_t>>;

/// Every sample to exactly one node, at random; shard sizes differ by at most 1. Throws config_error if there are no
/// nodes, or more nodes than samples.
[[nodiscard]] auto iid(problem::dataset const& data, std::size_t nodes, std::uint64_t seed) -> shards;

/// Every sample to exactly one node: sorted by label, then cut, so that a node sees few classes; shard sizes differ by
/// at most 1. The seed changes only the order inside shards. Throws config_error as iid.
[[nodiscard]] auto by_label(problem::dataset const& data, std::size_t nodes, std::uint64_t seed) -> shards;

/// Every sample to exactly one node: of each label, every node gets a share drawn from a Dirichlet distribution with
/// all parameters alpha (Hsu, Qi, Brown, arXiv 1909.06335, drawn per label). Small alpha: few nodes hold a label; large
/// alpha: nearly iid. Shard sizes differ; a node that would get no sample is given one of the largest shard. Throws
/// config_error as iid, and unless alpha is a positive number.
[[nodiscard]] auto dirichlet(problem::dataset const& data, std::size_t nodes, double alpha, std::uint64_t seed)
    -> shards;

#if RUBATO_BODIES
namespace detail {

// Fisher and Yates; the standard shuffle differs between implementations.
RUBATO_INLINE void shuffle(std::vector<std::uint32_t>& order, random_stream draw) {
  for (auto left = order.size(); left > 1; --left) std::swap(order[left - 1], order[draw.below(left)]);
}

RUBATO_INLINE void check(problem::dataset const& data, std::size_t nodes) {
  if (nodes == 0) throw config_error{"data are split over at least one node, not 0"};
  if (nodes > data.samples()) {
    throw config_error{"data of " + std::to_string(data.samples()) + " samples cannot be split over " +
                       std::to_string(nodes) + " nodes, for each needs at least one sample"};
  }
}

RUBATO_INLINE auto in_order(problem::dataset const& data) -> std::vector<std::uint32_t> {
  std::vector<std::uint32_t> order(data.samples());
  std::iota(order.begin(), order.end(), std::uint32_t{0});
  return order;
}

// Contiguous pieces; the first (samples modulo nodes) of them hold one sample more.
RUBATO_INLINE auto cut(std::vector<std::uint32_t> const& order, std::size_t nodes) -> shards {
  shards pieces;
  pieces.reserve(nodes);
  auto from = order.begin();
  for (std::size_t i = 0; i < nodes; ++i) {
    auto const size = order.size() / nodes + (i < order.size() % nodes ? 1 : 0);
    auto const to = from + static_cast<std::ptrdiff_t>(size);
    pieces.emplace_back(from, to);
    from = to;
  }
  return pieces;
}

/// log of a draw from the gamma distribution of this shape: Marsaglia and Tsang, 2000, for shape + 1, times
/// U^(1/shape). As a logarithm, because for a small shape most draws are far below the smallest double.
RUBATO_INLINE auto log_gamma_draw(random_stream& draw, double shape) -> double {
  auto const d = shape + 1 - 1.0 / 3;
  auto const c = 1 / std::sqrt(9 * d);
  while (true) {
    auto const z = draw.normal();
    auto const v = std::pow(1 + c * z, 3);
    auto const u = 1 - draw.uniform();
    if (v > 0 && std::log(u) < 0.5 * z * z + d - d * v + d * std::log(v)) {
      return std::log(d * v) + std::log(1 - draw.uniform()) / shape;
    }
  }
}

/// Shares of a Dirichlet distribution with all parameters alpha; their sum is 1.
RUBATO_INLINE auto dirichlet_shares(random_stream& draw, std::size_t nodes, double alpha) -> std::vector<double> {
  std::vector<double> shares(nodes);
  for (auto& s : shares) s = log_gamma_draw(draw, alpha);
  auto const largest = *std::max_element(shares.begin(), shares.end());
  double sum = 0;
  for (auto& s : shares) sum += s = std::exp(s - largest);
  for (auto& s : shares) s /= sum;
  return shares;
}

/// A node without samples gets the last sample of the node with the most (the lowest such node).
RUBATO_INLINE void fill_empty(shards& pieces) {
  for (auto& empty : pieces) {
    if (!empty.empty()) continue;
    auto const richest = std::max_element(pieces.begin(), pieces.end(),
                                          [](auto const& a, auto const& b) { return a.size() < b.size(); });
    empty.push_back(richest->back());
    richest->pop_back();
  }
}

}  // namespace detail

RUBATO_INLINE auto iid(problem::dataset const& data, std::size_t nodes, std::uint64_t seed) -> shards {
  detail::check(data, nodes);
  auto order = detail::in_order(data);
  detail::shuffle(order, random_stream{0x696964ULL, seed});
  return detail::cut(order, nodes);
}

RUBATO_INLINE auto by_label(problem::dataset const& data, std::size_t nodes, std::uint64_t seed) -> shards {
  detail::check(data, nodes);
  auto order = detail::in_order(data);
  auto const labels = data.labels();
  // Ties by index: the order of a stable sort without its temporary buffer, for which libstdc++ 12 calls a deprecated
  // function that clang warns about.
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return labels[a] != labels[b] ? labels[a] < labels[b] : a < b; });
  auto pieces = detail::cut(order, nodes);
  for (std::size_t i = 0; i < nodes; ++i) detail::shuffle(pieces[i], random_stream{0x6c6162656cULL, seed, i});
  return pieces;
}

RUBATO_INLINE auto dirichlet(problem::dataset const& data, std::size_t nodes, double alpha, std::uint64_t seed)
    -> shards {
  detail::check(data, nodes);
  if (!(alpha > 0) || !std::isfinite(alpha)) {
    throw config_error{"the alpha of a Dirichlet split must be a positive number, not " + shortest(alpha)};
  }
  shards of_label(data.classes());
  for (auto const sample : detail::in_order(data)) of_label[data.labels()[sample]].push_back(sample);
  shards pieces(nodes);
  for (std::size_t label = 0; label < of_label.size(); ++label) {
    auto& all = of_label[label];
    detail::shuffle(all, random_stream{0x6469726963ULL, seed, label, 0});
    random_stream draw{0x6469726963ULL, seed, label, 1};
    auto const shares = detail::dirichlet_shares(draw, nodes, alpha);
    double reached = 0;
    std::size_t from = 0;
    for (std::size_t i = 0; i < nodes; ++i) {
      reached += shares[i];
      auto const ideal = static_cast<std::size_t>(std::llround(reached * static_cast<double>(all.size())));
      auto const to = i + 1 == nodes ? all.size() : std::clamp(ideal, from, all.size());
      for (; from < to; ++from) pieces[i].push_back(all[from]);
    }
  }
  detail::fill_empty(pieces);
  for (std::size_t i = 0; i < nodes; ++i) detail::shuffle(pieces[i], random_stream{0x6469726963ULL, seed, i, 2});
  return pieces;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::split
