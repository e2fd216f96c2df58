// SPDX-License-Identifier: MIT
// R-FAST, Push-Pull, S-AB and D-PSGD written out as in their papers, against the same methods as arrays of actions
// (order::r_fast, push_pull, ab, ...): equal to the bit, event by event, also with lost messages and restarts.
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/gossip.hpp>
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/non_blocking_d_psgd.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/r_fast_low_bits.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/codec/low_bits.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/synchrony/rounds.hpp>

#include <cstring>

#include <rubato/backend/counting_lanes.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/weighting/hinge.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using whole = backend::eigen<float>;
using reference = backend::host<double>;

template<class Node>
auto finish(topology::pair const& network, environment::scenario const& scenario, std::size_t block_values)
    -> run_result {
  auto const q =
      problem::quadratic::random(network.pull().nodes(), 203, 12, {.spread = 1, .condition = 5, .noise = 0.1});
  typename Node::options o;
  o.step = 0.02;
  o.block_values = block_values;
  if constexpr (requires { o.contribution.minibatches; })
    o.contribution.minibatches = o.contribution.follows_the_fastest ? 3 : 1;
  return simulate<Node>(network, q, o, scenario, {.time = 3s});
}

template<class Written, class Actions>
void are_equal(topology::pair const& network, environment::scenario const& scenario, std::size_t block_values = 0) {
  auto const a = finish<Written>(network, scenario, block_values);
  auto const b = finish<Actions>(network, scenario, block_values);
  REQUIRE(a.events > 1000);
  CHECK(a.events == b.events);
  CHECK(a.history.back().tracking_residual == b.history.back().tracking_residual);
  REQUIRE(a.models.size() == b.models.size());
  for (std::size_t i = 0; i < a.models.size(); ++i) {
    auto const mine = a.models[i].bytes(), theirs = b.models[i].bytes();
    REQUIRE(mine.size() == theirs.size());
    CHECK(std::memcmp(mine.data(), theirs.data(), mine.size()) == 0);
  }
}

environment::scenario const lossy{.compute = environment::lognormal(10ms, 0.5).slow(2, 3.0),
                                  .link = {.latency = 3ms, .loss = 0.2},
                                  .split = environment::delivery::blocks,
                                  .seed = 4};
environment::scenario const lossless{
    .compute = environment::lognormal(10ms, 0.5).slow(1, 2.0), .link = {.latency = 3ms}, .seed = 4};
environment::scenario const with_a_restart{.compute = environment::lognormal(10ms, 0.5).slow(1, 2.0),
                                           .link = {.latency = 3ms},
                                           .restarts = {{.node = node_id{2}, .at = 900ms, .down = 300ms}},
                                           .seed = 4};

TEST_CASE(
    "R-FAST tracks (R.T), consumes (R.C), pushes (R.A), descends (R.D) and mixes (R.W) as its array of actions does") {
  are_equal<r_fast<whole>, gradient_tracking<whole, order::r_fast>>(topology::exponential(6), lossy, 64);
  are_equal<r_fast<reference, step::adam, weighting::hinge>,
            gradient_tracking<reference, order::r_fast, step::adam, weighting::hinge>>(topology::binary_tree(7), lossy,
                                                                                       64);
  are_equal<r_fast_low_bits<whole>, gossip<whole, order::r_fast, step::sgd, weighting::constant, synchrony::free,
                                           ledger::fixed_point, codec::low_bits>>(topology::ring(5), lossy);
}

TEST_CASE(
    "Push-Pull consumes (P.C), descends (P.D), mixes (P.W), tracks (P.T) and pushes (P.A) as its array of actions "
    "does") {
  are_equal<push_pull<whole>,
            gradient_tracking<whole, order::push_pull, step::sgd, weighting::constant, synchrony::rounds>>(
      topology::exponential(6), lossless);
  are_equal<push_pull<reference, step::momentum>,
            gradient_tracking<reference, order::push_pull, step::momentum, weighting::constant, synchrony::rounds>>(
      topology::binary_tree(7), lossless);
}

TEST_CASE(
    "S-AB mixes (S.W), descends (S.D), pushes (S.A), consumes (S.C) and tracks (S.T) as its array of actions does") {
  are_equal<s_ab<whole>, gradient_tracking<whole, order::ab, step::sgd, weighting::constant, synchrony::rounds>>(
      topology::exponential(6), lossless);
  are_equal<s_ab<reference, step::adam>,
            gradient_tracking<reference, order::ab, step::adam, weighting::constant, synchrony::rounds>>(
      topology::ring(5), lossless);
}

template<class Order, class Backend, class Step = step::sgd, class Contribution = contribution::all>
using averaging = gossip<Backend, Order, Step, weighting::constant, synchrony::rounds, ledger::floating,
                         codec::identity, Contribution>;

TEST_CASE(
    "D-PSGD mixes (DP.W) and descends (DP.D) as its array of actions does, with batches that the fastest end, too") {
  using order::combine_while_computing, contribution::finished;
  for (auto const& scenario : {lossless, with_a_restart}) {
    are_equal<d_psgd<whole>, averaging<combine_while_computing, whole>>(topology::exponential(6), scenario);
    are_equal<d_psgd<reference, step::momentum>, averaging<combine_while_computing, reference, step::momentum>>(
        topology::binary_tree(7), scenario);
    are_equal<non_blocking_d_psgd<reference, step::adam>,
              averaging<combine_while_computing, reference, step::adam, finished>>(topology::ring(5), scenario);
  }
}

TEST_CASE(
    "D-PSGD adapts (DA.D) and then combines (DA.W) as its array of actions does, with batches that the fastest end, "
    "too") {
  using order::adapt_then_combine, contribution::finished;
  for (auto const& scenario : {lossless, with_a_restart}) {
    are_equal<d_psgd_atc<whole>, averaging<adapt_then_combine, whole>>(topology::exponential(6), scenario);
    are_equal<d_psgd_atc<reference, step::adam>, averaging<adapt_then_combine, reference, step::adam>>(
        topology::ring(5), scenario);
    are_equal<d_psgd_atc<reference, step::momentum, finished>,
              averaging<adapt_then_combine, reference, step::momentum, finished>>(topology::binary_tree(7), scenario);
  }
}

struct twice_and_away {
  float const* x;
  double* y;
  template<class At>
  void operator()(At& at) const {
    auto const v = at.load(x) + at.load(x);
    at.store(y, at.template cast<double>(v));
  }
};

TEST_CASE("a kernel's bytes are counted from what it loads and stores") {
  CHECK(backend::counted_bytes<float>(twice_and_away{nullptr, nullptr}) == 2 * sizeof(float) + sizeof(double));
}

}  // namespace
