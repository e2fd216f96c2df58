// SPDX-License-Identifier: MIT
// A problem made of a class as ensmallen's optimisers take it: F(x) = sum of f_j(x) over j = 0 .. NumFunctions() - 1,
// with Evaluate and Gradient over a range of j. Neither ensmallen nor Armadillo is needed by this header.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>

namespace rubato::problem {

namespace detail {

template<class F, class Matrix>
concept is_separable = requires(F const& f, Matrix const& x, Matrix& g, std::size_t k) {
  { f.Evaluate(x, k, k) } -> std::convertible_to<double>;
  f.Gradient(x, k, g, k);
  { f.NumFunctions() } -> std::convertible_to<std::size_t>;
};

/// The values of a matrix, column by column: Armadillo's memptr() or Eigen's data().
template<class Matrix>
auto values_of(Matrix& m) {
  if constexpr (requires { m.memptr(); }) return std::span{m.memptr(), static_cast<std::size_t>(m.size())};
  else return std::span{m.data(), static_cast<std::size_t>(m.size())};
}

}  // namespace detail

/// How functions lie over nodes, and how many of them make a gradient.
struct separable_options {
  std::size_t nodes = 1;
  std::size_t batch = 32;
  std::size_t columns = 1;  ///< of the matrix x, which has dimension / columns rows
};

/// Node i of n has the functions from i N/n (rounded down) up to those of node i + 1, and as its objective their mean;
/// F is the mean of these. A gradient is of `batch` neighbouring ones from a drawn place on, round the end: each is
/// drawn equally often. Matrix is made as Matrix(rows, columns) and holds its values column by column (arma::mat,
/// arma::fmat, Eigen::MatrixXd). Passes over memory: x and g are copied once each; two calls of Gradient where a batch
/// goes round the end; one pass over the functions if there is an EvaluateWithGradient(x, begin, g, batch), else two.
/// Copies share f.
/// **Thread safety:** Evaluate and Gradient are called as const, from several threads at once. **Models:**
/// gradient_oracle, has_loss (one pass over all functions).
template<class Matrix, class F>
class separable {
 public:
  /// Throws config_error.
  separable(F f, std::size_t dimension, separable_options o)
      : f_{std::make_shared<F const>(std::move(f))}, dimension_{dimension}, o_{o} {
    static_assert(detail::is_separable<F, Matrix>,
                  "a separable function has Evaluate(x, begin, batch), Gradient(x, begin, g, batch) and "
                  "NumFunctions(), all const: nodes on threads share it");
    auto const count = functions();
    if (o.nodes == 0 || count < o.nodes)
      throw config_error{std::to_string(count) + " functions cannot be shared among " + std::to_string(o.nodes) +
                         " nodes: each needs at least one"};
    if (o.batch == 0 || o.batch > count / o.nodes)
      throw config_error{"a batch must be of 1 to " + std::to_string(count / o.nodes) +
                         " functions, as many as each node has, not " + std::to_string(o.batch)};
    if (dimension == 0 || o.columns == 0 || dimension % o.columns != 0)
      throw config_error{std::to_string(dimension) + " values make no matrix of " + std::to_string(o.columns) +
                         " columns"};
  }

  [[nodiscard]] auto dimension() const -> std::size_t { return dimension_; }
  [[nodiscard]] auto nodes() const -> std::size_t { return o_.nodes; }

  template<backend::array_backend Backend>
  auto gradient(Backend&, std::span<typename Backend::scalar const> x, sample_key key,
                std::span<typename Backend::scalar> g) const -> double {
    RUBATO_EXPECTS(x.size() == dimension_ && g.size() == dimension_, "x and g have the problem's dimension");
    auto const at = matrix_of(x);
    auto const first = first_of(to_index(key.node)), end = first_of(to_index(key.node) + 1);
    auto const begin = first + random_stream{key}.below(end - first);
    auto const before_end = (std::min)(o_.batch, end - begin);
    auto to = matrix();
    auto sum = added(at, begin, before_end, to, g, false);
    if (before_end < o_.batch) sum += added(at, first, o_.batch - before_end, to, g, true);
    auto const share = 1 / static_cast<double>(o_.batch);
    for (auto& v : g) v = static_cast<typename Backend::scalar>(static_cast<double>(v) * share);
    return sum * share;
  }

  template<backend::array_backend Backend>
  [[nodiscard]] auto loss(Backend&, std::span<typename Backend::scalar const> x) const -> double {
    auto const at = matrix_of(x);
    auto sum = 0.0;
    for (std::size_t i = 0; i < o_.nodes; ++i) {
      auto const first = first_of(i), count = first_of(i + 1) - first;
      sum += static_cast<double>(f_->Evaluate(at, first, count)) / static_cast<double>(count * o_.nodes);
    }
    return sum;
  }

 private:
  [[nodiscard]] auto functions() const -> std::size_t { return static_cast<std::size_t>(f_->NumFunctions()); }
  /// i N/n, rounded down, where the product may be too large.
  [[nodiscard]] auto first_of(std::size_t i) const -> std::size_t {
    auto const count = functions();
    return i * (count / o_.nodes) + i * (count % o_.nodes) / o_.nodes;
  }
  [[nodiscard]] auto matrix() const -> Matrix {
    using index = decltype(std::declval<Matrix const&>().size());
    return Matrix(static_cast<index>(dimension_ / o_.columns), static_cast<index>(o_.columns));
  }
  template<class T>
  [[nodiscard]] auto matrix_of(std::span<T const> x) const -> Matrix {
    auto m = matrix();
    auto const to = detail::values_of(m);
    std::transform(x.begin(), x.end(), to.begin(),
                   [](T v) { return static_cast<typename std::remove_reference_t<decltype(to[0])>>(v); });
    return m;
  }
  /// Writes, or adds, the gradient of that many functions; returns the sum of their values.
  template<class T>
  auto added(Matrix const& at, std::size_t begin, std::size_t count, Matrix& to, std::span<T> g, bool adds) const
      -> double {
    auto sum = 0.0;
    if constexpr (requires { f_->EvaluateWithGradient(at, begin, to, count); }) {
      sum = static_cast<double>(f_->EvaluateWithGradient(at, begin, to, count));
    } else {
      f_->Gradient(at, begin, to, count);
      sum = static_cast<double>(f_->Evaluate(at, begin, count));
    }
    auto const from = detail::values_of(to);
    if (from.size() != dimension_)
      throw run_error{"Gradient made " + std::to_string(from.size()) + " values of a model of " +
                      std::to_string(dimension_)};
    for (std::size_t k = 0; k < g.size(); ++k) g[k] = static_cast<T>(from[k]) + (adds ? g[k] : T{});
    return sum;
  }

  std::shared_ptr<F const> f_;
  std::size_t dimension_;
  separable_options o_;
};

/// As the constructor; `from_separable<arma::mat>(f, d, {.nodes = 8})`.
template<class Matrix, class F>
[[nodiscard]] auto from_separable(F f, std::size_t dimension, separable_options o = {}) -> separable<Matrix, F> {
  return {std::move(f), dimension, o};
}

}  // namespace rubato::problem
