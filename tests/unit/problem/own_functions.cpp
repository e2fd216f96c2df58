// SPDX-License-Identifier: MIT
// Problems made of what a program has already: functions over spans, pointers and Eigen's vectors, and separable ones.
#include <rubato/problem/eigen.hpp>
#include <rubato/problem/function.hpp>
#include <rubato/problem/separable.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/concepts.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

using namespace std::chrono_literals;
using float_host = backend::host<float>;
using double_host = backend::host<double>;

/// Half the squared distance from (node, 2 node, ...): with three nodes F is least at (1, 2, ...).
auto distance_in_c(sample_key key, double const* x, double* g, std::size_t d) -> double {
  auto sum = 0.0;
  for (std::size_t k = 0; k < d; ++k) {
    g[k] = x[k] - static_cast<double>(to_index(key.node) * (k + 1));
    sum += g[k] * g[k] / 2;
  }
  return sum;
}

template<class P>
auto end_of(P const& p) -> double {
  auto o = typename r_fast<double_host>::options{};
  o.step = 0.2;
  auto const r = simulate(assemble<r_fast<double_host>>(topology::binary_tree(3), p, o), {}, {.time = 8s});
  auto away = 0.0;
  auto const x = r.models[1].template view<double>();
  for (std::size_t k = 0; k < x.size(); ++k) away = std::fmax(away, std::abs(x[k] - static_cast<double>(k + 1)));
  return away;
}

TEST_CASE("a C function, a function over spans and one over Eigen's vectors are problems, and are minimised") {
  auto const by_pointers = problem::from_function(4, &distance_in_c);
  auto const by_spans = problem::from_function(4, [](sample_key key, std::span<double const> x, std::span<double> g) {
    return distance_in_c(key, x.data(), g.data(), x.size());
  });
  auto const by_eigen = problem::from_eigen(4, [](sample_key key, auto const& x, auto& g) {
    auto const i = static_cast<double>(to_index(key.node));
    g = x - i * Eigen::VectorXd::LinSpaced(x.size(), 1, static_cast<double>(x.size()));
    return g.squaredNorm() / 2;
  });
  CHECK(end_of(by_pointers) < 1e-9);
  CHECK(end_of(by_spans) < 1e-9);
  CHECK(end_of(by_eigen) < 1e-9);
  static_assert(!problem::has_loss<decltype(by_pointers), double_host>);
}

TEST_CASE("a function of double serves nodes of float, and one of float nodes of double") {
  auto const doubles = problem::from_function(2, &distance_in_c, [](std::span<double const> x) { return x[0] + x[1]; });
  auto b = float_host{};
  std::vector<float> const x{1.5F, -2};
  std::vector<float> g(2);
  CHECK(doubles.gradient(b, std::span<float const>{x}, {1, node_id{1}, 0}, std::span{g}) == (0.25 + 16) / 2);
  CHECK(g == std::vector<float>{0.5F, -4});
  CHECK(doubles.loss(b, std::span<float const>{x}) == -0.5);
  auto const floats = problem::from_function(2, [](sample_key, std::span<float const> at, std::span<float> to) {
    to[0] = 2 * at[0], to[1] = at[1];
    return 7.0;
  });
  auto const wide = std::vector<double>{3, 4};
  auto d = std::vector<double>(2);
  auto c = double_host{};
  CHECK(floats.gradient(c, std::span<double const>{wide}, {}, std::span{d}) == 7);
  CHECK(d == std::vector<double>{6, 4});
}

