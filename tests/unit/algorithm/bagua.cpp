// SPDX-License-Identifier: MIT
// BAGUA's six algorithms (arXiv 2107.01499 and its public code) as compositions of rubato's parts, each against the
// plain loop of its definition; the table is in include/rubato/EXTENDING.md.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <rubato/algorithm/async_model_average.hpp>
#include <rubato/algorithm/byte_grad.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/low_precision_d_psgd.hpp>
#include <rubato/algorithm/qadam.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/mixing/one_peer.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using problem::quadratic;
using vector = std::vector<double>;
constexpr double gamma = 0.1;

auto gradient_of(quadratic const& p, std::size_t i, vector const& x) -> vector {
  vector g;
  for (std::size_t c = 0; c < x.size(); ++c) g.push_back(p.curvature(i, c) * (x[c] - p.centre(i, c)));
  return g;
}
auto mean_of(std::vector<vector> const& all) -> vector {
  vector mean(all.front().size());
  for (auto const& one : all)
    for (std::size_t c = 0; c < mean.size(); ++c) mean[c] += one[c] / static_cast<double>(all.size());
  return mean;
}
/// a + s b.
auto plus(vector a, double s, vector const& b) -> vector {
  for (std::size_t c = 0; c < a.size(); ++c) a[c] += s * b[c];
  return a;
}
/// What one byte a value makes of values that share a range.
auto in_bytes(vector v) -> vector {
  auto const [low, high] = std::minmax_element(v.begin(), v.end());
  auto const m = *low, span = *high - *low;
  if (span > 0)
    for (auto& each : v) each = m + std::nearbyint((each - m) * 255 / span) * span / 255;
  return v;
}
/// The same, chunk by chunk, as n nodes own them.
auto in_bytes_by_chunk(vector const& v, std::size_t n) -> vector {
  vector all;
  for (std::size_t c = 0; c < n; ++c) {
    auto const at = [&](std::size_t k) { return v.begin() + static_cast<std::ptrdiff_t>(k * v.size() / n); };
    auto const coded = in_bytes({at(c), at(c + 1)});
    all.insert(all.end(), coded.begin(), coded.end());
  }
  return all;
}

/// Rounds of `run` beside rounds of a plain loop over the models of all nodes.
template<class Round>
void agree(assembly a, quadratic const& p, int rounds, Round const& round) {
  lockstep run{std::move(a)};
  std::vector<vector> x(p.nodes(), vector(p.dimension()));
  for (int k = 0; k < rounds; ++k) {
    run.round();
    x = round(k, std::move(x));
    for (std::size_t i = 0; i < x.size(); ++i) REQUIRE(distance(run.point(i), x[i]) < 1e-12);
  }
}

TEST_CASE("gradient all-reduce is a ring and float values: centralised, full precision") {
  auto const p = quadratic::random(4, 10, 3);
  agree(assemble<ring_allreduce_sgd<space>>(topology::ring(4), p, {.step = gamma}), p, 40, [&](int, auto x) {
    std::vector<vector> g;
    for (std::size_t i = 0; i < 4; ++i) g.push_back(gradient_of(p, i, x[i]));
    for (auto& each : x) each = plus(each, -gamma, mean_of(g));
    return x;
  });
}

TEST_CASE("ByteGrad is a scatter-reduce of bytes: centralised, low precision") {
  auto const p = quadratic::random(3, 17, 4);
  agree(assemble<byte_grad<space>>(topology::ring(3), p, {.step = gamma}), p, 40, [&](int, auto x) {
    std::vector<vector> g;
    for (std::size_t i = 0; i < 3; ++i) g.push_back(in_bytes_by_chunk(gradient_of(p, i, x[i]), 3));
    for (auto& each : x) each = plus(each, -gamma, in_bytes_by_chunk(mean_of(g), 3));
    return x;
  });
}

TEST_CASE("QAdam takes both collectives, and a codec without memory") {
  auto const p = quadratic::random(3, 8, 5);
  using bare = qadam<space, codec::minmax_u8>;
  vector m(8), v(8);
  agree(assemble<bare>(topology::ring(3), p, {.step = 0.01, .warm_up = 5}), p, 40, [&](int k, auto x) {
    auto const warm = k < 5;
    std::vector<vector> parts;
    for (std::size_t i = 0; i < 3; ++i) {
      auto const g = gradient_of(p, i, x[i]);
      parts.push_back(warm ? g : in_bytes_by_chunk(plus(plus(vector(8), 0.9, m), 1 - 0.9, g), 3));
    }
    auto const mean = mean_of(parts);
    m = warm ? plus(plus(vector(8), 0.9, m), 1 - 0.9, mean) : in_bytes_by_chunk(mean, 3);
    auto step = vector(8);
    for (std::size_t c = 0; c < 8; ++c) {
      if (warm) v[c] = 0.999 * v[c] + (1 - 0.999) * mean[c] * mean[c];
      auto const root = std::sqrt(v[c] / (1 - std::pow(0.999, std::min(k + 1, 5))));
      step[c] = m[c] / (1 - std::pow(0.9, k + 1)) / (root + 1e-8);
    }
    for (auto& each : x) each = plus(each, -0.01, step);
    return x;
  });
}

