// SPDX-License-Identifier: MIT
#include <rubato/algorithm/qadam.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/sign_scale.hpp>
#include <rubato/core/snapshot.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using exact = qadam<space, codec::identity>;
using bytes = qadam<space>;
using one_bit = qadam<space, codec::error_feedback<codec::sign_scale>>;
using problem::quadratic;

/// The definition, value by value.
struct dense_qadam {
  explicit dense_qadam(quadratic const& problem, std::uint64_t w)
      : p{problem}, warm_up{w}, x(p.dimension()), m(x), v(x) {}

  /// coded(who, values): what arrives of them if node `who` sends them, or an owner of chunks (n) its mean.
  template<class Coded>
  void round(Coded const& coded) {
    ++t;
    auto const n = p.nodes();
    std::vector<std::vector<double>> parts;
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<double> part;
      for (std::size_t c = 0; c < x.size(); ++c) {
        auto const g = p.curvature(i, c) * (x[c] - p.centre(i, c));
        part.push_back(t <= warm_up ? g : 0.9 * m[c] + (1 - 0.9) * g);
      }
      parts.push_back(t <= warm_up ? part : coded(i, part));
    }
    std::vector<double> mean(x.size());
    for (std::size_t c = 0; c < x.size(); ++c) {
      for (auto const& part : parts) mean[c] += part[c];
      mean[c] /= static_cast<double>(n);
    }
    if (t > warm_up) mean = coded(n, mean);
    for (std::size_t c = 0; c < x.size(); ++c) {
      m[c] = t <= warm_up ? 0.9 * m[c] + (1 - 0.9) * mean[c] : mean[c];
      if (t <= warm_up) v[c] = 0.999 * v[c] + (1 - 0.999) * mean[c] * mean[c];
      auto const unbiased = v[c] / (1 - std::pow(0.999, static_cast<double>(std::min(t, warm_up))));
      x[c] -= 0.02 * (m[c] / (1 - std::pow(0.9, static_cast<double>(t)))) / (std::sqrt(unbiased) + 1e-8);
    }
  }

  quadratic const& p;
  std::uint64_t warm_up;
  std::vector<double> x, m, v;
  std::uint64_t t = 0;
};

/// The sign with the mean size, of p = e + v; what is dropped stays in e.
struct signs_with_memory {
  auto operator()(std::size_t who, std::vector<double> const& values) -> std::vector<double> {
    auto& e = errors[who];
    e.resize(values.size());
    double size = 0;
    for (std::size_t c = 0; c < e.size(); ++c) size += std::abs(e[c] += values[c]);
    size /= static_cast<double>(e.size());
    std::vector<double> sent;
    for (auto& each : e) {
      sent.push_back(each < 0 ? -size : size);
      each -= sent.back();
    }
    return sent;
  }
  std::vector<std::vector<double>> errors;
};

