// SPDX-License-Identifier: MIT
// A function over Eigen's vectors takes those of the problem's type.
// illegal: Eigen::VectorXf
// legal:   Eigen::VectorXd
// error:   from_eigen takes f(key, x, g) -> double
#include <rubato/problem/eigen.hpp>

auto build() {
  return rubato::problem::from_eigen(
      3, [](rubato::sample_key, Eigen::Ref<SUBJECT const> const& x, Eigen::Ref<SUBJECT> g) -> double {
        g = x;
        return static_cast<double>(x.squaredNorm()) / 2;
      });
}
