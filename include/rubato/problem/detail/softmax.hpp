// SPDX-License-Identifier: MIT
// The softmax of a row of logits and its cross-entropy, for models that end in one; functions of a row, for all
// backends.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include <rubato/backend/for_each.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/problem/detail/rows.hpp>

namespace rubato::problem::detail {

template<class T>
struct softmax_row {
  T sum;        // of the exponentials
  double loss;  // -log softmax[label]
};

/// z <- exp(z + bias - max(z + bias)), which cannot overflow. The loss is not finite if a logit is not: 0 times each
/// logit, which is 0 or NaN, is added to it. Without this a class at minus infinity would go unnoticed.
template<class T>
RUBATO_HOST_DEVICE auto exponentials(T* z, std::size_t classes, T const* bias, std::size_t label) -> softmax_row<T> {
  auto largest = z[0] + bias[0];
  T poison = 0;
  for (std::size_t c = 0; c < classes; ++c) {
    z[c] += bias[c];
    if (largest < z[c]) largest = z[c];
    poison += T{0} * z[c];
  }
  auto const own = z[label] - largest;
  T sum = 0;
  for (std::size_t c = 0; c < classes; ++c) {
    z[c] = std::exp(z[c] - largest);
    sum += z[c];
  }
  return {sum, std::log(static_cast<double>(sum)) - static_cast<double>(own) + static_cast<double>(poison)};
}

/// Of a row of logits without their biases: what a sample costs, and whether it is classified correctly.
template<class T>
struct softmax_scorer {
  T const* bias;
  std::size_t classes;

  RUBATO_HOST_DEVICE auto loss(T* z, std::size_t label) const -> double {
    return exponentials(z, classes, bias, label).loss;
  }
  /// Whether z + bias is largest at label; a lower class wins a tie. False if a value is NaN.
  RUBATO_HOST_DEVICE auto is_right(T const* z, std::size_t label) const -> bool {
    auto const own = z[label] + bias[label];
    for (std::size_t c = 0; c < classes; ++c) {
      auto const other = z[c] + bias[c];
      if (c < label ? !(own > other) : !(own >= other)) return false;
    }
    return true;
  }
};

/// z <- softmax(z + bias) - (1 at label, else 0), and the loss, of each row.
template<class T>
struct cross_entropy_rows {
  softmax_scorer<T> of;
  T* z;  // rows x classes
  std::int32_t const* labels;
  double* losses;
  RUBATO_HOST_DEVICE void operator()(std::size_t r) const {
    auto* const row = z + r * of.classes;
    auto const label = static_cast<std::size_t>(labels[r]);
    auto const e = exponentials(row, of.classes, of.bias, label);
    for (std::size_t c = 0; c < of.classes; ++c) row[c] /= e.sum;
    row[label] -= T{1};
    losses[r] = e.loss;
  }
};

/// The same for rows.count rows; returns the sum of their losses as known_sum does.
template<class T, class Backend>
auto cross_entropy_gradients(Backend& b, T* z, softmax_scorer<T> of, sample_rows<T> rows) -> double {
  auto losses = b.template allocate<double>(rows.count);
  backend::for_each(b, rows.count, cross_entropy_rows<T>{of, z, rows.labels, losses.data()});
  return known_sum(b, losses);
}

}  // namespace rubato::problem::detail
