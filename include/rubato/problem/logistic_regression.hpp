// SPDX-License-Identifier: MIT
// Logistic regression on two classes: parameters x = [w (width), c], t = w a + c, y = 1 if label >= threshold, else 0,
//   loss(x, sample) = log(1 + exp(t)) - y t        l2 acts on w, not on c
// in the objective of problem/sharded_loss.hpp. With l2 > 0 it is strongly convex in w.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <rubato/backend/for_each.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/problem/detail/rows.hpp>
#include <rubato/problem/sharded_loss.hpp>

namespace rubato::problem {

/// `threshold`: the lowest label that counts as 1. This makes data of many classes usable; two classes need no change.
struct logistic_options {
  double l2 = 0;
  std::size_t batch = 32;
  std::size_t threshold = 1;
};

namespace detail {

/// Of t = w a + c at samples of two classes, those from label `threshold` on and those below.
template<class T>
struct logistic_scorer {
  T const* bias;
  std::size_t threshold;

  RUBATO_HOST_DEVICE auto loss(T* z, std::size_t label) const -> double { return loss_at(t_of(*z), is_one(label)); }
  RUBATO_HOST_DEVICE auto is_right(T const* z, std::size_t label) const -> bool {
    auto const t = *z + *bias;
    return is_one(label) ? t > 0 : t <= 0;
  }
  RUBATO_HOST_DEVICE auto t_of(T z) const -> double { return static_cast<double>(z + *bias); }
  RUBATO_HOST_DEVICE auto is_one(std::size_t label) const -> bool { return label >= threshold; }
  // Not finite where t is not: a sample classified correctly then gives 0 times infinity, or infinity minus itself.
  RUBATO_HOST_DEVICE static auto loss_at(double t, bool one) -> double {
    return std::log1p(std::exp(-std::abs(t))) + ((t < 0 ? 0.0 : t) - (one ? 1.0 : 0.0) * t);
  }
  RUBATO_HOST_DEVICE static auto share_of_one(double t) -> double {
    auto const e = std::exp(-std::abs(t));
    return t < 0 ? e / (1 + e) : 1 / (1 + e);
  }
};

/// z <- the slope of the loss there, and the loss, of each row.
template<class T>
struct logistic_rows {
  logistic_scorer<T> of;
  T* z;
  std::int32_t const* labels;
  double* losses;
  RUBATO_HOST_DEVICE void operator()(std::size_t r) const {
    auto const t = of.t_of(z[r]);
    auto const one = of.is_one(static_cast<std::size_t>(labels[r]));
    losses[r] = of.loss_at(t, one);
    z[r] = static_cast<T>(of.share_of_one(t) - (one ? 1.0 : 0.0));
  }
};

}  // namespace detail

/// See sample_model. A gradient reads w twice and writes g once. A score of 0 counts as the lower class.
template<std::floating_point T>
class logistic_model {
 public:
  using options_type = logistic_options;
  static constexpr bool reads_device_memory = true;
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
    auto losses = b.template allocate<double>(rows.count);
    backend::for_each(b, rows.count, detail::logistic_rows<T>{scorer(x), slopes.data(), rows.labels, losses.data()});
    detail::add_row_sums<T>(b, rows, slopes.data(), 1, T{1}, g.data() + width_);
    b.multiply({1, width_, rows.count, backend::transposed::no, backend::transposed::no}, share, slopes.data(),
               rows.features, T{1}, g.data());
    return detail::known_sum(b, losses);
  }

  /// w a for each row.
  template<class Backend>
  void scores(Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> out) const {
    b.multiply({rows.count, 1, width_, backend::transposed::no, backend::transposed::no}, T{1}, rows.features, x.data(),
               T{0}, out.data());
  }
  [[nodiscard]] auto scorer(std::span<T const> x) const -> detail::logistic_scorer<T> {
    return {x.data() + width_, threshold_};
  }

 private:
  std::size_t width_;
  std::size_t threshold_;
};

template<std::floating_point T>
using logistic_regression = sharded_loss<T, logistic_model<T>>;

}  // namespace rubato::problem
