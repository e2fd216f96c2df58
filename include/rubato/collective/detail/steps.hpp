// SPDX-License-Identifier: MIT
// An all-reduce as one node sees it: steps, in each of which it may send a part of its vector to one node and receive a
// part from one. Which node does what depends on ids alone, so all nodes find steps that fit together. Each part of the
// sum is added up by one tree of additions, the same whoever does it, so all nodes end with the same bits.
#pragma once

#include <bit>
#include <cstddef>
#include <utility>
#include <vector>

#include <rubato/collective/choice.hpp>
#include <rubato/core/blocks.hpp>

namespace rubato::collective::detail {

inline constexpr auto nobody = static_cast<std::size_t>(-1);

struct step {
  std::size_t to = nobody;
  range out{};
  std::size_t from = nobody;
  range in{};
  bool adds = false;  ///< what comes is added, or else it replaces what is there
};

/// Part i of n of `count` values.
constexpr auto part_of(std::size_t count, std::size_t i, std::size_t n) -> range {
  auto const begin_of = [&](std::size_t k) { return count / n * k + (k < count % n ? k : count % n); };
  return {begin_of(i), begin_of(i + 1)};
}

/// Each part goes once round, and every node adds its own to it; then the sums go round.
inline auto ring_steps(std::size_t self, std::size_t n, std::size_t count) -> std::vector<step> {
  std::vector<step> all;
  for (std::size_t s = 0; s < 2 * (n - 1); ++s) {
    auto const out = (self + 2 * n - s) % n;
    all.push_back(
        {(self + 1) % n, part_of(count, out, n), (self + n - 1) % n, part_of(count, (out + n - 1) % n, n), s < n - 1});
  }
  return all;
}

/// Up a binomial tree to node 0, and down again.
inline auto tree_steps(std::size_t self, std::size_t n, std::size_t count) -> std::vector<step> {
  auto const whole = range{0, count};
  std::vector<step> all;
  auto mask = std::size_t{1};
  for (; mask < n && (self & mask) == 0; mask <<= 1) {
    if (self + mask < n) all.push_back({nobody, {}, self + mask, whole, true});
  }
  if (self != 0) {
    all.push_back({self - mask, whole, nobody, {}, false});
    all.push_back({nobody, {}, self - mask, whole, false});
  }
  for (mask >>= 1; mask > 0; mask >>= 1) {
    if (self + mask < n) all.push_back({self + mask, whole, nobody, {}, false});
  }
  return all;
}

/// Who takes part where a power of two is needed: of the first 2 (n - p) nodes those with odd ids, and all others.
struct core {
  std::size_t of_pairs;  // n - p
  [[nodiscard]] auto place(std::size_t node) const -> std::size_t {
    return node < 2 * of_pairs ? node / 2 : node - of_pairs;
  }
  [[nodiscard]] auto node(std::size_t place) const -> std::size_t {
    return place < of_pairs ? 2 * place + 1 : place + of_pairs;
  }
};

inline void swap_whole(std::size_t self, core const& c, std::size_t p, std::size_t count, std::vector<step>& all) {
  for (std::size_t mask = 1; mask < p; mask <<= 1) {
    auto const other = c.node(c.place(self) ^ mask);
    all.push_back({other, {0, count}, other, {0, count}, true});
  }
}

inline void swap_halves(std::size_t self, core const& c, std::size_t p, std::size_t count, std::vector<step>& all) {
  auto const place = c.place(self);
  auto mine = range{0, count};
  std::vector<step> back;
  for (auto mask = p / 2; mask > 0; mask >>= 1) {
    auto const middle = mine.begin + mine.size() / 2;
    auto keep = range{mine.begin, middle}, give = range{middle, mine.end};
    if ((place & mask) != 0) std::swap(keep, give);
    auto const other = c.node(place ^ mask);
    all.push_back({other, give, other, keep, true});
    back.push_back({other, keep, other, give, false});
    mine = keep;
  }
  all.insert(all.end(), back.rbegin(), back.rend());
}

inline auto steps_of(algorithm how, std::size_t self, std::size_t n, std::size_t count) -> std::vector<step> {
  if (n < 2) return {};
  if (how == algorithm::ring) return ring_steps(self, n, count);
  if (how == algorithm::tree) return tree_steps(self, n, count);
  auto const p = std::bit_floor(n);
  auto const c = core{n - p};
  auto const whole = range{0, count};
  auto const is_paired = self < 2 * c.of_pairs;
  if (is_paired && self % 2 == 0) return {{self + 1, whole, nobody, {}, false}, {nobody, {}, self + 1, whole, false}};
  std::vector<step> all;
  if (is_paired) all.push_back({nobody, {}, self - 1, whole, true});
  if (how == algorithm::doubling) swap_whole(self, c, p, count, all);
  else swap_halves(self, c, p, count, all);
  if (is_paired) all.push_back({self - 1, whole, nobody, {}, false});
  return all;
}

}  // namespace rubato::collective::detail
