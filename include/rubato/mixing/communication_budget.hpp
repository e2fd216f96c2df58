// SPDX-License-Identifier: MIT
// How often each matching of a graph is used under a budget, and the weight of its links. [M] = MATCHA, Wang, Sahu,
// Yang, Joshi, Kar, arXiv 1905.09435. Matchings with Laplacians L_1 .. L_m; J = 1 1^T / n.
//   probabilities p   maximise lambda_2(sum_j p_j L_j)   over 0 <= p_j <= 1, sum_j p_j <= budget * m
//   weight alpha      minimise rho = lambda_max((I - alpha sum p_j L_j)^2 + 2 alpha^2 sum p_j (1 - p_j) L_j - J)
// differs from [M]: no library for semidefinite programs is needed. The first is solved by a barrier method, which
// tests compare with brute force to 1e-4; the second is convex in one variable.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/mixing/detail/dense.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/edge_list.hpp>
#include <rubato/topology/matchings.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato::mixing {

namespace detail {
/// Throws config_error unless 0 < budget <= 1.
void require_budget(double budget);
}  // namespace detail

using matching_list = std::vector<std::vector<topology::edge>>;

/// The probabilities p, by a barrier method that ends at a duality gap of 1e-9; each of its steps is O(m^2 n^2 + n^3),
/// with m matchings. *requires* matchings, at least one, of a connected graph of n nodes. Throws config_error unless
/// 0 < budget <= 1.
[[nodiscard]] auto activation_probabilities(std::size_t n, matching_list const& all, double budget)
    -> std::vector<double>;

struct matching_weight {
  double alpha = 0;  ///< of each link that is used
  double rho = 0;  ///< E |x - mean|^2 shrinks by it, each round; below 1
};
/// The best weight for these probabilities. Where all are 1, alpha = 2 / (lambda_2 + lambda_n). O(60 n^3).
[[nodiscard]] auto best_weight(std::size_t n, matching_list const& all, std::vector<double> const& p)
    -> matching_weight;

/// Gossip along matchings that each round draws anew by the key (seed, round). The network is taken as undirected.
/// Throws config_error unless 0 < budget <= 1, if there are more than 128 nodes (a star of 100 takes about 9 s), and
/// naming a node that is not connected to node 0.
[[nodiscard]] auto matcha_plan(topology::pair const& network, double budget, std::uint64_t seed) -> plan;

#if RUBATO_BODIES
namespace detail {

inline constexpr std::size_t most_budgeted = 128;

RUBATO_INLINE void require_budget(double budget) {
  if (!(budget > 0 && budget <= 1))
    throw config_error("a communication budget must lie in (0, 1], and this one is " + to_text(budget) +
                       ": it is the share of all links that a round uses on average");
}

/// to += w L
RUBATO_INLINE void add_laplacian(square& to, std::vector<topology::edge> const& links, double w) {
  for (auto const& e : links) {
    auto const i = to_index(e.from), j = to_index(e.to);
    to(i, i) += w, to(j, j) += w, to(i, j) -= w, to(j, i) -= w;
  }
}

/// The barrier method: minimises  -t s - log det X - sum log p_j - sum log(1 - p_j) - log(most - sum p)  with
/// X = sum p_j L_j - s (I - J) + J, for growing t. Its variables are p and, last, s.
class budget_barrier {
 public:
  budget_barrier(std::size_t n, matching_list const& all, double budget)
      : n_{n}, all_{all}, most_{budget * static_cast<double>(all.size())}, at_(all.size() + 1, 0.9 * budget) {
    at_.back() = -1;
  }
  auto solve_within(double gap) -> std::vector<double> {
    auto const terms = static_cast<double>(n_ + 2 * all_.size());
    for (auto t = 1.0; terms / t > gap; t *= 4) {
      for (auto step = 0; step < 50 && descend(t); ++step) {
      }
    }
    return {at_.begin(), at_.end() - 1};
  }