/// One round of decentralised SGD in which node i averages with `partners(i)`, itself among them.
template<class Partners>
auto decentralised(quadratic const& p, std::vector<vector> const& x, Partners const& partners) -> std::vector<vector> {
  std::vector<vector> fresh;
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::vector<vector> heard;
    for (auto const j : partners(i)) heard.push_back(x[j]);
    fresh.push_back(plus(mean_of(heard), -gamma, gradient_of(p, i, x[i])));
  }
  return fresh;
}

TEST_CASE("decentralised SGD with all is d_psgd on the complete graph: decentralised, full precision") {
  auto const p = quadratic::random(4, 6, 6);
  agree(assemble<d_psgd<space>>(topology::complete(4), p, {.step = gamma}), p, 40, [&](int, auto x) {
    return decentralised(p, x, [](std::size_t) { return std::vector<std::size_t>{0, 1, 2, 3}; });
  });
}

TEST_CASE("shift-one, and every k iterations, are d_psgd on a graph that changes") {
  constexpr std::size_t n = 6, half = 3;
  auto const p = quadratic::random(n, 6, 7);
  for (auto const every : {1, 4}) {
    auto const rounds =
        mixing::schedule::cycle(mixing::every(static_cast<std::size_t>(every), mixing::shift_one(n)), "shift one");
    agree(assemble<d_psgd<space>>(rounds, p, {.step = gamma}), p, 50, [&](int k, auto x) {
      auto const communicates = (k + 1) % every == 0;
      auto const s = static_cast<std::size_t>((k + 1) / every - 1) % half;
      return decentralised(p, x, [&](std::size_t r) {
        if (!communicates) return std::vector{r};
        return std::vector{r, r < half ? (s + r) % half + half : (r - s) % half};
      });
    });
  }
}

TEST_CASE("low-precision decentralised SGD is d_psgd's ring with bytes of differences") {
  auto const p = quadratic::random(5, 9, 8);
  agree(assemble<low_precision_d_psgd<space>>(topology::ring(5), p, {.step = gamma}), p, 40, [&](int, auto w) {
    auto fresh = w;
    for (std::size_t i = 0; i < 5; ++i) {
      auto const& left = w[(i + 4) % 5];
      auto const& right = w[(i + 1) % 5];
      auto z = plus(plus(plus(vector(9), 1.0 / 3, left), 1.0 / 3, w[i]), 1.0 / 3, right);
      z = plus(plus(z, -gamma, gradient_of(p, i, w[i])), -1, w[i]);
      fresh[i] = plus(w[i], 1, in_bytes(z));
    }
    return fresh;
  });
}

/// The models of all nodes where a step of 10 ms follows the other and averages take no time: `averages_at(k)` says
/// whether one is complete while step k, from 1, is computed, and so after its model was read.
template<class AveragesAt>
auto averaged(quadratic const& p, int steps, AveragesAt const& averages_at) -> std::vector<vector> {
  std::vector<vector> x(p.nodes(), vector(p.dimension()));
  for (int k = 1; k <= steps; ++k) {
    auto const read = x;
    if (averages_at(k)) x.assign(x.size(), mean_of(x));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = plus(x[i], -gamma, gradient_of(p, i, read[i]));
  }
  return x;
}

TEST_CASE("asynchronous model average begins by count, or by time whatever the nodes do") {
  auto const p = quadratic::random(4, 6, 9);
  using node_type = async_model_average<space>;
  auto const run = [&](node_type::options const& o) {
    auto r =
        simulate(assemble<node_type>(topology::ring(4), p, o), {.compute = environment::fixed(10ms)}, {.time = 324ms});
    std::vector<vector> x;
    for (auto const& m : r.models) x.emplace_back(m.view<double>().begin(), m.view<double>().end());
    return x;
  };
  auto const same = [](std::vector<vector> const& a, std::vector<vector> const& b) {
    auto worst = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, distance(a[i], b[i]));
    return worst;
  };
  auto const by_count = averaged(p, 32, [](int k) { return k > 1 && (k - 1) % 3 == 0; });
  CHECK(same(run({.step = gamma, .local_steps = 3}), by_count) < 1e-12);
  // Every 33 ms: none of them at the end of a step.
  auto const by_time = averaged(p, 32, [](int k) {
    for (int at = 33; at < 324; at += 33)
      if (at > 10 * (k - 1) && at < 10 * k) return true;
    return false;
  });
  CHECK(same(run({.step = gamma, .local_steps = 0, .interval = 33ms}), by_time) < 1e-12);
  CHECK(same(by_time, by_count) > 1e-3);
  CHECK(says(refusal([&] { run({.local_steps = 0}); }), "unless an interval says when"));
  CHECK(says(refusal([&] { run({.interval = -1ms}); }), "0 s apart or more, not -0.001 s"));
}

}  // namespace
}  // namespace rubato::test
