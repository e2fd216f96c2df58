// SPDX-License-Identifier: MIT
// LibTorch modules as problems: the same gradients as rubato's own models, without a copy, by several threads at once.
// (compiled by itself: LibTorch's CHECK would hide Catch2's)
#include <rubato/problem/torch.hpp>
#undef CHECK  // LibTorch has one of its own

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/multilayer_perceptron.hpp>
#include <rubato/problem/split.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

using namespace std::chrono_literals;
namespace nn = ::torch::nn;

constexpr std::int64_t inputs = 6, outputs = 3;
constexpr std::size_t features = inputs, hidden = 5, classes = outputs, batch = 8, nodes = 2;

auto drawn(std::size_t samples, std::uint64_t seed) -> problem::dataset {
  std::vector<float> values;
  std::vector<std::uint16_t> labels;
  random_stream draw{seed};
  for (std::size_t i = 0; i < samples; ++i) {
    labels.push_back(static_cast<std::uint16_t>(i % classes));
    for (std::size_t k = 0; k < features; ++k) {
      values.push_back(static_cast<float>(draw.normal() + (k % classes == i % classes ? 1.0 : 0.0)));
    }
  }
  return {std::move(values), std::move(labels), classes};
}

auto data() -> problem::train_and_test { return {drawn(60, 1), drawn(31, 2)}; }
auto shards() -> split::shards { return split::iid(data().train, nodes, 3); }

/// V and W first, then their biases, as rubato's perceptron lays them out; `seen` is where V lay in the last forward.
template<class T>
struct perceptron : nn::Module {
  ::torch::Tensor v, w, b, c;
  inline static thread_local void const* seen = nullptr;
  perceptron() {
    auto const type = ::torch::TensorOptions(problem::detail::torch_type<T>);
    v = register_parameter("v", ::torch::randn({5, inputs}, type));
    w = register_parameter("w", ::torch::randn({outputs, 5}, type));
    b = register_parameter("b", ::torch::randn({5}, type));
    c = register_parameter("c", ::torch::randn({outputs}, type));
  }
  auto forward(::torch::Tensor const& a) const -> ::torch::Tensor {
    seen = v.data_ptr();
    return ::torch::relu(a.mm(v.t()) + b).mm(w.t()) + c;
  }
};

auto cross_entropy(::torch::Tensor const& logits, ::torch::Tensor const& targets) -> ::torch::Tensor {
  return ::torch::cross_entropy_loss(logits, targets);
}

template<class T>
auto samples() -> problem::torch_samples<T> {
  return {data(), shards(), {inputs}, batch};
}
template<class T>
auto torch_perceptron() {
  ::torch::manual_seed(5);
  return problem::from_torch<T>(nodes, [] { return std::make_shared<perceptron<T>>(); }, &cross_entropy, samples<T>());
}

template<class T, class P>
auto gradient_of(P const& p, std::vector<T> const& x, sample_key key, double& loss) -> std::vector<T> {
  backend::host<T> b;
  std::vector<T> g(x.size(), std::numeric_limits<T>::quiet_NaN());
  loss = p.gradient(b, std::span<T const>{x}, key, std::span<T>{g});
  return g;
}

template<class T>
void same_as_our_own(double tolerance) {
  problem::multilayer_perceptron<T> const own{data(), shards(), {.l2 = 0, .batch = batch, .hidden = hidden}};
  auto const by_torch = torch_perceptron<T>();
  REQUIRE(by_torch.dimension() == own.dimension());
  auto const x = by_torch.initial();
  for (std::uint64_t draw = 0; draw < 4; ++draw) {
    sample_key const key{7, node_id{static_cast<std::uint32_t>(draw % nodes)}, draw};
    double wanted_loss = 0, loss = 0;
    auto const wanted = gradient_of<T>(own, x, key, wanted_loss), g = gradient_of<T>(by_torch, x, key, loss);
    CHECK(perceptron<T>::seen == x.data());
    CHECK(std::abs(loss - wanted_loss) <= tolerance);
    for (std::size_t k = 0; k < g.size(); ++k) CHECK(std::abs(double{g[k]} - double{wanted[k]}) <= tolerance);
    CHECK(gradient_of<T>(by_torch, x, key, loss) == g);
  }
  backend::host<T> b;
  CHECK(std::abs(by_torch.loss(b, std::span<T const>{x}) - own.loss(b, std::span<T const>{x})) <= tolerance);
  CHECK(by_torch.accuracy(b, std::span<T const>{x}) == own.accuracy(b, std::span<T const>{x}));
}

