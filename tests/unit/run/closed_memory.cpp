// SPDX-License-Identifier: MIT
// Vectors that the host cannot read change nothing: bodies, tables and audits are copied through the pool everywhere.
#include <rubato/core/shared_buffer.hpp>

#include <cstdint>
#include <string>
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

struct trace {
  std::vector<double> values;
  friend auto operator==(trace const&, trace const&) -> bool = default;
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
    t.values.insert(t.values.end(), {look.loss, look.consensus_distance, look.tracking_residual});
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
