// SPDX-License-Identifier: MIT
// One legal combination of policies: it runs to a stated loss; where it tracks, the law of tracking holds at every look
// on the way; and at the end its nodes are as near each other as it promises.
#pragma once

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/step/schedule.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"

namespace rubato::test {

using namespace std::chrono_literals;

/// What a run of a combination is held to.
struct expectation {
  double step = 0.05;
  double above_minimum = 1e-4;  ///< the loss that is reached, over that of the optimum
  double share_of_start = 0;  ///< if not 0, in place of it: as a share of what the loss is over it at the start
  double law = 0;  ///< how far the tracking law may be off, in the ledger's units
  double apart = 1e300;  ///< consensus distance at the end
  double loss_of_links = 0.1;
};

/// Where a combination runs.
struct surroundings {
  topology::digraph network = topology::ring(4);
  step::schedule schedule{};
  double duplication = 0, overtaking = 0;
  environment::frames carried = environment::frames::by_reference;
  std::size_t dimension = 67;  // odd, and more than a block
};

/// Runs Node in bad weather until it has reached the loss, and checks the law on the way. `options` are those that the
/// combination needs besides the step.
template<class Node>
void reaches(char const* name, expectation const& e, typename Node::options options = {}, surroundings const& s = {}) {
  INFO(name << " on " << s.network.name());
  auto const nodes = s.network.nodes();
  auto const p = problem::quadratic::random(nodes, s.dimension, 7, {.spread = 1, .condition = 4});
  options.step = e.step;
  options.schedule = s.schedule;
  if constexpr (requires { options.block_values; }) options.block_values = 64;
  if constexpr (requires { options.sum_codec.remembered; }) options.block_values = 0;  // travels whole
  auto above = e.above_minimum;
  if (e.share_of_start > 0) {
    backend::host<double> b;
    above = e.share_of_start * (p.loss(b, std::vector<double>(s.dimension)) - p.minimum());
  }
  environment::scenario weather;
  weather.compute = environment::lognormal(10ms, 0.3).slow(1, 3.0);
  weather.link = {.latency = 1ms, .jitter = 1ms, .loss = e.loss_of_links};
  weather.link.duplication = s.duplication;
  weather.link.overtaking = s.overtaking;
  weather.carried = s.carried;
  weather.seed = 11;
  weather.measure_every = 100ms;
  auto const result =
      simulate<Node>(s.network, p, options, weather, {.time = 1000s, .target_loss = p.minimum() + above});
  CHECK(result.stopped == stop_reason::target_loss);
  for (auto const& look : result.history) {
    if (!(look.tracking_residual <= e.law)) FAIL("the tracking law is off by " << look.tracking_residual);
  }
  CHECK(result.history.back().consensus_distance <= e.apart);
  CHECK(result.events > 0);
}

}  // namespace rubato::test
