// SPDX-License-Identifier: MIT
#include <rubato/algorithm/power_sgd.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using node = power_sgd<space>;
using vec = std::vector<double>;
using problem::quadratic;

/// The method as it is defined, of one rows x columns matrix for each worker: columns of P and Q by hand.
struct dense_form {
  std::size_t rows, columns, rank;
  std::vector<vec> q;  // by column
  std::vector<vec> e;  // by worker

  /// D of this step; `p` is left for the golden values.
  auto step(std::vector<vec> u) -> vec {
    auto const n = static_cast<double>(u.size());
    for (std::size_t i = 0; i < u.size(); ++i)
      for (std::size_t k = 0; k < u[i].size(); ++k) u[i][k] += e[i][k];
    p.assign(rank, vec(rows, 0.0));
    for (std::size_t c = 0; c < rank; ++c) {
      for (auto const& m : u)
        for (std::size_t r = 0; r < rows; ++r)
          for (std::size_t k = 0; k < columns; ++k) p[c][r] += m[r * columns + k] * q[c][k] / n;
      for (std::size_t b = 0; b < c; ++b) {
        auto const along = dot(p[b], p[c]);
        for (std::size_t r = 0; r < rows; ++r) p[c][r] -= along * p[b][r];
      }
      auto const norm = std::sqrt(dot(p[c], p[c]));
      for (auto& v : p[c]) v /= norm;
    }
    vec d(rows * columns, 0.0);
    for (std::size_t c = 0; c < rank; ++c) {
      q[c].assign(columns, 0.0);
      for (auto const& m : u)
        for (std::size_t r = 0; r < rows; ++r)
          for (std::size_t k = 0; k < columns; ++k) q[c][k] += m[r * columns + k] * p[c][r] / n;
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t k = 0; k < columns; ++k) d[r * columns + k] += p[c][r] * q[c][k];
    }
    for (std::size_t i = 0; i < u.size(); ++i)
      for (std::size_t k = 0; k < d.size(); ++k) e[i][k] = u[i][k] - d[k];
    return d;
  }
  static auto dot(vec const& a, vec const& b) -> double {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }
  std::vector<vec> p{};
};

void close(vec const& a, vec const& b, double tolerance = 1e-12) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::abs(a[i] - b[i]) < tolerance);
}

/// The seed's first Q of one matrix with that many columns.
auto first_q(std::uint64_t seed, std::size_t rank, std::size_t columns) -> std::vector<vec> {
  space b;
  auto const drawn = detail::drawn_values(b, seed, rank * columns);
  std::vector<vec> q(rank);
  for (std::size_t c = 0; c < rank; ++c) q[c] = {drawn.data() + c * columns, drawn.data() + (c + 1) * columns};
  return q;
}

TEST_CASE("(P.P) (P.Q) the dense form, from which nodes are judged, has the golden factors of two steps") {
  auto const m1 = vec{1, 2, 3, 4, 5, 6}, m2 = vec{2, 0, 1, 1, 0, 3};
  dense_form f{3, 2, 1, {{1, 1}}, {vec(6, 0.0), vec(6, 0.0)}};
  auto const d1 = f.step({m1, m2});
  close(f.p[0], {0.287717668824218, 0.517891803883593, 0.805609472707810}, 1e-8);
  close(f.q[0], {3.481383792773038, 5.207689805718346}, 1e-7);
  auto const d2 = f.step({m1, m2});
  close(f.p[0], {0.243511996430791, 0.499822039844092, 0.831191816658695}, 1e-8);
  close(f.q[0], {3.409508568633286, 5.266813318352969}, 1e-7);
  for (std::size_t k = 0; k < 6; ++k)
    CHECK(std::abs(d1[k] + d2[k] + (f.e[0][k] + f.e[1][k]) / 2 - (m1[k] + m2[k])) < 1e-12);
}

/// Nodes' first gradient, a matrix and three more values.
auto problem_of(std::size_t n) -> quadratic { return quadratic::random(n, 8 * 10 + 3, 4); }

template<class Node>
auto models_after(std::uint64_t rounds, std::size_t n, typename Node::options o) -> std::vector<vec> {
  auto const q = problem_of(n);
  auto const r = simulate(assemble<Node>(topology::ring(n), q, o),
                          {.compute = environment::lognormal(10ms, 0.6).slow(0, 3.0),
                           .link = {.latency = 4ms, .jitter = 9ms, .loss = 0.2},
                           .seed = 5},
                          {.time = 1h, .gradients = rounds * n});
  std::vector<vec> all;
  for (auto const& m : r.models) {
    auto const x = m.template view<double>();
    all.push_back({x.begin(), x.end()});
  }
  return all;
}

