// SPDX-License-Identifier: MIT
// A problem made of a function that a program has already: over spans, or over pointers as C functions take them.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>

namespace rubato::problem {

namespace detail {

/// f(key, x, g) -> loss over spans of T.
template<class F, class T>
concept takes_spans = requires(F const& f, sample_key key, std::span<T const> x, std::span<T> g) {
  { f(key, x, g) } -> std::convertible_to<double>;
};
/// f(key, x, g, dimension) -> loss over pointers to T.
template<class F, class T>
concept takes_pointers = requires(F const& f, sample_key key, T const* x, T* g, std::size_t d) {
  { f(key, x, g, d) } -> std::convertible_to<double>;
};
template<class F, class T>
concept takes_vectors = takes_spans<F, T> || takes_pointers<F, T>;

/// f(x) -> F(x).
template<class F, class T>
concept is_loss = requires(F const& f, std::span<T const> x) {
  { f(x) } -> std::convertible_to<double>;
};

/// For a problem whose loss over all data is not known.
struct no_loss {};

}  // namespace detail

/// The gradient of node key.node is what f writes; see from_function. Functions of float and of double both serve nodes
/// of either type: where they differ, x and g are converted, one pass each and one allocation a call.
/// **Thread safety:** that of const calls of the functions. **Models:** gradient_oracle; has_loss if there is a loss.
template<class F, class Loss = detail::no_loss>
class function {
 public:
  function(std::size_t dimension, F f, Loss loss = {})
      : dimension_{dimension}, f_{std::move(f)}, loss_{std::move(loss)} {
    if (dimension == 0) throw config_error{"a problem needs a model of at least one value"};
    if constexpr (std::is_pointer_v<F>) {
      if (f_ == nullptr) throw config_error{"a problem needs a function, and was given a null pointer"};
    }
  }

  [[nodiscard]] auto dimension() const -> std::size_t { return dimension_; }

  template<backend::array_backend Backend>
    requires(detail::takes_vectors<F, float> || detail::takes_vectors<F, double>)
  auto gradient(Backend&, std::span<typename Backend::scalar const> x, sample_key key,
                std::span<typename Backend::scalar> g) const -> double {
    using T = typename Backend::scalar;
    RUBATO_EXPECTS(x.size() == dimension_ && g.size() == dimension_, "x and g have the problem's dimension");
    if constexpr (detail::takes_vectors<F, T>) {
      return called(key, x, g);
    } else {
      using U = std::conditional_t<std::same_as<T, float>, double, float>;
      auto converted = std::vector<U>(2 * dimension_);
      auto const at = std::span{converted}.first(dimension_), to = std::span{converted}.last(dimension_);
      std::transform(x.begin(), x.end(), at.begin(), [](T v) { return static_cast<U>(v); });
      auto const loss = called<U>(key, at, to);
      std::transform(to.begin(), to.end(), g.begin(), [](U v) { return static_cast<T>(v); });
      return loss;
    }
  }

  template<backend::array_backend Backend>
    requires(detail::is_loss<Loss, float> || detail::is_loss<Loss, double>)
  [[nodiscard]] auto loss(Backend&, std::span<typename Backend::scalar const> x) const -> double {
    using T = typename Backend::scalar;
    if constexpr (detail::is_loss<Loss, T>) {
      return loss_(x);
    } else {
      using U = std::conditional_t<std::same_as<T, float>, double, float>;
      auto converted = std::vector<U>(x.size());
      std::transform(x.begin(), x.end(), converted.begin(), [](T v) { return static_cast<U>(v); });
      return loss_(std::span<U const>{converted});
    }
  }

 private:
  template<class T>
  auto called(sample_key key, std::span<T const> x, std::span<T> g) const -> double {
    if constexpr (detail::takes_spans<F, T>) return f_(key, x, g);
    else return f_(key, x.data(), g.data(), x.size());
  }

  std::size_t dimension_;
  F f_;
  Loss loss_;
};

/// A problem of that many values. f is called as one of
///   f(sample_key, std::span<T const> x, std::span<T> g) -> double
///   f(sample_key, T const* x, T* g, std::size_t dimension) -> double
/// with T float or double. It writes a stochastic gradient of node key.node's objective at x into g, all of it, and
/// returns the loss of the mini-batch, or NaN if it does not know it. Equal arguments must give equal bits, so what it
/// draws comes from the key (core/random.hpp); it is called as const, from several threads at once. Throws
/// config_error.
template<class F>
[[nodiscard]] auto from_function(std::size_t dimension, F f) -> function<F> {
  static_assert(detail::takes_vectors<F, float> || detail::takes_vectors<F, double>,
                "from_function takes f(key, x, g) over spans, or f(key, x, g, dimension) over pointers, of float or "
                "double, which is callable as const and returns the loss");
  return {dimension, std::move(f)};
}
/// The same, with loss(std::span<T const> x) -> double: the objective over all data of all nodes, for reports.
template<class F, class Loss>
[[nodiscard]] auto from_function(std::size_t dimension, F f, Loss loss) -> function<F, Loss> {
  static_assert(detail::takes_vectors<F, float> || detail::takes_vectors<F, double>,
                "from_function takes f(key, x, g) over spans, or f(key, x, g, dimension) over pointers, of float or "
                "double, which is callable as const and returns the loss");
  static_assert(detail::is_loss<Loss, float> || detail::is_loss<Loss, double>,
                "the loss over all data takes a span of float or double const, and is callable as const");
  return {dimension, std::move(f), std::move(loss)};
}

}  // namespace rubato::problem
