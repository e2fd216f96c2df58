// SPDX-License-Identifier: MIT
// One sweep of equal effort for every algorithm, over steps and networks, in one weather. A trial is a run of the race
// to its target with a seed that no figure uses. All algorithms get as many trials each: where no network matters, the
// steps lie closer. A trial ends as soon as it is later than the best one so far, so bad ones are cheap.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <rubato/topology/trees.hpp>

#include "support/finish.hpp"
#include "support/jobs.hpp"
#include "support/race_run.hpp"

namespace bench {

using namespace rubato;
using namespace rubato::examples;

/// What races, with the options that make it what it is; everything but its step and network.
struct competitor {
  std::string label, algorithm;
  std::vector<setting> settings{};
  bool needs_network = true;
  std::vector<std::string> networks{};  ///< empty: those of the effort
};

/// Where it races: everything that the options of race say about data, speeds and links.
struct weather {
  std::string name;
  void (*set)(race_options&);
};

/// `measured-star` and `measured-binary-tree` have the root that durations measured in the run choose.
struct trial {
  double step = 0;
  std::string network;
};

/// A run that is planned, and what it does before it, in virtual time, which counts.
struct prepared {
  race_plan plan;
  std::chrono::nanoseconds before{};
};

/// Nodes measure their gradients for as long as a node that is 4x slower takes for 8 of 10 ms; then each sends what it
/// measured to all, and 200 ms are enough for ten attempts of a message, its loss noticed after 20 ms each.
inline constexpr auto measuring = std::chrono::milliseconds{320}, agreeing = std::chrono::milliseconds{200};

/// Seconds a gradient, by node: what a run of that long on the complete graph shows. Its models are thrown away.
[[nodiscard]] inline auto measured_durations(race_options o, race_problem const& problem) -> std::vector<double> {
  o.algorithms = {"r_fast"};
  o.settings = {{{}, "step", "0.001"}};
  o.topology = "complete";
  auto const plan = planned(o);
  auto end = until{};
  end.time = measuring;
  std::vector<double> all;
  for (auto const& n : run_one(assembled(plan, 0, problem), plan, end).nodes)
    all.push_back(to_seconds(end.time) / std::max(1.0, static_cast<double>(n.gradients)));
  return all;
}

[[nodiscard]] inline auto plan_for(competitor const& c, trial const& t, weather const& w, std::uint64_t seed,
                                   race_problem const& problem) -> prepared {
  auto o = default_options();
  w.set(o);
  o.algorithms = {c.algorithm};
  o.settings = c.settings;
  o.settings.push_back({{}, "step", report::shortest(t.step)});
  o.seed = seed;
  o.threads = 1;
  auto const measured = t.network.starts_with("measured-");
  if (measured) o.topology = "complete";
  else if (!t.network.empty()) o.topology = t.network;
  auto plan = planned(o);
  if (!measured) return {std::move(plan)};
  auto const children = t.network == "measured-star" ? *plan.options.nodes : std::size_t{2};
  auto& graphs = plan.networks[0].graphs;
  graphs = spanning_trees(graphs.pull(), topology::best_root,
                          {.gradient = measured_durations(std::move(o), problem), .children_max = children});
  return {std::move(plan), measuring + agreeing};
}

/// One run to the target, at most `longest` long. Divergence counts as never arriving.
[[nodiscard]] inline auto run_trial(prepared const& p, race_problem const& problem, std::chrono::nanoseconds longest)
    -> finish {
  auto const& plan = p.plan;
  auto end = until{};
  end.time =
      std::max<std::chrono::nanoseconds>(std::min(plan.options.until, longest) - p.before, std::chrono::nanoseconds{1});
  end.target_loss = plan.options.target_loss;
  try {
    auto r = run_one(assembled(plan, 0, problem), plan, end);
    find_target(r, plan.options.target_loss);
    auto const last = r.history.back().loss;
    auto const bytes = static_cast<double>(r.history.back().bytes_sent);
    if (r.time_to_target) return {to_seconds(p.before + *r.time_to_target), last, true, bytes};
    return {to_seconds(p.before + end.time), std::isfinite(last) ? last : std::numeric_limits<double>::infinity(),
            false, bytes};
  } catch (run_error const&) {
    return {};
  }
}

struct effort {
  double least_step = 1.0 / 128, greatest_step = 0.5;
  int steps = 7;  ///< a network
  std::vector<std::string> networks{"star", "binary-tree", "ring", "exponential", "complete"};
  std::uint64_t seed = 101;
};

[[nodiscard]] inline auto trials_of(competitor const& c, effort const& e) -> std::vector<trial> {
  auto const count = c.needs_network ? e.steps : e.steps * static_cast<int>(e.networks.size());
  std::vector<trial> all;
  for (auto k = 0; k < count; ++k) {
    auto const step = e.least_step * std::pow(e.greatest_step / e.least_step, count > 1 ? 1.0 * k / (count - 1) : 0.0);
    auto const unit = std::pow(10.0, 2 - std::floor(std::log10(step)));
    auto const rounded = std::round(step * unit) / unit;
    if (!c.needs_network) {
      all.push_back({rounded, {}});
      continue;
    }
    for (auto const& n : c.networks.empty() ? e.networks : c.networks) all.push_back({rounded, n});
  }
  // From the middle of the grid outwards, so that a good time is known early.
  std::stable_sort(all.begin(), all.end(), [&](trial const& a, trial const& b) {
    auto const middle = std::log(e.least_step * e.greatest_step) / 2;
    return std::abs(std::log(a.step) - middle) < std::abs(std::log(b.step) - middle);
  });
  return all;
}

struct tuned {
  trial best;
  finish with;
  std::size_t number = std::numeric_limits<std::size_t>::max();  ///< of the best trial; of equal ones the first
  bool at_edge = false;  ///< of the grid of steps: the best may lie beyond
};

/// The best of all trials. A network that the algorithm refuses counts as a trial that never arrives.
[[nodiscard]] inline auto tune(competitor const& c, weather const& w, effort const& e, race_problem const& problem)
    -> tuned {
  auto const all = trials_of(c, e);
  std::mutex one_at_a_time;
  tuned found;
  for_all_jobs(all.size(), [&](std::size_t i) {
    auto longest = std::chrono::nanoseconds::max();
    {
      auto const lock = std::lock_guard{one_at_a_time};
      if (found.with.reached) longest = std::chrono::nanoseconds{std::llround(found.with.seconds * 1e9)};
    }
    finish f;
    try {
      f = run_trial(plan_for(c, all[i], w, e.seed, problem), problem, longest);
    } catch (config_error const&) {
      f = {};
    }
    auto const lock = std::lock_guard{one_at_a_time};
    if (beats(f, found.with) || (!beats(found.with, f) && i < found.number)) found = {all[i], f, i};
  });
  found.at_edge = found.best.step <= e.least_step * 1.001 || found.best.step >= e.greatest_step * 0.999;
  std::fprintf(stderr, "%s; %s: step %s%s%s: %s%s s, loss %s%s\n", w.name.c_str(), c.label.c_str(),
               report::shortest(found.best.step).c_str(), found.best.network.empty() ? "" : " on ",
               found.best.network.c_str(), found.with.reached ? "" : "not in ",
               report::fixed(found.with.seconds, 2).c_str(), report::fixed(found.with.loss, 4).c_str(),
               found.at_edge ? ", at the edge of the grid" : "");
  return found;
}

}  // namespace bench
