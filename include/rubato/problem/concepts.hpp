// SPDX-License-Identifier: MIT
// What a user must write to train something: a stochastic gradient for a named mini-batch, and a loss to look at.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/ids.hpp>

namespace rubato::problem {

/// The objective is F(x) = (1/n) sum_i f_i(x); node i knows f_i only.
/// gradient(b, x, key, g): writes a stochastic gradient of f_{key.node} at x into g and returns the mini-batch's loss;
/// the mini-batch is a pure function of the key. x and g have dimension() values and never overlap.
/// Not checked, but required: const calls may come from several threads at once; equal arguments give equal bits.
/// Models: quadratic, softmax_regression; an archetype stands in tests/support.
template<class P, class Backend>
concept gradient_oracle =
    backend::array_backend<Backend> &&
    requires(P const& p, Backend& b, std::span<typename Backend::scalar const> x, sample_key key,
             std::span<typename Backend::scalar> g) {
      { p.dimension() } -> std::convertible_to<std::size_t>;
      { p.gradient(b, x, key, g) } -> std::convertible_to<double>;
    };

/// Says `static constexpr bool reads_device_memory = true`: gradient and its kin work on vectors wherever the backend
/// keeps them. All other problems are given vectors that the host can read, copied where the backend's are elsewhere.
template<class P>
concept reads_device_memory = requires { requires P::reads_device_memory; };

/// loss(b, x): F(x), exactly, over all data of all nodes. Drivers use it for metrics only, never for training.
template<class P, class Backend>
concept has_loss = requires(P const& p, Backend& b, std::span<typename Backend::scalar const> x) {
  { p.loss(b, x) } -> std::convertible_to<double>;
};

/// accuracy(b, x): the share of held-out samples that x classifies rightly, 0..1.
template<class P, class Backend>
concept has_accuracy = requires(P const& p, Backend& b, std::span<typename Backend::scalar const> x) {
  { p.accuracy(b, x) } -> std::convertible_to<double>;
};

}  // namespace rubato::problem
