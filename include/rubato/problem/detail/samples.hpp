// SPDX-License-Identifier: MIT
// Samples of all nodes side by side in the memory of one pool, and how batches are gathered from them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/problem/dataset.hpp>
#include <rubato/problem/split.hpp>

namespace rubato::problem::detail {

template<class T>
struct samples {
  shared_buffer features{};  // row-major
  shared_buffer labels{};
  [[nodiscard]] auto count() const -> std::size_t { return labels.size(); }
};

/// Takes samples, as many as it was made for.
template<class T>
class sample_writer {
 public:
  sample_writer(buffer_pool& pool, std::size_t count, std::size_t width)
      : features_{pool.allocate<T>(count * width)}, labels_{pool.allocate<std::int32_t>(count)} {}
  void append(dataset const& from, std::size_t i) {
    auto const row = from.row(i);
    auto* const to = features_.data() + count_ * row.size();
    for (std::size_t k = 0; k < row.size(); ++k) to[k] = static_cast<T>(row[k]);
    labels_.data()[count_++] = from.labels()[i];
  }
  [[nodiscard]] auto finish() && -> samples<T> {
    return {std::move(features_).publish(), std::move(labels_).publish()};
  }

 private:
  writable_buffer<T> features_;
  writable_buffer<std::int32_t> labels_;
  std::size_t count_ = 0;
};

/// All samples of a run, those of each node together.
template<class T>
struct sample_tables {
  std::size_t width = 0;
  std::size_t classes = 0;
  std::vector<std::size_t> first{0};  // node i has samples first[i] .. first[i + 1] - 1 of train
  samples<T> train;
  samples<T> test;
  buffer_pool pool;  // where all of them lie
};

template<class T>
auto gathered(dataset const& train, split::shards const& shards) -> std::shared_ptr<sample_tables<T>> {
  if (shards.empty()) throw config_error{"training needs at least one node that holds samples"};
  auto fresh = std::make_shared<sample_tables<T>>();
  fresh->width = train.width();
  fresh->classes = train.classes();
  for (std::size_t i = 0; i < shards.size(); ++i) {
    if (shards[i].empty()) throw config_error{"node " + std::to_string(i) + " needs at least one sample, not 0"};
    fresh->first.push_back(fresh->first.back() + shards[i].size());
  }
  auto into = sample_writer<T>{fresh->pool, fresh->first.back(), train.width()};
  for (std::size_t i = 0; i < shards.size(); ++i) {
    for (auto const sample : shards[i]) {
      if (sample < train.samples()) {
        into.append(train, sample);
        continue;
      }
      throw config_error{"node " + std::to_string(i) + " is given sample " + std::to_string(sample) +
                         ", but the data have samples 0 to " + std::to_string(train.samples() - 1)};
    }
  }
  fresh->train = std::move(into).finish();
  return fresh;
}

template<class T>
auto gathered(train_and_test const& data, split::shards const& shards) -> std::shared_ptr<sample_tables<T>> {
  check_alike(data.train, data.test);
  auto fresh = gathered<T>(data.train, shards);
  auto into = sample_writer<T>{fresh->pool, data.test.samples(), data.test.width()};
  for (std::size_t i = 0; i < data.test.samples(); ++i) into.append(data.test, i);
  fresh->test = std::move(into).finish();
  return fresh;
}

/// All of them in another pool's memory, whose pool is given.
template<class T>
auto moved(sample_tables<T> const& from, buffer_pool const& pool) -> std::shared_ptr<sample_tables<T>> {
  auto there = std::make_shared<sample_tables<T>>(from);
  there->pool = pool;
  for (auto* of : {&there->train, &there->test}) {
    if (!of->features) continue;  // there are no held-out samples
    of->features = pool.bring_in(of->features);
    of->labels = pool.bring_in(of->labels);
  }
  return there;
}

/// Row r of a batch is the sample that draw r names: its index is a function of the key, so no table is needed.
template<class T>
struct drawn_rows {
  T const* features;
  std::int32_t const* labels;
  T* to;
  std::int32_t* to_labels;
  std::size_t width, first, size;  // of the shard: its first sample, and how many it has
  random_stream draw;

  RUBATO_HOST_DEVICE auto sample(std::size_t r) const -> std::size_t { return first + draw.ahead(r).below(size); }
  RUBATO_HOST_DEVICE void operator()(std::size_t r, std::size_t k) const {
    auto const i = sample(r);
    to[r * width + k] = features[i * width + k];
    if (k == 0) to_labels[r] = labels[i];
  }
  void part_of_row(std::size_t r, std::size_t begin, std::size_t end) const {
    auto const i = sample(r);
    std::copy(features + i * width + begin, features + i * width + end, to + r * width + begin);
    if (begin == 0) to_labels[r] = labels[i];
  }
};

/// What a scorer says of each row: its loss, or 1 where it is right and 0 elsewhere.
template<class T, class Scorer>
struct scored_rows {
  Scorer of;
  T* scores;
  std::size_t outputs;
  std::int32_t const* labels;
  double* said;
  bool losses;
  RUBATO_HOST_DEVICE void operator()(std::size_t r) const {
    auto* const row = scores + r * outputs;
    auto const label = static_cast<std::size_t>(labels[r]);
    said[r] = losses ? of.loss(row, label) : of.is_right(row, label) ? 1.0 : 0.0;
  }
};

}  // namespace rubato::problem::detail
