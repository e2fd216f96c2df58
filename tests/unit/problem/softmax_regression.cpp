// SPDX-License-Identifier: MIT
#include <rubato/problem/softmax_regression.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <rubato/backend/checked.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>

#include "support/catch.hpp"
#include "support/problem_checks.hpp"

namespace {

namespace backend = rubato::backend;
namespace split = rubato::split;
using rubato::node_id;
using rubato::random_stream;
using rubato::sample_key;
using rubato::problem::dataset;
using rubato::problem::softmax_options;
using rubato::problem::softmax_regression;
using rubato::test::gradient_error;
using rubato::test::random_vector;
using rubato::test::refusal;

constexpr std::size_t width = 6;
constexpr std::size_t classes = 4;
constexpr std::size_t dimension = classes * width + classes;

auto random_samples(std::size_t samples, std::uint64_t seed) -> dataset {
  random_stream draw{0x74657374ULL, seed};
  std::vector<float> features(samples * width);
  for (auto& value : features) value = static_cast<float>(draw.normal());
  std::vector<std::uint16_t> labels(samples);
  for (auto& label : labels) label = static_cast<std::uint16_t>(draw.below(classes));
  return {features, labels, classes};
}

// F by the formulas at the head of the header, one sample after the other, without any care for speed or overflow.
auto slow_node_loss(dataset const& data, std::vector<std::uint32_t> const& shard, std::vector<double> const& x,
                    double l2) -> double {
  double sum = 0;
  for (auto const i : shard) {
    double all = 0;
    double own = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      auto logit = x[classes * width + c];
      for (std::size_t k = 0; k < width; ++k) logit += x[c * width + k] * static_cast<double>(data.row(i)[k]);
      all += std::exp(logit);
      if (c == data.labels()[i]) own = logit;
    }
    sum += std::log(all) - own;
  }
  double squares = 0;
  for (std::size_t k = 0; k < classes * width; ++k) squares += x[k] * x[k];
  return sum / static_cast<double>(shard.size()) + 0.5 * l2 * squares;
}

template<class T>
auto in_double(std::span<T const> x) -> std::vector<double> {
  return {x.begin(), x.end()};
}

template<class T>
constexpr double tolerance = sizeof(T) == 4 ? 2e-5 : 1e-12;

}  // namespace

TEMPLATE_TEST_CASE("softmax regression's gradients are the derivatives of the losses that they return", "",
                   backend::host<float>, backend::host<double>, backend::eigen<float>, backend::eigen<double>,
                   backend::checked<backend::eigen<double>>) {
  using T = typename TestType::scalar;
  TestType b;
  auto const data = random_samples(40, 1);
  auto const problem = softmax_regression<T>{data, split::iid(data, 3, 1), {.l2 = 0.1, .batch = 5}};
  REQUIRE(problem.dimension() == dimension);
  auto x = random_vector(b, dimension, 2, 0.5);
  auto scratch = b.template allocate<T>(dimension);
  auto const limit = sizeof(T) == 4 ? 1e-3 : 1e-8;

  SECTION("over a mini-batch") {
    auto const key = sample_key{3, node_id{1}, 4};
    problem.gradient(b, x.view(), key, scratch.view());
    auto const g = std::vector<T>(scratch.view().begin(), scratch.view().end());
    CHECK(gradient_error(x, g, [&](auto at) { return problem.gradient(b, at, key, scratch.view()); }) < limit);
  }
  SECTION("over a whole shard") {
    problem.full_gradient(b, x.view(), node_id{2}, scratch.view());
    auto const g = std::vector<T>(scratch.view().begin(), scratch.view().end());
    CHECK(gradient_error(x, g, [&](auto at) { return problem.full_gradient(b, at, node_id{2}, scratch.view()); }) <
          limit);
  }
  SECTION("over all nodes") {
    std::vector<T> mean(dimension);
    for (std::uint32_t i = 0; i < 3; ++i) {
      problem.full_gradient(b, x.view(), node_id{i}, scratch.view());
      for (std::size_t k = 0; k < dimension; ++k) mean[k] += scratch.data()[k] / T{3};
    }
    CHECK(gradient_error(x, mean, [&](auto at) { return problem.loss(b, at); }) < limit);
  }
}

