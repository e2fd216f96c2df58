// SPDX-License-Identifier: MIT
#include <rubato/problem/dataset.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <rubato/core/random.hpp>

#include "support/catch.hpp"
#include "support/problem_checks.hpp"

namespace {
using rubato::problem::dataset;
using rubato::problem::standardise;
using rubato::test::refusal;
}  // namespace

TEST_CASE("a dataset keeps its rows and labels") {
  auto const data = dataset{{1, 2, 3, 4, 5, 6}, {0, 2}, 3};
  CHECK(data.samples() == 2);
  CHECK(data.width() == 3);
  CHECK(data.classes() == 3);
  CHECK(data.row(1)[0] == 4.0F);
  CHECK(data.labels()[1] == 2);
}

TEST_CASE("a dataset refuses inconsistent content, in a sentence") {
  auto const nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(refusal([] { return dataset{{}, {}, 2}; }) == "a dataset needs at least one sample");
  CHECK(refusal([] { return dataset{{1, 2, 3}, {0, 1}, 2}; }) ==
        "a dataset needs the same positive number of features for every sample, but 3 features do not divide among 2 "
        "samples");
  CHECK(refusal([] { return dataset{{}, {0}, 2}; }).find("but 0 features do not divide") != std::string::npos);
  CHECK(refusal([] { return dataset{{1}, {0}, 1}; }) == "a dataset needs 2 to 65536 classes, not 1");
  CHECK(refusal([] { return dataset{{1}, {0}, 65537}; }) == "a dataset needs 2 to 65536 classes, not 65537");
  CHECK(refusal([] { return dataset{{1, 2}, {0, 5}, 5}; }) ==
        "sample 1 has label 5, but labels must be below the number of classes, 5");
  CHECK(refusal([&] { return dataset{{1, 2, 3, nan}, {0, 1}, 2}; }) == "feature 1 of sample 1 must be a finite number");
}

TEST_CASE("standardised training features have mean 0 and standard deviation 1") {
  rubato::random_stream draw{4};
  std::vector<float> features(200 * 5);
  for (auto& value : features) value = static_cast<float>(1000 + 3 * draw.normal());
  auto const data = dataset{features, std::vector<std::uint16_t>(200, 1), 2};
  auto const train = standardise(data, data).train;
  for (std::size_t k = 0; k < 5; ++k) {
    double sum = 0;
    double squares = 0;
    for (std::size_t i = 0; i < 200; ++i) {
      auto const value = static_cast<double>(train.row(i)[k]);
      sum += value;
      squares += value * value;
    }
    CHECK(std::abs(sum / 200) < 1e-6);
    CHECK(squares / 200 == Approx(1).epsilon(1e-6));
  }
  CHECK(train.labels()[0] == 1);
}

TEST_CASE("standardising applies the training data's mean and deviation to the test data") {
  auto const both = standardise(dataset{{0, 4}, {0, 1}, 2}, dataset{{2, 10}, {0, 1}, 2});  // mean 2, deviation 2
  CHECK(both.train.features()[0] == -1.0F);
  CHECK(both.train.features()[1] == 1.0F);
  CHECK(both.test.features()[0] == 0.0F);
  CHECK(both.test.features()[1] == 4.0F);
}

TEST_CASE("features that are constant in the training data become 0 in both sets") {
  // The mean of seven times 0.1F is not 0.1F in floating arithmetic: a test of the variance against 0 would fail.
  std::vector<float> features(7, 0.1F);
  auto const labels = std::vector<std::uint16_t>(7, 0);
  auto const both = standardise(dataset{features, labels, 2}, dataset{{0.7F}, {1}, 2});
  for (auto const value : both.train.features()) CHECK(value == 0.0F);
  CHECK(both.test.features()[0] == 0.0F);
}

TEST_CASE("standardising refuses test data of another shape") {
  auto const train = dataset{{1, 2, 3, 4}, {0, 1}, 2};
  CHECK(refusal([&] { return standardise(train, dataset{{1}, {0}, 2}); }) ==
        "the test data have 1 features and 2 classes, but the training data have 2 and 2");
  CHECK(refusal([&] { return standardise(train, dataset{{1, 2}, {0}, 3}); }) ==
        "the test data have 2 features and 3 classes, but the training data have 2 and 2");
}
