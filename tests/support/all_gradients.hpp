// SPDX-License-Identifier: MIT
// What every problem of the library computes on a backend, as doubles: for comparing backends.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/random.hpp>
#include <rubato/problem/any_oracle.hpp>
#include <rubato/problem/clipped.hpp>
#include <rubato/problem/deep_perceptron.hpp>
#include <rubato/problem/logistic_regression.hpp>
#include <rubato/problem/multilayer_perceptron.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/problem/softmax_regression.hpp>
#include <rubato/run/metrics.hpp>

namespace rubato::test {

/// 90 samples of 13 features and 4 classes, the same everywhere.
inline auto four_classes(std::uint64_t seed) -> problem::dataset {
  random_stream draw{0x64657669ULL, seed};
  std::vector<float> features(90 * 13);
  for (auto& value : features) value = static_cast<float>(draw.normal());
  std::vector<std::uint16_t> labels(90);
  for (auto& label : labels) label = static_cast<std::uint16_t>(draw.below(4));
  return {features, labels, 4};
}

/// A gradient at a random model, then the loss and the accuracy of the mean of two models.
struct problem_values {
  std::string problem;
  std::vector<double> gradient;
  std::vector<double> score;
  double loss = 0;  ///< of the batch
};

template<class Backend, class Problem>
auto values_of(std::string name, Backend b, Problem const& p) -> problem_values {
  using T = typename Backend::scalar;
  auto const model = [&](std::uint64_t seed) {
    auto here = b.pool().host_side().template allocate<T>(p.dimension());
    random_stream draw{0x6d6f64ULL, seed};
    for (auto& value : here.view()) value = static_cast<T>(0.3 * draw.normal());
    return b.pool().bring_in(std::move(here).publish());
  };
  auto const oracle = problem::any_oracle{b, p};
  auto const first = model(1), second = model(2);
  auto const g = oracle.evaluate({ticket{7}, first, sample_key{3, node_id{1}, 4}});
  problem_values all{std::move(name), {}, {}, g.loss};
  rubato::detail::widen(g.value.on_host(), all.gradient);
  auto const s = oracle.score_mean(std::vector{first, second});
  all.score = {s.loss, s.accuracy};
  return all;
}

/// One of each problem, on three nodes. Nothing that the library has is missing here but what is host code.
template<class Backend>
auto all_values(Backend const& b) -> std::vector<problem_values> {
  using T = typename Backend::scalar;
  auto const data = problem::train_and_test{four_classes(1), four_classes(2)};
  auto const shards = split::by_label(data.train, 3, 1);
  auto const net = problem::multilayer_perceptron<T>{data, shards, {.l2 = 0.1, .batch = 17, .hidden = 21}};
  std::vector<problem_values> all;
  all.push_back(values_of("quadratic", b, problem::quadratic::random(3, 203, 5)));
  all.push_back(values_of("quadratic with noise", b, problem::quadratic::random(3, 5000, 5, {.noise = 0.1})));
  all.push_back(
      values_of("softmax_regression", b, problem::softmax_regression<T>{data, shards, {.l2 = 0.1, .batch = 300}}));
  all.push_back(values_of("logistic_regression", b,
                          problem::logistic_regression<T>{data, shards, {.l2 = 0.1, .batch = 9, .threshold = 2}}));
  all.push_back(values_of("multilayer_perceptron", b, net));
  all.push_back(values_of("multilayer_perceptron with another batch", b, net.with_batch(260)));
  all.push_back(
      values_of("deep_perceptron", b, problem::deep_perceptron<T>{data, shards, {.batch = 19, .hidden = {11, 8, 5}}}));
  all.push_back(values_of("clipped by norm", b, problem::clipped{net, 0.01}));
  all.push_back(values_of("clipped by value", b, problem::clipped{net, 0.01, problem::clipping::by_value}));
  return all;
}

/// The largest distance between two lists, in units of 1 + the right value; infinite where one has no number, or
/// another length.
inline auto farthest_from(std::vector<double> const& right, std::vector<double> const& found) -> double {
  if (right.size() != found.size()) return std::numeric_limits<double>::infinity();
  auto worst = 0.0;
  for (std::size_t k = 0; k < right.size(); ++k) {
    if (std::isnan(right[k]) && std::isnan(found[k])) continue;
    auto const off = std::abs(found[k] - right[k]) / (1 + std::abs(right[k]));
    worst = std::isnan(off) ? std::numeric_limits<double>::infinity() : std::max(worst, off);
  }
  return worst;
}

}  // namespace rubato::test
