// SPDX-License-Identifier: MIT
// A problem made of a LibTorch module and a loss function, on the CPU:
//   f_i(x) = the mean over node i's samples of loss(module(inputs), targets); x is all parameters, one after the other
// Parameters are views of the vector that a driver gives, and gradients are summed straight into the vector it wants:
// no parameter and no gradient is copied between LibTorch and rubato. Modules on a GPU are refused.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <torch/torch.h>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/problem/dataset.hpp>
#include <rubato/problem/sharded_loss.hpp>
#include <rubato/problem/split.hpp>

namespace rubato::problem {

/// What a module learns from at once; the first dimension of both counts the samples.
struct torch_batch {
  ::torch::Tensor inputs;
  ::torch::Tensor targets;
};

namespace detail {

template<std::floating_point T>
inline constexpr auto torch_type = std::same_as<T, float> ? ::torch::kFloat32 : ::torch::kFloat64;

inline auto torch_name(::torch::Dtype type) -> std::string { return std::string{c10::toString(type)}; }

/// A parameter, by its name, and where it begins in the model vector.
struct torch_parameter {
  std::string name;
  ::torch::Tensor tensor;
  std::int64_t begin = 0;
};

/// The parameters that are trained, in the order of the module, one that is shared by two parts once.
inline auto trained_parameters(::torch::nn::Module const& module) -> std::vector<torch_parameter> {
  std::vector<torch_parameter> found;
  std::int64_t at = 0;
  for (auto const& entry : module.named_parameters()) {
    auto const& tensor = entry.value();
    if (!tensor.requires_grad()) continue;
    auto known = false;
    for (auto const& other : found) known = known || other.tensor.is_same(tensor);
    if (known) continue;
    found.push_back({entry.key(), tensor, at});
    at += tensor.numel();
  }
  return found;
}

/// Buffers and frozen parameters of `to` become those of `from`, a module of the same make.
inline void copy_untrained(::torch::nn::Module const& from, ::torch::nn::Module const& to) {
  ::torch::NoGradGuard const quiet;
  auto const old_buffers = from.named_buffers(), new_buffers = to.named_buffers();
  for (auto const& entry : old_buffers) new_buffers[entry.key()].copy_(entry.value());
  auto const old_parameters = from.named_parameters(), new_parameters = to.named_parameters();
  for (auto const& entry : old_parameters) {
    if (!entry.value().requires_grad()) new_parameters[entry.key()].copy_(entry.value());
  }
}

template<class T>
void check_parameters(std::vector<torch_parameter> const& all) {
  if (all.empty()) throw config_error{"the module has no parameter that is trained"};
  for (auto const& [name, tensor, begin] : all) {
    if (!tensor.device().is_cpu()) {
      throw config_error{"parameter " + name + " lies on " + tensor.device().str() +
                         ", but all parameters of a module must lie on the CPU"};
    }
    if (tensor.scalar_type() != torch_type<T>) {
      throw config_error{"parameter " + name + " is of type " + torch_name(tensor.scalar_type()) +
                         ", but the nodes' models are of type " + torch_name(torch_type<T>) +
                         "; module->to(...) converts all parameters"};
    }
  }
}

/// forward(inputs, draws) is the module's own, and not one that takes anything, as that of torch::nn::Sequential does.
template<class Module>
concept takes_generator = requires(Module& m, ::torch::Tensor const& inputs, ::torch::Generator& draws) {
  { m.forward(inputs, draws) } -> std::same_as<::torch::Tensor>;
} && !requires(Module& m, ::torch::Tensor const& inputs, torch_parameter& other) { m.forward(inputs, other); };

/// Calls forward with the generator if the module takes one.
template<class Module>
auto forward_of(Module& module, ::torch::Tensor const& inputs, std::uint64_t seed) -> ::torch::Tensor {
  if constexpr (takes_generator<Module>) {
    auto draws = ::at::make_generator<::at::CPUGeneratorImpl>(seed);
    return module.forward(inputs, draws);
  } else {
    return module.forward(inputs);
  }
}

}  // namespace detail

/// Samples of shards as tensors: inputs of type T, shaped as is asked, and labels as 64-bit integers, as
/// torch::nll_loss and torch::cross_entropy_loss take them. A batch is drawn with replacement, from the key alone, as
/// sharded_loss draws it. Data are kept once and shared by copies; a batch copies its own.
/// **Thread safety:** const calls from several threads are fine.
template<std::floating_point T>
class torch_samples {
 public:
  /// `shape` is that of one sample, {1, 28, 28} for an image of 28 x 28. Throws config_error if it has not as many
  /// values as a sample has features, if the batch is empty, or as sharded_loss does for data and shards.
  torch_samples(train_and_test const& data, split::shards const& shards, std::vector<std::int64_t> shape,
                std::size_t batch)
      : data_{detail::gathered<T>(data, shards)}, shape_{std::move(shape)}, batch_{batch} {
    std::int64_t values = 1;
    for (auto const size : shape_) values *= size;
    if (values != static_cast<std::int64_t>(data_->width)) {
      throw config_error{"the shape of a sample holds " + std::to_string(values) + " values, but samples have " +
                         std::to_string(data_->width) + " features"};
    }
    if (batch_ == 0) throw config_error{"the batch must hold at least one sample, not 0"};
  }

