// SPDX-License-Identifier: MIT
#include <rubato/backend/eigen.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <rubato/backend/detail/column_major.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;
using backend::product_shape;
using backend::transposed;

TEST_CASE("the reference multiplies row-major matrices by definition") {
  backend::host<double> b;
  double const a[] = {1, 2, 3, 4, 5, 6};             // 2 x 3
  double const c[] = {1, 0, 0, 1, 1, 1};             // 3 x 2
  double out[] = {100, 100, 100, 100};
  b.multiply({2, 2, 3}, 1, a, c, 0, out);
  CHECK(std::vector<double>(out, out + 4) == std::vector<double>{4, 5, 10, 11});
  b.multiply({2, 2, 3}, 2, a, c, 1, out);
  CHECK(std::vector<double>(out, out + 4) == std::vector<double>{12, 15, 30, 33});
  double const at[] = {1, 4, 2, 5, 3, 6};            // the same A, stored as its transpose
  double const ct[] = {1, 0, 1, 0, 1, 1};
  b.multiply({2, 2, 3, transposed::yes, transposed::yes}, 1, at, ct, 0, out);
  CHECK(std::vector<double>(out, out + 4) == std::vector<double>{4, 5, 10, 11});
}

/// BLAS's gemm by definition, called as cuBLAS is.
template<class T>
struct by_blas {
  static void multiply(product_shape shape, T alpha, T const* a, T const* b, T beta, T* c) {
    auto const g = backend::detail::as_column_major(shape);
    auto const at = [](int row, int column, int stride) { return static_cast<std::size_t>(row + column * stride); };
    for (int i = 0; i < g.m; ++i) {
      for (int j = 0; j < g.n; ++j) {
        T sum = 0;
        for (int l = 0; l < g.k; ++l) {
          auto const first = g.first_op == transposed::yes ? at(l, i, g.first_stride) : at(i, l, g.first_stride);
          auto const second = g.second_op == transposed::yes ? at(j, l, g.second_stride) : at(l, j, g.second_stride);
          sum += b[first] * a[second];
        }
        auto& out = c[at(i, j, g.m)];
        out = beta == T{0} ? alpha * sum : alpha * sum + beta * out;
      }
    }
  }
};

template<class T, class Fast>
void compare(double tolerance) {
  backend::host<T> plain;
  Fast fast;
  random_stream draw{11};
  std::vector<T> a(400), b(400), before(400);
  for (auto* v : {&a, &b, &before}) {
    for (auto& x : *v) x = static_cast<T>(draw.normal());
  }
  for (auto shape : {product_shape{1, 1, 1}, {7, 5, 11}, {16, 10, 20}, {3, 1, 40}, {1, 30, 2}}) {
    for (auto const ta : {transposed::no, transposed::yes}) {
      for (auto const tb : {transposed::no, transposed::yes}) {
        shape.a = ta;
        shape.b = tb;
        for (auto const beta : {T{0}, T{1}, T{-0.5}}) {
          auto expected = before, found = before;
          if (beta == T{0}) found[0] = std::numeric_limits<T>::quiet_NaN();  // is not read then
          plain.multiply(shape, T{1.5}, a.data(), b.data(), beta, expected.data());
          fast.multiply(shape, T{1.5}, a.data(), b.data(), beta, found.data());
          for (std::size_t k = 0; k < found.size(); ++k) {
            REQUIRE(std::abs(static_cast<double>(found[k] - expected[k])) <= tolerance);
          }
        }
      }
    }
  }
}

TEST_CASE("eigen multiplies as the reference does, for every transpose and every beta") {
  compare<float, backend::eigen<float>>(1e-4);
  compare<double, backend::eigen<double>>(1e-13);
}

TEST_CASE("in the words of BLAS a product is the reference's, for every transpose and every beta") {
  compare<float, by_blas<float>>(1e-4);
  compare<double, by_blas<double>>(1e-13);
  constexpr auto large = std::size_t{1} << 31;
  CHECK_THROWS_AS(backend::detail::as_column_major({1, large, 1}), backend_error);
}

TEST_CASE("dot products agree with the reference") {
  random_stream draw{12};
  std::vector<float> x(1001), y(1001);
  for (auto* v : {&x, &y}) {
    for (auto& value : *v) value = static_cast<float>(draw.normal());
  }
  auto const expected = backend::host<float>{}.dot(x.data(), y.data(), x.size());
  CHECK(backend::eigen<float>{}.dot(x.data(), y.data(), x.size()) == Approx(expected).margin(1e-3));
  CHECK(backend::eigen<float>{}.dot(x.data(), y.data(), 0) == 0.0);
}

}  // namespace
