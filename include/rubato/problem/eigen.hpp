// SPDX-License-Identifier: MIT
// A problem made of a function over Eigen's vectors. Needs Eigen, whatever the nodes' backend.
#pragma once

#include <Eigen/Core>

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include <rubato/core/ids.hpp>
#include <rubato/problem/function.hpp>

namespace rubato::problem {

/// A problem of that many values. f is called as f(sample_key, x, g) -> double with x an Eigen::Map of constant values
/// and g an Eigen::Map of T, columns both; as `auto const& x, auto& g` it serves any expression without a copy, and
/// Eigen::Ref does too. g cannot be resized: an expression of another size that is assigned to it is caught by Eigen's
/// assertions alone, which NDEBUG takes away. Else as from_function. Throws config_error.
template<class T = double, class F>
[[nodiscard]] auto from_eigen(std::size_t dimension, F f) {
  using column = Eigen::Matrix<T, Eigen::Dynamic, 1>;
  static_assert(
      std::is_invocable_r_v<double, F const&, sample_key, Eigen::Map<column const> const&, Eigen::Map<column>&>,
      "from_eigen takes f(key, x, g) -> double, which const calls serve: x a constant Eigen::Map of T or what it "
      "converts to, g an Eigen::Map of T, both of the type that from_eigen<T> names (double where it names none)");
  return from_function(dimension, [f = std::move(f)](sample_key key, std::span<T const> x, std::span<T> g) -> double {
    auto const rows = static_cast<Eigen::Index>(x.size());
    auto const at = Eigen::Map<column const>{x.data(), rows};
    auto to = Eigen::Map<column>{g.data(), rows};
    return f(key, at, to);
  });
}

}  // namespace rubato::problem
