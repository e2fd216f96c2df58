// SPDX-License-Identifier: MIT
// Error feedback alone, and round the codecs of algorithms that take one.
#include <rubato/codec/error_feedback.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <rubato/algorithm/async_model_average.hpp>
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/block_top_k.hpp>
#include <rubato/codec/damped.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/codec/qsgd.hpp>
#include <rubato/codec/random_k.hpp>
#include <rubato/codec/sign_scale.hpp>
#include <rubato/codec/top_k.hpp>
#include <rubato/core/random.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

using space = backend::host<double>;
using values = std::vector<double>;

auto const contractive_codecs = std::tuple{codec::top_k{.k = 1},
                                           codec::random_k{.k = 2},
                                           codec::sign_scale{},
                                           codec::block_top_k{.block_values = 4, .k = 1},
                                           codec::damped<codec::qsgd>{{.bits = 2}},
                                           codec::minmax_u8{}};

auto drawn(random_stream& r, std::size_t n) -> values {
  values v(n);
  for (auto& x : v) x = r.normal();
  return v;
}

TEST_CASE("(E.P) (E.R) what was sent and the kept error sum to what was given, and the error stays bounded") {
  std::apply(
      [](auto const&... c) {
        auto const holds = []<class C>(C const& inner) {
          auto const n = std::size_t{9};
          auto const feedback = codec::error_feedback<C>{.of = inner};
          space b;
          codec::sender<codec::error_feedback<C>, space> from;
          codec::receiver<codec::error_feedback<C>, space> to;
          random_stream r{1};
          values given(n), taken(n), v, q(n);
          double largest = 0;
          for (std::uint64_t k = 0; k < 200; ++k) {
            v = drawn(r, n);
            auto const body = from.encode(feedback, b, v.data(), n, random_stream{k});
            to.decode(feedback, b, body, {0, n}, q.data());
            for (std::size_t i = 0; i < n; ++i) given[i] += v[i], taken[i] += q[i];
            for (std::size_t i = 0; i < n; ++i) {
              REQUIRE(std::abs(taken[i] + from.error.data()[i] - given[i]) < 1e-12);
              largest = std::max(largest, std::abs(from.error.data()[i]));
            }
          }
          INFO(C::name());
          CHECK(largest < 60);  // values of size 1, delta >= 1/9: errors of about 1/delta
        };
        (holds(c), ...);
      },
      contractive_codecs);
}

TEST_CASE("(E.D) both ends of ef21 hold the same reference, and it comes to a vector that stays") {
  std::apply(
      [](auto const&... c) {
        auto const holds = []<class C>(C const& inner) {
          auto const n = std::size_t{9};
          auto const feedback = codec::ef21<C>{.of = inner};
          space b;
          codec::sender<codec::ef21<C>, space> from;
          codec::receiver<codec::ef21<C>, space> to;
          random_stream r{2};
          values q(n);
          auto const v = drawn(r, n);
          double off = 0, before = 0;
          for (auto const x : v) before += x * x;
          for (std::uint64_t k = 0; k < 400; ++k) {
            auto const body = from.encode(feedback, b, v.data(), n, random_stream{k});
            to.decode(feedback, b, body, {0, n}, q.data());
            off = 0;
            for (std::size_t i = 0; i < n; ++i) {
              REQUIRE(q[i] == from.known.data()[i]);
              off += (q[i] - v[i]) * (q[i] - v[i]);
            }
            if (codec::innermost<codec::ef21<C>>::error == codec::error_class::contractive && k == 0)
              CHECK(off <= before * (1 + 1e-12));
          }
          INFO(C::name());
          CHECK(off < 1e-12);
        };
        (holds(c), ...);
      },
      contractive_codecs);
}

TEST_CASE("(E.P) with decay the rounds of SparseLoCo come out: two workers, blocks of 4, golden values") {
  using feedback = codec::error_feedback<codec::block_top_k>;
  auto const c = feedback{.of = {.block_values = 4, .k = 1}, .decay = 0.95};
  values const d[2] = {{.4, -.1, 0, .2, 1, 0, -2, .5}, {.1, .3, -.6, 0, 0, .7, .2, -.1}};
  space b;
  codec::sender<feedback, space> from[2];
  values x(8), q(8);
  values const wanted[2] = {{-0.2, 0, 0.3, 0, 0, -0.35, 1, 0}, {-0.4, 0, 0.6, 0, 0, -0.7, 2, 0}};
  for (auto const& w : wanted) {
    for (int i = 0; i < 2; ++i) {
      auto const body = from[i].encode(c, b, d[i].data(), 8, random_stream{0});
      codec::decode_body(c.of, b, body, {0, 8}, q.data());
      for (std::size_t k = 0; k < 8; ++k) x[k] -= q[k] / 2;
    }
    for (std::size_t k = 0; k < 8; ++k) CHECK(std::abs(x[k] - w[k]) < 1e-15);
  }
}

