// SPDX-License-Identifier: MIT
#include <rubato/problem/quadratic.hpp>

#include <limits>
#include <vector>

#include <rubato/backend/checked.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>

#include "support/catch.hpp"
#include "support/problem_checks.hpp"

namespace {

namespace backend = rubato::backend;
using rubato::node_id;
using rubato::sample_key;
using rubato::problem::quadratic;
using rubato::test::gradient_error;
using rubato::test::random_vector;
using rubato::test::refusal;

auto sum_over_nodes(quadratic const& problem, std::vector<double> const& x) -> double {
  double sum = 0;
  for (std::size_t i = 0; i < problem.nodes(); ++i) {
    for (std::size_t k = 0; k < problem.dimension(); ++k) {
      auto const away = x[k] - problem.centre(i, k);
      sum += 0.5 * problem.curvature(i, k) * away * away;
    }
  }
  return sum / static_cast<double>(problem.nodes());
}

}  // namespace

TEMPLATE_TEST_CASE("a quadratic's gradient is the derivative of the loss that it returns, with and without noise", "",
                   backend::host<double>, backend::eigen<float>, backend::eigen<double>,
                   backend::checked<backend::host<double>>) {
  using T = typename TestType::scalar;
  TestType b;
  for (auto const noise : {0.0, 0.5}) {
    auto const problem = quadratic::random(3, 7, 11, {.spread = 2, .condition = 5, .noise = noise});
    auto x = random_vector(b, 7, 1);
    std::vector<T> g(7);
    std::vector<T> ignored(7);
    auto const key = sample_key{5, node_id{2}, 9};
    problem.gradient(b, x.view(), key, g);
    auto const loss = [&](auto at) { return problem.gradient(b, at, key, ignored); };
    CHECK(gradient_error(x, g, loss) < (sizeof(T) == 4 ? 1e-4 : 1e-8));
  }
}

TEST_CASE("a quadratic's loss is the mean of the losses of its nodes") {
  auto const problem = quadratic::random(5, 6, 3, {.spread = 3, .condition = 100, .noise = 0});
  backend::host<double> b;
  auto const x = std::vector<double>{1, -2, 3, -4, 5, -6};
  CHECK(problem.loss(b, x) == Approx(sum_over_nodes(problem, x)).epsilon(1e-12));
  double sum = 0;
  std::vector<double> g(6);
  for (std::uint32_t i = 0; i < 5; ++i) sum += problem.gradient(b, x, {1, node_id{i}, 0}, g);
  CHECK(problem.loss(b, x) == Approx(sum / 5).epsilon(1e-12));
}

TEST_CASE("a quadratic's optimum has a zero mean gradient and the smallest loss") {
  auto const problem = quadratic::random(4, 5, 8);
  backend::host<double> b;
  auto const x = problem.optimum();
  std::vector<double> mean(5);
  std::vector<double> g(5);
  for (std::uint32_t i = 0; i < 4; ++i) {
    problem.gradient(b, x, {1, node_id{i}, 0}, g);
    for (std::size_t k = 0; k < 5; ++k) mean[k] += g[k];
  }
  for (auto const value : mean) CHECK(std::abs(value) < 1e-14);
  CHECK(problem.loss(b, x) == problem.minimum());
  CHECK(problem.minimum() == Approx(sum_over_nodes(problem, x)).epsilon(1e-13));
  for (std::size_t k = 0; k < 5; ++k) {
    for (auto const step : {-1e-6, 1e-6}) {
      auto near = x;
      near[k] += step;
      CHECK(problem.loss(b, near) > problem.minimum());
    }
  }
}

TEST_CASE("a quadratic in two dimensions gives the numbers worked out by hand") {
  auto const problem = quadratic{{{1, 2}, {3, 2}}, {{0, 1}, {4, -1}}};
  CHECK(problem.dimension() == 2);
  CHECK(problem.nodes() == 2);
  CHECK(problem.optimum() == std::vector<double>{3, 0});
  CHECK(problem.minimum() == Approx(4));  // ((9 + 2) / 2 + (3 + 2) / 2) / 2
  backend::host<float> b;
  std::vector<float> g(2);
  CHECK(problem.gradient(b, std::vector<float>{1, 2}, {0, node_id{1}, 0}, g) == 0.5 * 3 * 9 + 0.5 * 2 * 9);
  CHECK(g == std::vector<float>{-9, 6});
}