  [[nodiscard]] auto nodes() const -> std::size_t { return data_->first.size() - 1; }

  /// The mini-batch of a key; requires key.node < nodes().
  auto operator()(sample_key key) const -> torch_batch {
    auto const node = to_index(key.node);
    RUBATO_EXPECTS(node < nodes(), "a problem is asked for one of its own nodes");
    auto const begin = data_->first[node], size = data_->first[node + 1] - begin;
    std::vector<std::size_t> picked(batch_);
    random_stream draw{key};
    for (auto& sample : picked) sample = begin + draw.below(size);
    return copied(data_->train, picked);
  }

  /// visit(batch, weight) for all data of all nodes, in order. A batch's mean loss has that weight in F; they sum to 1.
  template<class Visit>
  void train(Visit&& visit) const {
    for (std::size_t i = 0; i < nodes(); ++i) {
      auto const begin = data_->first[i], end = data_->first[i + 1];
      visit_rows(data_->train, begin, end, [&](torch_batch const& batch, std::size_t rows) {
        visit(batch, static_cast<double>(rows) / static_cast<double>(end - begin) / static_cast<double>(nodes()));
      });
    }
  }
  /// visit(batch) for all held-out data.
  template<class Visit>
  void test(Visit&& visit) const {
    visit_rows(data_->test, 0, data_->test.count(), [&](torch_batch const& batch, std::size_t) { visit(batch); });
  }

 private:
  static constexpr std::size_t rows_at_once = 256;

  auto copied(detail::samples<T> const& from, std::span<std::size_t const> rows) const -> torch_batch {
    auto size = shape_;
    size.insert(size.begin(), static_cast<std::int64_t>(rows.size()));
    torch_batch batch{::torch::empty(size, detail::torch_type<T>),
                      ::torch::empty({static_cast<std::int64_t>(rows.size())}, ::torch::kInt64)};
    auto* const inputs = batch.inputs.template data_ptr<T>();
    auto* const targets = batch.targets.template data_ptr<std::int64_t>();
    auto const* const features = from.features.template view<T>().data();
    auto const* const labels = from.labels.template view<std::int32_t>().data();
    for (std::size_t r = 0; r < rows.size(); ++r) {
      std::copy_n(features + rows[r] * data_->width, data_->width, inputs + r * data_->width);
      targets[r] = labels[rows[r]];
    }
    return batch;
  }

  template<class Visit>
  void visit_rows(detail::samples<T> const& from, std::size_t begin, std::size_t end, Visit&& visit) const {
    std::vector<std::size_t> rows;
    for (auto at = begin; at < end;) {
      rows.clear();
      while (at < end && rows.size() < rows_at_once) rows.push_back(at++);
      visit(copied(from, rows), rows.size());
    }
  }

