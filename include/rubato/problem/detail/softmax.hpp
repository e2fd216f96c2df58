// SPDX-License-Identifier: MIT
// The softmax of a row of logits and its cross-entropy, for models that end in one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include <rubato/problem/sharded_loss.hpp>

namespace rubato::problem::detail {

template<class T>
struct softmax_row {
  T sum;        // of the exponentials
  double loss;  // -log softmax[label]
};

/// z <- exp(z + bias - max(z + bias)), which cannot overflow. The loss is not finite if a logit is not: 0 times each
/// logit, which is 0 or NaN, is added to it. Without this a class at minus infinity would go unnoticed.
template<class T>
auto exponentials(std::span<T> z, T const* bias, std::size_t label) -> softmax_row<T> {
  auto largest = -std::numeric_limits<T>::infinity();
  T poison = 0;
  for (std::size_t c = 0; c < z.size(); ++c) {
    z[c] += bias[c];
    largest = (std::max)(largest, z[c]);
    poison += T{0} * z[c];
  }
  auto const own = z[label] - largest;
  T sum = 0;
  for (auto& value : z) {
    value = std::exp(value - largest);
    sum += value;
  }
  return {sum, std::log(static_cast<double>(sum)) - static_cast<double>(own) + static_cast<double>(poison)};
}

/// z <- softmax(z + bias) - (1 at label, else 0); returns -log softmax(z + bias)[label].
template<class T>
auto cross_entropy_gradient(std::span<T> z, T const* bias, std::size_t label) -> double {
  auto const row = exponentials(z, bias, label);
  for (auto& value : z) value /= row.sum;
  z[label] -= T{1};
  return row.loss;
}

/// The same for every row of z (rows.count x classes); adds share times each to
/// g_bias and returns the sum of the losses.
template<class T>
auto cross_entropy_gradients(std::span<T> z, T const* bias, sample_rows<T> rows, std::span<T> g_bias) -> double {
  auto const classes = z.size() / rows.count;
  auto const share = T{1} / static_cast<T>(rows.total);
  double sum = 0;
  for (std::size_t r = 0; r < rows.count; ++r) {
    auto const row = z.subspan(r * classes, classes);
    sum += cross_entropy_gradient(row, bias, static_cast<std::size_t>(rows.labels[r]));
    for (std::size_t c = 0; c < classes; ++c) g_bias[c] += share * row[c];
  }
  return sum;
}

/// Whether z + bias is largest at label; a lower class wins a tie. False if a value is NaN.
template<class T>
auto is_largest(std::span<T const> z, T const* bias, std::size_t label) -> bool {
  auto const own = z[label] + bias[label];
  for (std::size_t c = 0; c < z.size(); ++c) {
    auto const other = z[c] + bias[c];
    if (c < label ? !(own > other) : !(own >= other)) return false;
  }
  return true;
}

}  // namespace rubato::problem::detail
