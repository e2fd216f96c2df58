// SPDX-License-Identifier: MIT
// The sweep behind race's defaults: the target loss, from centralised SGD, and for every algorithm, on its own network,
// the step of one common grid that reaches the target first in the default scenario, measured as often as race
// measures, with a seed that no figure uses. With equal times: the step in the middle of the best ones (of two middles
// the smaller).
//   bench_sweep_steps [--algorithms A,B] [--every K] [--target LOSS] [--out FILE] [--data FOLDER] [--in-turns yes]
// Also writes the tables to FILE (default: bench/sweep_steps.md). --every 2 takes the powers of two only; --target
// leaves centralised SGD out. --in-turns yes sweeps networks too, with fewer runs each (support/turns.hpp), and only
// prints the rows. Wrong if a best step is at the edge of the grid (the program says so and fails), or if
// examples/support/catalogue.hpp and race_defaults.hpp differ from the result (the last lines name each difference).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <rubato/report/numbers.hpp>
#include <rubato/run/atomic_file.hpp>

#include "support/jobs.hpp"
#include "support/plain_sgd.hpp"
#include "support/quantile.hpp"
#include "support/race_run.hpp"
#include "support/turns.hpp"

namespace {

using namespace rubato;
using namespace rubato::examples;

constexpr int lowest = -14, highest = -4;  // powers of the square root of two: 1/128 to 1/4
constexpr int seeds = 5;  // of centralised SGD
constexpr std::uint64_t tuning_seed = 101;  // bench/race_figures.cpp scores with 1 to 5
constexpr int epochs = 3;

/// Every step of the grid, or every second, third, ... one.
auto grid(int every) -> std::vector<double> {
  std::vector<double> steps;
  for (auto k = lowest; k <= highest; k += every) {
    auto const exact = std::exp2(0.5 * k);
    auto const unit = std::pow(10.0, 2 - std::floor(std::log10(exact)));
    steps.push_back(k % 2 == 0 ? exact : std::round(exact * unit) / unit);  // those between the powers to three digits
  }
  return steps;
}

/// The loss after 3 epochs of plain SGD at one node that holds everything.
auto centralised(problem::train_and_test const& data, std::size_t batch, double step, std::uint64_t seed) -> double {
  auto const steps = static_cast<std::size_t>(epochs) * data.train.samples() / batch;
  return bench::plain_sgd_loss(data, batch, step, seed, steps);
}

struct best_of {
  std::size_t at = 0;
  bool at_edge = false;
};
/// The lowest of the scores, of equal ones the middle; infinite ones never are.
auto best(std::vector<double> const& scores) -> best_of {
  auto const lowest_score = *std::min_element(scores.begin(), scores.end());
  std::vector<std::size_t> equal;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] == lowest_score) equal.push_back(i);
  }
  auto const at = equal[(equal.size() - 1) / 2];
  return {at, at == 0 || at + 1 == scores.size() || !std::isfinite(scores[at])};
}

struct outcome {
  std::optional<double> seconds;  ///< to the target
  double loss = std::numeric_limits<double>::infinity();
};

/// Runs the plan's k-th algorithm with one step up to the target.
auto run(race_plan const& plan, race_problem const& problem, std::size_t k, double step) -> outcome {
  auto end = until{};
  end.time = plan.options.until;
  end.target_loss = plan.options.target_loss;
  auto const& name = plan.options.algorithms[k];
  try {
    auto a = algorithm_named(name).assemble(plan.networks[k], problem, {name, step, plan.options.seed});
    auto const r = run_one(std::move(a), plan, end);
    outcome o;
    if (r.time_to_target) o.seconds = to_seconds(*r.time_to_target);
    o.loss = r.history.back().loss;
    return o;
  } catch (run_error const&) {
    return {};
  }
}

auto cell(outcome const& o) -> std::string {
  if (o.seconds) return report::fixed(*o.seconds, 2) + " s";
  return std::isfinite(o.loss) ? "- (" + report::fixed(o.loss, 3) + ")" : "diverges";
}

/// Time to the target; behind all of these, the losses of runs that did not reach it.
auto score(outcome const& o) -> double { return o.seconds ? *o.seconds : 1e6 * o.loss; }

auto header(std::vector<double> const& steps) -> std::string {
  std::string names = "| step |", rule = "| --- |";
  for (auto const s : steps) names += " " + report::shortest(s) + " |", rule += " --- |";
  return names + " best |\n" + rule + " --- |\n";
}

class sweep {
 public:
  explicit sweep(std::string const& data) : data_{race_data(data)} {}

  void take_target(double target) {
    target_ = target;
    text_ += "Target: " + report::shortest(target) + ", as told.\n\n";
  }

  void find_target() {
    auto const o = default_options();
    auto const batch = o.batch * 8;
    auto const steps = grid(1);
    std::vector<double> losses(steps.size() * seeds), medians;
    bench::for_all_jobs(losses.size(),
                        [&](std::size_t i) { losses[i] = centralised(data_, batch, steps[i / seeds], 1 + i % seeds); });
    text_ += "Centralised SGD, all samples, batch " + std::to_string(batch) + ", " + std::to_string(epochs) +
             " epochs: final training loss, median of " + std::to_string(seeds) + " seeds.\n\n" + header(steps) +
             "| loss |";
    for (std::size_t s = 0; s < steps.size(); ++s) {
      medians.push_back(bench::median({losses.begin() + static_cast<std::ptrdiff_t>(s * seeds),
                                       losses.begin() + static_cast<std::ptrdiff_t>((s + 1) * seeds)}));
      if (!std::isfinite(medians.back())) medians.back() = std::numeric_limits<double>::infinity();
      text_ += " " + report::fixed(medians.back(), 4) + " |";
    }
    auto const b = best(medians);
    note_edge("centralised SGD", b);
    target_ = std::round(1.02 * medians[b.at] * 1e4) / 1e4;
    text_ += " " + report::shortest(steps[b.at]) + " |\n\nTarget: 1.02 x " + report::fixed(medians[b.at], 4) + " = " +
             report::fixed(target_, 4) + ".\n\n";
    if (target_ != default_target_loss) differs("default_target_loss", target_);
  }