TEST_CASE("a module gives the gradient, loss and accuracy of rubato's own perceptron, from the caller's memory") {
  same_as_our_own<double>(1e-12);
  same_as_our_own<float>(1e-5);
}

TEST_CASE("equal seeds make equal first models") {
  CHECK(torch_perceptron<float>().initial() == torch_perceptron<float>().initial());
}

TEST_CASE("threads of different nodes get the gradients that one thread gets") {
  at::set_num_threads(1);
  auto const p = torch_perceptron<double>();
  auto const x = p.initial();
  auto const twenty = [&](std::uint32_t node) {
    std::vector<std::vector<double>> all;
    for (std::uint64_t draw = 0; draw < 20; ++draw) {
      double loss = 0;
      all.push_back(gradient_of<double>(p, x, {1, node_id{node}, draw}, loss));
    }
    return all;
  };
  auto const one = twenty(0), other = twenty(1);
  std::vector<std::vector<double>> at_once, meanwhile;
  std::thread second{[&] { meanwhile = twenty(1); }};
  at_once = twenty(0);
  second.join();
  CHECK(at_once == one);
  CHECK(meanwhile == other);
}

/// Dropout whose mask comes from the generator that it is given, behind a batch norm.
struct noisy : nn::Module {
  nn::Linear layer{nullptr};
  nn::BatchNorm1d norm{nullptr};
  noisy() {
    norm = register_module("norm", nn::BatchNorm1d(inputs));
    layer = register_module("layer", nn::Linear(inputs, outputs));
  }
  auto forward(::torch::Tensor const& a, ::torch::Generator& draws) -> ::torch::Tensor {
    auto const seen = norm->forward(a);
    if (!is_training()) return layer->forward(seen);
    return layer->forward(seen * ::torch::empty_like(seen).bernoulli_(0.5, draws) * 2);
  }
};

TEST_CASE("a module draws from a generator of the key, and running means do not change what comes later") {
  auto const p =
      problem::from_torch<float>(nodes, [] { return std::make_shared<noisy>(); }, &cross_entropy, samples<float>());
  CHECK(p.dimension() == 2 * features + features * classes + classes);
  auto const x = p.initial();
  backend::host<float> b;
  auto const before = p.loss(b, std::span<float const>{x});
  double loss = 0;
  auto const g = gradient_of<float>(p, x, {1, node_id{0}, 1}, loss);
  CHECK(gradient_of<float>(p, x, {2, node_id{0}, 1}, loss) != g);
  CHECK(gradient_of<float>(p, x, {1, node_id{0}, 1}, loss) == g);
  CHECK(std::isfinite(before));
  CHECK(p.loss(b, std::span<float const>{x}) == before);
}

TEST_CASE("R-FAST minimises a linear module") {
  // Node i wants weight (i, 2 i); with three nodes F is least at (1, 2).
  auto const batches = [](sample_key key) {
    auto const i = static_cast<double>(to_index(key.node));
    return problem::torch_batch{::torch::eye(2, ::torch::kFloat64), ::torch::tensor({{i}, {2 * i}}, ::torch::kFloat64)};
  };
  auto const make = [] {
    nn::Linear layer(nn::LinearOptions(2, 1).bias(false));
    layer->to(::torch::kFloat64);
    return layer;
  };
  auto const squared = [](::torch::Tensor const& y, ::torch::Tensor const& t) { return (y - t).square().sum() / 2; };
  auto const p = problem::from_torch<double>(3, make, squared, batches);
  using node = r_fast<backend::host<double>>;
  auto o = node::options{};
  o.step = 0.2;
  auto const r = simulate(assemble<node>(topology::binary_tree(3), p, o), {}, {.time = 8s});
  for (auto const& model : r.models) {
    CHECK(std::abs(model.view<double>()[0] - 1) < 1e-8);
    CHECK(std::abs(model.view<double>()[1] - 2) < 1e-8);
  }
}

