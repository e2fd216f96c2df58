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
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/backend/for_each.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/core/text.hpp>
#include <rubato/problem/concepts.hpp>
#include <rubato/problem/dataset.hpp>
#include <rubato/problem/detail/samples.hpp>
#include <rubato/problem/sample_rows.hpp>
#include <rubato/problem/split.hpp>

namespace rubato::problem {

struct loss_and_share {
  double loss = 0;
  double accuracy = 0;
};

/// What a Model must provide. It is made from (width, classes, options) and cheap to copy; options have l2 and batch.
///   dimension(), regularised()               values of x; l2 acts on the first regularised() of them
///   accumulate(b, x, rows, g) -> double      g += the gradient of the rows' losses over rows.total; returns the sum of
///                                            their losses, or NaN where it is not known
///   scores(b, x, rows, out)                  outputs() values per row: all that a scorer needs of a sample
///   scorer(x) -> s, trivially copyable, whose members are RUBATO_HOST_DEVICE:
///     s.loss(scores, label) -> double        may overwrite the scores; not finite if x is not
///     s.is_right(scores, label) -> bool
///   initial() -> std::vector<T>              only where zeros are not a good start
///   gradient_parts(), accumulate(b, x, rows, g, is_final)   only if a gradient is final part by part: see
///                                            gives_gradient_parts; from the only accumulation of a gradient
///   static constexpr bool reads_device_memory = true        if it computes by the backend's members, for_each and
///                                            for_each_cell alone: see the concept of that name
template<class M, class T, class Backend>
concept sample_model =
    std::constructible_from<M, std::size_t, std::size_t, typename M::options_type> &&
    requires(M const& m, Backend& b, std::span<T const> x, sample_rows<T> rows, std::span<T> g, std::size_t label) {
      { m.dimension() } -> std::same_as<std::size_t>;
      { m.regularised() } -> std::same_as<std::size_t>;
      { m.outputs() } -> std::same_as<std::size_t>;
      { m.accumulate(b, x, rows, g) } -> std::same_as<double>;
      m.scores(b, x, rows, g);
      { m.scorer(x).loss(g.data(), label) } -> std::same_as<double>;
      { m.scorer(x).is_right(x.data(), label) } -> std::same_as<bool>;
    };

/// The samples are kept as T, those of each node together, and shared by copies, so that a copy costs nothing and
/// threads read the same bytes: in host memory, or in the memory of the backend that move_data_to was given. Batches
/// are gathered there, and all is computed by the backend if the model says so (reads_device_memory). On a device
/// nothing waits: the loss of a gradient is NaN, which means not known.
/// **Thread safety:** const calls from several threads are fine, each with a backend handle of its own.
/// **Models:** gradient_oracle, has_loss, has_accuracy, for backends of scalar T.
template<std::floating_point T, class Model>
class sharded_loss {
 public:
  using options_type = typename Model::options_type;
  static constexpr bool reads_device_memory = problem::reads_device_memory<Model>;

  /// Without held-out data accuracy() is NaN. Throws config_error if a shard is empty or names a sample that does not
  /// exist, if l2 is negative or not finite, if the batch is empty, or as the model does.
  sharded_loss(dataset const& train, split::shards const& shards, options_type options = {})
      : data_{detail::gathered<T>(train, shards)}, options_{checked(options)}, model_{width(), classes(), options} {
    count_ones();
  }

  /// As above, with data.test as held-out data. Also throws config_error if its
  /// width or classes differ from data.train.
  sharded_loss(train_and_test const& data, split::shards const& shards, options_type options = {})
      : data_{detail::gathered<T>(data, shards)}, options_{checked(options)}, model_{width(), classes(), options} {
    count_ones();
  }

  /// Copies the samples into the backend's memory, once, if the host cannot read it; this object and its copies then
  /// serve that backend alone. Throws config_error if they do not fit.
  template<backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  void move_data_to(Backend& b) {
    try {
      data_ = detail::moved(*data_, b.pool());
      count_ones();
    } catch (std::bad_alloc const&) {
      auto const bytes = [](detail::samples<T> const& of) { return of.features.size_bytes() + of.labels.size_bytes(); };
      throw config_error{"the samples of the problem take " + std::to_string(bytes(data_->train) + bytes(data_->test)) +
                         " bytes, and " + std::string{Backend::name()} + " has not so much memory left"};
    }
  }

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
    copy.count_ones();
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
    auto const of_samples = said_of(b, x, data_->train, true);
    double mean = 0;
    for (std::size_t node = 0; node < nodes(); ++node) {
      double sum = 0;
      for (auto i = data_->first[node]; i < data_->first[node + 1]; ++i) sum += of_samples[i];
      mean += sum / static_cast<double>(shard_size(node)) / static_cast<double>(nodes());
    }
    return mean + regularisation(b, x);
  }

