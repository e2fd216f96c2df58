// SPDX-License-Identifier: MIT
// One race from options to results: the problem, the scenario, one algorithm after the other.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/environment/scenario.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/report/progress.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/result.hpp>

#include "support/idx_files.hpp"
#include "support/interrupt.hpp"
#include "support/race_algorithms.hpp"
#include "support/race_catalogue.hpp"
#include "support/race_network.hpp"
#include "support/race_options.hpp"

namespace rubato::examples {

class live_page;  // support/race_live.hpp

/// Options that are consistent, and what follows from them without the data.
struct race_plan {
  race_options options;
  std::vector<race_network> networks;  ///< by algorithm
  environment::scenario scenario;
  std::vector<planned_algorithm> algorithms;  ///< in the order of options.algorithms
};

namespace detail {

inline auto networks_of(race_options& o) -> std::vector<race_network> {
  std::map<std::string, race_network> made;
  std::vector<race_network> all;
  for (auto const& algorithm : o.algorithms) {
    auto const name = o.topology == best_networks ? std::string{algorithm_named(algorithm).network} : o.topology;
    if (!made.contains(name)) {
      auto network = o.members_come_and_go ? members_named(name, *o.nodes) : network_named(name, o.nodes);
      o.nodes = network.graphs.nodes();
      made.emplace(name, std::move(network));
    }
    all.push_back(made.at(name));
  }
  return all;
}

inline auto scenario_of(race_options& o) -> environment::scenario {
  auto const nodes = *o.nodes;
  if (!o.slow) {
    o.slow.emplace();
    if (nodes > 1) o.slow->emplace_back(static_cast<std::uint32_t>(nodes - 1), 4.0);
  }
  environment::scenario s;
  s.compute = o.compute;
  for (auto const& [node, factor] : *o.slow) s.compute = s.compute.slow(node, factor);
  s.link.latency = o.latency;
  s.link.bits_per_second = o.bits_per_second;
  s.link.loss = o.loss;
  s.seed = o.seed;
  s.threads = o.threads;
  if (o.measure_every.count() == 0)
    o.measure_every = std::max<std::chrono::nanoseconds>(o.until / 240, std::chrono::milliseconds{100});
  s.measure_every = o.measure_every;
  s.check(nodes);
  return s;
}

/// Throws config_error for a batch that an algorithm cannot cut into its mini-batches.
inline void refuse_batch(race_options const& o, planned_algorithm const& a) {
  if (o.quadratic || a.minibatches <= 1 || o.batch % a.minibatches == 0) return;
  throw config_error{"--batch must be a multiple of " + std::to_string(a.minibatches) + " for " + a.told.name +
                     ", which cuts it into that many mini-batches, not " + std::to_string(o.batch)};
}

}  // namespace detail

/// Checks everything that needs no data; throws config_error.
[[nodiscard]] inline auto planned(race_options o) -> race_plan {
  auto algorithms = planned_algorithms(o);
  auto networks = detail::networks_of(o);
  for (auto const& a : algorithms) detail::refuse_batch(o, a);
  constexpr auto most_looks = 100'000;
  if (o.measure_every.count() > 0 && o.until / o.measure_every > most_looks) {
    throw config_error{"--measure-every asks for " + std::to_string(o.until / o.measure_every) +
                       " measurements in --until; there may be at most " + std::to_string(most_looks)};
  }
  auto scenario = detail::scenario_of(o);
  if (o.quadratic) o.target_loss = -std::numeric_limits<double>::infinity();  // the default is softmax's
  return {std::move(o), std::move(networks), std::move(scenario), std::move(algorithms)};
}

/// The time of one gradient if the batch is cut into this many mini-batches.
[[nodiscard]] inline auto compute_of(race_plan const& plan, std::size_t minibatches) -> environment::compute_model {
  return minibatches > 1 ? plan.scenario.compute.scaled(1 / static_cast<double>(minibatches)) : plan.scenario.compute;
}

/// Standardised data of a folder; throws config_error.
[[nodiscard]] inline auto race_data(std::string const& folder) -> problem::train_and_test {
  auto const raw = read_idx_folder(folder);
  return problem::standardise(raw.train, raw.test);
}

[[nodiscard]] inline auto race_problem_of(problem::train_and_test const& data, race_options const& o) -> race_problem {
  if (o.batch > data.train.samples()) {
    throw config_error{"--batch must be at most the number of training samples, " +
                       std::to_string(data.train.samples()) + ", not " + std::to_string(o.batch)};
  }
  auto const shards = o.split == data_split::iid ? split::iid(data.train, *o.nodes, o.seed)
                                                 : split::by_label(data.train, *o.nodes, o.seed);
  return {data, shards, {o.l2, o.batch}};
}

[[nodiscard]] inline auto quadratic_of(std::size_t dimension, race_options const& o) -> problem::quadratic {
  return problem::quadratic::random(*o.nodes, dimension, o.seed);
}

/// The chosen problem; reads its data, if any. Throws config_error.
[[nodiscard]] inline auto objective_of(race_options const& o) -> race_objective {
  if (o.quadratic) return quadratic_of(*o.quadratic, o);
  return race_problem_of(race_data(o.data), o);
}

/// The largest distance of any of a result's models from the optimum, in max norm; of the parts of a model that servers
/// share, that of the model.
[[nodiscard]] inline auto distance(run_result const& r, std::vector<double> const& optimum) -> double {
  auto models = r.models;
  if (!models.empty() && models[0].size() < optimum.size()) models = {joined(models)};
  auto worst = 0.0;
  std::vector<double> x;
  for (auto const& m : models) {
    rubato::detail::widen(m, x);
    for (std::size_t k = 0; k < x.size(); ++k) worst = std::fmax(worst, std::abs(x[k] - optimum[k]));
  }
  return worst;
}

/// The optimum of the sum over all nodes but these.
[[nodiscard]] inline auto optimum_without(problem::quadratic const& q, std::vector<node_id> const& absent)
    -> std::vector<double> {
  if (absent.empty()) return q.optimum();
  std::vector<double> best(q.dimension());
  for (std::size_t k = 0; k < best.size(); ++k) {
    auto curvatures = 0.0, pulls = 0.0;
    for (std::size_t i = 0; i < q.nodes(); ++i) {
      if (std::find(absent.begin(), absent.end(), to_node(i)) != absent.end()) continue;
      curvatures += q.curvature(i, k);
      pulls += q.curvature(i, k) * q.centre(i, k);
    }
    best[k] = pulls / curvatures;
  }
  return best;
}

/// The options in a recording: names and values in turn, each ended by a zero. Paths are absolute, so that a replay
/// finds them from any folder.
[[nodiscard]] inline auto setup_text(std::vector<std::string> const& arguments) -> std::string {
  constexpr auto file = std::string_view{"file:"};
  auto const whole = [](std::string_view path) { return std::filesystem::absolute(path).string(); };
  std::string texts;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    auto text = arguments[i];
    auto const name = i % 2 == 1 ? std::string_view{arguments[i - 1]} : std::string_view{};
    if (name == "--data") text = whole(text);
    if (name == "--topology" && text.starts_with(file))
      text = std::string{file} + whole(std::string_view{text}.substr(file.size()));
    texts += text + '\0';
  }
  return texts;
}