TEST_CASE("(P.E) (P.D) nodes follow the dense form, and send what is no matrix as it is") {
  for (auto const rank : {std::size_t{1}, std::size_t{2}}) {
    for (auto const n : {std::size_t{1}, std::size_t{3}}) {
      auto const q = problem_of(n);
      auto const o = node::options{.step = 0.2, .seed = 7, .rank = rank, .shapes = {8, 10}};
      dense_form f{8, 10, rank, first_q(7, rank, 10), std::vector<vec>(n, vec(80, 0.0))};
      vec x(83, 0.0);
      for (int k = 0; k < 12; ++k) {
        std::vector<vec> g(n, vec(83));
        for (std::size_t i = 0; i < n; ++i)
          for (std::size_t c = 0; c < 83; ++c) g[i][c] = q.curvature(i, c) * (x[c] - q.centre(i, c));
        auto cut = g;
        for (auto& m : cut) m.resize(80);
        auto const d = f.step(cut);
        for (std::size_t c = 0; c < 83; ++c) {
          double rest = 0;
          for (std::size_t i = 0; i < n && c >= 80; ++i) rest += g[i][c] / static_cast<double>(n);
          x[c] -= 0.2 * (c < 80 ? d[c] : rest);
        }
      }
      for (auto const& m : models_after<node>(12, n, o)) close(m, x);
    }
  }
}

TEST_CASE("replicas of power_sgd are equal bit for bit, and come to the optimum of data that differ") {
  auto const o = node::options{.step = 0.1, .rank = 2, .shapes = {8, 10}};
  auto const all = models_after<node>(1500, 4, o);
  for (auto const& x : all) CHECK(x == all[0]);
  CHECK(distance(all[0], problem_of(4).optimum()) < 1e-6);
  auto const by_eigen = models_after<power_sgd<backend::eigen<double>>>(30, 3, {.step = 0.1, .rank = 2});
  close(by_eigen[1], models_after<node>(30, 3, {.step = 0.1, .rank = 2})[0], 1e-9);
}

/// |U - D|^2 / |U|^2 of a first step of one worker, the most of some draws, by the products of the library. U is a sum
/// of `of` matrices of rank 1, or of normal values if that is 0. P is orthonormal each time, but for columns of zeros.
template<class T>
auto most_left(std::size_t rank, std::size_t of, double scale = 1) -> double {
  constexpr std::size_t rows = 20, columns = 30;
  backend::host<T> b;
  auto const parts = detail::matrix_parts::of(rows * columns, rank, {rows, columns});
  auto draw = random_stream{3, rank};
  auto most = 0.0;
  for (std::uint64_t k = 0; k < 20; ++k) {
    std::vector<T> u(rows * columns), d(u.size()), left(parts.left), right(parts.right);
    for (auto& v : u) v = of == 0 ? static_cast<T>(scale * draw.normal()) : T{0};
    for (std::size_t r = 0; r < of; ++r) {
      vec a(rows), c(columns);
      for (auto& v : a) v = draw.normal();
      for (auto& v : c) v = draw.normal();
      for (std::size_t i = 0; i < u.size(); ++i) u[i] += static_cast<T>(scale * a[i / columns] * c[i % columns]);
    }
    auto const q = detail::drawn_values(b, k, parts.right);
    detail::left_factors(b, parts, u.data(), q.data(), left.data());
    detail::orthonormalise(b, parts, left.data());
    detail::right_factors(b, parts, u.data(), left.data(), right.data());
    detail::from_factors(b, parts, left.data(), right.data(), d.data());
    for (std::size_t i = 0; i < rank; ++i) {
      auto const* const p = left.data() + i * rows;
      auto const length = b.dot(p, p, rows);
      CHECK((length == 0 || std::abs(length - 1) < 1e-5));
      for (std::size_t j = 0; j < i; ++j) CHECK(std::abs(b.dot(p, left.data() + j * rows, rows)) < 1e-5);
    }
    auto all = 0.0, rest = 0.0;
    for (std::size_t i = 0; i < u.size(); ++i) {
      all += static_cast<double>(u[i]) * static_cast<double>(u[i]);
      rest += std::pow(static_cast<double>(u[i]) - static_cast<double>(d[i]), 2);
    }
    most = std::max(most, rest / all);
  }
  return most;
}