template<class T, class Make, class Loss>
auto refused(Make make, Loss loss) -> std::string {
  return refusal([&] { static_cast<void>(problem::from_torch<T>(nodes, make, loss, samples<T>())); });
}

TEST_CASE("what cannot be trained is refused before the start") {
  auto const linear = [] { return nn::Linear(inputs, outputs); };
  CHECK(refused<float>([] { return nn::Sequential(nn::ReLU()); }, &cross_entropy) ==
        "the module has no parameter that is trained");
  CHECK(refused<double>(linear, &cross_entropy) ==
        "parameter weight is of type Float, but the nodes' models are of type Double; module->to(...) converts all "
        "parameters");
  auto const mixed = [] {
    nn::Sequential both(nn::Linear(6, 4), nn::Linear(4, 3));
    both[1]->to(::torch::kFloat64);
    return both;
  };
  CHECK(refused<float>(mixed, &cross_entropy) ==
        "parameter 1.weight is of type Double, but the nodes' models are of type Float; module->to(...) converts all "
        "parameters");
  auto const elsewhere = [linear] {
    auto layer = linear();
    layer->bias = layer->register_parameter("other", ::torch::ones({3}, ::torch::Device(::torch::kMeta)));
    return layer;
  };
  CHECK(refused<float>(elsewhere, &cross_entropy) ==
        "parameter other lies on meta, but all parameters of a module must lie on the CPU");
  CHECK(refused<float>([one = linear()] { return one; }, &cross_entropy) ==
        "make() returned one and the same module twice: each node trains a module of its own, so make() returns a new "
        "one at each call");
  auto const tied = [linear, weight = ::torch::randn({outputs, inputs})] {
    auto layer = linear();
    layer->weight.set_data(weight);
    return layer;
  };
  CHECK(says(refused<float>(tied, &cross_entropy), "two modules of make() share the memory of parameter weight"));
  auto kept = std::make_shared<std::vector<nn::Linear>>();
  auto const late = problem::from_torch<float>(
      nodes,
      [linear, kept] {
        if (kept->size() < nodes + 2) return kept->emplace_back(linear());
        return kept->front();
      },
      &cross_entropy, samples<float>());
  backend::host<float> b;
  auto const x = late.initial();
  CHECK(says(refusal([&] { static_cast<void>(late.loss(b, std::span<float const>{x})); }),
             "make() returned a module that it had returned before"));
  CHECK(refused<float>(linear, [](::torch::Tensor const&, ::torch::Tensor const&) { return ::torch::ones({}); }) ==
        "the loss does not depend on the parameters of the module");
  auto const another = ::torch::ones({}).requires_grad_();
  CHECK(refused<float>(linear, [another](::torch::Tensor const&, ::torch::Tensor const&) { return another * 2; }) ==
        "the loss does not depend on the parameters of the module");
  CHECK(refused<float>(linear, [](::torch::Tensor const& y, ::torch::Tensor const&) { return y; }) ==
        "the loss of a batch must be one value, not 24");
  CHECK(
      refused<float>([linear] { return nn::Sequential(nn::Dropout(0.5), linear()); }, &cross_entropy) ==
      "the module draws from LibTorch's generator (as dropout does), which all threads share, so equal keys would not "
      "give equal gradients; forward(inputs, torch::Generator&) is given a generator of its key");
  CHECK(refusal([&] { static_cast<void>(problem::from_torch<float>(5, linear, &cross_entropy, samples<float>())); }) ==
        "there are samples for 2 nodes, but 5 nodes");
  CHECK(refusal([&] { static_cast<void>(problem::from_torch<float>(0, linear, &cross_entropy, samples<float>())); }) ==
        "training needs at least one node, not 0");
  CHECK(refusal([&] { problem::torch_samples<float>{data(), shards(), {2, 2}, batch}; }) ==
        "the shape of a sample holds 4 values, but samples have 6 features");
  CHECK(refusal([&] { problem::torch_samples<float>{data(), shards(), {2, 3}, 0}; }) ==
        "the batch must hold at least one sample, not 0");
}

}  // namespace
}  // namespace rubato::test
