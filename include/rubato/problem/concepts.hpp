// SPDX-License-Identifier: MIT
// What a user must provide to train something: a stochastic gradient for a named mini-batch, and a loss for reports.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/ids.hpp>

namespace rubato::problem {

template<class P>
concept has_dimension = requires(P const& p) {
  { p.dimension() } -> std::convertible_to<std::size_t>;
};

template<class P, class Backend>
concept gives_gradients = requires(P const& p, Backend& b, std::span<typename Backend::scalar const> x, sample_key key,
                                   std::span<typename Backend::scalar> g) {
  { p.gradient(b, x, key, g) } -> std::convertible_to<double>;
};

/// The objective is F(x) = (1/n) sum_i f_i(x); node i knows f_i only.
/// gradient(b, x, key, g): writes a stochastic gradient of f_{key.node} at x into g and returns the loss of the
/// mini-batch, which is a pure function of the key. x and g have dimension() values and never overlap. The loss may be
/// NaN if it is not known, as on a device, where it would have to be waited for; an infinite loss, or a gradient that
/// is not finite, ends the run.
/// One problem serves nodes of float and of double if T is its template parameter (examples/05_own_oracle.cpp):
///   template<class Backend, class T>
///   auto gradient(Backend&, std::span<T const> x, sample_key key, std::span<T> g) const -> double;
/// An optional initial() returns the first model as a std::vector of float or double,
/// converted to the type of the nodes.
/// Not checked, but required: const calls may come from several threads at once; equal arguments give equal bits.
/// Models: quadratic, sharded_loss (softmax_regression, logistic_regression, multilayer_perceptron); there is an
/// archetype in tests/support.
template<class P, class Backend>
concept gradient_oracle = backend::array_backend<Backend> && has_dimension<P> && gives_gradients<P, Backend>;

/// Values of a gradient that are final together, and the share of its computing time that is spent on them.
struct gradient_share {
  range values{};
  double time = 0;
};

namespace detail {
struct part_is_final {
  void operator()(range) const {}
};
}  // namespace detail

/// The optional form of a problem whose gradient is final part by part, such as layer by layer:
///   gradient_parts() -> std::vector<gradient_share>   its parts, in the order in which they are final. They share out
///                                                     all values; their times sum to 1, roughly as measured
///   gradient(b, x, key, g, is_final)                  the same bits as without; calls is_final(range) for each part,
///                                                     in that order, as soon as these values will not change
/// Nodes refuse parts that leave a value out or hold it twice (config_error), and a call for another part than the next
/// (run_error).
/// So a node can send what is final while the rest is computed (bucketed_allreduce_sgd). Models: multilayer_perceptron.
template<class P, class Backend>
concept gives_gradient_parts =
    gradient_oracle<P, Backend> && requires(P const& p, Backend& b, std::span<typename Backend::scalar const> x,
                                            sample_key key, std::span<typename Backend::scalar> g) {
      { p.gradient_parts() } -> std::convertible_to<std::vector<gradient_share>>;
      { p.gradient(b, x, key, g, detail::part_is_final{}) } -> std::convertible_to<double>;
    };

namespace detail {
template<class P, class Backend>
using pass_of = decltype(std::declval<P const&>().begin_pass(std::declval<Backend&>(), sample_key{}));
}  // namespace detail

/// The optional form of a problem whose model is made of layers, each of which can be passed with values of its own:
///   layers(), of_layer(l)                their number, and the values of x of each; together they are x, in order
///   begin_pass(b, key) -> pass           may be moved between threads
///   forward(b, l, w, pass)               layers 0, 1, ... in turn, each with its values w
///   backward(b, l, w, pass, g)           from the last layer to the first: writes the gradient of layer l to g. w may
///                                        be newer than that of the pass forward. If no layer moved, all g together
///                                        are the bits of gradient(b, x, key, g)
///   pass.loss                            of the batch, after the last layer; infinite or NaN if the model is broken
/// So layers can be updated one by one while passes are under way (driver/layerwise.hpp). Models: deep_perceptron.
template<class P, class Backend>
concept layered_oracle =
    has_dimension<P> &&
    requires(P const& p, Backend& b, std::span<typename Backend::scalar const> w, std::span<typename Backend::scalar> g,
             std::size_t l, detail::pass_of<P, Backend>& pass) {
      { p.layers() } -> std::convertible_to<std::size_t>;
      { p.of_layer(l) } -> std::convertible_to<range>;
      p.forward(b, l, w, pass);
      p.backward(b, l, w, pass, g);
      { pass.loss } -> std::convertible_to<double>;
    };

/// Checked where nodes use a problem; each sentence needs no context.
template<class P, class Backend>
consteval auto check_problem() -> bool {
  static_assert(has_dimension<P>, "a problem says in dimension() how many values its model has");
  static_assert(
      gives_gradients<P, Backend>,
      "a problem has gradient(backend, x, key, g) const, which takes the nodes' backend, x and g as spans of its "
      "scalar type (of a template parameter, to serve float and double) and a sample_key, and returns the loss");
  return true;
}

/// Where a problem computes. One with `static constexpr bool reads_device_memory = true` computes on the backend: its
/// members work on vectors wherever the backend keeps them, by the backend's own members and backend/for_each.hpp. All
/// others compute on the host: they get vectors that the host can read, copied if those of the backend are elsewhere,
/// and the host twin of the backend. A problem that is derived from one of the first kind and computes on the host
/// itself says false.
/// Models of the first kind: quadratic, softmax_regression, logistic_regression, multilayer_perceptron,
/// deep_perceptron, and clipped of them.
template<class P>
concept reads_device_memory = requires { requires P::reads_device_memory; };

/// The optional form of such a problem that has data of its own: move_data_to(b) copies them to the memory of the
/// backend, if they are not there. It is called on a copy of the problem, once, before the run.
template<class P, class Backend>
concept moves_data = reads_device_memory<P> && requires(P& p, Backend& b) { p.move_data_to(b); };

/// Whether gradients of P are computed by host code on copies of vectors that the backend keeps elsewhere.
template<class P, class Backend>
inline constexpr bool is_staged = backend::has_host_twin<Backend> && !reads_device_memory<P>;

/// loss(b, x): F(x), exactly, over all data of all nodes. Drivers use it for metrics only, never for training.
template<class P, class Backend>
concept has_loss = requires(P const& p, Backend& b, std::span<typename Backend::scalar const> x) {
  { p.loss(b, x) } -> std::convertible_to<double>;
};

/// accuracy(b, x): the share of held-out samples that x classifies correctly, 0..1.
template<class P, class Backend>
concept has_accuracy = requires(P const& p, Backend& b, std::span<typename Backend::scalar const> x) {
  { p.accuracy(b, x) } -> std::convertible_to<double>;
};

}  // namespace rubato::problem
