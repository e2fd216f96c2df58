// SPDX-License-Identifier: MIT
// Multinomial logistic regression: parameters x = [W (classes x width, row-major), c (classes)],
//   loss(x, sample) = -log softmax(W a + c)[label]        l2 acts on W, not on c
// in the objective of problem/sharded_loss.hpp.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>

#include <rubato/problem/detail/softmax.hpp>
#include <rubato/problem/sharded_loss.hpp>

namespace rubato::problem {

/// `batch`: samples of one stochastic gradient, drawn uniformly from the node's shard with replacement.
struct softmax_options {
  double l2 = 0;
  std::size_t batch = 32;
};

/// See sample_model. A gradient reads W twice and writes g once; among equal logits the lowest class is the answer.
template<std::floating_point T>
class softmax_model {
 public:
  using options_type = softmax_options;
  static constexpr bool reads_device_memory = true;
  softmax_model(std::size_t width, std::size_t classes, softmax_options const&) : width_{width}, classes_{classes} {}

  [[nodiscard]] auto dimension() const -> std::size_t { return regularised() + classes_; }
  [[nodiscard]] auto regularised() const -> std::size_t { return classes_ * width_; }
  [[nodiscard]] auto outputs() const -> std::size_t { return classes_; }

  template<class Backend>
  auto accumulate(Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> g) const -> double {
    auto const share = T{1} / static_cast<T>(rows.total);
    auto logits = b.template allocate<T>(rows.count * classes_);
    scores(b, x, rows, logits.view());
    auto const sum = detail::cross_entropy_gradients(b, logits.data(), scorer(x), rows);
    detail::add_row_sums<T>(b, rows, logits.data(), classes_, T{1}, g.data() + regularised());
    auto const backward =
        backend::product_shape{classes_, width_, rows.count, backend::transposed::yes, backend::transposed::no};
    b.multiply(backward, share, logits.data(), rows.features, T{1}, g.data());
    return sum;
  }

  /// Logits without their biases. Samples times classes is the orientation in which Eigen is fastest, by 5 to 30 %.
  template<class Backend>
  void scores(Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> out) const {
    b.multiply({rows.count, classes_, width_, backend::transposed::no, backend::transposed::yes}, T{1}, rows.features,
               x.data(), T{0}, out.data());
  }
  [[nodiscard]] auto scorer(std::span<T const> x) const -> detail::softmax_scorer<T> {
    return {x.data() + regularised(), classes_};
  }

 private:
  std::size_t width_;
  std::size_t classes_;
};

template<std::floating_point T>
using softmax_regression = sharded_loss<T, softmax_model<T>>;

}  // namespace rubato::problem
