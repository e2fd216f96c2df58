// SPDX-License-Identifier: MIT
// The common part of all problems that learn from labelled samples, whatever their model:
//   f_i(x) = mean over node i's shard of loss(x, sample) + l2/2 |the first regularised() values of x|^2
//   F(x)   = (1/n) sum_i f_i(x)
// so a sample of node i has weight 1/(n |shard i|). With shards of equal size F is the plain mean over all samples. If
// sizes differ, so do the weights, and the nodes together still minimise exactly F.
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
#include <rubato/core/text.hpp>
#include <rubato/problem/dataset.hpp>
#include <rubato/problem/split.hpp>

namespace rubato::problem {

struct loss_and_share {
  double loss = 0;
  double accuracy = 0;
};

/// Neighbouring samples in memory; their mean is taken over `total`, of which they may be only a part.
template<class T>
struct sample_rows {
  T const* features = nullptr;  ///< count x width, row-major
  std::int32_t const* labels = nullptr;
  std::size_t count = 0;
  std::size_t total = 0;
};

/// One pass over the layers of a model: its batch, and what each layer made of it.
template<class T>
struct layer_pass {
  writable_buffer<T> features{};  ///< of `rows`, if the pass has drawn them itself
  writable_buffer<std::int32_t> labels{};
  sample_rows<T> rows{};
  std::vector<writable_buffer<T>> values{};  ///< by layer: what it made; from the end on, slopes of the loss
  double loss = 0;  ///< once all layers were passed
};

namespace detail {

template<class T>
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

/// All samples of a run, those of each node together.
template<class T>
struct sample_tables {
  std::size_t width = 0;
  std::size_t classes = 0;
  std::vector<std::size_t> first{0};  // node i has samples first[i] .. first[i + 1] - 1 of train
  samples<T> train;
  samples<T> test;
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

template<class T>
auto gathered(train_and_test const& data, split::shards const& shards) -> std::shared_ptr<sample_tables<T>> {
  check_alike(data.train, data.test);
  auto fresh = gathered<T>(data.train, shards);
  fresh->test.reserve(data.test.samples(), data.test.width());
  for (std::size_t i = 0; i < data.test.samples(); ++i) fresh->test.append(data.test, i);
  return fresh;
}

}  // namespace detail

/// What a Model must provide. It is made from (width, classes, options) and cheap to copy; options have l2 and batch.
///   dimension(), regularised()               values of x; l2 acts on the first regularised() of them
///   accumulate(b, x, rows, g) -> double      g += the gradient of the rows' losses over rows.total; returns the sum of
///                                            their losses
///   scores(b, x, rows, out)                  outputs() values per row: all that the two below need of a sample
///   loss_of(x, scores, label) -> double      may overwrite the scores; not finite if x is not
///   is_right(x, scores, label) -> bool
///   initial() -> std::vector<T>              only where zeros are not a good start
///   gradient_parts(), accumulate(b, x, rows, g, is_final)   only if a gradient is final part by part: see
///                                            gives_gradient_parts; from the only accumulation of a gradient
template<class M, class T, class Backend>
concept sample_model =
    std::constructible_from<M, std::size_t, std::size_t, typename M::options_type> &&
    requires(M const& m, Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> g, std::size_t label) {
      { m.dimension() } -> std::same_as<std::size_t>;
      { m.regularised() } -> std::same_as<std::size_t>;
      { m.outputs() } -> std::same_as<std::size_t>;
      { m.accumulate(b, x, rows, g) } -> std::same_as<double>;
      m.scores(b, x, rows, g);
      { m.loss_of(x, g, label) } -> std::same_as<double>;
      { m.is_right(x, x, label) } -> std::same_as<bool>;
    };

/// The samples are kept as T in host memory, those of each node together, and shared by copies, so that a copy costs
/// nothing and threads read the same bytes. Vectors must lie in memory that the host
/// can read; products use the backend.
/// **Thread safety:** const calls from several threads are fine, each with a backend handle of its own.
/// **Models:** gradient_oracle, has_loss, has_accuracy, for backends of scalar T.
template<std::floating_point T, class Model>
class sharded_loss {
 public:
  using options_type = typename Model::options_type;

  /// Without held-out data accuracy() is NaN. Throws config_error if a shard is empty or names a sample that does not
  /// exist, if l2 is negative or not finite, if the batch is empty, or as the model does.
  sharded_loss(dataset const& train, split::shards const& shards, options_type options = {})
      : data_{detail::gathered<T>(train, shards)}, options_{checked(options)}, model_{width(), classes(), options} {}

  /// As above, with data.test as held-out data. Also throws config_error if its
  /// width or classes differ from data.train.
  sharded_loss(train_and_test const& data, split::shards const& shards, options_type options = {})
      : data_{detail::gathered<T>(data, shards)}, options_{checked(options)}, model_{width(), classes(), options} {}