/// f_j(x) = |x - (j, ..., j)|^2 / 2, as a class for ensmallen would have it; `both` counts its calls.
struct distances {
  std::size_t count;
  [[nodiscard]] auto NumFunctions() const -> std::size_t { return count; }
  [[nodiscard]] auto Evaluate(Eigen::MatrixXd const& x, std::size_t begin, std::size_t batch) const -> double {
    auto sum = 0.0;
    for (auto j = begin; j < begin + batch; ++j) sum += (x.array() - static_cast<double>(j)).square().sum() / 2;
    return sum;
  }
  void Gradient(Eigen::MatrixXd const& x, std::size_t begin, Eigen::MatrixXd& g, std::size_t batch) const {
    REQUIRE(begin + batch <= count);
    g = Eigen::MatrixXd::Zero(x.rows(), x.cols());
    for (auto j = begin; j < begin + batch; ++j) g.array() += x.array() - static_cast<double>(j);
  }
};
struct distances_at_once : distances {
  auto EvaluateWithGradient(Eigen::MatrixXd const& x, std::size_t begin, Eigen::MatrixXd& g, std::size_t batch) const
      -> double {
    Gradient(x, begin, g, batch);
    return Evaluate(x, begin, batch);
  }
};

TEST_CASE("functions of a separable problem are shared among nodes, and each is drawn equally often") {
  auto const p = problem::from_separable<Eigen::MatrixXd>(distances{10}, 2, {.nodes = 3, .batch = 2});
  auto b = double_host{};
  std::vector<double> const zero{0, 0};
  std::vector<double> g(2);
  // Nodes have 0..2, 3..5 and 6..9: means 1, 4, 7.5.
  auto means = std::vector<double>{};
  for (std::uint32_t i = 0; i < 3; ++i) {
    auto sum = 0.0;
    constexpr auto draws = 6000;
    for (std::uint64_t k = 0; k < draws; ++k) {
      auto const loss = p.gradient(b, std::span<double const>{zero}, {3, node_id{i}, k}, std::span{g});
      CHECK(loss >= g[0] * g[0]);  // the mean square is at least the square of the mean
      CHECK(g[0] == g[1]);
      sum -= g[0] / draws;
    }
    means.push_back(sum);
  }
  CHECK(means[0] == Approx(1).margin(0.05));
  CHECK(means[1] == Approx(4).margin(0.05));
  CHECK(means[2] == Approx(7.5).margin(0.05));
  auto const squares = (0 + 1 + 4) / 3.0 + (9 + 16 + 25) / 3.0 + (36 + 49 + 64 + 81) / 4.0;
  CHECK(p.loss(b, std::span<double const>{zero}) == Approx(squares / 3).epsilon(1e-14));
}

TEST_CASE("a separable problem is minimised by d_psgd, in one pass over its functions where it can") {
  auto const ended = [](auto f) {
    auto const p = problem::from_separable<Eigen::MatrixXd>(f, 2, {.nodes = 3, .batch = 3, .columns = 2});
    auto o = typename d_psgd<double_host>::options{};
    o.step = 0.1;
    auto const r = simulate(assemble<d_psgd<double_host>>(topology::complete(3), p, o), {}, {.time = 4s});
    return std::vector<double>(r.models[0].template view<double>().begin(), r.models[0].template view<double>().end());
  };
  auto const two = ended(distances{9}), one = ended(distances_at_once{{9}});
  CHECK(two == one);
  for (auto const x : two) CHECK(x == Approx(4).margin(0.4));  // batches are whole shards: 1, 4, 7
}

TEST_CASE("problems that cannot be are refused by a sentence") {
  auto const separable = [](std::size_t count, std::size_t d, problem::separable_options o) {
    return refusal([&] { static_cast<void>(problem::from_separable<Eigen::MatrixXd>(distances{count}, d, o)); });
  };
  CHECK(separable(9, 2, {.nodes = 3, .batch = 3}).empty());
  CHECK(says(separable(2, 2, {.nodes = 3, .batch = 1}), "2 functions cannot be shared among 3 nodes"));
  CHECK(says(separable(9, 2, {.nodes = 3, .batch = 4}), "1 to 3 functions, as many as each node has, not 4"));
  CHECK(says(separable(9, 3, {.nodes = 3, .batch = 1, .columns = 2}), "3 values make no matrix of 2 columns"));
  CHECK(says(refusal([] { static_cast<void>(problem::from_function(0, &distance_in_c)); }), "at least one value"));
  using pointer = decltype(&distance_in_c);
  CHECK(says(refusal([] { static_cast<void>(problem::from_function(2, pointer{nullptr})); }), "given a null pointer"));
}

}  // namespace
}  // namespace rubato::test