  void find_steps(std::vector<std::string> const& names, int every) {
    auto o = default_options();
    o.target_loss = target_;
    o.seed = tuning_seed;
    o.threads = 1;
    o.algorithms = names;
    auto const plan = planned(o);
    auto const problem = race_problem_of(data_, plan.options);
    auto const steps = grid(every);
    std::vector<outcome> outcomes(names.size() * steps.size());
    bench::for_all_jobs(outcomes.size(), [&](std::size_t i) {
      auto const& name = names[i / steps.size()];
      outcomes[i] = run(plan, problem, i / steps.size(), steps[i % steps.size()]);
      std::fprintf(stderr, "%s %s: %s\n", name.c_str(), report::shortest(steps[i % steps.size()]).c_str(),
                   cell(outcomes[i]).c_str());
    });
    text_ += "Default scenario, seed " + std::to_string(o.seed) + ", " + report::fixed(to_seconds(o.until), 0) +
             " s of virtual time, looked at every " + report::shortest(to_seconds(plan.options.measure_every)) +
             " s: seconds to the target, or - and the final loss.\n\n" + header(steps);
    for (std::size_t a = 0; a < names.size(); ++a) {
      add_row(names[a], steps, std::span{outcomes}.subspan(a * steps.size(), steps.size()));
    }
  }

  [[nodiscard]] auto text() const -> std::string const& { return text_; }
  [[nodiscard]] auto remarks() const -> std::string const& { return remarks_; }
  [[nodiscard]] auto at_edge() const -> bool { return at_edge_; }

 private:
  void add_row(std::string const& name, std::vector<double> const& steps, std::span<outcome const> outcomes) {
    std::vector<double> scores;
    text_ += "| " + name + " |";
    for (auto const& o : outcomes) {
      scores.push_back(score(o));
      text_ += " " + cell(o) + " |";
    }
    auto const b = best(scores);
    note_edge(name, b);
    text_ += " " + report::shortest(steps[b.at]) + " |\n";
    if (algorithm_named(name).step != steps[b.at]) differs("the default step of " + name, steps[b.at]);
  }

  void note_edge(std::string const& name, best_of b) {
    if (!b.at_edge) return;
    at_edge_ = true;
    remarks_ += "The best step of " + name + " lies at the grid's edge: widen the grid.\n";
  }
  void differs(std::string const& what, double found) {
    remarks_ += "examples/support: " + what + " should be " + report::shortest(found) + ".\n";
  }

  problem::train_and_test data_;
  double target_ = default_target_loss;
  std::string text_ =
      "<!-- SPDX-License-Identifier: MIT; written by bench/sweep_steps.cpp -->\n# Steps of the race\n\n";
  std::string remarks_;
  bool at_edge_ = false;
};

struct wishes {
  std::vector<std::string> algorithms;
  int every = 1;
  std::optional<double> target;
  std::string out = "bench/sweep_steps.md";
  std::string data = default_options().data;
  bool in_turns = false;
};

/// Prints each row when it is known, for the sweep may be stopped.
void sweep_in_turns(wishes const& w) {
  auto const data = race_data(w.data);
  auto o = default_options();
  o.nodes = 8;
  auto const problem_of = [&](std::uint64_t seed) {
    o.seed = seed;
    return race_problem_of(data, o);
  };
  auto const how = bench::turns{};
  auto const first = problem_of(how.seed), second = problem_of(how.second_seed);
  for (auto const& name : w.algorithms) {
    auto const done = bench::in_turns{{name, name}, how, first, second};
    std::fputs(done.row().c_str(), stdout);
    std::fflush(stdout);
  }
}

auto wishes_in(std::span<char*> given) -> wishes {
  wishes w;
  for (auto const& entry : catalogue()) w.algorithms.emplace_back(entry.name);
  for (std::size_t i = 0; i < given.size(); i += 2) {
    auto const name = std::string{given[i]};
    if (i + 1 == given.size()) throw config_error{name + " needs a value"};
    auto const value = std::string{given[i + 1]};
    if (name == "--algorithms") w.algorithms = list_in(value);
    else if (name == "--target") w.target = step_in({name, value});
    else if (name == "--every") w.every = static_cast<int>(count_in({name, value}, 1, "a whole number from 1 up"));
    else if (name == "--out") w.out = value;
    else if (name == "--data") w.data = value;
    else if (name == "--in-turns" && value == "yes") w.in_turns = true;
    else
      throw config_error{"unknown option " + name + " " + value +
                         ": there are --algorithms, --every, --target, --out, --data and --in-turns yes"};
  }
  for (auto const& a : w.algorithms) static_cast<void>(algorithm_named(a));
  return w;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const w = wishes_in(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1));
    if (w.in_turns) return sweep_in_turns(w), 0;
    sweep s{w.data};
    if (w.target) s.take_target(*w.target);
    else s.find_target();
    std::fputs(s.text().c_str(), stdout);
    std::fflush(stdout);
    s.find_steps(w.algorithms, w.every);
    std::printf("\n%s\n%s", s.text().c_str(), s.remarks().c_str());
    write_file(w.out, s.text());
    return s.at_edge() ? 1 : 0;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "sweep_steps: %s\n", e.what());
    return 2;
  }
}