/// The largest value of v alone, the lower place first.
auto largest_alone(values const& v) -> values {
  values q(v.size());
  if (v.empty()) return q;
  auto const at = std::max_element(v.begin(), v.end(), [](auto x, auto y) { return std::abs(x) < std::abs(y); });
  q[static_cast<std::size_t>(at - v.begin())] = *at;
  return q;
}

TEST_CASE("(E.R) all-reduce SGD with error feedback is the two-sided form: workers and owners of chunks keep errors") {
  using node = scatter_allreduce_sgd<space, codec::error_feedback<codec::top_k>>;
  auto const n = std::size_t{3}, size = std::size_t{2};
  auto const p = problem::quadratic::random(n, n * size, 4, {.spread = 1, .condition = 3});
  lockstep run{assemble<node>(topology::ring(n), p, {.step = 0.1, .codec = {.of = {.k = 1}}})};
  auto const part = [](values const& v, std::size_t c) {
    return values(v.begin() + static_cast<std::ptrdiff_t>(c * size),
                  v.begin() + static_cast<std::ptrdiff_t>((c + 1) * size));
  };
  std::vector<values> worker(n, values(n * size));
  values owner(n * size), x(n * size), applied(n * size), gradients_of(n * size);
  for (int k = 0; k < 40; ++k) {
    values mean(n * size), step(n * size);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < x.size(); ++j) {
        auto const g = p.curvature(i, j) * (x[j] - p.centre(i, j));
        worker[i][j] += g;
        gradients_of[j] += g / static_cast<double>(n);
      }
      for (std::size_t c = 0; c < n; ++c) {
        auto const q = largest_alone(part(worker[i], c));
        for (std::size_t j = 0; j < size; ++j) {
          worker[i][c * size + j] -= q[j];
          mean[c * size + j] += q[j] / static_cast<double>(n);
        }
      }
    }
    for (std::size_t j = 0; j < x.size(); ++j) owner[j] += mean[j];
    for (std::size_t c = 0; c < n; ++c) {
      auto const r = largest_alone(part(owner, c));
      for (std::size_t j = 0; j < size; ++j) owner[c * size + j] -= r[j], step[c * size + j] = r[j];
    }
    for (std::size_t j = 0; j < x.size(); ++j) x[j] -= 0.1 * step[j], applied[j] += step[j];
    run.round();
    for (std::size_t i = 0; i < n; ++i) {
      auto const point = run.point(i);
      for (std::size_t j = 0; j < x.size(); ++j) REQUIRE(std::abs(point[j] - x[j]) < 1e-12);
    }
    for (std::size_t j = 0; j < x.size(); ++j) {
      auto kept = owner[j];
      for (auto const& e : worker) kept += e[j] / static_cast<double>(n);
      REQUIRE(std::abs(applied[j] + kept - gradients_of[j]) < 1e-12);
    }
  }
}

TEST_CASE("(E.D) with ef21 round top k, all-reduce SGD comes to the optimum of data that differ, and so do averages") {
  auto const p = problem::quadratic::random(4, 12, 4, {.spread = 1, .condition = 3});
  using node = scatter_allreduce_sgd<space, codec::ef21<codec::top_k>>;
  lockstep run{assemble<node>(topology::ring(4), p, {.step = 0.1, .codec = {.of = {.k = 1}}})};
  for (int k = 0; k < 800; ++k) run.round();
  CHECK(distance(run.point(0), p.optimum()) < 1e-9);

  using average = async_model_average<space, codec::ef21<codec::top_k>>;
  auto const models = [](assembly a) {
    lockstep averages{std::move(a)};
    for (int k = 0; k < 1500; ++k) averages.round();
    return averages.point(1);
  };
  auto const plain = models(assemble<async_model_average<space>>(topology::ring(4), p, {.step = 0.1}));
  auto const sparse = models(assemble<average>(topology::ring(4), p, {.step = 0.1, .codec = {.of = {.k = 1}}}));
  CHECK(distance(sparse, plain) < 1e-6);
}

TEST_CASE("codecs that cannot take a chunk are refused before the run") {
  auto const p = problem::quadratic::random(4, 12, 4);
  using node = scatter_allreduce_sgd<space, codec::error_feedback<codec::top_k>>;
  auto const said = [&](std::size_t k, double decay) {
    return refusal(
        [&] { static_cast<void>(assemble<node>(topology::ring(4), p, {.codec = {.of = {.k = k}, .decay = decay}})); });
  };
  CHECK(says(said(4, 1), "a codec cannot keep 4 of 3 values"));
  CHECK(says(said(3, 1.5), "error feedback keeps 0 to 1 of old errors, not 1.5"));
  CHECK(said(3, 1).empty());
}

}  // namespace
}  // namespace rubato::test
