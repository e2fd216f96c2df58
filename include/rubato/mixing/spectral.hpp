// SPDX-License-Identifier: MIT
// How fast averaging mixes: rho(W) = ||W - J||_2, the second singular value of a doubly stochastic W (J = 1 1^T / n).
// Computed only on demand, by the Lanczos method on W^T W over the vectors of mean zero; W stays sparse.
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
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/mixing/matrix.hpp>

namespace rubato::mixing {

/// rho(W) = ||W - J||_2, the factor by which one averaging round shrinks disagreement, to 1e-8 or better. *requires*
/// rows and columns that sum to one (config_error names the first that does not). Exact for up to 601 nodes; larger
/// graphs that mix too slowly for 600 steps are refused.
[[nodiscard]] auto second_singular_value(matrix const& m) -> double;

/// 1 - rho(W).
[[nodiscard]] auto spectral_gap(matrix const& m) -> double;

#if RUBATO_BODIES
namespace detail {

RUBATO_INLINE auto dot(std::vector<double> const& a, std::vector<double> const& b) -> double {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

RUBATO_INLINE void add_scaled(std::vector<double>& y, double factor, std::vector<double> const& x) {
  for (auto i = std::size_t{0}; i < y.size(); ++i) y[i] += factor * x[i];
}

RUBATO_INLINE void scale(std::vector<double>& x, double factor) {
  for (auto& value : x) value *= factor;
}

RUBATO_INLINE void remove_mean(std::vector<double>& x) {
  auto const mean = std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
  for (auto& value : x) value -= mean;
}

/// W x
RUBATO_INLINE auto product(matrix const& m, std::vector<double> const& x) -> std::vector<double> {
  auto y = std::vector<double>(x.size(), 0.0);
  for (auto i = std::size_t{0}; i < x.size(); ++i)
    for (auto const& w : m.row(to_node(i))) y[i] += w.weight * x[to_index(w.peer)];
  return y;
}

/// W^T x
RUBATO_INLINE auto transposed_product(matrix const& m, std::vector<double> const& x) -> std::vector<double> {
  auto y = std::vector<double>(x.size(), 0.0);
  for (auto i = std::size_t{0}; i < x.size(); ++i)
    for (auto const& w : m.row(to_node(i))) y[to_index(w.peer)] += w.weight * x[i];
  return y;
}

/// A symmetric tridiagonal matrix: `across` on the diagonal, `beside` next to it (shorter by one).
struct tridiagonal {
  std::vector<double> across;
  std::vector<double> beside;

  /// Whether `x` lies above all eigenvalues: every pivot of T - x is negative (Sturm).
  auto is_below(double x) const -> bool {
    auto pivot = across[0] - x;
    for (auto k = std::size_t{1}; k < across.size() && pivot < 0; ++k)
      pivot = across[k] - x - beside[k - 1] * beside[k - 1] / pivot;
    return pivot < 0;
  }

  /// An upper bound of the largest eigenvalue, tight to rounding.
  auto top() const -> double {
    auto low = *std::max_element(across.begin(), across.end());
    auto high = low;
    for (auto const b : beside) high = (std::max)(high, low + 2 * std::abs(b));
    high += 1e-15 * (1 + std::abs(high));
    for (auto step = 0; step < 100 && low < high; ++step) {
      auto const middle = low + (high - low) / 2;
      if (middle == low || middle == high) break;
      (is_below(middle) ? high : low) = middle;
    }
    return high;
  }

  /// |last entry| of the unit eigenvector for the largest eigenvalue `value`, by inverse iteration.
  auto last_of_top_vector(double value) const -> double {
    auto const m = across.size();
    auto const shift = value + 1e-14 * (std::abs(value) + 1e-300);
    auto pivots = std::vector<double>(m);
    for (auto k = std::size_t{0}; k < m; ++k)
      pivots[k] =
          (std::min)(across[k] - shift - (k > 0 ? beside[k - 1] * beside[k - 1] / pivots[k - 1] : 0.0), -1e-300);
    auto x = std::vector<double>(m, 1.0);
    for (auto round = 0; round < 3; ++round) {
      for (auto k = std::size_t{1}; k < m; ++k) x[k] -= beside[k - 1] / pivots[k - 1] * x[k - 1];
      x[m - 1] /= pivots[m - 1];
      for (auto k = m - 1; k > 0; --k) x[k - 1] = (x[k - 1] - beside[k - 1] * x[k]) / pivots[k - 1];
      auto const largest =
          std::abs(*std::max_element(x.begin(), x.end(), [](double a, double b) { return std::abs(a) < std::abs(b); }));
      scale(x, 1 / largest);
    }
    return std::abs(x[m - 1]) / std::sqrt(dot(x, x));
  }
};

/// The Lanczos method for the largest eigenvalue of W^T W on mean-zero vectors, with full orthogonalisation.
class squared_spectrum {
 public:
  explicit squared_spectrum(matrix const& m) : weights_{m} {
    // Any start works that is not orthogonal to the wanted vector; a keyed random one makes results repeatable.
    auto gen = random_stream{0x7275'6261'746fULL, m.nodes()};
    auto start = std::vector<double>(m.nodes());
    for (auto& value : start) value = gen.uniform() - 0.5;
    push(std::move(start));
  }

  auto largest() -> double {
    auto const dimension = weights_.nodes() - 1;
    for (auto step = std::size_t{1};; ++step) {
      auto const beta = advance();
      // The searched space is invariant: its eigenvalues are exact.
      if (step == dimension || beta < 1e-18) return small_.top();
      if (step % 8 == 0) {
        auto const value = small_.top();
        auto const residual = beta * small_.last_of_top_vector(value);
        if (residual <= 1e-9 * value) return value;
      }
      if (step == steps_max) refuse();
      small_.beside.push_back(beta);
      push(std::move(rest_));
    }
  }

 private:
  static constexpr std::size_t steps_max = 600;

  void push(std::vector<double> x) {
    remove_mean(x);
    scale(x, 1 / std::sqrt(dot(x, x)));
    basis_.push_back(std::move(x));
  }
  /// Applies the operator to the newest vector; returns the norm of the component that is new.
  auto advance() -> double {
    rest_ = transposed_product(weights_, product(weights_, basis_.back()));
    remove_mean(rest_);
    small_.across.push_back(dot(rest_, basis_.back()));
    // Twice is enough (Kahan, Parlett): the second pass removes the rounding errors of the first.
    for (auto pass = 0; pass < 2; ++pass)
      for (auto const& known : basis_) add_scaled(rest_, -dot(rest_, known), known);
    return std::sqrt(dot(rest_, rest_));
  }
  [[noreturn]] void refuse() const {
    throw config_error("the second singular value of the " + weights_.name() + " on " +
                       std::to_string(weights_.nodes()) + " nodes did not settle in " + std::to_string(steps_max) +
                       " Lanczos steps, so the spectral gap is too small to measure: it is for graphs that mix well, "
                       "or of up to " +
                       std::to_string(steps_max) + " nodes");
  }

  matrix const& weights_;
  std::vector<std::vector<double>> basis_;
  std::vector<double> rest_;
  tridiagonal small_;
};

}  // namespace detail

RUBATO_INLINE auto second_singular_value(matrix const& m) -> double {
  detail::require_rows(m);
  detail::require_columns(m);
  if (m.nodes() == 1) return 0.0;
  return std::sqrt((std::max)(0.0, detail::squared_spectrum{m}.largest()));
}

RUBATO_INLINE auto spectral_gap(matrix const& m) -> double { return 1.0 - second_singular_value(m); }
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing
