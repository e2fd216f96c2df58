// SPDX-License-Identifier: MIT
// The Base-(k+1) graph: Takezawa, Sato, Bao, Niwa, Yamada, NeurIPS 2023, arXiv 2305.11420. A sequence of symmetric
// matrices in which every node has at most k neighbours a round, and all rounds together are exactly the mean of all,
// for any n. At most 2 log(n) / log(k+1) + 2 rounds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/mixing/matrix.hpp>

namespace rubato::mixing {

/// One matrix a round, symmetric and doubly stochastic; their product is J = 1 1^T / n. One node has one round, which
/// changes nothing. Throws config_error unless n and `neighbours` are at least 1.
[[nodiscard]] auto base_graph(std::size_t n, std::size_t neighbours) -> std::vector<matrix>;

#if RUBATO_BODIES
namespace detail {

/// The edges of each round, under construction; nodes keep what their edges leave.
class base_rounds {
 public:
  using nodes = std::vector<std::size_t>;
  using rounds = std::vector<std::vector<entry>>;

  explicit base_rounds(std::size_t neighbours) : base_{neighbours + 1} {}

  /// The shorter of two ways: all nodes as one, or blocks that are averaged first and then joined by a smooth factor.
  auto shortest(std::size_t n) const -> rounds {
    auto all = nodes(n);
    for (auto i = std::size_t{0}; i < n; ++i) all[i] = i;
    auto rest = n;
    for (auto f = base_; f >= 2; --f)
      while (rest % f == 0) rest /= f;
    auto const blocks = n / rest;
    auto made = rounds{};
    for (auto b = std::size_t{0}; b < blocks; ++b) overlay(made, 0, simple(part(all, b * rest, rest)));
    auto const then = made.size();
    for (auto s = std::size_t{0}; s < rest; ++s) {
      auto strided = nodes{};
      for (auto b = std::size_t{0}; b < blocks; ++b) strided.push_back(all[b * rest + s]);
      overlay(made, then, hyper_hypercube(strided));
    }
    auto one = simple(all);
    return one.size() < made.size() ? one : made;
  }

 private:
  /// A set of the nodes: `count` equal parts of a power of the base each.
  struct group {
    nodes all;
    std::size_t count;
    std::size_t each;
  };

  static auto part(nodes const& all, std::size_t begin, std::size_t size) -> nodes {
    auto const first = all.begin() + static_cast<std::ptrdiff_t>(begin);
    return {first, first + static_cast<std::ptrdiff_t>(size)};
  }
  static void overlay(rounds& on, std::size_t begin, rounds const& added) {
    if (on.size() < begin + added.size()) on.resize(begin + added.size());
    for (auto k = std::size_t{0}; k < added.size(); ++k)
      on[begin + k].insert(on[begin + k].end(), added[k].begin(), added[k].end());
  }
  static void join_all(std::vector<entry>& round, nodes const& clique) {
    for (auto i = std::size_t{0}; i < clique.size(); ++i)
      for (auto j = std::size_t{0}; j < i; ++j)
        round.push_back({to_node(clique[j]), to_node(clique[i]), 1 / static_cast<double>(clique.size())});
  }

  /// Factors of m up to the base, smallest first; not all of m if it has a larger prime.
  auto factors(std::size_t m) const -> std::vector<std::size_t> {
    auto found = std::vector<std::size_t>{};
    for (auto f = base_; f >= 2; --f)
      for (; m % f == 0; m /= f) found.push_back(f);
    std::reverse(found.begin(), found.end());
    return found;
  }
  auto is_smooth(std::size_t m) const -> bool {
    for (auto const f : factors(m)) m /= f;
    return m == 1;
  }

  /// Stage l: cliques of nodes that differ in digit l only, in the mixed radix of the factors. Exact after all stages.
  auto hyper_hypercube(nodes const& all) const -> rounds {
    auto made = rounds{};
    auto stride = std::size_t{1};
    for (auto const f : factors(all.size())) {
      auto& round = made.emplace_back();
      for (auto at = std::size_t{0}; at < all.size(); ++at) {
        if (at / stride % f != 0) continue;
        auto clique = nodes{};
        for (auto digit = std::size_t{0}; digit < f; ++digit) clique.push_back(all[at + digit * stride]);
        join_all(round, clique);
      }
      stride *= f;
    }
    return made;
  }

