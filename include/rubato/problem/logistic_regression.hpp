// SPDX-License-Identifier: MIT
// Logistic regression on two classes: parameters x = [w (width), c], t = w a + c, y = 1 if label >= threshold, else 0,
//   loss(x, sample) = log(1 + exp(t)) - y t        l2 acts on w, not on c
// in the objective of problem/sharded_loss.hpp. With l2 > 0 it is strongly convex in w.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>

#include <rubato/core/errors.hpp>
#include <rubato/problem/sharded_loss.hpp>

namespace rubato::problem {

/// `threshold`: the lowest label that counts as 1. This makes data of many classes usable; two classes need no change.
struct logistic_options {
  double l2 = 0;
  std::size_t batch = 32;
  std::size_t threshold = 1;
};

/// See sample_model. A gradient reads w twice and writes g once. A score of 0 counts as the lower class.
template<std::floating_point T>
class logistic_model {
 public:
  using options_type = logistic_options;
  logistic_model(std::size_t width, std::size_t classes, logistic_options const& options)
      : width_{width}, threshold_{options.threshold} {
    if (threshold_ == 0 || threshold_ >= classes) {
      throw config_error{"the threshold between the two classes must be a label from 1 to " +
                         std::to_string(classes - 1) + ", not " + std::to_string(threshold_)};
    }
  }

  [[nodiscard]] auto dimension() const -> std::size_t { return width_ + 1; }
  [[nodiscard]] auto regularised() const -> std::size_t { return width_; }
  [[nodiscard]] auto outputs() const -> std::size_t { return 1; }

  template<class Backend>
  auto accumulate(Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> g) const -> double {
    auto const share = T{1} / static_cast<T>(rows.total);
    auto slopes = b.template allocate<T>(rows.count);
    scores(b, x, rows, slopes.view());
    double sum = 0;
    for (std::size_t r = 0; r < rows.count; ++r) {
      auto& score = slopes.data()[r];
      auto const t = static_cast<double>(score + x[width_]);
      auto const one = is_one(static_cast<std::size_t>(rows.labels[r]));
      sum += loss_at(t, one);
      score = static_cast<T>(share_of_one(t) - (one ? 1.0 : 0.0));
      g[width_] += share * score;
    }
    b.multiply({1, width_, rows.count, backend::transposed::no, backend::transposed::no}, share, slopes.data(),
               rows.features, T{1}, g.data());
    return sum;
  }

  /// w a for each row.
  template<class Backend>
  void scores(Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> out) const {
    b.multiply({rows.count, 1, width_, backend::transposed::no, backend::transposed::no}, T{1}, rows.features, x.data(),
               T{0}, out.data());
  }
  [[nodiscard]] auto loss_of(std::span<T const> x, std::span<T> z, std::size_t label) const -> double {
    return loss_at(static_cast<double>(z[0] + x[width_]), is_one(label));
  }
  [[nodiscard]] auto is_right(std::span<T const> x, std::span<T const> z, std::size_t label) const -> bool {
    auto const t = z[0] + x[width_];
    return is_one(label) ? t > 0 : t <= 0;
  }

 private:
  [[nodiscard]] auto is_one(std::size_t label) const -> bool { return label >= threshold_; }
  // Not finite where t is not: a sample classified correctly then gives 0 times infinity, or infinity minus itself.
  static auto loss_at(double t, bool one) -> double {
    return std::log1p(std::exp(-std::abs(t))) + ((t < 0 ? 0.0 : t) - (one ? 1.0 : 0.0) * t);
  }
  static auto share_of_one(double t) -> double {
    auto const e = std::exp(-std::abs(t));
    return t < 0 ? e / (1 + e) : 1 / (1 + e);
  }

  std::size_t width_;
  std::size_t threshold_;
};

template<std::floating_point T>
using logistic_regression = sharded_loss<T, logistic_model<T>>;

}  // namespace rubato::problem
