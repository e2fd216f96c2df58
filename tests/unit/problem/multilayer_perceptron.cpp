// SPDX-License-Identifier: MIT
// The problems of problem/sharded_loss.hpp that are not softmax regression: what they share is tested with that one.
#include <rubato/problem/logistic_regression.hpp>
#include <rubato/problem/multilayer_perceptron.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/checked.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/softmax_regression.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/problem_checks.hpp"

namespace {

using namespace rubato;
using problem::dataset;
using problem::logistic_regression;
using problem::multilayer_perceptron;
using problem::softmax_regression;
using problem::train_and_test;
using test::gradient_error;
using test::random_vector;
using test::refusal;

constexpr std::size_t width = 5;

auto random_samples(std::size_t samples, std::size_t classes, std::uint64_t seed) -> dataset {
  random_stream draw{0x74657374ULL, seed};
  std::vector<float> features(samples * width);
  for (auto& value : features) value = static_cast<float>(draw.normal());
  std::vector<std::uint16_t> labels(samples);
  for (auto& label : labels) label = static_cast<std::uint16_t>(draw.below(classes));
  return {features, labels, classes};
}

/// Over a mini-batch, over a shard, and over all nodes, against central differences.
template<class Problem, class Backend>
void check_gradients(Problem const& p, Backend b, double limit) {
  using T = typename Backend::scalar;
  auto const d = p.dimension();
  auto x = random_vector(b, d, 2, 0.5);
  auto scratch = b.template allocate<T>(d);
  auto const copy = [&] { return std::vector<T>(scratch.view().begin(), scratch.view().end()); };
  auto const key = sample_key{3, node_id{1}, 4};
  p.gradient(b, x.view(), key, scratch.view());
  auto g = copy();
  CHECK(gradient_error(x, g, [&](auto at) { return p.gradient(b, at, key, scratch.view()); }) < limit);
  p.full_gradient(b, x.view(), node_id{2}, scratch.view());
  g = copy();
  CHECK(gradient_error(x, g, [&](auto at) { return p.full_gradient(b, at, node_id{2}, scratch.view()); }) < limit);
  std::vector<T> mean(d);
  for (std::uint32_t i = 0; i < 3; ++i) {
    p.full_gradient(b, x.view(), node_id{i}, scratch.view());
    for (std::size_t k = 0; k < d; ++k) mean[k] += scratch.data()[k] / T{3};
  }
  CHECK(gradient_error(x, mean, [&](auto at) { return p.loss(b, at); }) < limit);
}

TEST_CASE("gradients of a perceptron and of logistic regression are the derivatives of the losses that they return") {
  auto const data = random_samples(40, 3, 1);
  auto const shards = split::iid(data, 3, 1);
  auto const net = multilayer_perceptron<double>{data, shards, {.l2 = 0.1, .batch = 5, .hidden = 7}};
  REQUIRE(net.dimension() == 7 * width + 3 * 7 + 7 + 3);
  check_gradients(net, backend::host<double>{}, 1e-8);
  check_gradients(net, backend::checked<backend::eigen<double>>{}, 1e-8);
  auto const two = logistic_regression<double>{data, shards, {.l2 = 0.1, .batch = 5, .threshold = 2}};
  REQUIRE(two.dimension() == width + 1);
  check_gradients(two, backend::host<double>{}, 1e-8);
  check_gradients(two, backend::checked<backend::eigen<double>>{}, 1e-8);
  check_gradients(logistic_regression<float>{data, shards, {.l2 = 0.1, .batch = 5}}, backend::eigen<float>{}, 1e-3);
}

// By the formula at the head of the header, without care for speed or overflow.
auto slow_perceptron_loss(dataset const& data, std::size_t hidden, std::vector<double> const& x) -> double {
  auto const classes = data.classes();
  auto const at_w = hidden * width, at_b = at_w + classes * hidden, at_c = at_b + hidden;
  double sum = 0;
  for (std::size_t i = 0; i < data.samples(); ++i) {
    std::vector<double> h(hidden), e(classes);
    for (std::size_t k = 0; k < hidden; ++k) {
      h[k] = x[at_b + k];
      for (std::size_t j = 0; j < width; ++j) h[k] += x[k * width + j] * static_cast<double>(data.row(i)[j]);
      h[k] = std::max(h[k], 0.0);
    }
    double all = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      e[c] = x[at_c + c];
      for (std::size_t k = 0; k < hidden; ++k) e[c] += x[at_w + c * hidden + k] * h[k];
      all += std::exp(e[c]);
    }
    sum += std::log(all) - e[data.labels()[i]];
  }
  return sum / static_cast<double>(data.samples());
}