  std::shared_ptr<detail::sample_tables<T> const> data_;
  std::vector<std::int64_t> shape_;
  std::size_t batch_;
};

/// See from_torch. A gradient writes g once and then reads and writes it once more, beside what the module does.
/// **Thread safety:** gradients of different nodes may be asked for by several threads at once, each node's own by one
/// at a time; loss() and accuracy() by any. LibTorch's own threads are added to those of the nodes: with a thread a
/// node, call at::set_num_threads(1) first. Sums may differ in their last bits with that number. Copies of a problem
/// share its modules: all that is said here is of all of them together.
/// **Models:** gradient_oracle, has_loss and has_accuracy for backends of scalar T; the last two give NaN where the
/// batches name no data for them.
template<std::floating_point T, class Make, class Loss, class Batches>
class torch_problem {
  using handle = decltype(std::declval<Make const&>()());
  using module_type = std::remove_reference_t<decltype(*std::declval<handle&>())>;
  using pointer = std::shared_ptr<module_type>;

 public:
  /// Throws config_error; see from_torch.
  torch_problem(std::size_t count, Make make, Loss objective, Batches batches)
      : make_{std::move(make)}, loss_{std::move(objective)}, batches_{std::move(batches)} {
    if (count == 0) throw config_error{"training needs at least one node, not 0"};
    if constexpr (requires {
                    { batches_.nodes() } -> std::convertible_to<std::size_t>;
                  }) {
      if (batches_.nodes() != count) {
        throw config_error{"there are samples for " + std::to_string(batches_.nodes()) + " nodes, but " +
                           std::to_string(count) + " nodes"};
      }
    }
    auto shared = std::make_shared<std::vector<replica>>();
    for (std::size_t i = 0; i <= count; ++i) {  // the last is never trained
      shared->push_back(replica{made(), {}});
      auto& [module, parameters] = shared->back();
      parameters = detail::trained_parameters(*module);
      detail::check_parameters<T>(parameters);
    }
    auto const& last = shared->back().parameters.back();
    dimension_ = static_cast<std::size_t>(last.begin + last.tensor.numel());
    refuse_shared(*shared);
    for (std::size_t i = 0; i < count; ++i) detail::copy_untrained(*shared->back().module, *(*shared)[i].module);
    replicas_ = std::move(shared);
    probe();
  }

  [[nodiscard]] auto dimension() const -> std::size_t { return dimension_; }
  [[nodiscard]] auto nodes() const -> std::size_t { return replicas_->size() - 1; }

  /// The parameters of one module as it was made. They come from LibTorch's generator, so that processes which call
  /// torch::manual_seed with the same seed before they make the problem begin with the same model.
  [[nodiscard]] auto initial() const -> std::vector<T> {
    std::vector<T> x(dimension_);
    for (auto const& [name, tensor, begin] : replicas_->back().parameters) {
      auto const flat = tensor.detach().contiguous();
      std::copy_n(flat.template data_ptr<T>(), flat.numel(), x.begin() + begin);
    }
    return x;
  }

  /// Requires key.node < nodes(). Until the node's next gradient its module refers to the memory of x. Throws what the
  /// module, the loss or the batches throw; config_error if the loss does not depend on the parameters.
  template<backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  auto gradient(Backend&, std::span<T const> x, sample_key key, std::span<T> g) const -> double {
    RUBATO_EXPECTS(x.size() == dimension_ && g.size() == dimension_, "x and g have the problem's dimension");
    RUBATO_EXPECTS(to_index(key.node) < nodes(), "a problem is asked for one of its own nodes");
    auto const& [module, parameters] = (*replicas_)[to_index(key.node)];
    std::fill(g.begin(), g.end(), T{0});
    bind(parameters, x);
    for (auto const& [name, tensor, begin] : parameters) {
      tensor.mutable_grad() = ::torch::from_blob(g.data() + begin, tensor.sizes(), detail::torch_type<T>);
    }
    auto const value = loss_at(*module, batches_(key), key);
    value.backward();
    for (auto const& [name, tensor, begin] : parameters) {
      RUBATO_EXPECTS(tensor.grad().data_ptr() == g.data() + begin, "LibTorch sums gradients where it is told to");
      tensor.mutable_grad() = ::torch::Tensor{};
    }
    return value.template item<double>();
  }