  /// The share of held-out samples that the model classifies correctly, 0..1; NaN without held-out data. A sample with
  /// a NaN score counts as wrong.
  template<backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  [[nodiscard]] auto accuracy(Backend& b, std::span<T const> x) const -> double {
    RUBATO_EXPECTS(x.size() == dimension(), "x has the problem's dimension");
    if (data_->test.count() == 0) return std::numeric_limits<double>::quiet_NaN();
    auto const of_samples = said_of(b, x, data_->test, false);
    double right = 0;
    for (auto const one : of_samples) right += one;
    return right / static_cast<double>(of_samples.size());
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
    return {all.features.template view<T>().data() + begin * width(),
            all.labels.template view<std::int32_t>().data() + begin, ones_.template view<T>().data(), count, total};
  }

  /// As many as rows are ever summed up together.
  void count_ones() {
    auto here = data_->pool.host_side().template allocate<T>((std::max)(options_.batch, tile_rows));
    std::fill_n(here.data(), here.size(), T{1});
    ones_ = data_->pool.bring_in(std::move(here).publish());
  }

  /// The backend computes on these data only where it can read them.
  template<class Backend>
  void expect_within_reach(Backend&) const {
    RUBATO_EXPECTS(ones_.is_on_host() != backend::has_host_twin<Backend>,
                   "the data of a problem lie where its backend computes: move_data_to brings them there");
  }

  /// Copies the batch of the key.
  template<class Backend>
  void draw(Backend& b, sample_key key, layer_pass<T>& into) const {
    expect_within_reach(b);
    auto const size = shard_size(to_index(key.node));
    auto const& all = data_->train;
    into.features = b.template allocate<T>(options_.batch * width());
    into.labels = b.template allocate<std::int32_t>(options_.batch);
    auto const rows = detail::drawn_rows<T>{all.features.template view<T>().data(),
                                            all.labels.template view<std::int32_t>().data(),
                                            into.features.data(),
                                            into.labels.data(),
                                            width(),
                                            data_->first[to_index(key.node)],
                                            size,
                                            random_stream{key}};
    backend::for_each_cell(b, options_.batch, width(), rows);
    into.rows = {into.features.data(), into.labels.data(), ones_.template view<T>().data(), options_.batch,
                 options_.batch};
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

  /// g <- the gradient of the regularisation; returns its value, or NaN where it would have to be waited for.
  template<class Backend>
  auto start(Backend& b, std::span<T const> x, std::span<T> g) const -> double {
    auto const weights = model_.regularised();
    b.sweep({0, weights}, backend::scale_kernel<T>{x.data(), g.data(), static_cast<T>(options_.l2)});
    b.sweep({weights, dimension()}, backend::zero_kernel<T>{g.data()});
    if constexpr (backend::has_host_twin<Backend>) return std::numeric_limits<double>::quiet_NaN();
    else return regularisation(b, x);
  }

  // Without l2 the product is skipped: its squares overflow long before the loss does, and 0 times infinity is NaN.
  template<class Backend>
  auto regularisation(Backend& b, std::span<T const> x) const -> double {
    return options_.l2 > 0 ? 0.5 * options_.l2 * b.dot(x.data(), x.data(), model_.regularised()) : 0.0;
  }

  /// What the model's scorer says of each sample, in order.
  template<class Backend>
  auto said_of(Backend& b, std::span<T const> x, detail::samples<T> const& of, bool losses) const
      -> std::vector<double> {
    static_assert(sample_model<Model, T, Backend>, "a model of samples has all that sample_model lists");
    using scorer = decltype(model_.scorer(x));
    expect_within_reach(b);
    auto const outputs = model_.outputs();
    auto scores = b.template allocate<T>(tile_rows * outputs);
    auto said = b.template allocate<double>(of.count());
    for (std::size_t from = 0; from < of.count(); from += tile_rows) {
      auto const rows = rows_of(of, from, (std::min)(tile_rows, of.count() - from), 1);
      model_.scores(b, x, rows, scores.view().first(rows.count * outputs));
      backend::for_each(b, rows.count,
                        detail::scored_rows<T, scorer>{model_.scorer(x), scores.data(), outputs, rows.labels,
                                                       said.data() + from, losses});
    }
    return b.pool().values(std::as_const(said).data(), of.count());
  }

  std::shared_ptr<detail::sample_tables<T> const> data_;
  options_type options_;
  Model model_;
  shared_buffer ones_{};
};

}  // namespace rubato::problem