TEST_CASE("a perceptron's loss is the formula's, on either backend") {
  backend::host<double> host;
  backend::eigen<double> eigen;
  auto const data = random_samples(300, 4, 5);  // more than one tile
  auto const net = multilayer_perceptron<double>{train_and_test{data, data}, split::iid(data, 1, 1), {.hidden = 6}};
  auto const x = random_vector(host, net.dimension(), 3);
  auto const expected = slow_perceptron_loss(data, 6, {x.view().begin(), x.view().end()});
  CHECK(net.loss(host, x.view()) == Approx(expected).epsilon(1e-12));
  CHECK(net.loss(eigen, x.view()) == Approx(expected).epsilon(1e-12));
  CHECK(net.accuracy(eigen, x.view()) == net.accuracy(host, x.view()));
}

TEST_CASE("logistic regression is softmax regression of two classes, seen from the second one") {
  backend::host<double> b;
  auto const data = random_samples(60, 2, 6);
  auto const shards = split::iid(data, 2, 1);
  auto const one = logistic_regression<double>{train_and_test{data, data}, shards, {.batch = 7}};
  auto const both = softmax_regression<double>{train_and_test{data, data}, shards, {.batch = 7}};
  auto const x = random_vector(b, width + 1, 8);
  std::vector<double> y(2 * width + 2);  // class 0 has zeros
  for (std::size_t k = 0; k < width; ++k) y[width + k] = x.data()[k];
  y[2 * width + 1] = x.data()[width];
  std::vector<double> g(width + 1), h(2 * width + 2);
  auto const key = sample_key{1, node_id{1}, 5};
  CHECK(one.gradient(b, x.view(), key, g) == Approx(both.gradient(b, y, key, h)).epsilon(1e-12));
  for (std::size_t k = 0; k < width; ++k) CHECK(g[k] == Approx(h[width + k]).margin(1e-14));
  CHECK(g[width] == Approx(h[2 * width + 1]).margin(1e-14));
  CHECK(one.loss(b, x.view()) == Approx(both.loss(b, y)).epsilon(1e-12));
  CHECK(one.accuracy(b, x.view()) == both.accuracy(b, y));
}

TEST_CASE("a threshold makes two classes of many: labels at or above it are class 1") {
  backend::host<double> b;
  auto const data = dataset{{1, 2, 3}, {0, 1, 2}, 3};
  auto const x = std::vector<double>{0, 1};  // t = 1 for every sample
  for (std::size_t threshold : {1U, 2U}) {
    auto const p = logistic_regression<double>{train_and_test{data, data}, {{0, 1, 2}}, {.threshold = threshold}};
    CHECK(p.accuracy(b, x) == Approx(static_cast<double>(3 - threshold) / 3));
    CHECK(p.loss(b, x) == Approx(std::log1p(std::exp(1.0)) - static_cast<double>(3 - threshold) / 3));
  }
}

TEST_CASE("a perceptron starts from keyed normal weights, and a run starts there") {
  auto const data = random_samples(20, 3, 1);
  auto const shards = split::iid(data, 1, 1);
  auto const make = [&](std::uint64_t seed) {
    return multilayer_perceptron<double>{data, shards, {.hidden = 400, .seed = seed}};
  };
  auto const x = make(1).initial();
  CHECK(make(1).initial() == x);
  CHECK(make(2).initial() != x);
  double squares = 0;
  for (std::size_t k = 0; k < 400 * width; ++k) squares += x[k] * x[k];
  CHECK(squares / (400 * width) == Approx(2.0 / width).epsilon(0.15));
  for (auto k = x.size() - 403; k < x.size(); ++k) CHECK(x[k] == 0.0);
  using node_type = r_fast<backend::host<double>>;
  auto const made = assemble<node_type>(topology::both(topology::line(1)), make(1), {});
  auto const first = made.nodes[0].estimate();
  CHECK(std::vector<double>(first.view<double>().begin(), first.view<double>().end()) == x);
}

