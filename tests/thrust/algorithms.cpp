// SPDX-License-Identifier: MIT
// Algorithms on Thrust walk the path of host<double> with plain sums: one list of algorithms, every system of Thrust.
#include <rubato/backend/thrust.hpp>

#include <algorithm>
#include <cmath>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/thrust_systems.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;

/// Final models under loss and a straggler; sizes of which no vector width, block or chunk is a divisor.
template<class Node>
auto finish(std::size_t dimension, std::size_t block_values, typename Node::backend_type backend)
    -> std::vector<double> {
  constexpr std::size_t n = 5;
  typename Node::options options{};
  options.step = 0.1;
  options.block_values = block_values;
  auto const q = problem::quadratic::random(n, dimension, 12, {.spread = 1, .condition = 5, .noise = 0});
  auto const scenario = environment::scenario{.compute = environment::fixed(10ms).slow(2, 2.0),
                                              .link = {.latency = 1ms, .loss = 0.1},
                                              .seed = 4,
                                              .measure_every = 100ms};
  auto const result =
      simulate(assemble<Node>(topology::exponential(n), q, options, std::move(backend)), scenario, {.time = 200ms});
  std::vector<double> all, one;
  for (auto const& model : result.models) {
    rubato::detail::widen(model, one);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

auto farthest(std::vector<double> const& a, std::vector<double> const& b) -> double {
  REQUIRE(a.size() == b.size());
  auto worst = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) worst = std::max(worst, std::abs(a[k] - b[k]));
  return worst;
}

/// On every system, with all sweeps handed to its threads.
template<template<class> class Node>
void compare(std::size_t dimension, std::size_t block_values) {
  auto const reference = finish<Node<backend::host<double>>>(dimension, block_values, {});
  REQUIRE(std::abs(reference[0]) > 1e-3);  // away from the common start
  test::for_each_system([&](auto system) {
    using tested = backend::thrust<double, decltype(system)>;
    INFO(tested::name() << ", dimension " << dimension);
    CHECK(farthest(finish<Node<tested>>(dimension, block_values, tested{buffer_pool{}, {0, 0}}), reference) < 1e-12);
  });
}

template<class B> using tracking = r_fast<B>;
template<class B> using averaging = d_psgd<B>;
template<class B> using ring = ring_allreduce_sgd<B>;
template<class B> using server = m_synchronous_sgd<B>;

constexpr auto several_chunks = backend::detail::chunk_values + 203;

TEST_CASE("r_fast, d_psgd, ring_allreduce_sgd and m_synchronous_sgd on Thrust end where the reference does") {
  for (auto const dimension : {std::size_t{1}, std::size_t{203}}) {
    compare<tracking>(dimension, 64);
    compare<averaging>(dimension, 64);
    compare<ring>(dimension, 64);
    compare<server>(dimension, 64);
  }
}

TEST_CASE("r_fast on vectors of several chunks ends where the reference does") { compare<tracking>(several_chunks, 0); }

TEST_CASE("in float the fixed-point ledger is exact on Thrust, and bit for bit the reference's") {
  auto const reference = finish<r_fast<backend::host<float>>>(several_chunks, 4096, {});
  test::for_each_system([&](auto system) {
    using tested = backend::thrust<float, decltype(system)>;
    INFO(tested::name());
    CHECK(farthest(finish<r_fast<tested>>(several_chunks, 4096, tested{buffer_pool{}, {0, 0}}), reference) == 0.0);
  });
}

}  // namespace
