// SPDX-License-Identifier: MIT
// A network of several hidden layers. Layer l of L has parameters [V_l (out x in), b_l (out)], one after another in x:
//   a_0 = the sample   a_l = relu(V_l a_(l-1) + b_l), without relu in the last one   loss = -log softmax(a_L)[label]
// in the objective of problem/sharded_loss.hpp. Its passes are also given layer by layer (layered_oracle), so that
// layers can move between a pass forward and the pass back:
//   (DP.F) a_l = relu(V_l a_(l-1) + b_l)
//   (DP.B) dV_l = D_l^T a_(l-1),  db_l = sum D_l,  D_(l-1) = (D_l V_l) * [a_(l-1) > 0]      D_L = softmax - label
// Not convex; its slope at a kink of relu is taken as 0.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/for_each.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>
#include <rubato/problem/concepts.hpp>
#include <rubato/problem/detail/rows.hpp>
#include <rubato/problem/detail/softmax.hpp>
#include <rubato/problem/sharded_loss.hpp>

namespace rubato::problem {

/// Of the first model weights are normal with variance 2 over the number of inputs, and biases 0.
struct deep_perceptron_options {
  double l2 = 0;  ///< must be 0: biases lie between the weights
  std::size_t batch = 32;
  std::vector<std::size_t> hidden{128, 128};  ///< values of each hidden layer, from the first one
  std::uint64_t seed = 0;
};

/// See sample_model. A gradient reads each layer twice, the first one once, and writes g once.
template<std::floating_point T>
class deep_perceptron_model {
 public:
  using options_type = deep_perceptron_options;
  static constexpr bool reads_device_memory = true;
  deep_perceptron_model(std::size_t width, std::size_t classes, options_type const& options) : seed_{options.seed} {
    if (options.l2 != 0)
      throw config_error{"a deep perceptron takes no l2 regularisation: give 0, not " + shortest(options.l2)};
    auto inputs = width;
    auto const add = [&](std::size_t outputs) {
      if (outputs == 0) throw config_error{"a hidden layer must hold at least one value, not 0"};
      layers_.push_back({dimension(), inputs, outputs});
      inputs = outputs;
    };
    for (auto const h : options.hidden) add(h);
    add(classes);
  }

  [[nodiscard]] auto dimension() const -> std::size_t { return layers_.empty() ? 0 : of_layer(layers() - 1).end; }
  [[nodiscard]] auto regularised() const -> std::size_t { return 0; }
  [[nodiscard]] auto outputs() const -> std::size_t { return layers_.back().outputs; }
  [[nodiscard]] auto layers() const -> std::size_t { return layers_.size(); }
  /// Its values of x.
  [[nodiscard]] auto of_layer(std::size_t l) const -> range {
    auto const& s = layers_[l];
    return {s.at, s.at + (s.inputs + 1) * s.outputs};
  }

  /// The same for the same seed and shape, up to the last bits of log and cos.
  [[nodiscard]] auto initial() const -> std::vector<T> {
    std::vector<T> x(dimension(), T{0});
    random_stream draw{0x64656570ULL, seed_};
    for (auto const& s : layers_) {
      auto const deviation = std::sqrt(2.0 / static_cast<double>(s.inputs));
      for (std::size_t k = 0; k < s.inputs * s.outputs; ++k) x[s.at + k] = static_cast<T>(deviation * draw.normal());
    }
    return x;
  }

  /// (DP.F) of layer l with its values w; after the last one pass.loss is the sum of the rows' losses.
  template<class Backend>
  void forward(Backend& b, std::size_t l, std::span<T const> w, layer_pass<T>& pass) const {
    activate(b, l, w, pass);
    if (l + 1 != layers()) return;
    auto const& s = layers_[l];
    auto const biases = detail::softmax_scorer<T>{w.data() + s.inputs * s.outputs, s.outputs};
    pass.loss = detail::cross_entropy_gradients(b, pass.values[l].data(), biases, pass.rows);
  }

  /// (DP.B) of layer l with its values w, which need not be those of the pass forward: g <- keep g + the gradient over
  /// pass.rows.total. The layers above must have been passed back before.
  template<class Backend>
  void backward(Backend& b, std::size_t l, std::span<T const> w, layer_pass<T>& pass, std::span<T> g, T keep) const {
    auto const [at, in, out] = layers_[l];
    auto const rows = pass.rows.count;
    auto const share = T{1} / static_cast<T>(pass.rows.total);
    auto const* const slopes = pass.values[l].data();
    b.multiply({out, in, rows, backend::transposed::yes, backend::transposed::no}, share, slopes, input(l, pass), keep,
               g.data());
    detail::add_row_sums<T>(b, pass.rows, slopes, out, keep, g.data() + in * out);
    if (l == 0) return;
    auto below = b.template allocate<T>(rows * in);
    b.multiply({rows, in, out, backend::transposed::no, backend::transposed::no}, T{1}, slopes, w.data(), T{0},
               below.data());
    backend::for_each(b, below.size(), detail::relu_slopes<T>{pass.values[l - 1].data(), below.data()});
    pass.values[l - 1] = std::move(below);
  }

  template<class Backend>
  auto accumulate(Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> g) const -> double {
    layer_pass<T> pass;
    pass.rows = rows;
    for (std::size_t l = 0; l < layers(); ++l) forward(b, l, values_of(x, l), pass);
    for (auto l = layers(); l-- > 0;) {
      auto const r = of_layer(l);
      backward(b, l, values_of(x, l), pass, g.subspan(r.begin, r.end - r.begin), T{1});
    }
    return pass.loss;
  }

  /// a_L without its biases.
  template<class Backend>
  void scores(Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> out) const {
    layer_pass<T> pass;
    pass.rows = rows;
    for (std::size_t l = 0; l < layers(); ++l) activate(b, l, values_of(x, l), pass);
    b.sweep({0, out.size()}, backend::copy_kernel<T>{pass.values.back().data(), out.data()});
  }
  [[nodiscard]] auto scorer(std::span<T const> x) const -> detail::softmax_scorer<T> {
    return {x.data() + x.size() - outputs(), outputs()};
  }

 private:
  struct shape {
    std::size_t at, inputs, outputs;
  };

  [[nodiscard]] auto values_of(std::span<T const> x, std::size_t l) const -> std::span<T const> {
    auto const r = of_layer(l);
    return x.subspan(r.begin, r.end - r.begin);
  }
  static auto input(std::size_t l, layer_pass<T> const& pass) -> T const* {
    return l == 0 ? pass.rows.features : pass.values[l - 1].data();
  }
  template<class Backend>
  void activate(Backend& b, std::size_t l, std::span<T const> w, layer_pass<T>& pass) const {
    auto const [at, in, out] = layers_[l];
    auto const rows = pass.rows.count;
    auto fresh = b.template allocate<T>(rows * out);
    b.multiply({rows, out, in, backend::transposed::no, backend::transposed::yes}, T{1}, input(l, pass), w.data(), T{0},
               fresh.data());
    if (l + 1 != layers()) detail::add_bias_and_relu(b, fresh.data(), w.data() + in * out, rows, out);
    pass.values.push_back(std::move(fresh));
  }

  std::vector<shape> layers_;
  std::uint64_t seed_;
};

template<std::floating_point T>
using deep_perceptron = sharded_loss<T, deep_perceptron_model<T>>;

}  // namespace rubato::problem