  [[nodiscard]] auto dimension() const -> std::size_t { return model_.dimension(); }
  [[nodiscard]] auto nodes() const -> std::size_t { return data_->first.size() - 1; }
  [[nodiscard]] auto classes() const -> std::size_t { return data_->classes; }
  [[nodiscard]] auto width() const -> std::size_t { return data_->width; }
  [[nodiscard]] auto options() const -> options_type { return options_; }
  /// The same problem on the same, shared data with another batch; throws config_error if that is empty.
  [[nodiscard]] auto with_batch(std::size_t batch) const -> sharded_loss {
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
  /// The first model of a run, if the problem provides one.
  [[nodiscard]] auto initial() const -> std::vector<T>
    requires requires(Model const& m) { m.initial(); }
  {
    return model_.initial();
  }

  /// Writes the gradient of f_i over the batch of the key, with regularisation, into g and returns the loss of that
  /// batch. Requires key.node < nodes(). Copies the batch once; the model's passes over x and g, and one more to begin.
  template<backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  auto gradient(Backend& b, std::span<T const> x, sample_key key, std::span<T> g) const -> double {
    return gradient_of(b, x, key, g, [&](sample_rows<T> rows) { return model_.accumulate(b, x, rows, g); });
  }
  /// The same in parts; see gives_gradient_parts.
  template<backend::array_backend Backend, class IsFinal>
    requires std::same_as<typename Backend::scalar, T> && requires(Model const& m) { m.gradient_parts(); }
  auto gradient(Backend& b, std::span<T const> x, sample_key key, std::span<T> g, IsFinal const& is_final) const
      -> double {
    return gradient_of(b, x, key, g, [&](sample_rows<T> rows) { return model_.accumulate(b, x, rows, g, is_final); });
  }
  [[nodiscard]] auto gradient_parts() const
    requires requires(Model const& m) { m.gradient_parts(); }
  {
    return model_.gradient_parts();
  }

  /// Layer by layer; see layered_oracle. A pass begins with the batch of the key; its loss is the sum over the batch.
  template<backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  [[nodiscard]] auto begin_pass(Backend& b, sample_key key) const -> layer_pass<T> {
    layer_pass<T> pass;
    draw(b, key, pass);
    return pass;
  }
  [[nodiscard]] auto layers() const
    requires requires(Model const& m) { m.layers(); }
  {
    return model_.layers();
  }
  [[nodiscard]] auto of_layer(std::size_t l) const
    requires requires(Model const& m) { m.of_layer(l); }
  {
    return model_.of_layer(l);
  }
  template<backend::array_backend Backend>
  void forward(Backend& b, std::size_t l, std::span<T const> w, layer_pass<T>& pass) const
    requires requires(Model const& m) { m.forward(b, l, w, pass); }
  {
    model_.forward(b, l, w, pass);
  }
  template<backend::array_backend Backend>
  void backward(Backend& b, std::size_t l, std::span<T const> w, layer_pass<T>& pass, std::span<T> g) const
    requires requires(Model const& m) { m.backward(b, l, w, pass, g, T{0}); }
  {
    model_.backward(b, l, w, pass, g, T{0});
  }

  /// Writes the exact gradient of f_node, over its whole shard, into g and returns f_node(x). For tests and references.
  template<backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  auto full_gradient(Backend& b, std::span<T const> x, node_id node, std::span<T> g) const -> double {
    RUBATO_EXPECTS(x.size() == dimension() && g.size() == dimension(), "x and g have the problem's dimension");
    auto const size = shard_size(to_index(node));
    auto const begin = data_->first[to_index(node)];
    auto const penalty = start(b, x, g);
    double sum = 0;
    for (std::size_t from = 0; from < size; from += tile_rows) {
      auto const rows = (std::min)(tile_rows, size - from);
      sum += model_.accumulate(b, x, rows_of(data_->train, begin + from, rows, size), g);
    }
    return penalty + sum / static_cast<double>(size);
  }

  /// F(x) over all training data; not finite if x is not. Reads the data once.
  template<backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  [[nodiscard]] auto loss(Backend& b, std::span<T const> x) const -> double {
    RUBATO_EXPECTS(x.size() == dimension(), "x has the problem's dimension");
    double mean = 0;
    double sum = 0;
    std::size_t node = 0;
    for_scores(b, x, data_->train, [&](std::size_t sample, std::span<T> z, std::size_t label) {
      sum += model_.loss_of(x, z, label);
      if (sample + 1 != data_->first[node + 1]) return;
      mean += sum / static_cast<double>(shard_size(node)) / static_cast<double>(nodes());
      sum = 0;
      ++node;
    });
    return mean + regularisation(b, x);
  }

  /// The share of held-out samples that the model classifies correctly, 0..1; NaN without held-out data. A sample with
  /// a NaN score counts as wrong.
  template<backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  [[nodiscard]] auto accuracy(Backend& b, std::span<T const> x) const -> double {
    RUBATO_EXPECTS(x.size() == dimension(), "x has the problem's dimension");
    if (data_->test.labels.empty()) return std::numeric_limits<double>::quiet_NaN();
    std::size_t right = 0;
    for_scores(b, x, data_->test, [&](std::size_t, std::span<T const> z, std::size_t label) {
      right += model_.is_right(x, z, label) ? 1U : 0U;
    });
    return static_cast<double>(right) / static_cast<double>(data_->test.labels.size());
  }

  template<backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  [[nodiscard]] auto loss_and_accuracy(Backend& b, std::span<T const> x) const -> loss_and_share {
    return {loss(b, x), accuracy(b, x)};
  }

 private:
  // 256 rows of 784 floats stay in a second-level cache while their scores are computed.
  static constexpr std::size_t tile_rows = 256;

  static auto checked(options_type const& options) -> options_type const& {
    if (!(options.l2 >= 0) || !std::isfinite(options.l2)) {
      throw config_error{"the l2 regularisation must be a finite number of at least 0, not " + shortest(options.l2)};
    }
    if (options.batch == 0) throw config_error{"the batch must hold at least one sample, not 0"};
    return options;
  }

  [[nodiscard]] auto rows_of(detail::samples<T> const& all, std::size_t begin, std::size_t count,
                             std::size_t total) const -> sample_rows<T> {
    return {all.features.data() + begin * width(), all.labels.data() + begin, count, total};
  }

  /// Copies the batch of the key.
  template<class Backend>
  void draw(Backend& b, sample_key key, layer_pass<T>& into) const {
    auto const size = shard_size(to_index(key.node));
    auto const begin = data_->first[to_index(key.node)];
    into.features = b.template allocate<T>(options_.batch * width());
    into.labels = b.template allocate<std::int32_t>(options_.batch);
    random_stream stream{key};
    for (std::size_t r = 0; r < options_.batch; ++r) {
      auto const sample = begin + stream.below(size);
      std::copy_n(data_->train.features.data() + sample * width(), width(), into.features.data() + r * width());
      into.labels.data()[r] = data_->train.labels[sample];
    }
    into.rows = {into.features.data(), into.labels.data(), options_.batch, options_.batch};
  }

  template<class Backend, class Accumulate>
  auto gradient_of(Backend& b, std::span<T const> x, sample_key key, std::span<T> g, Accumulate const& accumulate) const
      -> double {
    RUBATO_EXPECTS(x.size() == dimension() && g.size() == dimension(), "x and g have the problem's dimension");
    layer_pass<T> batch;
    draw(b, key, batch);
    auto const penalty = start(b, x, g);
    auto const sum = accumulate(batch.rows);
    return penalty + sum / static_cast<double>(options_.batch);
  }

  /// g <- the gradient of the regularisation; returns its value.
  template<class Backend>
  auto start(Backend& b, std::span<T const> x, std::span<T> g) const -> double {
    auto const weights = model_.regularised();
    b.sweep({0, weights}, backend::scale_kernel<T>{x.data(), g.data(), static_cast<T>(options_.l2)});
    std::fill(g.begin() + static_cast<std::ptrdiff_t>(weights), g.end(), T{0});
    return regularisation(b, x);
  }

  // Without l2 the product is skipped: its squares overflow long before the loss does, and 0 times infinity is NaN.
  template<class Backend>
  auto regularisation(Backend& b, std::span<T const> x) const -> double {
    return options_.l2 > 0 ? 0.5 * options_.l2 * b.dot(x.data(), x.data(), model_.regularised()) : 0.0;
  }

  /// Calls visit(sample, scores, label) for every sample, in order.
  template<class Backend, class Visit>
  void for_scores(Backend& b, std::span<T const> x, detail::samples<T> const& of, Visit&& visit) const {
    static_assert(sample_model<Model, T, Backend>, "a model of samples has all that sample_model lists");
    auto const outputs = model_.outputs();
    auto scores = b.template allocate<T>(tile_rows * outputs);
    for (std::size_t from = 0; from < of.labels.size(); from += tile_rows) {
      auto const rows = (std::min)(tile_rows, of.labels.size() - from);
      model_.scores(b, x, rows_of(of, from, rows, rows), scores.view().first(rows * outputs));
      for (std::size_t r = 0; r < rows; ++r) {
        visit(from + r, scores.view().subspan(r * outputs, outputs), static_cast<std::size_t>(of.labels[from + r]));
      }
    }
  }

  std::shared_ptr<detail::sample_tables<T> const> data_;
  options_type options_;
  Model model_;
};

}  // namespace rubato::problem