TEST_CASE("with a warm-up that never ends QAdam is Adam on the all-reduced gradient, to the last bit") {
  auto const p = quadratic::random(4, 11, 13, {.noise = 0.2});
  using adam = scatter_allreduce_sgd<space, codec::identity, step::adam>;
  lockstep ours{assemble<bytes>(topology::ring(4), p, {.step = 0.001, .warm_up = 1'001})};
  lockstep adams{assemble<adam>(topology::ring(4), p, {.step = 0.001})};
  for (int k = 0; k < 1'000; ++k) {
    ours.round();
    adams.round();
    REQUIRE(ours.point(0) == adams.point(0));
  }
}

TEST_CASE("(Q.M) (Q.R) (Q.X) uncompressed QAdam is its dense form, in which v and its correction stop at round W") {
  for (auto const n : {std::size_t{1}, std::size_t{2}, std::size_t{5}}) {
    auto const p = quadratic::random(n, 7, 3);
    lockstep run{assemble<exact>(topology::ring(n), p, {.step = 0.02, .warm_up = 9})};
    dense_qadam dense{p, 9};
    for (int k = 0; k < 60; ++k) {
      run.round();
      dense.round([](std::size_t, auto const& values) { return values; });
      for (std::size_t i = 0; i < n; ++i) REQUIRE(distance(run.point(i), dense.x) < 1e-12);
    }
  }
}

TEST_CASE("with signs and error feedback at both ends it is its dense form: 1-bit Adam on one chunk for each of two") {
  // Two nodes of 8 values: each owns 4, and a chunk is coded by itself.
  auto const p = quadratic::random(2, 8, 21);
  lockstep run{assemble<one_bit>(topology::ring(2), p, {.step = 0.02, .warm_up = 6})};
  dense_qadam dense{p, 6};
  std::vector<signs_with_memory> chunks(2, signs_with_memory{std::vector<std::vector<double>>(3)});
  for (int k = 0; k < 60; ++k) {
    run.round();
    dense.round([&](std::size_t who, std::vector<double> const& values) {
      auto low = chunks[0](who, {values.begin(), values.begin() + 4});
      auto const high = chunks[1](who, {values.begin() + 4, values.end()});
      low.insert(low.end(), high.begin(), high.end());
      return low;
    });
    REQUIRE(distance(run.point(0), dense.x) < 1e-12);
    REQUIRE(run.point(1) == run.point(0));
  }
}

TEST_CASE("the optimum of the sum is the fixed point of QAdam on data that differ, in bytes too") {
  auto const p = quadratic::random(5, 40, 11);
  lockstep run{assemble<exact>(topology::ring(5), p, {.step = 0.01, .warm_up = 30})};
  lockstep coded{assemble<bytes>(topology::ring(5), p, {.step = 0.01, .warm_up = 30})};
  auto const far = distance(run.point(0), p.optimum());
  for (int k = 0; k < 6'000; ++k) {
    run.round();
    coded.round();
  }
  CHECK(far > 0.5);
  CHECK(distance(run.point(0), p.optimum()) < 1e-9);
  CHECK(distance(coded.point(0), p.optimum()) < 1e-2);
}

/// Bytes of bodies by channel.
struct counting : simulation_trace {
  void posted(instant, packet const& p) override { bytes[static_cast<std::size_t>(p.channel)] += p.body.size_bytes(); }
  std::array<std::size_t, channel_count> bytes{};
};

TEST_CASE("replicas are equal bit for bit in weather that reorders and delays, and momentum takes a byte a value") {
  constexpr std::size_t n = 4, d = 4 * 1024, rounds = 12;
  auto const weather = environment::scenario{.compute = environment::lognormal(10ms, 0.6).slow(0, 3.0),
                                             .link = {.latency = 4ms, .jitter = 9ms, .loss = 0.2},
                                             .seed = 5};
  auto const p = quadratic::random(n, d, 7, {.noise = 0.1});
  counting watch;
  auto const result = simulate(assemble<bytes>(topology::ring(n), p, {.step = 0.01, .warm_up = 5}), weather,
                               {.time = 1h, .gradients = rounds * n}, {.trace = &watch});
  auto const first = result.models[0].view<double>();
  for (auto const& m : result.models) CHECK(std::equal(first.begin(), first.end(), m.view<double>().begin()));
  auto const messages = n * 2 * (n - 1);
  CHECK(watch.bytes[static_cast<std::size_t>(channel_id::gradient)] == 5 * messages * (d / n) * sizeof(double));
  CHECK(watch.bytes[static_cast<std::size_t>(channel_id::chunk)] == (rounds - 5) * messages * (d / n + 16));
}

TEST_CASE("QAdam without a warm-up is refused, and a part of the wrong size names its sender in either phase") {
  auto const p = quadratic::random(3, 4, 1);
  CHECK(says(refusal([&] { assemble<bytes>(topology::ring(3), p, {.step = 0.1, .warm_up = 0}); }),
             "it takes one round at least"));
  auto a = assemble<exact>(topology::ring(3), p, {.step = 0.1, .warm_up = 1});
  for (auto const channel : {channel_id::gradient, channel_id::chunk})
    CHECK(says(complaint_of_size<double>(a, node_id{2}, channel, 1, 4), "node 2 sent 4 values in one message, where "));
}

}  // namespace
}  // namespace rubato::test
