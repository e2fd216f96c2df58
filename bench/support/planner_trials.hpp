// SPDX-License-Identifier: MIT
// What a planner says, beside what the simulator shows: random situations, and runs of its candidates in them.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/random.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/planner/choice.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

namespace bench {

using namespace rubato;

/// Machines, links and a problem drawn at random, the same for the same seed.
[[nodiscard]] inline auto random_situation(std::uint64_t seed) -> planner::situation {
  using std::chrono::nanoseconds;
  auto draw = random_stream{0x73697475ULL, seed};
  auto const between = [&](double low, double high) { return low + (high - low) * draw.uniform(); };
  auto const log_between = [&](double low, double high) { return low * std::pow(high / low, draw.uniform()); };
  auto const ns = [](double ms) { return nanoseconds{std::llround(1e6 * ms)}; };
  planner::situation s;
  s.seed = seed;
  s.workers = 4 + draw.below(9);
  s.dimension = 64, s.value_bytes = 8;
  auto const shape = draw.below(4);
  if (shape == 0) s.compute = environment::fixed(ns(10));
  if (shape == 1) s.compute = environment::lognormal(ns(10), between(0.1, 1));
  if (shape == 2) s.compute = environment::shifted_exponential(ns(10), between(0.1, 1));
  if (shape == 3) s.compute = environment::random_slow(ns(10), between(0.05, 0.3), 2, 6);
  auto const stragglers = draw.below(3);
  if (stragglers == 1)
    s.compute = s.compute.slow(static_cast<std::uint32_t>(draw.below(s.workers)), log_between(2, 10));
  for (auto i = std::uint32_t{0}; stragglers == 2 && i < s.workers; ++i)
    s.compute = s.compute.slow(i, log_between(1, 5));
  s.link.latency = ns(log_between(0.05, 40));
  if (draw.chance(0.3)) s.link.jitter = ns(between(0, 10));
  auto const bits = 8.0 * static_cast<double>(s.dimension * s.value_bytes);
  if (draw.chance(0.6)) s.link.bits_per_second = bits / (1e-3 * log_between(0.1, 30));  // a model takes that many ms
  if (draw.chance(0.5)) s.link.loss = between(0, 0.3);
  s.flattest = log_between(0.03, 0.5);
  if (draw.chance(0.75)) s.spread = log_between(0.1, 2);
  s.curvature_spread = between(0, 0.5);
  if (draw.chance(0.8)) s.noise = log_between(0.03, 1.5);
  s.target = log_between(1e-3, 5e-2);
  return s;
}

/// The problem that the situation describes; its optimum is as far from 0 as that says.
[[nodiscard]] inline auto problem_of(planner::situation const& s) -> problem::quadratic {
  auto const n = s.workers, d = s.dimension;
  auto draw = random_stream{0x70726f62ULL, s.seed};
  problem::quadratic::rows curvatures(n, std::vector<double>(d)), centres = curvatures;
  std::vector<double> optimum(d);
  auto squares = 0.0;
  for (auto& c : optimum) c = draw.normal(), squares += c * c;
  for (auto& c : optimum) c *= s.distance / std::sqrt(squares / static_cast<double>(d));
  for (auto& row : centres)
    for (auto& c : row) c = s.spread * draw.normal();
  for (auto i = std::size_t{0}; i < n; ++i) {
    for (auto k = std::size_t{0}; k < d; ++k) {
      auto const at = (static_cast<double>((k * 37) % d) + 0.5) / static_cast<double>(d);
      auto const own = 1 + s.curvature_spread * std::sqrt(3.0) * (2 * draw.uniform() - 1);
      curvatures[i][k] = s.flattest * std::pow(s.steepest / s.flattest, at) * own;
    }
  }
  for (auto k = std::size_t{0}; k < d; ++k) {
    auto bent = 0.0, off = 0.0;
    for (auto i = std::size_t{0}; i < n; ++i) bent += curvatures[i][k], off += curvatures[i][k] * centres[i][k];
    for (auto i = std::size_t{0}; i < n; ++i) centres[i][k] += optimum[k] - off / bent;
  }
  return {curvatures, centres, s.noise};
}

[[nodiscard]] inline auto scenario_of(planner::situation const& s) -> environment::scenario {
  environment::scenario e;
  e.compute = s.compute, e.link = s.link;
  e.seed = s.seed + 77;  // not the planner's draws
  e.measure_every = std::chrono::microseconds{2500};
  return e;
}

/// Assembles one candidate with a step; in the programs, which compile the node types.
using assembler = auto (*)(planner::candidate const&, topology::pair const&, problem::quadratic const&, double step,
                           planner::situation const&) -> assembly;

/// The network of a candidate; those that bring their own take any.
[[nodiscard]] inline auto network_of(planner::candidate const& c, std::size_t n) -> topology::pair {
  return topology::pair{topology::by_name(c.network.empty() ? "complete" : c.network, n)};
}

/// How candidates are tried. Of a candidate and a step the median of `runs` counts, an odd number: a forecast is of the
/// mean over noise, and one run is off by a third in either direction.
struct trials {
  assembler make;
  std::size_t runs = 1;
};

/// The seconds to the target in the simulator, of one run, or infinity if it takes longer than `longest` or diverges.
/// As in a plan, nobody is there before every node has had a model of another (pace::shared_seconds), even if the mean
/// of models that have never met is. Runs of different numbers share the problem and nothing that is drawn.
[[nodiscard]] inline auto seconds_of_run(planner::situation const& s, planner::candidate const& c, double step,
                                         double longest, std::pair<assembler, std::uint64_t> const& made) -> double {
  auto const [make, number] = made;
  auto drawn = s;
  drawn.seed += number << 32U;
  auto const p = problem_of(s);
  auto above = 0.0;
  for (auto k = std::size_t{0}; k < s.dimension; ++k)
    for (auto i = std::size_t{0}; i < s.workers; ++i)
      above += 0.5 * p.curvature(i, k) * p.optimum()[k] * p.optimum()[k] / static_cast<double>(s.workers);
  auto end = until{};
  end.time = std::chrono::nanoseconds{std::llround(1e9 * longest)};
  end.target_loss = p.minimum() + s.target * above;
  auto watching = observers{};
  watching.push_back([&](look const& l) mutable {
    if (!(l.seen.loss - p.minimum() < 1e3 * above)) throw run_error{"diverges"};
  });
  try {
    auto const r = simulate(make(c, network_of(c, s.workers), p, step, drawn), scenario_of(drawn), end,
                            {.watching = std::move(watching)});
    if (r.time_to_target)
      return std::fmax(std::chrono::duration<double>(*r.time_to_target).count(), planner::pace_of(s, c).shared_seconds);
  } catch (run_error const&) {
  }
  return std::numeric_limits<double>::infinity();
}

struct trial_times {
  double median = 0, first = 0;  ///< of all runs, and of the first one alone: seconds
};
/// Infinity where that is longer than `longest`. Runs end there, and none begins when the median is known to be longer:
/// neither changes a median that is not.
[[nodiscard]] inline auto seconds_to_target(planner::situation const& s, planner::candidate const& c, double step,
                                            double longest, trials const& of) -> trial_times {
  auto times = std::vector<double>{};
  auto const half = of.runs / 2;
  for (auto k = std::size_t{0}, beyond = k; k < of.runs; ++k) {
    times.push_back(seconds_of_run(s, c, step, longest, {of.make, k}));
    if (!std::isfinite(times.back()) && ++beyond > half) return {times.back(), times[0]};
  }
  auto const first = times[0];
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(half), times.end());
  return {times[half], first};
}

