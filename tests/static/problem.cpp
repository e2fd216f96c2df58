// SPDX-License-Identifier: MIT
#include <rubato/problem.hpp>

#include <type_traits>

#include <rubato/backend/checked.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>

#include "support/archetypes.hpp"

namespace {

namespace backend = rubato::backend;
using rubato::problem::gradient_oracle;
using rubato::problem::has_accuracy;
using rubato::problem::has_loss;
using rubato::problem::quadratic;
using rubato::problem::softmax_regression;
using rubato::test::oracle_archetype;

template<class P, class Backend>
concept full_problem = gradient_oracle<P, Backend> && has_loss<P, Backend> && has_accuracy<P, Backend>;

// The archetype is enough, and claims no more than an oracle must.
using archetype = oracle_archetype<backend::host<float>>;
static_assert(gradient_oracle<archetype, backend::host<float>>);
static_assert(!has_loss<archetype, backend::host<float>> && !has_accuracy<archetype, backend::host<float>>);
static_assert(!std::is_copy_constructible_v<archetype> && !std::is_default_constructible_v<archetype>);

// The quadratic serves every backend, in either precision.
static_assert(gradient_oracle<quadratic, backend::host<float>> && has_loss<quadratic, backend::host<float>>);
static_assert(gradient_oracle<quadratic, backend::host<double>> && has_loss<quadratic, backend::host<double>>);
static_assert(gradient_oracle<quadratic, backend::eigen<double>> && has_loss<quadratic, backend::eigen<double>>);
static_assert(gradient_oracle<quadratic, backend::checked<backend::host<float>>>);
static_assert(!has_accuracy<quadratic, backend::host<float>>);

// Softmax regression serves the backends of its own precision alone.
static_assert(full_problem<softmax_regression<float>, backend::host<float>>);
static_assert(full_problem<softmax_regression<float>, backend::eigen<float>>);
static_assert(full_problem<softmax_regression<double>, backend::eigen<double>>);
static_assert(full_problem<softmax_regression<float>, backend::checked<backend::eigen<float>>>);
static_assert(full_problem<rubato::problem::logistic_regression<float>, backend::eigen<float>>);
static_assert(full_problem<rubato::problem::multilayer_perceptron<float>, backend::eigen<float>>);
// A perceptron's gradient is final layer by layer; that of a single layer is final at once.
static_assert(
    rubato::problem::gives_gradient_parts<rubato::problem::multilayer_perceptron<float>, backend::eigen<float>>);
static_assert(!rubato::problem::gives_gradient_parts<softmax_regression<float>, backend::eigen<float>>);
static_assert(!rubato::problem::gives_gradient_parts<quadratic, backend::host<float>>);
// Clipping needs the whole gradient.
using clipped_perceptron = rubato::problem::clipped<rubato::problem::multilayer_perceptron<float>>;
static_assert(gradient_oracle<clipped_perceptron, backend::eigen<float>>);
static_assert(!rubato::problem::gives_gradient_parts<clipped_perceptron, backend::eigen<float>>);
static_assert(!gradient_oracle<softmax_regression<float>, backend::eigen<double>>);
static_assert(!gradient_oracle<softmax_regression<double>, backend::host<float>>);
static_assert(!has_loss<softmax_regression<float>, backend::host<double>>);
static_assert(!has_accuracy<softmax_regression<float>, backend::host<double>>);

// One thing missing or wrong each time.
struct without_dimension {
  template<class Backend>
  auto gradient(Backend&, std::span<float const>, rubato::sample_key, std::span<float>) const -> double;
};
struct without_const {
  [[nodiscard]] auto dimension() const -> std::size_t;
  template<class Backend>
  auto gradient(Backend&, std::span<float const>, rubato::sample_key, std::span<float>) -> double;
};
struct without_loss {
  [[nodiscard]] auto dimension() const -> std::size_t;
  template<class Backend>
  void gradient(Backend&, std::span<float const>, rubato::sample_key, std::span<float>) const;
};
struct without_key {
  [[nodiscard]] auto dimension() const -> std::size_t;
  template<class Backend>
  auto gradient(Backend&, std::span<float const>, std::span<float>) const -> double;
};
struct complete {
  [[nodiscard]] auto dimension() const -> std::size_t;
  template<class Backend>
  auto gradient(Backend&, std::span<float const>, rubato::sample_key, std::span<float>) const -> double;
};
static_assert(gradient_oracle<complete, backend::host<float>>);
static_assert(!gradient_oracle<complete, backend::host<double>>);
static_assert(!gradient_oracle<without_dimension, backend::host<float>>);
static_assert(!gradient_oracle<without_const, backend::host<float>>);
static_assert(!gradient_oracle<without_loss, backend::host<float>>);
static_assert(!gradient_oracle<without_key, backend::host<float>>);
static_assert(!gradient_oracle<complete, int>);

// Copies of a problem share its data, so they are cheap to make for every thread.
static_assert(std::is_nothrow_copy_constructible_v<quadratic>);
static_assert(std::is_nothrow_copy_constructible_v<softmax_regression<float>>);
static_assert(sizeof(softmax_regression<float>) <= 64);

}  // namespace