  /// F(x) by a module of its own in evaluation mode. If the module has buffers, as batch norm its running means, they
  /// are taken from one pass over the training data at x before, so that F depends on x alone.
  template<backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  [[nodiscard]] auto loss(Backend&, std::span<T const> x) const -> double {
    RUBATO_EXPECTS(x.size() == dimension_, "x has the problem's dimension");
    if constexpr (has_training_data) {
      ::torch::NoGradGuard const quiet;
      auto const judge = evaluating(x);
      double sum = 0;
      batches_.train([&](torch_batch const& batch, double weight) {
        sum += weight * loss_(detail::forward_of(*judge, batch.inputs, 0), batch.targets).template item<double>();
      });
      return sum;
    } else {
      return std::numeric_limits<double>::quiet_NaN();
    }
  }

  /// The share of held-out targets that are the largest output, in the same mode as loss(). The second dimension of the
  /// outputs counts the classes; the others are those of the targets, one or several a sample.
  template<backend::array_backend Backend>
    requires std::same_as<typename Backend::scalar, T>
  [[nodiscard]] auto accuracy(Backend&, std::span<T const> x) const -> double {
    RUBATO_EXPECTS(x.size() == dimension_, "x has the problem's dimension");
    std::int64_t right = 0, all = 0;
    if constexpr (requires { batches_.test([](torch_batch const&) {}); }) {
      ::torch::NoGradGuard const quiet;
      auto const judge = evaluating(x);
      batches_.test([&](torch_batch const& batch) {
        auto const outputs = detail::forward_of(*judge, batch.inputs, 0);
        right += outputs.argmax(1).eq(batch.targets).sum().template item<std::int64_t>();
        all += batch.targets.numel();
      });
    }
    return static_cast<double>(right) / static_cast<double>(all);
  }

 private:
  static constexpr bool has_training_data = requires(Batches const& b) { b.train([](torch_batch const&, double) {}); };

  struct replica {
    pointer module;
    std::vector<detail::torch_parameter> parameters;
  };

  auto made() const -> pointer {
    if constexpr (requires(handle const& h) { h.ptr(); }) return make_().ptr();
    else return make_();
  }

  static constexpr auto is_made_anew = "each node trains a module of its own, so make() returns a new one at each call";

  /// Throws config_error unless all have modules of their own, and trained parameters too.
  static void refuse_shared(std::vector<replica> const& all) {
    std::set<void const*> modules, storages;
    for (auto const& [module, parameters] : all) {
      if (!modules.insert(module.get()).second)
        throw config_error{std::string{"make() returned one and the same module twice: "} + is_made_anew};
      std::set<void const*> own;
      for (auto const& each : parameters) {
        auto const* const storage = each.tensor.storage().unsafeGetStorageImpl();
        if (storages.contains(storage))
          throw config_error{"two modules of make() share the memory of parameter " + each.name + ": " + is_made_anew};
        own.insert(storage);
      }
      storages.merge(own);
    }
  }

  /// The parameters become views of x, which LibTorch only reads.
  static void bind(std::vector<detail::torch_parameter> const& parameters, std::span<T const> x) {
    auto* const data = const_cast<T*>(x.data());
    for (auto const& [name, tensor, begin] : parameters) {
      tensor.set_data(::torch::from_blob(data + begin, tensor.sizes(), detail::torch_type<T>));
    }
  }

