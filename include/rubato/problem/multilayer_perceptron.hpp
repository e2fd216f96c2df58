// SPDX-License-Identifier: MIT
// A network of one hidden layer: parameters x = [V (hidden x width), W (classes x hidden), b (hidden), c (classes)],
//   h = relu(V a + b)        loss(x, sample) = -log softmax(W h + c)[label]        l2 acts on V and W
// in the objective of problem/sharded_loss.hpp. Not convex; its slope at a kink of relu is taken as 0.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <rubato/backend/for_each.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/random.hpp>
#include <rubato/problem/concepts.hpp>
#include <rubato/problem/detail/rows.hpp>
#include <rubato/problem/detail/softmax.hpp>
#include <rubato/problem/sharded_loss.hpp>

namespace rubato::problem {

/// `seed` of the first model, in which V and W are normal with variance 2 over the number of inputs (He et al., arXiv
/// 1502.01852) and biases are 0. (If all were zero, the hidden values would stay equal for ever.)
struct perceptron_options {
  double l2 = 0;
  std::size_t batch = 32;
  std::size_t hidden = 128;
  std::uint64_t seed = 0;
};

/// See sample_model. A gradient reads V twice, W three times, and writes g once; of equal logits the lowest class wins.
template<std::floating_point T>
class perceptron_model {
 public:
  using options_type = perceptron_options;
  static constexpr bool reads_device_memory = true;
  perceptron_model(std::size_t width, std::size_t classes, perceptron_options const& options)
      : width_{width}, classes_{classes}, hidden_{options.hidden}, seed_{options.seed} {
    if (hidden_ == 0) throw config_error{"a hidden layer must hold at least one value, not 0"};
  }

  [[nodiscard]] auto dimension() const -> std::size_t { return regularised() + hidden_ + classes_; }
  [[nodiscard]] auto regularised() const -> std::size_t { return hidden_ * width_ + classes_ * hidden_; }
  [[nodiscard]] auto outputs() const -> std::size_t { return classes_; }

  /// The same for the same seed and shape, up to the last bits of log and cos.
  [[nodiscard]] auto initial() const -> std::vector<T> {
    std::vector<T> x(dimension(), T{0});
    random_stream draw{0x6d6c70ULL, seed_};
    for (std::size_t k = 0; k < regularised(); ++k) {
      auto const inputs = static_cast<double>(k < at_w() ? width_ : hidden_);
      x[k] = static_cast<T>(std::sqrt(2.0 / inputs) * draw.normal());
    }
    return x;
  }

  /// From the last layer to the first: W, the biases, V. Times by count of operations.
  [[nodiscard]] auto gradient_parts() const -> std::vector<gradient_share> {
    auto const first = static_cast<double>(hidden_ * width_), last = static_cast<double>(classes_ * hidden_);
    auto const all = 2 * first + 3 * last;
    return {
        {{at_w(), at_b()}, (first + 2 * last) / all}, {{at_b(), dimension()}, last / all}, {{0, at_w()}, first / all}};
  }

  template<class Backend>
  auto accumulate(Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> g) const -> double {
    return accumulate(b, x, rows, g, detail::part_is_final{});
  }
  template<class Backend, class IsFinal>
  auto accumulate(Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> g, IsFinal const& is_final) const
      -> double {
    auto const share = T{1} / static_cast<T>(rows.total);
    auto hidden = b.template allocate<T>(rows.count * hidden_);
    auto logits = b.template allocate<T>(rows.count * classes_);
    activate(b, x, rows, hidden.data());
    to_logits(b, x, hidden.data(), logits.view());
    auto const sum = detail::cross_entropy_gradients(b, logits.data(), scorer(x), rows);
    detail::add_row_sums<T>(b, rows, logits.data(), classes_, T{1}, g.data() + at_c());
    b.multiply({classes_, hidden_, rows.count, backend::transposed::yes, backend::transposed::no}, share, logits.data(),
               hidden.data(), T{1}, g.data() + at_w());
    is_final(range{at_w(), at_b()});
    auto slopes = b.template allocate<T>(rows.count * hidden_);
    b.multiply({rows.count, hidden_, classes_, backend::transposed::no, backend::transposed::no}, T{1}, logits.data(),
               x.data() + at_w(), T{0}, slopes.data());
    backend::for_each(b, slopes.size(), detail::relu_slopes<T>{hidden.data(), slopes.data()});
    detail::add_row_sums<T>(b, rows, slopes.data(), hidden_, T{1}, g.data() + at_b());
    is_final(range{at_b(), dimension()});
    b.multiply({hidden_, width_, rows.count, backend::transposed::yes, backend::transposed::no}, share, slopes.data(),
               rows.features, T{1}, g.data());
    is_final(range{0, at_w()});
    return sum;
  }

  /// Logits without their biases c.
  template<class Backend>
  void scores(Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> out) const {
    auto hidden = b.template allocate<T>(rows.count * hidden_);
    activate(b, x, rows, hidden.data());
    to_logits(b, x, hidden.data(), out);
  }
  [[nodiscard]] auto scorer(std::span<T const> x) const -> detail::softmax_scorer<T> {
    return {x.data() + at_c(), classes_};
  }

 private:
  [[nodiscard]] auto at_w() const -> std::size_t { return hidden_ * width_; }
  [[nodiscard]] auto at_b() const -> std::size_t { return regularised(); }
  [[nodiscard]] auto at_c() const -> std::size_t { return regularised() + hidden_; }

  /// h, rows.count x hidden.
  template<class Backend>
  void activate(Backend& b, std::span<T const> x, sample_rows<T> rows, T* h) const {
    b.multiply({rows.count, hidden_, width_, backend::transposed::no, backend::transposed::yes}, T{1}, rows.features,
               x.data(), T{0}, h);
    detail::add_bias_and_relu(b, h, x.data() + at_b(), rows.count, hidden_);
  }
  template<class Backend>
  void to_logits(Backend& b, std::span<T const> x, T const* h, std::span<T> out) const {
    b.multiply({out.size() / classes_, classes_, hidden_, backend::transposed::no, backend::transposed::yes}, T{1}, h,
               x.data() + at_w(), T{0}, out.data());
  }

  std::size_t width_;
  std::size_t classes_;
  std::size_t hidden_;
  std::uint64_t seed_;
};

template<std::floating_point T>
using multilayer_perceptron = sharded_loss<T, perceptron_model<T>>;

}  // namespace rubato::problem
