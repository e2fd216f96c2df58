// SPDX-License-Identifier: MIT
// Vectors that the host cannot read change nothing: bodies, tables and audits are copied through the pool everywhere.
#include <rubato/core/shared_buffer.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/byte_grad.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/r_fast_low_bits.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/algorithm/streaming_diloco.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/closed_backend.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using closed = test::closed_backend<double>;
static_assert(backend::array_backend<closed> && backend::has_host_twin<closed>);
static_assert(!backend::has_host_twin<backend::host<double>>);

TEST_CASE("a body that the host cannot read is copied to host memory and back, and a readable one is not copied") {
  closed b;
  auto here = b.pool().host_side().allocate<std::int32_t>(1000);
  for (std::size_t i = 0; i < here.size(); ++i) here.data()[i] = static_cast<std::int32_t>(3 * i);
  auto const body = std::move(here).publish();
  auto const there = b.pool().bring_in(body);
  CHECK(body.on_host() == body);
  CHECK_FALSE(there.is_on_host());
  CHECK(b.pool().bring_in(there) == there);
  auto const back = there.on_host();
  REQUIRE(back.view<std::int32_t>().size() == 1000);
  CHECK(back.view<std::int32_t>()[999] == 2997);
  CHECK(b.pool().values(there.view<std::int32_t>().data() + 5, 2) == std::vector<std::int32_t>{15, 18});
  CHECK(shared_buffer{}.on_host() == shared_buffer{});
  buffer_pool plain;
  CHECK(plain.bring_in(body) == body);
  CHECK(plain.bring_in(there).view<std::int32_t>()[1] == 3);
  CHECK(plain.values(static_cast<float const*>(nullptr), 3).empty());
}

/// Starts away from zero, through the host.
struct begun : problem::quadratic {
  using problem::quadratic::quadratic;
  explicit begun(problem::quadratic q) : problem::quadratic{std::move(q)} {}
  [[nodiscard]] auto initial() const -> std::vector<double> { return std::vector<double>(dimension(), 0.5); }
};

/// Distances of many values are summed in another order on a device.
struct trace {
  std::vector<double> values, distances;
  friend auto operator==(trace const& a, trace const& b) -> bool {
    auto const near = [](double x, double y) { return std::abs(x - y) <= 1e-12 * std::abs(y); };
    return a.values == b.values && std::equal(a.distances.begin(), a.distances.end(), b.distances.begin(), near);
  }
};

template<class Node, class Problem>
auto run(Problem const& q, environment::scenario const& scenario) -> trace {
  typename Node::options options{};
  options.step = 0.1;
  options.block_values = 64;
  auto const result = simulate<Node>(topology::exponential(5), q, options, scenario, {.time = 150ms});
  trace t;
  std::vector<double> one;
  for (auto const& model : result.models) {
    rubato::detail::widen(model, one);
    t.values.insert(t.values.end(), one.begin(), one.end());
  }
  for (auto const& look : result.history) {
    t.values.insert(t.values.end(), {look.loss, look.tracking_residual});
    t.distances.push_back(look.consensus_distance);
  }
  return t;
}

template<template<class> class Node, class T>
void compare(environment::frames carried, environment::delivery split) {
  auto const q = problem::quadratic::random(5, 203, 12, {.spread = 1, .condition = 5, .noise = 0});
  environment::scenario const scenario{.compute = environment::fixed(10ms).slow(2, 2.0),
                                       .link = {.latency = 1ms, .loss = 0.1},
                                       .carried = carried,
                                       .split = split,
                                       .seed = 4,
                                       .measure_every = 30ms};
  auto const expected = run<Node<backend::host<T>>>(q, scenario);
  CHECK(run<Node<test::closed_backend<T>>>(q, scenario) == expected);
  if constexpr (std::is_same_v<T, double>) {
    CHECK(run<Node<closed>>(begun{q}, scenario) == run<Node<backend::host<double>>>(begun{q}, scenario));
  }
}

template<class B> using tracking = r_fast<B>;
template<class B> using averaging = d_psgd<B>;
template<class B> using ring = ring_allreduce_sgd<B>;
template<class B> using server = m_synchronous_sgd<B>;
template<class B> using in_low_bits = r_fast_low_bits<B>;
template<class B> using in_bytes = byte_grad<B>;
template<class B> using pushing = osgp<B>;
template<class B> using in_pairs = ad_psgd<B>;
template<class B> using in_fragments = streaming_diloco<B>;

