// SPDX-License-Identifier: MIT
// The products of backend::eigen, whose class is in eigen_handle.hpp. The only header that includes Eigen.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include <Eigen/Core>

#include <rubato/backend/concepts.hpp>
#include <rubato/backend/eigen_handle.hpp>

namespace rubato::backend {

namespace detail {

/// Eigen's functions have the same names for every instruction set, and hand memory to one another. Memory that one
/// file's version has aligned by itself would be given to free() by another file's version. So a program that mixes
/// them ends before main.
inline auto all_files_align_alike(int bytes) -> bool {
  static auto const first = bytes;
  if (bytes == first) return true;
  std::fprintf(
      stderr,
      "rubato: this program was compiled for two instruction sets: Eigen aligns to %d bytes in one file and to %d "
      "in another; give all that include rubato/backend/eigen.hpp one -march, or one EIGEN_MAX_ALIGN_BYTES\n",
      first, bytes);
  std::_Exit(1);
}
[[maybe_unused]] static bool const this_file_aligns_alike = all_files_align_alike(EIGEN_MAX_ALIGN_BYTES);

}  // namespace detail

template<std::floating_point T>
auto eigen<T>::dot(T const* x, T const* y, std::size_t n) const -> double {
  using const_vector = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, 1> const>;
  auto const size = static_cast<Eigen::Index>(n);
  return static_cast<double>(const_vector{x, size}.dot(const_vector{y, size}));
}

template<std::floating_point T>
void eigen<T>::multiply(product_shape s, T alpha, T const* a, T const* b, T beta, T* c) const {
  using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using const_matrix = Eigen::Map<matrix const>;
  auto const rows = static_cast<Eigen::Index>(s.rows);
  auto const columns = static_cast<Eigen::Index>(s.columns);
  auto const inner = static_cast<Eigen::Index>(s.inner);
  Eigen::Map<matrix> out{c, rows, columns};
  if (beta == T{0}) out.setZero();
  else if (beta != T{1}) out *= beta;
  auto const with_b = [&](auto const& left) {
    if (s.b == transposed::yes) out.noalias() += alpha * left * const_matrix{b, columns, inner}.transpose();
    else out.noalias() += alpha * left * const_matrix{b, inner, columns};
  };
  if (s.a == transposed::yes) with_b(const_matrix{a, inner, rows}.transpose());
  else with_b(const_matrix{a, rows, inner});
}

}  // namespace rubato::backend