TEST_CASE("a perceptron's gradient is final from the last layer to the first, and has the same bits in parts") {
  backend::eigen<double> b;
  auto const data = random_samples(40, 7, 3);
  auto const net =
      multilayer_perceptron<double>{data, {{0, 3, 5, 8, 9, 20, 39}}, {.l2 = 0.1, .batch = 9, .hidden = 5, .seed = 3}};
  auto const x = net.initial();
  std::vector<double> whole(x.size()), g(x.size(), 7.0);
  auto const key = sample_key{1, node_id{0}, 4};
  auto const loss = net.gradient(b, x, key, whole);
  auto const parts = net.gradient_parts();
  REQUIRE(parts.size() == 3);
  std::size_t at = 0;
  CHECK(net.gradient(b, x, key, g, [&](rubato::range r) {
    REQUIRE(r == parts[at++].values);
    for (auto k = r.begin; k < r.end; ++k) CHECK(g[k] == whole[k]);
  }) == loss);
  CHECK(at == 3);
  CHECK(g == whole);
  CHECK(parts.back().values == rubato::range{0, 25});  // the first layer's weights come last
  CHECK(parts[0].time + parts[1].time + parts[2].time == Approx(1));
}

TEST_CASE("a perceptron learns what no linear model can") {
  backend::eigen<double> b;
  auto const data = dataset{{0, 0, 0, 1, 1, 0, 1, 1}, {0, 1, 1, 0}, 2};  // exclusive or
  auto const net = multilayer_perceptron<double>{train_and_test{data, data}, {{0, 1, 2, 3}}, {.hidden = 8, .seed = 3}};
  auto x = net.initial();
  std::vector<double> g(x.size());
  auto const before = net.loss(b, x);
  for (int t = 0; t < 500; ++t) {
    net.full_gradient(b, x, node_id{0}, g);
    for (std::size_t k = 0; k < x.size(); ++k) x[k] -= 0.5 * g[k];
  }
  CHECK(net.accuracy(b, x) == 1.0);
  CHECK(net.loss(b, x) < 0.1 * before);
}

TEST_CASE("the losses of broken models are not finite, and huge scores neither overflow nor trap") {
  backend::eigen<double> b;
  auto const data = dataset{{1, 2, 3, 4}, {0, 1}, 2};
  auto const infinity = std::numeric_limits<double>::infinity();
  auto const check = [&](auto const& p) {
    std::vector<double> g(p.dimension());
    for (auto const bad : {infinity, -infinity, std::nan("")}) {
      for (std::size_t k = 0; k < p.dimension(); ++k) {
        std::vector<double> x(p.dimension(), 0.1);
        x[k] = bad;
        CHECK(!std::isfinite(p.loss(b, x)));
        CHECK(!std::isfinite(p.gradient(b, x, {1, node_id{0}, 0}, g) + p.gradient(b, x, {1, node_id{1}, 0}, g)));
      }
    }
  };
  check(logistic_regression<double>{data, {{0}, {1}}});
  check(multilayer_perceptron<double>{data, {{0}, {1}}, {.hidden = 3}});
  auto const p = logistic_regression<double>{data, {{0}, {1}}};
  CHECK(p.loss(b, std::vector<double>{1e200, 0, 0}) == Approx(0.5e200));  // wrong on one sample, right on the other
  std::vector<double> g(3);
  p.gradient(b, std::vector<double>{1e200, 0, 0}, {1, node_id{0}, 0}, g);
  CHECK(g == std::vector<double>{1, 2, 1});
}

TEST_CASE("a perceptron without hidden values and a threshold outside the labels are refused in a sentence") {
  auto const data = random_samples(10, 3, 1);
  CHECK(refusal([&] { return multilayer_perceptron<float>{data, {{0}}, {.hidden = 0}}; }) ==
        "a hidden layer must hold at least one value, not 0");
  for (std::size_t threshold : {0U, 3U}) {
    CHECK(refusal([&] { return logistic_regression<float>{data, {{0}}, {.threshold = threshold}}; }) ==
          "the threshold between the two classes must be a label from 1 to 2, not " + std::to_string(threshold));
  }
  CHECK(refusal([&] {
          return logistic_regression<float>{data, {{0}}, {.l2 = -1}};
        }).find("the l2 regularisation must be") == 0);
  CHECK(refusal([&] { return multilayer_perceptron<float>{data, {{0}}, {.batch = 0}}; }).find("the batch must hold") ==
        0);
}

}  // namespace