TEST_CASE("runs on vectors that the host cannot read equal those on plain vectors, however packets are carried") {
  for (auto const carried : {environment::frames::by_reference, environment::frames::encoded}) {
    for (auto const split : {environment::delivery::whole, environment::delivery::blocks}) {
      compare<tracking, float>(carried, split);
      compare<tracking, double>(carried, split);
    }
    compare<averaging, double>(carried, environment::delivery::whole);
    compare<ring, double>(carried, environment::delivery::whole);
    compare<server, double>(carried, environment::delivery::whole);
    compare<in_low_bits, float>(carried, environment::delivery::whole);
    compare<in_bytes, double>(carried, environment::delivery::whole);
    compare<pushing, double>(carried, environment::delivery::whole);
    compare<in_pairs, double>(carried, environment::delivery::whole);
    compare<in_fragments, double>(carried, environment::delivery::whole);
  }
}

TEST_CASE("models of a device are measured there, and none is copied") {
  constexpr std::size_t n = 5003;  // more than parts are summed
  closed b;
  std::vector<shared_buffer> there, here;
  for (std::size_t i = 0; i < 3; ++i) {
    auto x = b.pool().host_side().allocate<double>(n);
    for (std::size_t k = 0; k < n; ++k) x.data()[k] = static_cast<double>((7 * k + 13 * i * k) % 101) / 10;
    here.push_back(std::move(x).publish());
    there.push_back(b.pool().bring_in(here.back()));
  }
  auto const q = problem::quadratic::random(3, n, 12);
  auto const measuring = metrics{problem::any_oracle{b, q}};
  auto const copies = b.memory().copies_of(n * sizeof(double));
  auto const m = measuring.of_models(there, 5ms);
  CHECK(b.memory().copies_of(n * sizeof(double)) == copies);
  auto const expected = metrics{problem::any_oracle{backend::host<double>{}, q}}.of_models(here, 5ms);
  CHECK(m.at == expected.at);
  CHECK(expected.consensus_distance > 1);
  CHECK(std::abs(m.consensus_distance - expected.consensus_distance) < 1e-9);
  CHECK(std::abs(m.loss - expected.loss) < 1e-9 * std::abs(expected.loss));
  CHECK(measuring.of_models(std::vector{there[1], there[1]}, 5ms).consensus_distance == 0);
}

TEST_CASE("of the models of a device the one that is not finite is named") {
  closed b;
  auto x = b.pool().host_side().allocate<double>(2);
  x.data()[0] = 1;
  x.data()[1] = std::nan("");
  auto const spoilt = b.pool().bring_in(std::move(x).publish());
  auto zeros = backend::zeros<double>(b, 2);
  auto const fine = std::move(zeros).publish();
  auto const measuring = metrics{problem::any_oracle{b, problem::quadratic::random(2, 2, 1)}};
  auto const said = test::failure([&] { static_cast<void>(measuring.of_models(std::vector{fine, spoilt}, 0ms)); });
  CHECK(test::says(said, "the model of node 1 is not finite at value 1"));
}

TEST_CASE("the mass of a push-sum node is reported even if the host cannot read it") {
  closed b;
  auto const body = [&](double value) {
    auto here = b.pool().host_side().allocate<double>(3);
    for (auto& v : here.view()) v = value;
    return b.pool().bring_in(std::move(here).publish());
  };
  auto const network = topology::pair{topology::directed_ring(3)};
  osgp<closed> node{b, osgp<closed>::make_plan(network), node_id{1}, body(2), {}};
  outbox out;
  node.start({}, out);
  iteration const first{1};
  scalars extra;
  extra.set(scalar_slot::push_sum_weight, 0.5);
  node.on_patch(
      {}, patch{node_id{0}, node_id{1}, channel_id::model, {}, {}, {}, {0, 1}, {&first, 1}, body(0.25), extra}, out);
  CHECK(node.mass().weight == 1.5);
  CHECK(node.mass().numerator == std::vector<double>(3, 2.25));
}

TEST_CASE("a ledger that leaves its range reports it with the same sentence") {
  auto const sentence_of = []<class Backend>(Backend) -> std::string {
    typename r_fast<Backend>::options options{};
    options.ledger.exponents = {28};
    try {
      simulate<r_fast<Backend>>(topology::ring(4), problem::quadratic::random(4, 70, 3, {.spread = 5}), options, {},
                                {.time = 1s});
    } catch (run_error const& e) {
      return e.what();
    }
    return "";
  };
  auto const expected = sentence_of(backend::host<float>{});
  CHECK(expected.find("range is exceeded") != std::string::npos);
  CHECK(sentence_of(test::closed_backend<float>{}) == expected);
}

}  // namespace
