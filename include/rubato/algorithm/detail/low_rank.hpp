// SPDX-License-Identifier: MIT
// A vector as matrices of low rank, for power_sgd: which parts of it are matrices, and the products that make their
// factors. Matrices are row-major; factors are stored transposed, so that each of their columns is contiguous. A part
// whose factors would not be half as large travels whole, in the place of its left factor.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/errors.hpp>

namespace rubato::detail {

/// One part of the vector, in order.
struct matrix_part {
  range values{};
  std::size_t rows = 0;  ///< 0: no matrix
  std::size_t columns = 0;
  std::size_t left = 0;  ///< where P^T, rank x rows, or the part as it is, begins in the left factors
  std::size_t right = 0;  ///< where Q^T, rank x columns, begins in the right factors
};

/// The parts of a vector, and how many values all left and all right factors have.
struct matrix_parts {
  std::size_t rank = 0;
  std::vector<matrix_part> all{};
  std::size_t left = 0;
  std::size_t right = 0;

  /// `shapes`: rows and columns of each matrix, in turn; what is left is no matrix. Empty: one matrix that is as square
  /// as rows of equal length can be, and what is left. Throws config_error if the shapes do not fit, or the rank is 0
  /// or above the number of values.
  [[nodiscard]] static auto of(std::size_t values, std::size_t rank, std::vector<std::size_t> const& shapes)
      -> matrix_parts {
    if (rank < 1) throw config_error{"power_sgd needs a rank of at least 1, not 0"};
    if (rank > 1 && rank > values) {
      throw config_error{"a vector of " + std::to_string(values) + " values has no matrix of rank " +
                         std::to_string(rank)};
    }
    if (shapes.size() % 2 != 0) {
      throw config_error{"the shapes of power_sgd are rows and columns in turn, and " + std::to_string(shapes.size()) +
                         " numbers are no such pairs"};
    }
    matrix_parts made;
    made.rank = rank;
    std::size_t at = 0;
    auto const add = [&](std::size_t rows, std::size_t columns) {
      if (rows == 0 || columns == 0) throw config_error{"a matrix of power_sgd has no side of 0"};
      if (columns > (values - at) / rows) {
        throw config_error{"the matrices of power_sgd have more values than the vector, which has " +
                           std::to_string(values)};
      }
      made.add({at, at + rows * columns}, rows, columns);
      at += rows * columns;
    };
    if (shapes.empty()) {
      auto const side = static_cast<std::size_t>(std::sqrt(static_cast<double>(values)));
      if (side > 0) add(side, values / side);
    }
    for (std::size_t i = 0; i + 1 < shapes.size(); i += 2) add(shapes[i], shapes[i + 1]);
    if (at < values) made.add({at, values}, 0, 0);
    return made;
  }

 private:
  void add(range values, std::size_t rows, std::size_t columns) {
    auto const half = rows * columns / 2;
    if (rows == 0 || rank >= half / (rows + columns) + (half % (rows + columns) != 0 ? 1 : 0)) {
      all.push_back({values, 0, 0, left, right});
      left += values.size();
    } else {
      all.push_back({values, rows, columns, left, right});
      left += rank * rows;
      right += rank * columns;
    }
  }
};

/// left <- M Q for each matrix, and each other part as it is. Reads m, right; writes left: `rank` products.
template<class Backend, class T>
void left_factors(Backend& b, matrix_parts const& parts, T const* m, T const* right, T* left) {
  for (auto const& p : parts.all) {
    if (p.rows == 0) {
      b.sweep({0, p.values.size()}, backend::copy_kernel<T>{m + p.values.begin, left + p.left});
    } else {
      b.multiply({parts.rank, p.rows, p.columns, backend::transposed::no, backend::transposed::yes}, T{1},
                 right + p.right, m + p.values.begin, T{0}, left + p.left);
    }
  }
}
/// right <- M^T P for each matrix.
template<class Backend, class T>
void right_factors(Backend& b, matrix_parts const& parts, T const* m, T const* left, T* right) {
  for (auto const& p : parts.all) {
    if (p.rows != 0)
      b.multiply({parts.rank, p.columns, p.rows}, T{1}, left + p.left, m + p.values.begin, T{0}, right + p.right);
  }
}
/// d <- P Q^T for each matrix, and each other part as it is.
template<class Backend, class T>
void from_factors(Backend& b, matrix_parts const& parts, T const* left, T const* right, T* d) {
  for (auto const& p : parts.all) {
    if (p.rows == 0) {
      b.sweep({0, p.values.size()}, backend::copy_kernel<T>{left + p.left, d + p.values.begin});
    } else {
      b.multiply({p.rows, p.columns, parts.rank, backend::transposed::yes}, T{1}, left + p.left, right + p.right, T{0},
                 d + p.values.begin);
    }
  }
}
/// The columns of each P become orthonormal, in order (Gram-Schmidt); a column of zeros stays one. A column of which
/// the subtraction leaves less than half is subtracted from again, since what is left is then partly rounding; one of
/// which nothing lasts becomes zeros. No threshold is absolute: the columns of s P are those of P.
template<class Backend, class T>
void orthonormalise(Backend& b, matrix_parts const& parts, T* left) {
  using combine = codec::detail::combine_kernel<T>;
  auto const norm_of = [&](T const* v, std::size_t n) { return std::sqrt(static_cast<double>(b.dot(v, v, n))); };
  for (auto const& p : parts.all) {
    for (std::size_t c = 0; p.rows != 0 && c < parts.rank; ++c) {
      auto* const column = left + p.left + c * p.rows;
      auto norm = norm_of(column, p.rows);
      auto lasts = c == 0;
      for (int pass = 0; pass < 4 && !lasts; ++pass) {
        for (std::size_t k = 0; k < c; ++k) {
          auto const* const before = left + p.left + k * p.rows;
          auto const share = static_cast<T>(b.dot(before, column, p.rows));
          b.sweep({0, p.rows}, combine{column, before, column, T{1}, -share});
        }
        auto const whole = std::exchange(norm, norm_of(column, p.rows));
        lasts = !(norm < whole / 2);  // also of what is not finite, which the step will tell
      }
      auto const is_zero = !lasts || norm < static_cast<double>((std::numeric_limits<T>::min)());
      b.sweep({0, p.rows}, combine{column, column, column, is_zero ? T{0} : static_cast<T>(1 / norm), T{0}});
    }
  }
}

}  // namespace rubato::detail
