// SPDX-License-Identifier: MIT
// One race from options to results: the problem, the scenario, one algorithm after the other.
#pragma once

#include <signal.h>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/report/progress.hpp>

#include "support/idx_files.hpp"
#include "support/race_catalogue.hpp"
#include "support/race_options.hpp"

namespace rubato::examples {

/// Options that fit each other, and what follows from them without the data.
struct race_plan {
  race_options options;
  topology::pair network;
  sim::scenario scenario;
  std::vector<race_step> steps;  ///< by algorithm
};

namespace detail {

inline auto network_of(race_options& o) -> topology::pair {
  auto const from_file = o.topology.starts_with("file:");
  auto graph = topology::by_name(o.topology, o.nodes.value_or(from_file ? 0 : 8));
  o.nodes = graph.nodes();
  return topology::pair{graph};
}

inline auto scenario_of(race_options& o) -> sim::scenario {
  auto const nodes = *o.nodes;
  if (!o.slow) {
    o.slow.emplace();
    if (nodes > 1) o.slow->emplace_back(static_cast<std::uint32_t>(nodes - 1), 4.0);
  }
  sim::scenario s;
  s.compute = o.compute;
  for (auto const& [node, factor] : *o.slow) s.compute = s.compute.slow(node, factor);
  s.link.latency = o.latency;
  s.link.bits_per_second = o.bits_per_second;
  s.link.loss = o.loss;
  s.seed = o.seed;
  s.threads = o.threads;
  if (o.measure_every.count() == 0) o.measure_every = std::max<std::chrono::nanoseconds>(o.until / 240, std::chrono::milliseconds{100});
  s.measure_every = o.measure_every;
  s.check(nodes);
  return s;
}

inline auto steps_of(race_options const& o) -> std::vector<race_step> {
  std::vector<race_step> steps;
  for (auto const& [name, step] : o.step_of) static_cast<void>(algorithm_named(name));
  for (auto const& name : o.algorithms) {
    static_cast<void>(algorithm_named(name));
    auto step = o.step ? *o.step : default_step_of(name);
    for (auto const& [of, own] : o.step_of) {
      if (of == name) step = own;
    }
    steps.push_back({step, o.seed, o.m, 0});
  }
  return steps;
}

}  // namespace detail

/// Checks everything that needs no data; throws config_error.
[[nodiscard]] inline auto planned(race_options o) -> race_plan {
  auto steps = detail::steps_of(o);
  auto network = detail::network_of(o);
  if (o.m > *o.nodes) {
    throw config_error{"--m must be at most the number of nodes, " + std::to_string(*o.nodes) + ", not " +
                       std::to_string(o.m)};
  }
  auto scenario = detail::scenario_of(o);
  return {std::move(o), std::move(network), std::move(scenario), std::move(steps)};
}

/// Standardised data of a folder; throws config_error.
[[nodiscard]] inline auto race_data(std::string const& folder) -> problem::train_and_test {
  auto const raw = read_idx_folder(folder);
  return problem::standardise(raw.train, raw.test);
}

[[nodiscard]] inline auto race_problem_of(problem::train_and_test const& data, race_options const& o) -> race_problem {
  auto const shards = o.split == data_split::iid ? split::iid(data.train, *o.nodes, o.seed)
                                                 : split::by_label(data.train, *o.nodes, o.seed);
  return {data, shards, {o.l2, o.batch}};
}

/// Set by the first Ctrl-C; the second ends the program as usual.
inline sig_atomic_t volatile interrupt_asked = 0;

inline void catch_interrupt() {
  struct sigaction action{};
  action.sa_handler = [](int) { interrupt_asked = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}
inline auto interrupted() -> bool { return interrupt_asked != 0; }

/// A run whose loss is so far above where it began is given up: in float32 a run away from a minimum may go on for long
/// before a value is infinite.
inline constexpr double divergence_factor = 100;

inline void refuse_divergence(measurement const& first, measurement const& m) {
  if (std::isfinite(m.loss) && m.loss <= divergence_factor * first.loss) return;
  throw run_error{"the run diverges: the loss at " + report::fixed(to_seconds(m.at), 2) + " s is " +
                  report::readable(m.loss) + ", after " + report::readable(first.loss) +
                  " at the start; use a smaller step"};
}

namespace detail {

/// Draws the bar and looks for divergence while a run goes on.
class race_watch : public sim::observer, public thread_observer {
 public:
  race_watch(report::progress_bar& bar, std::chrono::nanoseconds until) : bar_{&bar}, until_{until} {}
  void measured(measurement const& m) override {
    if (!first_) first_ = m;
    refuse_divergence(*first_, m);
    bar_->update(static_cast<double>(m.at.count()) / static_cast<double>(until_.count()), m.gradients);
  }

 private:
  report::progress_bar* bar_;
  std::chrono::nanoseconds until_;
  std::optional<measurement> first_;
};

}  // namespace detail

/// Runs one assembled algorithm to `end`; throws run_error.
[[nodiscard]] inline auto run_one(assembly a, race_plan const& plan, until const& end, report::progress_bar& bar)
    -> run_result {
  detail::race_watch watch{bar, end.time};
  if (plan.options.driver == race_driver::threads) {
    thread_options o;
    o.interrupted = &interrupted;
    o.watching = &watch;
    return run_threads(std::move(a), plan.scenario, end, o);
  }
  return simulate(std::move(a), plan.scenario, end, sim::controls{&watch, &interrupted});
}

/// The time of the first measurement at or below the target, whatever came after it.
inline void find_target(run_result& result, double target) {
  result.time_to_target.reset();
  for (auto const& m : result.history) {
    if (!(m.loss <= target)) continue;
    result.time_to_target = m.at;
    return;
  }
}

/// All algorithms in turn; ends early, with what there is, when interrupted. Throws run_error naming the algorithm.
[[nodiscard]] inline auto run_all(race_plan const& plan, race_problem const& problem) -> std::vector<run_result> {
  auto const& o = plan.options;
  std::vector<assembly> assembled;
  for (std::size_t i = 0; i < o.algorithms.size(); ++i) {
    assembled.push_back(algorithm_named(o.algorithms[i]).assemble(plan.network, problem, plan.steps[i]));
  }
  std::vector<run_result> results;
  for (std::size_t i = 0; i < o.algorithms.size() && !interrupted(); ++i) {
    auto const& name = o.algorithms[i];
    report::progress_bar bar{name, o.quiet ? report::progress_mode::quiet : report::progress_mode::on_terminal};
    try {
      auto end = until{};
      end.time = o.until;
      results.push_back(run_one(std::move(assembled[i]), plan, end, bar));
    } catch (run_error const& e) {
      throw run_error{name + " with step " + report::shortest(plan.steps[i].step) + ": " + e.what()};
    }
    results.back().algorithm = name;
    find_target(results.back(), o.target_loss);
  }
  return results;
}

}  // namespace rubato::examples
