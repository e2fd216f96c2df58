// SPDX-License-Identifier: MIT
// What algorithms, collectives and problems share: copies and sums, dot products, products of matrices, and gradients.
// A product is of a square matrix of n values with another one; a gradient has n parameters, about. Both are bound by
// arithmetic, not by memory: their `operations` are the figure.
#include <cmath>

#include <rubato/core/random.hpp>
#include <rubato/problem/any_oracle.hpp>
#include <rubato/problem/deep_perceptron.hpp>
#include <rubato/problem/logistic_regression.hpp>
#include <rubato/problem/multilayer_perceptron.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/problem/softmax_regression.hpp>

#include "kernels/family.hpp"

namespace {

namespace backend = rubato::backend;
namespace problem = rubato::problem;

template<class B>
void vectors(bench::family<B>& f) {
  using T = typename B::scalar;
  auto const half = T(0.5);
  f.kernel("copy_kernel", [](auto& a) { return backend::copy_kernel<T>{a.in(), a.out()}; });
  f.kernel("zero_kernel", [](auto& a) { return backend::zero_kernel<T>{a.out()}; });
  f.kernel("scale_kernel", [=](auto& a) { return backend::scale_kernel<T>{a.in(), a.out(), half}; });
  f.kernel("add_kernel", [=](auto& a) { return backend::add_kernel<T>{a.in(), a.out(), half}; });
  f.call("dot", [](auto& a) -> bench::prepared {
    auto const *x = a.in(), *y = a.in();
    auto* const sum = &a.template keep<double>([] { return 0.0; });
    return {[=, &a] { *sum += a.backend().dot(x, y, a.n()); }, 2.0 * sizeof(T) * static_cast<double>(a.n())};
  });
}

/// The mean of parts that have come, as scatter_mean, gather_mean and the ring's passes make it.
template<class B>
void collectives(bench::family<B>& f) {
  using T = typename B::scalar;
  f.call(
      "mean_of_parts",
      [](auto& a) -> bench::prepared {
        std::vector<T const*> parts;
        for (std::size_t j = 0; j < a.degree(); ++j) parts.push_back(a.in());
        auto* const sum = a.out();
        auto const share = T(1) / static_cast<T>(a.degree());
        auto const all = rubato::range{0, a.n()};
        return {[=, &a] {
                  auto& b = a.backend();
                  b.sweep(all, backend::zero_kernel<T>{sum});
                  for (auto const* part : parts) b.sweep(all, backend::add_kernel<T>{part, sum, T(1)});
                  b.sweep(all, backend::scale_kernel<T>{sum, sum, share});
                },
                static_cast<double>((3 + 3 * a.degree()) * sizeof(T) * a.n())};
      },
      true);
}

template<class B>
void products(bench::family<B>& f) {
  using T = typename B::scalar;
  for (auto const turned : {backend::transposed::no, backend::transposed::yes}) {
    auto const name = std::string{"multiply"} + (turned == backend::transposed::yes ? ":transposed" : "");
    f.call(name, [=](auto& a) -> bench::prepared {
      auto const side = static_cast<std::size_t>(std::sqrt(static_cast<double>(a.n())));
      auto const *x = a.in(), *y = a.in();
      auto* const z = a.out();
      auto const shape = backend::product_shape{side, side, side, turned, backend::transposed::no};
      auto const s = static_cast<double>(side);
      return {[=, &a] { a.backend().multiply(shape, T(1), x, y, T(0), z); }, 3 * sizeof(T) * s * s, s * s * s};
    });
  }
}

/// 64 samples of ten classes; a hash of the index is random enough, and quicker than normal numbers.
auto samples(std::size_t width) -> problem::dataset {
  constexpr std::size_t count = 64;
  std::vector<float> features(count * width);
  for (std::size_t i = 0; i < features.size(); ++i)
    features[i] = static_cast<float>((i * 2654435761ULL) >> 7U & 1023U) / 1024 - 0.5F;
  std::vector<std::uint16_t> labels(count);
  for (std::size_t i = 0; i < count; ++i) labels[i] = static_cast<std::uint16_t>(i % 10);
  return {std::move(features), std::move(labels), 10};
}

/// A gradient through the oracle, as drivers ask for it. `operations` of a sample: two products a weight forward and
/// back, about. Without a batch it is a quadratic's, which reads x and two vectors of doubles and writes g.
template<class Make, class B>
void gradient(bench::family<B>& f, std::string const& name, std::size_t batch, Make make) {
  using T = typename B::scalar;
  f.call(name, [=](auto& a) -> bench::prepared {
    using problem_type = decltype(make(a.n()));
    auto& p = a.template keep<problem_type>([&] { return make(a.n()); });
    using oracle_type = decltype(problem::any_oracle{a.backend(), p});
    auto const* const oracle = &a.template keep<oracle_type>([&] { return problem::any_oracle{a.backend(), p}; });
    auto point = backend::zeros<T>(a.backend(), p.dimension());
    auto const x = std::move(point).publish();
    auto const d = static_cast<double>(p.dimension());
    return {[=, draw = std::uint64_t{0}]() mutable {
              static_cast<void>(oracle->evaluate({rubato::ticket{}, x, {1, rubato::node_id{0}, draw++}}));
            },
            batch == 0 ? (2 * sizeof(T) + 2 * sizeof(double)) * d : 2 * sizeof(T) * d,
            2 * d * static_cast<double>(batch)};
  });
}

template<class B>
void gradients(bench::family<B>& f) {
  using T = typename B::scalar;
  constexpr std::size_t batch = 32;
  auto const shards = [](problem::dataset const& data) { return rubato::split::iid(data, 2, 1); };
  gradient(f, "quadratic", 0, [](std::size_t n) { return problem::quadratic::random(2, n, 1); });
  gradient(f, "logistic_regression", batch, [=](std::size_t n) {
    auto const data = samples(n);
    return problem::logistic_regression<T>{data, shards(data), {.batch = batch, .threshold = 5}};
  });
  gradient(f, "softmax_regression", batch, [=](std::size_t n) {
    auto const data = samples(n / 10 + 1);
    return problem::softmax_regression<T>{data, shards(data), {.batch = batch}};
  });
  gradient(f, "multilayer_perceptron", batch, [=](std::size_t n) {
    auto const data = samples(64);
    return problem::multilayer_perceptron<T>{data, shards(data), {.batch = batch, .hidden = n / 75 + 1}};
  });
  gradient(f, "deep_perceptron", batch, [=](std::size_t n) {
    auto const data = samples(64);
    auto const wide = static_cast<std::size_t>(std::sqrt(static_cast<double>(n))) + 1;
    return problem::deep_perceptron<T>{data, shards(data), {.batch = batch, .hidden = {wide, wide}}};
  });
}

bench::added const shared{"vectors", [](auto& f) { vectors(f); }};
bench::added const together{"collectives", [](auto& f) { collectives(f); }};
bench::added const matrices{"products", [](auto& f) { products(f); }};
bench::added const models{"gradients", [](auto& f) { gradients(f); }};

}  // namespace