/// The step of a prediction; of one that does not come to the target, a step that is likely to be fast.
[[nodiscard]] inline auto step_to_try(planner::prediction const& p) -> double {
  return std::isfinite(p.run.seconds) || p.run.step == 0 ? p.run.step : p.step_limit / 2;
}

/// What a run of some length did, per second.
struct measured_pace {
  double steps = 0, gradients = 0, bytes = 0;
};
[[nodiscard]] inline auto measured(planner::situation const& s, planner::candidate const& c, double seconds,
                                   assembler make) -> measured_pace {
  auto e = scenario_of(s);
  auto const run = [&](double length) {
    e.measure_every = std::chrono::nanoseconds{std::llround(1e9 * length)};
    auto end = until{};
    end.time = e.measure_every;
    return simulate(make(c, network_of(c, s.workers), problem_of(s), 1e-3, s), e, end);
  };
  // The second three quarters, without the beginning.
  auto const a = run(seconds / 4), b = run(seconds);
  auto const of = [](run_result const& r) {
    auto steps = 0.0;
    if (r.nodes.size() > r.models.size()) {
      steps = static_cast<double>(r.nodes.back().iterations);  // a server
    } else {
      for (auto const& n : r.nodes) steps += static_cast<double>(n.iterations) / static_cast<double>(r.nodes.size());
    }
    return std::vector{steps, static_cast<double>(r.history.back().gradients),
                       static_cast<double>(r.history.back().bytes_sent)};
  };
  auto const from = of(a), to = of(b);
  auto const length = 0.75 * seconds;
  return {(to[0] - from[0]) / length, (to[1] - from[1]) / length, (to[2] - from[2]) / length};
}

}  // namespace bench
