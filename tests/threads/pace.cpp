// SPDX-License-Identifier: MIT
// A pace on real threads: links of 5 ms, and gradients that take no time.
#include <rubato/run/pace.hpp>

#include <chrono>
#include <utility>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

TEST_CASE("on threads a pace makes r_fast converge over links on which messages would be far too old for its step") {
  auto const p = problem::quadratic::random(4, 12, 1);
  auto a = assemble<r_fast<backend::host<double>>>(topology::ring(4), p, {.step = 0.3});
  pace(a);
  auto const scenario =
      environment::scenario{.compute = environment::fixed(0ns), .link = {.latency = 5ms}, .measure_every = 20ms};
  auto const r = run_threads(std::move(a), scenario, {.time = 5min, .target_loss = p.minimum() + 1e-8});
  CHECK(r.stopped == stop_reason::target_loss);
  CHECK(r.warnings.empty());
}

}  // namespace
}  // namespace rubato::test