TEMPLATE_TEST_CASE("softmax regression's loss is the mean of the nodes' losses, whatever the sizes of their shards", "",
                   backend::host<double>, backend::eigen<float>, backend::eigen<double>) {
  using T = typename TestType::scalar;
  TestType b;
  auto const data = random_samples(1001, 7);  // more than one tile, and no multiple of the nodes
  auto const x = random_vector(b, dimension, 3);
  for (auto const nodes : {1UL, 3UL, 1001UL}) {
    auto shards = split::by_label(data, nodes, 1);
    if (nodes == 3) shards[0].resize(7);
    auto const problem = softmax_regression<T>{data, shards, {.l2 = 0.01, .batch = 1}};
    double expected = 0;
    for (auto const& shard : shards) expected += slow_node_loss(data, shard, in_double(x.view()), 0.01);
    expected /= static_cast<double>(nodes);
    CHECK(problem.loss(b, x.view()) == Approx(expected).epsilon(tolerance<T>));
    std::vector<T> g(dimension);
    CHECK(problem.full_gradient(b, x.view(), node_id{0}, g) ==
          Approx(slow_node_loss(data, shards[0], in_double(x.view()), 0.01)).epsilon(tolerance<T>));
  }
}

TEMPLATE_TEST_CASE("softmax regression on Eigen agrees with the reference backend", "", float, double) {
  backend::host<TestType> host;
  backend::eigen<TestType> eigen;
  auto const data = random_samples(300, 5);
  auto const problem = softmax_regression<TestType>{
      rubato::problem::train_and_test{data, random_samples(100, 6)}, split::iid(data, 4, 1), {.l2 = 0.01, .batch = 32}};
  auto const x = random_vector(host, dimension, 9);
  for (std::uint64_t k = 0; k < 20; ++k) {
    auto const key = sample_key{1, node_id{static_cast<std::uint32_t>(k % 4)}, k};
    std::vector<TestType> a(dimension);
    std::vector<TestType> c(dimension);
    auto const loss = problem.gradient(host, x.view(), key, a);
    CHECK(problem.gradient(eigen, x.view(), key, c) == Approx(loss).epsilon(tolerance<TestType>));
    for (std::size_t i = 0; i < dimension; ++i) CHECK(std::abs(a[i] - c[i]) < tolerance<TestType>);
  }
  CHECK(problem.loss(eigen, x.view()) == Approx(problem.loss(host, x.view())).epsilon(tolerance<TestType>));
  CHECK(problem.accuracy(eigen, x.view()) == problem.accuracy(host, x.view()));
}

TEST_CASE("equal keys draw equal batches and give equal bits, other keys do not") {
  backend::eigen<float> b;
  auto const data = random_samples(200, 2);
  auto const problem = softmax_regression<float>{data, split::iid(data, 2, 1), {.l2 = 0, .batch = 8}};
  auto const copy = problem;
  auto const x = random_vector(b, dimension, 1);
  auto const at = [&](softmax_regression<float> const& of, sample_key key) {
    std::vector<float> g(dimension);
    of.gradient(b, x.view(), key, g);
    return g;
  };
  auto const first = at(problem, {1, node_id{0}, 0});
  CHECK(at(problem, {1, node_id{0}, 1}) != first);
  CHECK(at(problem, {1, node_id{1}, 0}) != first);
  CHECK(at(problem, {2, node_id{0}, 0}) != first);
  CHECK(at(problem, {1, node_id{0}, 0}) == first);
  CHECK(at(copy, {1, node_id{0}, 0}) == first);
  auto const smaller = problem.with_batch(2);
  CHECK(smaller.options().batch == 2);
  CHECK(at(smaller, {1, node_id{0}, 0}) != first);
  CHECK(at(smaller.with_batch(8), {1, node_id{0}, 0}) == first);
  CHECK(refusal([&] { return problem.with_batch(0); }) == "the batch must hold at least one sample, not 0");
}

