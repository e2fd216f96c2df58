// SPDX-License-Identifier: MIT
// Multinomial logistic regression: parameters x = [W (classes x width, row-major), c (classes)],
//   f_i(x) = mean over node i's shard of -log softmax(W a + c)[label] + l2/2 |W|^2        (c is not regularised)
//   F(x)   = (1/n) sum_i f_i(x)
// so a sample of node i weighs 1/(n |shard i|). Shards of equal size make F the plain mean over all samples; where the
// sizes differ, the weights do too, and F is exactly what the nodes together minimise.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/problem/dataset.hpp>
#include <rubato/problem/split.hpp>

namespace rubato::problem {

/// `batch`: samples of one stochastic gradient, drawn uniformly from the node's shard with replacement.
struct softmax_options {
  double l2 = 0;
  std::size_t batch = 32;
};

struct loss_and_share {
  double loss = 0;
  double accuracy = 0;
};

namespace detail {

template <class T>
struct softmax_row {
  T sum;        // of the exponentials
  double loss;  // -log softmax[label]
};

/// z <- exp(z + bias - max(z + bias)), which cannot overflow. The loss is not finite if a logit is not: 0 times a
/// logit is 0 or not a number, while a class at minus infinity would otherwise vanish without a trace.
template <class T>
auto exponentials(std::span<T> z, T const* bias, std::size_t label) -> softmax_row<T> {
  auto largest = -std::numeric_limits<T>::infinity();
  T poison = 0;
  for (std::size_t c = 0; c < z.size(); ++c) {
    z[c] += bias[c];
    largest = std::max(largest, z[c]);
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
template <class T>
auto cross_entropy_gradient(std::span<T> z, T const* bias, std::size_t label) -> double {
  auto const row = exponentials(z, bias, label);
  for (auto& value : z) value /= row.sum;
  z[label] -= T{1};
  return row.loss;
}

/// Whether z + bias is largest at label, and at no lower class as large; false where a value is not a number.
template <class T>
auto is_largest(std::span<T const> z, T const* bias, std::size_t label) -> bool {
  auto const own = z[label] + bias[label];
  for (std::size_t c = 0; c < z.size(); ++c) {
    auto const other = z[c] + bias[c];
    if (c < label ? !(own > other) : !(own >= other)) return false;
  }
  return true;
}

}  // namespace detail

/// The samples are kept as T in host memory, each node's together, and shared by copies, so that a copy costs nothing
/// and threads read the same bytes. Vectors must lie in memory that the host can read; products are the backend's.
/// **Thread safety:** const calls from several threads are fine, each with a backend handle of its own.
/// **Models:** gradient_oracle, has_loss, has_accuracy, for backends of scalar T.
template <std::floating_point T>
class softmax_regression {
 public:
  /// Without held-out data: accuracy() is not a number. Throws config_error if a shard is empty or names a sample that
  /// does not exist, if l2 is negative or not finite, or if the batch is empty.
  softmax_regression(dataset const& train, split::shards const& shards, softmax_options options = {})
      : data_{gathered(train, shards)}, options_{checked(options)} {}

  /// As above, judged on data.test. Throws config_error, too, if its width or classes are not those of data.train.
  softmax_regression(train_and_test const& data, split::shards const& shards, softmax_options options = {})
      : data_{gathered(data, shards)}, options_{checked(options)} {}

  [[nodiscard]] auto dimension() const -> std::size_t { return weights() + data_->classes; }
  [[nodiscard]] auto nodes() const -> std::size_t { return data_->first.size() - 1; }
  [[nodiscard]] auto classes() const -> std::size_t { return data_->classes; }
  [[nodiscard]] auto width() const -> std::size_t { return data_->width; }
  [[nodiscard]] auto options() const -> softmax_options { return options_; }
  /// The same problem over the same data, which are shared, with another batch; throws config_error if that is empty.
  [[nodiscard]] auto with_batch(std::size_t batch) const -> softmax_regression {
    auto copy = *this;
    copy.options_.batch = batch;
    copy.options_ = checked(copy.options_);
    return copy;
  }
  /// How many samples a node holds.
  [[nodiscard]] auto shard_size(std::size_t node) const -> std::size_t {
    RUBATO_EXPECTS(node < nodes(), "a problem is asked for one of its own nodes");
    return data_->first[node + 1] - data_->first[node];
  }

  /// Writes the gradient of f_i over the batch that the key names, with regularisation, into g and returns that batch's
  /// loss. Requires key.node < nodes(). Reads W 3 times and g once, writes g twice; copies the batch once.
  template <backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  auto gradient(Backend& b, std::span<T const> x, sample_key key, std::span<T> g) const -> double {
    RUBATO_EXPECTS(x.size() == dimension() && g.size() == dimension(), "x and g have the problem's dimension");
    auto const size = shard_size(to_index(key.node));
    auto const begin = data_->first[to_index(key.node)];
    auto picked = b.template allocate<T>(options_.batch * width());
    auto labels = b.template allocate<std::int32_t>(options_.batch);
    random_stream draw{key};
    for (std::size_t r = 0; r < options_.batch; ++r) {
      auto const sample = begin + draw.below(size);
      std::copy_n(data_->train.features.data() + sample * width(), width(), picked.data() + r * width());
      labels.data()[r] = data_->train.labels[sample];
    }
    auto const penalty = start(b, x, g);
    auto const sum = accumulate(b, x, {picked.data(), labels.data(), options_.batch, options_.batch}, g);
    return penalty + sum / static_cast<double>(options_.batch);
  }

  /// Writes the exact gradient of f_node, over its whole shard, into g and returns f_node(x). For tests and references.
  template <backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  auto full_gradient(Backend& b, std::span<T const> x, node_id node, std::span<T> g) const -> double {
    RUBATO_EXPECTS(x.size() == dimension() && g.size() == dimension(), "x and g have the problem's dimension");
    auto const size = shard_size(to_index(node));
    auto const begin = data_->first[to_index(node)];
    auto const penalty = start(b, x, g);
    double sum = 0;
    for (std::size_t from = 0; from < size; from += tile_rows) {
      auto const rows = std::min(tile_rows, size - from);
      sum += accumulate(b, x, neighbours(begin + from, rows, size), g);
    }
    return penalty + sum / static_cast<double>(size);
  }

  /// F(x) over all training data; not finite if x is not. Reads the data once.
  template <backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  [[nodiscard]] auto loss(Backend& b, std::span<T const> x) const -> double {
    RUBATO_EXPECTS(x.size() == dimension(), "x has the problem's dimension");
    double mean = 0;
    double sum = 0;
    std::size_t node = 0;
    for_logits(b, x, data_->train, [&](std::size_t sample, std::span<T> z, std::size_t label) {
      sum += detail::exponentials(z, x.data() + weights(), label).loss;
      if (sample + 1 != data_->first[node + 1]) return;
      mean += sum / static_cast<double>(shard_size(node)) / static_cast<double>(nodes());
      sum = 0;
      ++node;
    });
    return mean + regularisation(b, x);
  }

  /// The share of held-out samples whose own class has the largest logit (the lowest class where several have it),
  /// 0..1; not a number without held-out data. A sample with a logit that is not a number counts as wrong.
  template <backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  [[nodiscard]] auto accuracy(Backend& b, std::span<T const> x) const -> double {
    RUBATO_EXPECTS(x.size() == dimension(), "x has the problem's dimension");
    if (data_->test.labels.empty()) return std::numeric_limits<double>::quiet_NaN();
    std::size_t right = 0;
    for_logits(b, x, data_->test, [&](std::size_t, std::span<T const> z, std::size_t label) {
      right += detail::is_largest(z, x.data() + weights(), label) ? 1U : 0U;
    });
    return static_cast<double>(right) / static_cast<double>(data_->test.labels.size());
  }

  template <backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  [[nodiscard]] auto loss_and_accuracy(Backend& b, std::span<T const> x) const -> loss_and_share {
    return {loss(b, x), accuracy(b, x)};
  }

 private:
  // 256 rows of 784 floats stay in a second-level cache while their logits are made.
  static constexpr std::size_t tile_rows = 256;

  /// Neighbouring samples; their mean is taken over `total`, of which they may be a part.
  struct sample_rows {
    T const* features = nullptr;  // count x width, row-major
    std::int32_t const* labels = nullptr;
    std::size_t count = 0;
    std::size_t total = 0;
  };

  struct samples {
    std::vector<T> features;  // row-major
    std::vector<std::int32_t> labels;

    void reserve(std::size_t count, std::size_t width) {
      features.reserve(count * width);
      labels.reserve(count);
    }
    void append(dataset const& from, std::size_t i) {
      for (auto const value : from.row(i)) features.push_back(static_cast<T>(value));
      labels.push_back(from.labels()[i]);
    }
  };

  struct tables {
    std::size_t width = 0;
    std::size_t classes = 0;
    std::vector<std::size_t> first{0};  // node i has samples first[i] .. first[i + 1] - 1 of train
    samples train;
    samples test;
  };

  static auto checked(softmax_options options) -> softmax_options {
    if (!(options.l2 >= 0) || !std::isfinite(options.l2)) {
      throw config_error{"the l2 regularisation must be a finite number of at least 0, not " +
                         std::to_string(options.l2)};
    }
    if (options.batch == 0) throw config_error{"the batch must hold at least one sample, not 0"};
    return options;
  }

  static auto gathered(dataset const& train, split::shards const& shards) -> std::shared_ptr<tables> {
    if (shards.empty()) throw config_error{"training needs at least one node that holds samples"};
    auto fresh = std::make_shared<tables>();
    fresh->width = train.width();
    fresh->classes = train.classes();
    for (std::size_t i = 0; i < shards.size(); ++i) {
      if (shards[i].empty()) throw config_error{"node " + std::to_string(i) + " needs at least one sample, not 0"};
      fresh->first.push_back(fresh->first.back() + shards[i].size());
    }
    fresh->train.reserve(fresh->first.back(), train.width());
    for (std::size_t i = 0; i < shards.size(); ++i) {
      for (auto const sample : shards[i]) {
        if (sample < train.samples()) {
          fresh->train.append(train, sample);
          continue;
        }
        throw config_error{"node " + std::to_string(i) + " is given sample " + std::to_string(sample) +
                           ", but the data have samples 0 to " + std::to_string(train.samples() - 1)};
      }
    }
    return fresh;
  }

  static auto gathered(train_and_test const& data, split::shards const& shards) -> std::shared_ptr<tables> {
    problem::detail::check_alike(data.train, data.test);
    auto fresh = gathered(data.train, shards);
    fresh->test.reserve(data.test.samples(), data.test.width());
    for (std::size_t i = 0; i < data.test.samples(); ++i) fresh->test.append(data.test, i);
    return fresh;
  }

  [[nodiscard]] auto weights() const -> std::size_t { return data_->classes * data_->width; }

  [[nodiscard]] auto neighbours(std::size_t begin, std::size_t count, std::size_t total) const -> sample_rows {
    return {data_->train.features.data() + begin * width(), data_->train.labels.data() + begin, count, total};
  }

  /// g <- the gradient of the regularisation, whose value is returned.
  template <class Backend>
  auto start(Backend& b, std::span<T const> x, std::span<T> g) const -> double {
    b.sweep({0, weights()}, backend::scale_kernel<T>{x.data(), g.data(), static_cast<T>(options_.l2)});
    std::fill(g.begin() + static_cast<std::ptrdiff_t>(weights()), g.end(), T{0});
    return regularisation(b, x);
  }

  // Without l2 the product is skipped: its squares overflow long before the loss does, and 0 times infinity is no loss.
  template <class Backend>
  auto regularisation(Backend& b, std::span<T const> x) const -> double {
    return options_.l2 > 0 ? 0.5 * options_.l2 * b.dot(x.data(), x.data(), weights()) : 0.0;
  }

  /// g += the gradient of the rows' cross-entropies over `total`; returns the sum of the cross-entropies.
  template <class Backend>
  auto accumulate(Backend& b, std::span<T const> x, sample_rows rows, std::span<T> g) const -> double {
    auto const share = T{1} / static_cast<T>(rows.total);
    auto logits = b.template allocate<T>(rows.count * classes());
    b.multiply(forward(rows.count), T{1}, rows.features, x.data(), T{0}, logits.data());
    double sum = 0;
    for (std::size_t r = 0; r < rows.count; ++r) {
      auto const z = logits.view().subspan(r * classes(), classes());
      auto const label = static_cast<std::size_t>(rows.labels[r]);
      sum += detail::cross_entropy_gradient(z, x.data() + weights(), label);
      for (std::size_t c = 0; c < z.size(); ++c) g[weights() + c] += share * z[c];
    }
    auto const backward =
        backend::product_shape{classes(), width(), rows.count, backend::transposed::yes, backend::transposed::no};
    b.multiply(backward, share, logits.data(), rows.features, T{1}, g.data());
    return sum;
  }

  // Samples times classes is the orientation that Eigen is fastest at, by 5 to 30 % over classes times samples.
  [[nodiscard]] auto forward(std::size_t rows) const -> backend::product_shape {
    return {rows, classes(), width(), backend::transposed::no, backend::transposed::yes};
  }

  /// Calls visit(sample, logits without bias, label) for every sample, in order.
  template <class Backend, class Visit>
  void for_logits(Backend& b, std::span<T const> x, samples const& of, Visit&& visit) const {
    auto logits = b.template allocate<T>(tile_rows * classes());
    for (std::size_t from = 0; from < of.labels.size(); from += tile_rows) {
      auto const rows = std::min(tile_rows, of.labels.size() - from);
      b.multiply(forward(rows), T{1}, of.features.data() + from * width(), x.data(), T{0}, logits.data());
      for (std::size_t r = 0; r < rows; ++r) {
        visit(from + r, logits.view().subspan(r * classes(), classes()), static_cast<std::size_t>(of.labels[from + r]));
      }
    }
  }

  std::shared_ptr<tables const> data_;
  softmax_options options_;
};

}  // namespace rubato::problem
