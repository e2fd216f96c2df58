// SPDX-License-Identifier: MIT
// Who holds which samples. By label is the hard case: most nodes never see most classes, so only what the nodes
// tell each other can teach them the rest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/random.hpp>
#include <rubato/problem/dataset.hpp>

namespace rubato::split {

/// For each node the indices of its samples.
using shards = std::vector<std::vector<std::uint32_t>>;

namespace detail {

// Fisher and Yates; the standard shuffle differs between implementations.
inline void shuffle(std::vector<std::uint32_t>& order, random_stream draw) {
  for (auto left = order.size(); left > 1; --left) std::swap(order[left - 1], order[draw.below(left)]);
}

inline void check(problem::dataset const& data, std::size_t nodes) {
  if (nodes == 0) throw config_error{"data are split over at least one node, not 0"};
  if (nodes > data.samples()) {
    throw config_error{"data of " + std::to_string(data.samples()) + " samples cannot be split over " +
                       std::to_string(nodes) + " nodes, for each needs at least one sample"};
  }
}

inline auto in_order(problem::dataset const& data) -> std::vector<std::uint32_t> {
  std::vector<std::uint32_t> order(data.samples());
  std::iota(order.begin(), order.end(), std::uint32_t{0});
  return order;
}

// Contiguous pieces; the first (samples modulo nodes) of them hold one sample more.
inline auto cut(std::vector<std::uint32_t> const& order, std::size_t nodes) -> shards {
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

}  // namespace detail

/// Every sample to exactly one node, at random; shard sizes differ by at most 1. Throws config_error if there are no
/// nodes, or more nodes than samples.
[[nodiscard]] inline auto iid(problem::dataset const& data, std::size_t nodes, std::uint64_t seed) -> shards {
  detail::check(data, nodes);
  auto order = detail::in_order(data);
  detail::shuffle(order, random_stream{0x696964ULL, seed});
  return detail::cut(order, nodes);
}

/// Every sample to exactly one node: sorted by label, then cut, so that a node sees few classes; shard sizes differ by
/// at most 1. The seed changes the order inside shards only. Throws config_error as iid.
[[nodiscard]] inline auto by_label(problem::dataset const& data, std::size_t nodes, std::uint64_t seed) -> shards {
  detail::check(data, nodes);
  auto order = detail::in_order(data);
  auto const labels = data.labels();
  // Ties by index: the order of a stable sort, without its temporary buffer, which libstdc++ 12 takes from a deprecated
  // function that clang warns of.
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return labels[a] != labels[b] ? labels[a] < labels[b] : a < b; });
  auto pieces = detail::cut(order, nodes);
  for (std::size_t i = 0; i < nodes; ++i) detail::shuffle(pieces[i], random_stream{0x6c6162656cULL, seed, i});
  return pieces;
}

}  // namespace rubato::split