TEST_CASE("mini-batch gradients are unbiased and use the node's own samples alone") {
  backend::eigen<double> b;
  auto const data = random_samples(30, 3);
  auto const problem = softmax_regression<double>{data, split::by_label(data, 2, 1), {.l2 = 0.1, .batch = 50}};
  auto const x = random_vector(b, dimension, 1, 0.3);
  std::vector<double> exact(dimension);
  std::vector<double> mean(dimension);
  std::vector<double> g(dimension);
  auto const exact_loss = problem.full_gradient(b, x.view(), node_id{1}, exact);
  double loss = 0;
  auto const draws = 2000;
  for (std::uint64_t k = 0; k < draws; ++k) {
    loss += problem.gradient(b, x.view(), {1, node_id{1}, k}, g) / draws;
    for (std::size_t i = 0; i < dimension; ++i) mean[i] += g[i] / draws;
  }
  CHECK(loss == Approx(exact_loss).epsilon(0.01));
  for (std::size_t i = 0; i < dimension; ++i) CHECK(std::abs(mean[i] - exact[i]) < 0.02);
}

TEST_CASE("accuracy counts the held-out samples whose own class is largest; the lowest class wins a tie") {
  backend::eigen<float> b;
  auto const train = dataset{{1, 2}, {0, 1}, 2};
  auto const test = dataset{{1, -1, 2, 3}, {0, 1, 1, 0}, 2};
  auto const problem = softmax_regression<float>{rubato::problem::train_and_test{train, test}, {{0, 1}}};
  auto const nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(problem.accuracy(b, std::vector<float>{1, 0, 0, 0}) == 0.75);  // 1, 2 and 3 are called 0, -1 is called 1
  CHECK(problem.accuracy(b, std::vector<float>{0, 0, 0, 0}) == 0.5);   // all are called 0
  CHECK(problem.accuracy(b, std::vector<float>{0, 0, 0, 1}) == 0.5);   // all are called 1
  CHECK(problem.accuracy(b, std::vector<float>{0, 0, nan, 0}) == 0.0);
  auto const both = problem.loss_and_accuracy(b, std::vector<float>{1, 0, 0, 0});
  CHECK(both.accuracy == 0.75);
  CHECK(both.loss == problem.loss(b, std::vector<float>{1, 0, 0, 0}));
  auto const without = softmax_regression<float>{train, {{0, 1}}};
  CHECK(std::isnan(without.accuracy(b, std::vector<float>{0, 0, 0, 0})));
}

TEST_CASE("a loss is not finite if x is not, and huge finite x neither overflow nor trap") {
  backend::eigen<float> b;
  auto const data = dataset{{1, 2, 3, 4}, {0, 1}, 3};  // class 2 never occurs
  auto const problem = softmax_regression<float>{data, {{0}, {1}}, {.l2 = 0, .batch = 4}};
  std::vector<float> g(problem.dimension());
  auto const infinity = std::numeric_limits<float>::infinity();
  for (auto const bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (std::size_t k = 0; k < problem.dimension(); ++k) {
      std::vector<float> x(problem.dimension());
      x[k] = bad;
      CHECK(!std::isfinite(problem.loss(b, x)));
      CHECK(!std::isfinite(problem.gradient(b, x, {1, node_id{0}, 0}, g)));
    }
  }
  std::vector<float> x(problem.dimension());
  x[0] = 1e30F;  // the logits of class 0 are 1e30 and 3e30
  CHECK(problem.loss(b, x) == Approx(1.5e30));
  problem.gradient(b, x, {1, node_id{1}, 0}, g);
  CHECK(g[0] == 3);
}

TEST_CASE("softmax regression refuses unsuitable data and options, in a sentence") {
  auto const data = random_samples(10, 1);
  auto const refused = [&](split::shards const& shards, softmax_options options) {
    return refusal([&] { return softmax_regression<float>{data, shards, options}; });
  };
  CHECK(refused({}, {}) == "training needs at least one node that holds samples");
  CHECK(refused({{1}, {}}, {}) == "node 1 needs at least one sample, not 0");
  CHECK(refused({{1}, {10}}, {}) == "node 1 is given sample 10, but the data have samples 0 to 9");
  CHECK(refused({{1}}, {.l2 = -1, .batch = 1}) ==
        "the l2 regularisation must be a finite number of at least 0, not -1");
  CHECK(refused({{1}}, {.l2 = std::nan(""), .batch = 1}).find("the l2 regularisation must be") == 0);
  CHECK(refused({{1}}, {.l2 = 0, .batch = 0}) == "the batch must hold at least one sample, not 0");
  CHECK(refusal([&] {
          auto const other = dataset{{1, 2}, {0, 1}, classes};
          return softmax_regression<float>{rubato::problem::train_and_test{data, other}, {{0}}};
        }).find("the test data have 1 features and 4 classes") == 0);
}