  auto loss_at(module_type& module, torch_batch const& batch, sample_key key) const -> ::torch::Tensor {
    auto const seed = random_stream{key}.with(1).bits();
    auto const value = loss_(detail::forward_of(module, batch.inputs, seed), batch.targets);
    if (value.numel() != 1) {
      throw config_error{"the loss of a batch must be one value, not " + std::to_string(value.numel())};
    }
    if (!value.requires_grad()) throw config_error{"the loss does not depend on the parameters of the module"};
    return value;
  }

  /// One gradient of a module that is thrown away.
  void probe() const {
    auto const module = made();
    auto const parameters = detail::trained_parameters(*module);
    auto const key = sample_key{0, node_id{0}, 0};
    auto const batch = batches_(key);
    auto generator = ::at::detail::getDefaultCPUGenerator();
    auto const before = generator.get_state();
    auto const value = loss_at(*module, batch, key);
    if (!before.equal(generator.get_state())) {
      throw config_error{
          "the module draws from LibTorch's generator (as dropout does), which all threads share, so equal keys would "
          "not give equal gradients; forward(inputs, torch::Generator&) is given a generator of its key"};
    }
    std::vector<::torch::Tensor> const losses{value};
    std::vector<::torch::Tensor> tensors;
    for (auto const& each : parameters) tensors.push_back(each.tensor);
    auto depends = false;
    for (auto const& g : ::torch::autograd::grad(losses, tensors, {}, {}, false, true)) {
      depends = depends || g.defined();
    }
    if (!depends) throw config_error{"the loss does not depend on the parameters of the module"};
  }

  auto evaluating(std::span<T const> x) const -> pointer {
    auto judge = made();
    for (auto const& each : *replicas_) {
      if (each.module == judge)
        throw config_error{std::string{"make() returned a module that it had returned before: "} + is_made_anew};
    }
    detail::copy_untrained(*replicas_->back().module, *judge);
    bind(detail::trained_parameters(*judge), x);
    if constexpr (has_training_data) {
      if (!judge->named_buffers().is_empty()) {
        judge->train();
        batches_.train([&](torch_batch const& batch, double) { detail::forward_of(*judge, batch.inputs, 0); });
      }
    }
    judge->eval();
    return judge;
  }

  Make make_;
  Loss loss_;
  Batches batches_;
  std::size_t dimension_ = 0;
  std::shared_ptr<std::vector<replica> const> replicas_;
};

/// A problem for that many nodes of scalar T (float or double).
///   make() -> a std::shared_ptr, or a holder such as torch::nn::Sequential: a new module of always the same shape, in
///             training mode, on the CPU. One is made a node, two more at once, and one for each loss() and accuracy().
///   loss(outputs, targets) -> a tensor of one value, the mean over the batch
///   batches(sample_key) -> torch_batch, drawn from the key alone; torch_samples is one. With train(visit) and
///             test(visit), as torch_samples has them, loss() and accuracy() are known.
/// All three are called as const from several threads at once. The model vector holds the parameters that require a
/// gradient, in the order of named_parameters(). Frozen ones and buffers are no part of it: all modules begin with
/// those of one, and each changes its own as it trains. They are neither exchanged nor saved, and a gradient must not
/// depend on what changes (batch norm's does not in training mode: it only keeps running means for later).
/// A module that draws random numbers has forward(inputs, torch::Generator&), which gets a generator seeded by the key.
/// Throws config_error, before the start, if there are no nodes, nothing is trained, a parameter is not of type T or
/// not on the CPU, two modules are one or share the memory of a trained parameter, the loss of a first batch is not one
/// value or does not depend on the parameters, or the module draws from LibTorch's own generator. Needs the component
/// `torch`.
template<std::floating_point T, class Make, class Loss, class Batches>
[[nodiscard]] auto from_torch(std::size_t nodes, Make make, Loss loss, Batches batches)
    -> torch_problem<T, Make, Loss, Batches> {
  return {nodes, std::move(make), std::move(loss), std::move(batches)};
}

}  // namespace rubato::problem
