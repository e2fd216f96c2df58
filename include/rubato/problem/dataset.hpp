// SPDX-License-Identifier: MIT
// Labelled samples as a value: checked once when made, so that training need not check them again.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>

namespace rubato::problem {

/// samples() rows of width() features each, row-major, and one label below classes() per row.
/// **Thread safety:** const calls from several threads are fine.
class dataset {
 public:
  /// The width is the number of features divided by that of labels. Throws config_error unless there are at least one
  /// sample, one feature per sample and two classes (at most 65536), every label is below `classes` and every feature
  /// is finite. One pass.
  dataset(std::vector<float> features, std::vector<std::uint16_t> labels, std::size_t classes);

  [[nodiscard]] auto samples() const -> std::size_t { return labels_.size(); }
  [[nodiscard]] auto width() const -> std::size_t { return width_; }
  [[nodiscard]] auto classes() const -> std::size_t { return classes_; }
  [[nodiscard]] auto features() const -> std::span<float const> { return features_; }
  [[nodiscard]] auto labels() const -> std::span<std::uint16_t const> { return labels_; }
  /// The features of one sample; requires sample < samples().
  [[nodiscard]] auto row(std::size_t sample) const -> std::span<float const> {
    RUBATO_EXPECTS(sample < samples(), "a dataset is asked for one of its own samples");
    return features().subspan(sample * width_, width_);
  }

 private:
  void check_shape() const;

  void check_values() const;

  std::vector<float> features_;
  std::vector<std::uint16_t> labels_;
  std::size_t classes_ = 0;
  std::size_t width_ = 0;
};

/// Samples to train on, and held-out samples to test with.
struct train_and_test {
  dataset train;
  dataset test;
};

namespace detail {
/// Throws config_error unless both have the same width and classes.
void check_alike(dataset const& train, dataset const& test);
}  // namespace detail

/// Both sets with every feature shifted and scaled so that it has mean 0 and standard deviation 1 in `train`; features
/// that are constant in `train` become 0 in both. Throws config_error unless both have the same width and classes.
[[nodiscard]] auto standardise(dataset const& train, dataset const& test) -> train_and_test;

#if RUBATO_BODIES
namespace detail {

RUBATO_INLINE void check_alike(dataset const& train, dataset const& test) {
  if (train.width() != test.width() || train.classes() != test.classes()) {
    throw config_error{"the test data have " + std::to_string(test.width()) + " features and " +
                       std::to_string(test.classes()) + " classes, but the training data have " +
                       std::to_string(train.width()) + " and " + std::to_string(train.classes())};
  }
}

/// What standardising does to one feature: (value - mean) * factor.
struct feature_scale {
  double mean = 0;
  double factor = 0;
};

// Two passes, in double: the mean first, then the deviations from it. A constant feature is found by its range, because
// its variance may come out as a rounding error instead of 0.
RUBATO_INLINE auto feature_scales(dataset const& data) -> std::vector<feature_scale> {
  auto const width = data.width();
  auto const samples = static_cast<double>(data.samples());
  std::vector<feature_scale> scales(width);
  std::vector<double> squares(width);
  std::vector<float> low(data.row(0).begin(), data.row(0).end());
  auto high = low;
  for (std::size_t i = 0; i < data.samples(); ++i) {
    auto const row = data.row(i);
    for (std::size_t k = 0; k < width; ++k) {
      scales[k].mean += static_cast<double>(row[k]) / samples;
      low[k] = (std::min)(low[k], row[k]);
      high[k] = (std::max)(high[k], row[k]);
    }
  }
  for (std::size_t i = 0; i < data.samples(); ++i) {
    auto const row = data.row(i);
    for (std::size_t k = 0; k < width; ++k) {
      auto const away = static_cast<double>(row[k]) - scales[k].mean;
      squares[k] += away * away;
    }
  }
  for (std::size_t k = 0; k < width; ++k) {
    if (low[k] < high[k]) scales[k].factor = 1 / std::sqrt(squares[k] / samples);
  }
  return scales;
}

RUBATO_INLINE auto scaled(dataset const& data, std::vector<feature_scale> const& scales) -> dataset {
  std::vector<float> features(data.features().begin(), data.features().end());
  for (std::size_t i = 0; i < data.samples(); ++i) {
    auto* const row = features.data() + i * data.width();
    for (std::size_t k = 0; k < scales.size(); ++k) {
      row[k] = static_cast<float>((static_cast<double>(row[k]) - scales[k].mean) * scales[k].factor);
    }
  }
  return {std::move(features), {data.labels().begin(), data.labels().end()}, data.classes()};
}

}  // namespace detail

RUBATO_INLINE auto standardise(dataset const& train, dataset const& test) -> train_and_test {
  detail::check_alike(train, test);
  auto const scales = detail::feature_scales(train);
  return {detail::scaled(train, scales), detail::scaled(test, scales)};
}

RUBATO_INLINE dataset::dataset(std::vector<float> features, std::vector<std::uint16_t> labels, std::size_t classes)
    : features_{std::move(features)}, labels_{std::move(labels)}, classes_{classes} {
  check_shape();
  width_ = features_.size() / labels_.size();
  check_values();
}

RUBATO_INLINE void dataset::check_shape() const {
  if (labels_.empty()) throw config_error{"a dataset needs at least one sample"};
  if (labels_.size() > (std::numeric_limits<std::uint32_t>::max)()) {
    throw config_error{"a dataset holds fewer than 2^32 samples, not " + std::to_string(labels_.size())};
  }
  if (features_.empty() || features_.size() % labels_.size() != 0) {
    throw config_error{"a dataset needs the same positive number of features for every sample, but " +
                       std::to_string(features_.size()) + " features do not divide among " +
                       std::to_string(labels_.size()) + " samples"};
  }
  if (classes_ < 2 || classes_ > 65536) {
    throw config_error{"a dataset needs 2 to 65536 classes, not " + std::to_string(classes_)};
  }
}

RUBATO_INLINE void dataset::check_values() const {
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    if (labels_[i] < classes_) continue;
    throw config_error{"sample " + std::to_string(i) + " has label " + std::to_string(labels_[i]) +
                       ", but labels must be below the number of classes, " + std::to_string(classes_)};
  }
  auto const bad = std::find_if(features_.begin(), features_.end(), [](float v) { return !std::isfinite(v); });
  if (bad == features_.end()) return;
  auto const index = static_cast<std::size_t>(bad - features_.begin());
  throw config_error{"feature " + std::to_string(index % width_) + " of sample " + std::to_string(index / width_) +
                     " must be a finite number"};
}
#endif  // RUBATO_BODIES

}  // namespace rubato::problem