TEST_CASE("a quadratic's noise is a function of the key, has mean zero and the standard deviation asked for") {
  auto const problem = quadratic{{{1}, {1}}, {{0}, {0}}, 0.25};
  backend::host<double> b;
  auto const x = std::vector<double>{0};
  auto const draw = [&](sample_key key) {
    std::vector<double> g(1);
    problem.gradient(b, x, key, g);
    return g[0];
  };
  CHECK(draw({1, node_id{0}, 7}) == draw({1, node_id{0}, 7}));
  CHECK(draw({1, node_id{0}, 7}) != draw({1, node_id{0}, 8}));
  CHECK(draw({1, node_id{0}, 7}) != draw({1, node_id{1}, 7}));
  CHECK(draw({1, node_id{0}, 7}) != draw({2, node_id{0}, 7}));
  double sum = 0;
  double squares = 0;
  auto const count = 20000;
  for (std::uint64_t i = 0; i < count; ++i) {
    auto const value = draw({3, node_id{0}, i});
    sum += value;
    squares += value * value;
  }
  CHECK(std::abs(sum / count) < 4 * 0.25 / std::sqrt(double{count}));
  CHECK(std::sqrt(squares / count) == Approx(0.25).epsilon(0.03));
}

TEST_CASE("a random quadratic is a function of its seed and keeps to its options") {
  auto const a = quadratic::random(6, 4, 1, {.spread = 2, .condition = 50, .noise = 0});
  auto const same = quadratic::random(6, 4, 1, {.spread = 2, .condition = 50, .noise = 0});
  auto const more_nodes = quadratic::random(9, 4, 1, {.spread = 2, .condition = 50, .noise = 0});
  auto const other = quadratic::random(6, 4, 2, {.spread = 2, .condition = 50, .noise = 0});
  CHECK(a.optimum() == same.optimum());
  CHECK(a.optimum() != other.optimum());
  for (std::size_t i = 0; i < 6; ++i) {
    for (std::size_t k = 0; k < 4; ++k) {
      CHECK(a.centre(i, k) == more_nodes.centre(i, k));
      CHECK(a.curvature(i, k) > 1.0 / 50 - 1e-12);
      CHECK(a.curvature(i, k) <= 1);
    }
  }
}

TEST_CASE("a quadratic refuses a problem that is not convex, in a sentence") {
  auto const nan = std::numeric_limits<double>::quiet_NaN();
  using rows = quadratic::rows;
  auto const refused = [](rows const& h, rows const& b, double noise = 0) {
    return refusal([&] { return quadratic{h, b, noise}; });
  };
  CHECK(refused({}, {}) == "a quadratic needs at least one node");
  CHECK(refused({{}}, {{}}) == "a quadratic needs at least one dimension");
  CHECK(refused({{1}, {1}}, {{1}}) == "a quadratic needs as many rows of centres as of curvatures, not 1 and 2");
  CHECK(refused({{1, 1}, {1}}, {{1, 1}, {1, 1}}) ==
        "node 1 of a quadratic has 1 curvatures and 2 centres, but node 0 has 2 curvatures");
  CHECK(refused({{1, 0}}, {{1, 1}}) == "the curvature of node 0 in dimension 1 must be positive and finite, not 0");
  CHECK(refused({{nan}}, {{1}}).find("must be positive and finite") != std::string::npos);
  CHECK(refused({{1}}, {{nan}}).find("the centre of node 0 in dimension 0 must be finite") == 0);
  CHECK(refused({{1}}, {{1}}, -1) == "the gradient noise must be a finite number of at least 0, not -1");
  CHECK(refused({{1}}, {{1}}, nan).find("the gradient noise") == 0);
  CHECK(refusal([] { return quadratic::random(1, 1, 1, {.spread = 1, .condition = 0.5, .noise = 0}); }) ==
        "the condition number of a quadratic must be a finite number of at least 1, not 0.5");
  CHECK(refusal([] { return quadratic::random(0, 1, 1); }) == "a quadratic needs at least one node");
}