  /// The digits of the size in this base, large ones first, as consecutive groups.
  auto groups_of(nodes const& all) const -> std::vector<group> {
    auto power = std::size_t{1};
    while (power <= all.size() / base_) power *= base_;
    auto groups = std::vector<group>{};
    auto begin = std::size_t{0};
    for (; power >= 1; power /= base_) {
      auto const digit = (all.size() - begin) / power;
      if (digit == 0) continue;
      groups.push_back({part(all, begin, digit * power), digit, power});
      begin += digit * power;
    }
    return groups;
  }

  /// What makes a group whose parts hold the right means exact: each part by itself, or a small group at once.
  auto finish_of(group const& g) const -> rounds {
    if (g.each == 1) return hyper_hypercube(g.all);
    auto made = rounds{};
    for (auto p = std::size_t{0}; p < g.count; ++p) overlay(made, 0, hyper_hypercube(part(g.all, p * g.each, g.each)));
    return made;
  }

  auto simple(nodes const& all) const -> rounds {
    if (is_smooth(all.size())) return hyper_hypercube(all);
    auto const groups = groups_of(all);
    auto made = rounds(hyper_hypercube(groups[0].all).size());
    for (auto const& g : groups) {
      auto const own = hyper_hypercube(g.all);
      for (auto k = std::size_t{0}; k < made.size() && !own.empty(); ++k)
        made[k].insert(made[k].end(), own[k % own.size()].begin(), own[k % own.size()].end());
    }
    auto const begin = made.size();
    for (auto q = std::size_t{0}; q + 1 < groups.size(); ++q) overlay(made, begin + q, {spread(groups, q)});
    for (auto l = std::size_t{0}; l < groups.size(); ++l)
      overlay(made, begin + (std::min)(l + 1, groups.size() - 1), finish_of(groups[l]));
    return made;
  }

  /// Group `source` gives its mean away: each node of a later group takes one node of each part of it, with weights
  /// after which the rest of the source still holds its share. Nodes that are not taken average among themselves.
  auto spread(std::vector<group> const& groups, std::size_t source) const -> std::vector<entry> {
    auto const& from = groups[source];
    auto remaining = std::size_t{0};
    for (auto l = source; l < groups.size(); ++l) remaining += groups[l].all.size();
    auto const weight =
        static_cast<double>(from.all.size()) / static_cast<double>(remaining) / static_cast<double>(from.count);
    auto round = std::vector<entry>{};
    auto left = from.each;  // in each part; taken from the end
    for (auto l = groups.size() - 1; l > source; --l)
      for (auto const node : groups[l].all) {
        --left;
        for (auto p = std::size_t{0}; p < from.count; ++p)
          round.push_back({to_node(node), to_node(from.all[p * from.each + left]), weight});
      }
    auto clique = nodes{};
    for (auto at = std::size_t{0}; at < from.all.size(); ++at) {
      if (at % from.each < left) clique.push_back(from.all[at]);
      if (clique.size() == base_ || at + 1 == from.all.size()) join_all(round, std::exchange(clique, {}));
    }
    return round;
  }

  std::size_t base_;
};

}  // namespace detail

RUBATO_INLINE auto base_graph(std::size_t n, std::size_t neighbours) -> std::vector<matrix> {
  auto const name = "Base-" + std::to_string(neighbours + 1) + " weights";
  topology::detail::require_nodes(n, name);
  if (neighbours == 0)
    throw config_error("the Base-(k+1) graph needs at least one neighbour a round: take k from 1 up");
  auto rounds = std::vector<matrix>{};
  for (auto const& pairs : detail::base_rounds{(std::min)(neighbours, n)}.shortest(n))
    rounds.push_back(from_pairs(n, pairs, name));
  if (rounds.empty()) rounds.push_back(from_pairs(n, {}, name));
  return rounds;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