TEMPLATE_TEST_CASE("a product of factors never adds, and matrices of at most its rank are exact", "", float, double) {
  auto const nothing = sizeof(TestType) == 4 ? 1e-7 : 1e-22;  // a draw of Q may be nearly across a row
  for (auto const scale : {1.0, 1e-6, 1e6}) {
    CHECK(most_left<TestType>(1, 1, scale) < nothing);
    CHECK(most_left<TestType>(4, 1, scale) < nothing);  // three columns are only rounding
    CHECK(most_left<TestType>(5, 2, scale) < nothing);
    CHECK(most_left<TestType>(1, 0, scale) < 0.98);
    CHECK(most_left<TestType>(4, 0, scale) < 0.8);
  }
}

TEST_CASE("an objective times s with a step over s takes power_sgd to the same bits, and zeros stay zeros") {
  auto const q = problem_of(3);
  auto const after = [&](double s) {
    quadratic::rows h(3, vec(83)), c = h;
    for (std::size_t i = 0; i < 3; ++i)
      for (std::size_t k = 0; k < 83; ++k) h[i][k] = s * q.curvature(i, k), c[i][k] = q.centre(i, k);
    auto const o = node::options{.step = 0.125 / s, .seed = 7, .rank = 2, .shapes = {8, 10}};
    auto const r = simulate(assemble<node>(topology::ring(3), quadratic{h, c}, o), {.link = {.latency = 1ms}},
                            {.time = 1h, .gradients = 300});
    auto const x = r.models[0].view<double>();
    return vec(x.begin(), x.end());
  };
  auto const plain = after(1);
  CHECK(distance(plain, q.optimum()) < distance(vec(83, 0.0), q.optimum()) / 2);
  CHECK(after(std::ldexp(1.0, -40)) == plain);
  CHECK(after(std::ldexp(1.0, 40)) == plain);
  space b;
  vec zeros(2 * 8, 0.0);
  detail::orthonormalise(b, detail::matrix_parts::of(80, 2, {8, 10}), zeros.data());
  CHECK(zeros == vec(2 * 8, 0.0));
}

struct counting : simulation_trace {
  void posted(instant, packet const& p) override { bytes[to_index(p.from)] += p.body.size_bytes(); }
  std::map<std::size_t, std::size_t> bytes;
};

TEST_CASE("what a round takes on the wire is two halves of the factors' values a node, and small matrices go whole") {
  CHECK(power_sgd_values(7850, 1) == 88 + 89 + 18);  // 88 x 89, and 18 are left
  CHECK(power_sgd_values(7850, 2, {10, 785}) == 2 * 795);
  CHECK(power_sgd_values(12, 1) == 12);
  CHECK(power_sgd_values(0, 1) == 0);
  CHECK(power_sgd_values(80 + 6, 1, {8, 10, 2, 3}) == 18 + 6);
  auto const q = quadratic::random(4, 16 * 16, 1);
  counting watch;
  static_cast<void>(simulate(assemble<node>(topology::ring(4), q, {.step = 0.1}), {.link = {.latency = 1ms}},
                             {.time = 1h, .gradients = 4}, {.trace = &watch}));
  for (std::size_t i = 0; i < 4; ++i) CHECK(watch.bytes[i] == 2 * 3 * power_sgd_values(256, 1) / 4 * sizeof(double));
}

TEST_CASE("ranks and shapes that cannot be are refused") {
  auto const q = quadratic::random(2, 30, 1);
  auto const said = [&](node::options o) {
    return refusal([&] { static_cast<void>(assemble<node>(topology::ring(2), q, o)); });
  };
  CHECK(says(said({.rank = 0}), "needs a rank of at least 1"));
  CHECK(says(said({.rank = 31}), "a vector of 30 values has no matrix of rank 31"));
  CHECK(says(said({.rank = std::size_t{1} << 63}), "a vector of 30 values has no matrix of rank 9223372036854775808"));
  CHECK(said({.rank = 30}).empty());
  CHECK(says(said({.shapes = {5}}), "1 numbers are no such pairs"));
  CHECK(says(said({.shapes = {5, 7}}), "more values than the vector, which has 30"));
  CHECK(says(said({.shapes = {0, 7}}), "no side of 0"));
}

}  // namespace
}  // namespace rubato::test