/// A run is given up when its loss is this many times that at the start: a diverging run in float32 may go on for long
/// before a value is infinite.
inline constexpr double divergence_factor = 100;

inline void refuse_divergence(measurement const& first, measurement const& m) {
  if (std::isfinite(m.loss) && m.loss <= divergence_factor * first.loss) return;
  throw run_error{"the run diverges: the loss at " + report::fixed(to_seconds(m.at), 2) + " s is " +
                  report::readable(m.loss) + ", after " + report::readable(first.loss) +
                  " at the start; use a smaller step"};
}

/// Whether all algorithms run on the same network.
[[nodiscard]] inline auto has_one_network(race_plan const& plan) -> bool {
  auto const& all = plan.networks;
  return std::all_of(all.begin(), all.end(),
                     [&](auto const& n) { return n.graphs.name() == all.front().graphs.name(); });
}

/// Its name, or the names by algorithm.
[[nodiscard]] inline auto network_text(race_plan const& plan) -> std::string {
  auto const& all = plan.networks;
  if (has_one_network(plan)) return all.front().graphs.name();
  std::string text;
  for (std::size_t i = 0; i < all.size(); ++i)
    text += (i > 0 ? ", " : "") + plan.algorithms[i].told.name + " on " + all[i].graphs.name();
  return text;
}

/// The nodes of the plan's i-th algorithm; throws a config_error that names it.
[[nodiscard]] inline auto assembled(race_plan const& plan, std::size_t i, race_objective const& problem) -> entrant {
  auto const& told = plan.algorithms[i].told;
  try {
    return algorithm_named(told.name).assemble(plan.networks[i], problem, told);
  } catch (config_error const& e) {
    throw config_error{told.name + ": " + e.what()};
  }
}

/// Runs one assembled algorithm to `end`; throws run_error. Each node's status goes to its board, if there are any.
[[nodiscard]] auto run_one(entrant who, race_plan const& plan, until const& end, observers watching = {},
                           status_boards const& statuses = {}) -> run_result;

/// The time of the first measurement at or below the target, whatever follows it.
inline void find_target(run_result& result, double target) {
  result.time_to_target.reset();
  for (auto const& m : result.history) {
    if (!(m.loss <= target)) continue;
    result.time_to_target = m.at;
    return;
  }
}

/// The results of the algorithms that have ended, and the exception that ended another one, to be thrown after these
/// have been reported.
struct race_outcome {
  std::vector<run_result> results;
  std::vector<double> away{};  ///< by result, on quadratics: the largest distance of a model from the optimum
  std::exception_ptr failed{};
  std::string unwritten{};  ///< a sentence, if a recording or a node's last state could not be written
};

/// To be called after each run: adds the time to the target, or the distance from the optimum, of the last result.
inline void judge_last(race_outcome& all, race_options const& o) {
  find_target(all.results.back(), o.target_loss);
  if (!o.quadratic) return;
  auto const& last = all.results.back();
  all.away.push_back(distance(last, optimum_without(quadratic_of(*o.quadratic, o), last.absent)));
}

/// Runs all algorithms in turn. When interrupted, or when one fails (with a run_error that names it), ends early with
/// the results so far. Throws if the first one fails. `live` shows them, unless it is null.
[[nodiscard]] auto run_all(race_plan const& plan, race_objective const& problem, live_page* live) -> race_outcome;

}  // namespace rubato::examples
