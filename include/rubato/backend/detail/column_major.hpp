// SPDX-License-Identifier: MIT
// Our row-major products in the words of BLAS, whose matrices are column-major: C^T = op(B)^T op(A)^T, and a row-major
// matrix is the transpose of the column-major one in the same memory.
#pragma once

#include <climits>
#include <cstddef>
#include <string>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>

namespace rubato::backend::detail {

/// The arguments of gemm(first_op, second_op, m, n, k, alpha, B, first_stride, A, second_stride, beta, C, m). B comes
/// first.
struct column_major {
  transposed first_op, second_op;
  int m, n, k;
  int first_stride, second_stride;
};

/// Throws backend_error where a side has 2^31 values or more, which BLAS does not take.
inline auto as_column_major(product_shape const& s) -> column_major {
  for (auto const side : {s.rows, s.columns, s.inner}) {
    if (side > INT_MAX) {
      throw backend_error{"a matrix product by BLAS has sides below 2^31, not " + std::to_string(side)};
    }
  }
  auto const rows = static_cast<int>(s.rows), columns = static_cast<int>(s.columns), inner = static_cast<int>(s.inner);
  return {
      s.b, s.a, columns, rows, inner, s.b == transposed::yes ? inner : columns, s.a == transposed::yes ? rows : inner};
}

}  // namespace rubato::backend::detail
