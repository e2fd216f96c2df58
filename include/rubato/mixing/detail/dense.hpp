// SPDX-License-Identifier: MIT
// Small dense matrices for the two problems of weights that barrier methods solve here (fastest.hpp,
// communication_budget.hpp). The headers of users need no library of linear algebra for them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <vector>

#include <rubato/core/language.hpp>

namespace rubato::mixing::detail {

#if RUBATO_BODIES
/// A square matrix, row by row.
class square {
 public:
  explicit square(std::size_t n) : n_{n}, all_(n * n, 0.0) {}
  auto size() const -> std::size_t { return n_; }
  auto operator()(std::size_t i, std::size_t j) -> double& { return all_[i * n_ + j]; }
  auto operator()(std::size_t i, std::size_t j) const -> double { return all_[i * n_ + j]; }
  /// All entries, row by row.
  auto entries() -> std::vector<double>& { return all_; }
  auto entries() const -> std::vector<double> const& { return all_; }

 private:
  std::size_t n_;
  std::vector<double> all_;
};

/// The lower factor of a symmetric positive definite matrix; nothing if it is not positive definite.
RUBATO_INLINE auto cholesky(square a) -> std::optional<square> {
  auto const n = a.size();
  for (auto j = std::size_t{0}; j < n; ++j) {
    for (auto i = j; i < n; ++i) {
      auto sum = a(i, j);
      for (auto k = std::size_t{0}; k < j; ++k) sum -= a(i, k) * a(j, k);
      if (i == j) {
        if (!(sum > 0)) return std::nullopt;
        a(j, j) = std::sqrt(sum);
      } else {
        a(i, j) = sum / a(j, j);
      }
    }
  }
  return a;
}

/// x <- (factor factor^T)^-1 x
RUBATO_INLINE void solve(square const& factor, std::vector<double>& x) {
  auto const n = factor.size();
  for (auto i = std::size_t{0}; i < n; ++i) {
    for (auto k = std::size_t{0}; k < i; ++k) x[i] -= factor(i, k) * x[k];
    x[i] /= factor(i, i);
  }
  for (auto i = n; i-- > 0;) {
    x[i] /= factor(i, i);
    for (auto k = std::size_t{0}; k < i; ++k) x[k] -= factor(i, k) * x[i];
  }
}

/// (factor factor^T)^-1
RUBATO_INLINE auto inverse(square const& factor) -> square {
  auto const n = factor.size();
  auto result = square{n};
  for (auto j = std::size_t{0}; j < n; ++j) {
    auto column = std::vector<double>(n, 0.0);
    column[j] = 1;
    solve(factor, column);
    for (auto i = std::size_t{0}; i < n; ++i) result(i, j) = column[i];
  }
  return result;
}

/// The logarithm of the determinant of factor factor^T.
RUBATO_INLINE auto log_det(square const& factor) -> double {
  auto sum = 0.0;
  for (auto i = std::size_t{0}; i < factor.size(); ++i) sum += 2 * std::log(factor(i, i));
  return sum;
}

/// Zeroes entry (p, q) of a symmetric matrix by a rotation (Jacobi).
RUBATO_INLINE void rotate(square& a, std::size_t p, std::size_t q) {
  auto const theta = (a(q, q) - a(p, p)) / (2 * a(p, q));
  auto const t = std::copysign(1.0, theta) / (std::abs(theta) + std::hypot(theta, 1.0));
  auto const c = 1 / std::hypot(t, 1.0), s = t * c;
  for (auto k = std::size_t{0}; k < a.size(); ++k) {
    auto const x = a(k, p), y = a(k, q);
    a(k, p) = c * x - s * y, a(k, q) = s * x + c * y;
  }
  for (auto k = std::size_t{0}; k < a.size(); ++k) {
    auto const x = a(p, k), y = a(q, k);
    a(p, k) = c * x - s * y, a(q, k) = s * x + c * y;
  }
}

/// The eigenvalues of a symmetric matrix, ascending.
RUBATO_INLINE auto eigenvalues(square a) -> std::vector<double> {
  auto norm = 0.0;
  for (auto const v : a.entries()) norm += v * v;
  for (auto sweep = 0; sweep < 60; ++sweep) {
    auto off = 0.0;
    for (auto p = std::size_t{0}; p < a.size(); ++p)
      for (auto q = p + 1; q < a.size(); ++q) off += a(p, q) * a(p, q);
    if (off <= 1e-32 * norm) break;
    for (auto p = std::size_t{0}; p < a.size(); ++p)
      for (auto q = p + 1; q < a.size(); ++q)
        if (a(p, q) != 0) rotate(a, p, q);
  }
  std::vector<double> values(a.size());
  for (auto i = std::size_t{0}; i < a.size(); ++i) values[i] = a(i, i);
  std::sort(values.begin(), values.end());
  return values;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::mixing::detail