 private:
  [[nodiscard]] auto matrix_at(std::vector<double> const& at) const -> square {
    auto x = square{n_};
    auto const share = (1 + at.back()) / static_cast<double>(n_);
    std::fill(x.entries().begin(), x.entries().end(), share);
    for (auto i = std::size_t{0}; i < n_; ++i) x(i, i) -= at.back();
    for (auto j = std::size_t{0}; j < all_.size(); ++j) add_laplacian(x, all_[j], at[j]);
    return x;
  }
  /// Infinite outside of the domain.
  [[nodiscard]] auto value(std::vector<double> const& at, double t) const -> double {
    auto const infinite = (std::numeric_limits<double>::infinity)();
    auto left = most_;
    auto sum = -t * at.back();
    for (auto j = std::size_t{0}; j < all_.size(); ++j) {
      if (!(at[j] > 0 && at[j] < 1)) return infinite;
      sum -= std::log(at[j]) + std::log(1 - at[j]);
      left -= at[j];
    }
    auto const factor = left > 0 ? cholesky(matrix_at(at)) : std::nullopt;
    if (!factor) return infinite;
    return sum - log_det(*factor) - std::log(left);
  }
  /// L times S, S = X^-1.
  [[nodiscard]] auto times(std::vector<topology::edge> const& links, square const& s) const -> square {
    auto product = square{n_};
    for (auto const& e : links) {
      auto const i = to_index(e.from), j = to_index(e.to);
      for (auto k = std::size_t{0}; k < n_; ++k) {
        auto const d = s(i, k) - s(j, k);
        product(i, k) += d, product(j, k) -= d;
      }
    }
    return product;
  }
  /// The derivatives of X times S, by variable. (I - J) S = S - J, since S 1 = 1.
  [[nodiscard]] auto directions(square const& s) const -> std::vector<square> {
    std::vector<square> d;
    for (auto const& links : all_) d.push_back(times(links, s));
    auto last = s;
    for (auto& v : last.entries()) v = 1 / static_cast<double>(n_) - v;
    d.push_back(std::move(last));
    return d;
  }
  /// One step of Newton's method; false if it is the last that this t needs.
  auto descend(double t) -> bool {
    auto const m = at_.size();
    auto const d = directions(inverse(*cholesky(matrix_at(at_))));  // at_ is in the domain
    auto hessian = square{m};
    std::vector<double> step(m);
    auto left = most_;
    for (auto j = std::size_t{0}; j + 1 < m; ++j) left -= at_[j];
    for (auto j = std::size_t{0}; j < m; ++j) {
      for (auto i = std::size_t{0}; i < n_; ++i) step[j] += d[j](i, i);
      for (auto k = std::size_t{0}; k < m; ++k)
        for (auto a = std::size_t{0}; a < n_; ++a)
          for (auto b = std::size_t{0}; b < n_; ++b) hessian(j, k) += d[j](a, b) * d[k](b, a);
      if (j + 1 == m) {
        step[j] += t;
        continue;
      }
      step[j] += 1 / at_[j] - 1 / (1 - at_[j]) - 1 / left;
      hessian(j, j) += 1 / (at_[j] * at_[j]) + 1 / ((1 - at_[j]) * (1 - at_[j]));
      for (auto k = std::size_t{0}; k + 1 < m; ++k) hessian(j, k) += 1 / (left * left);
    }
    auto const slope = step;
    auto const factor = cholesky(std::move(hessian));
    if (!factor) return false;
    solve(*factor, step);
    auto decrement = 0.0;
    for (auto j = std::size_t{0}; j < m; ++j) decrement += slope[j] * step[j];
    return decrement > 1e-10 && search(step, decrement, t);
  }
  auto search(std::vector<double> const& step, double decrement, double t) -> bool {
    auto const before = value(at_, t);
    for (auto length = 1.0; length > 1e-12; length /= 2) {
      auto next = at_;
      for (auto j = std::size_t{0}; j < next.size(); ++j) next[j] += length * step[j];
      if (!(value(next, t) <= before - 0.25 * length * decrement)) continue;
      at_ = std::move(next);
      return true;
    }
    return false;
  }

  std::size_t n_;
  matching_list const& all_;
  double most_;
  std::vector<double> at_;
};

RUBATO_INLINE auto rho_of(square const& mean, square const& spread, double alpha) -> double {
  auto const n = mean.size();
  auto m = square{n};
  for (auto i = std::size_t{0}; i < n; ++i)
    for (auto j = std::size_t{0}; j < n; ++j) {
      auto sum = 0.0;
      for (auto k = std::size_t{0}; k < n; ++k)
        sum += ((i == k ? 1 : 0) - alpha * mean(i, k)) * ((k == j ? 1 : 0) - alpha * mean(k, j));
      m(i, j) = sum + 2 * alpha * alpha * spread(i, j) - 1 / static_cast<double>(n);
    }
  return eigenvalues(std::move(m)).back();
}

}  // namespace detail

RUBATO_INLINE auto activation_probabilities(std::size_t n, matching_list const& all, double budget)
    -> std::vector<double> {
  detail::require_budget(budget);
  if (budget == 1) return std::vector<double>(all.size(), 1.0);  // lambda_2 never falls as p grows
  return detail::budget_barrier{n, all, budget}.solve_within(1e-9);
}

RUBATO_INLINE auto best_weight(std::size_t n, matching_list const& all, std::vector<double> const& p)
    -> matching_weight {
  auto mean = detail::square{n}, spread = detail::square{n};
  for (auto j = std::size_t{0}; j < all.size(); ++j) {
    detail::add_laplacian(mean, all[j], p[j]);
    detail::add_laplacian(spread, all[j], p[j] * (1 - p[j]));
  }
  auto const values = detail::eigenvalues(mean);
  auto low = 0.0, high = 2 / (values[1] + values.back());  // the best alpha without spread, which only lowers it
  if (std::all_of(p.begin(), p.end(), [](double one) { return one == 1; }))
    return {high, detail::rho_of(mean, spread, high)};
  constexpr auto golden = 0.61803398874989485;
  auto a = high - golden * (high - low), b = low + golden * (high - low);
  auto at_a = detail::rho_of(mean, spread, a), at_b = detail::rho_of(mean, spread, b);
  for (auto k = 0; k < 60; ++k) {
    if (at_a <= at_b) {
      high = b, b = a, at_b = at_a;
      a = high - golden * (high - low);
      at_a = detail::rho_of(mean, spread, a);
    } else {
      low = a, a = b, at_a = at_b;
      b = low + golden * (high - low);
      at_b = detail::rho_of(mean, spread, b);
    }
  }
  return {a, at_a};
}

RUBATO_INLINE auto matcha_plan(topology::pair const& network, double budget, std::uint64_t seed) -> plan {
  detail::require_budget(budget);
  auto const n = network.nodes();
  if (n > detail::most_budgeted)
    throw config_error("MATCHA computes its probabilities for at most " + std::to_string(detail::most_budgeted) +
                       " nodes, and '" + network.name() + "' has " + std::to_string(n) +
                       ": take d_psgd_atc on a mixing::schedule of your own");
  auto made = gossip_plan(network);  // its remark, and its refusal of a graph in two parts
  auto const all = topology::matchings(network.underlying());
  if (all.empty()) return made;
  auto const p = activation_probabilities(n, all, budget);
  auto const best = best_weight(n, all, p);
  std::vector<matrix> parts;
  for (auto const& links : all) {
    auto one = detail::square{n};
    for (auto i = std::size_t{0}; i < n; ++i) one(i, i) = 1;
    detail::add_laplacian(one, links, -best.alpha);
    std::vector<entry> entries;
    for (auto i = std::size_t{0}; i < n; ++i)
      for (auto j = std::size_t{0}; j < n; ++j)
        if (one(i, j) != 0) entries.push_back({to_node(i), to_node(j), one(i, j)});
    parts.push_back(from_entries(n, std::move(entries), stochasticity::doubly, "weights of a matching", signs::any));
  }
  auto remark = std::move(made.remark);
  made = gossip_plan(schedule::independent(std::move(parts), p, seed, "matchings of " + network.name()));
  made.summary = "gossip on " + std::to_string(all.size()) + " matchings of " + network.name() + ", budget " +
                 shortest(budget) + ", weight " + with_digits(best.alpha, 4);
  made.remark = std::move(remark);
  return made;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
