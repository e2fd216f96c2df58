// SPDX-License-Identifier: MIT
// Figures 3 and 4 of the race: that threads change the time but not one bit of race.csv, and how much sooner r_fast comes
// to the target than the others in five kinds of weather (medians of 5 seeds, virtual time; steps tuned in the first).
// Usage: bench_race_figures [DATA_FOLDER]. Ends with status 1 if a figure is missed.
// Wrong if the machine has fewer than 2 free cores (the ratio of threads is wall-clock), or a target is never reached:
// such a run counts as the whole 60 s, so that a ratio in its disfavour is a lower bound (marked >).
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include <rubato/report/csv.hpp>
#include <rubato/report/table.hpp>

#include "support/race_run.hpp"

namespace {

using namespace rubato;
using namespace rubato::examples;

constexpr std::uint64_t seeds = 5;
constexpr unsigned workers = 2;

struct weather {
  char const* name;
  double loss;
  std::vector<std::pair<std::uint32_t, double>> slow;
};

auto weathers() -> std::vector<weather> {
  return {{"default: 10 % loss, a leaf 4x slower", 0.1, {{7, 4.0}}},
          {"straggler only: a leaf 4x slower", 0.0, {{7, 4.0}}},
          {"loss only: 10 %", 0.1, {}},
          {"slow root: 10 % loss, node 0 4x slower", 0.1, {{0, 4.0}}},
          {"calm: no loss, no straggler", 0.0, {}}};
}

struct sample {
  double seconds = 0;
  bool reached = false;
};

auto quiet_run(race_plan const& plan, race_problem const& problem, std::size_t which, until const& end) -> run_result {
  report::progress_bar silent{"", report::progress_mode::quiet};
  auto const& name = plan.options.algorithms[which];
  auto r = run_one(algorithm_named(name).assemble(plan.network, problem, plan.steps[which]), plan, end, silent);
  r.algorithm = name;
  return r;
}

auto time_to_target(race_plan const& plan, race_problem const& problem, std::size_t which) -> sample {
  auto end = until{};
  end.time = plan.options.until;
  end.target_loss = plan.options.target_loss;
  auto const r = quiet_run(plan, problem, which, end);
  return r.time_to_target ? sample{to_seconds(*r.time_to_target), true} : sample{to_seconds(end.time), false};
}

/// [weather][algorithm][seed]
using samples = std::vector<std::vector<std::vector<sample>>>;

auto race_in_all_weathers(problem::train_and_test const& data) -> samples {
  auto const all = weathers();
  auto const count = default_options().algorithms.size();
  samples found(all.size(), std::vector<std::vector<sample>>(count, std::vector<sample>(seeds)));
  for (std::uint64_t s = 0; s < seeds; ++s) {
    std::vector<race_plan> plans;
    for (auto const& w : all) {
      auto o = default_options();
      o.seed = s + 1;
      o.loss = w.loss;
      o.slow = w.slow;
      o.threads = 1;
      plans.push_back(planned(o));
    }
    auto const problem = race_problem_of(data, plans.front().options);
    std::atomic<std::size_t> next{0};
    std::vector<std::jthread> threads;
    for (unsigned k = 0; k < workers; ++k) {
      threads.emplace_back([&] {
        for (auto i = next++; i < all.size() * count; i = next++) {
          found[i / count][i % count][s] = time_to_target(plans[i / count], problem, i % count);
        }
      });
    }
    threads.clear();
    std::fprintf(stderr, "seed %d of %d done\n", static_cast<int>(s + 1), static_cast<int>(seeds));
  }
  return found;
}

auto median(std::vector<sample> of) -> sample {
  std::sort(of.begin(), of.end(), [](sample a, sample b) { return a.seconds < b.seconds; });
  return of[of.size() / 2];
}

/// How many times longer than r_fast (the first algorithm) another one takes.
auto ratio(std::vector<std::vector<sample>> const& in_weather, std::size_t other) -> double {
  return median(in_weather[other]).seconds / median(in_weather[0]).seconds;
}

auto judge(char const* what, double value, char const* relation, double bound, bool holds) -> bool {
  std::printf("%s: %s (wanted: %s %s): %s\n", what, report::fixed(value, 2).c_str(), relation,
              report::shortest(bound).c_str(), holds ? "holds" : "MISSED");
  return holds;
}

auto print_weathers(samples const& found) -> bool {
  auto const names = default_options().algorithms;
  std::vector<report::column> columns{{"weather", report::side::left}};
  for (auto const& name : names) columns.push_back({name + " s"});
  for (std::size_t a = 1; a < names.size(); ++a) columns.push_back({names[a] + " / r_fast"});
  report::text_table table{columns};
  for (std::size_t w = 0; w < found.size(); ++w) {
    std::vector<std::string> row{weathers()[w].name};
    for (auto const& of_algorithm : found[w]) {
      auto const m = median(of_algorithm);
      row.push_back((m.reached ? "" : ">") + report::fixed(m.seconds, 2));
    }
    for (std::size_t a = 1; a < names.size(); ++a) {
      row.push_back((median(found[w][a]).reached ? "" : ">") + report::fixed(ratio(found[w], a), 2));
    }
    table.add_row(row);
  }
  std::printf("Virtual seconds to training loss %s, medians of %d seeds:\n\n%s\n",
              report::shortest(default_target_loss).c_str(), static_cast<int>(seeds), table.text().c_str());
  std::fflush(stdout);
  auto const at = [&](char const* name) {
    return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
  };
  auto const ring = ratio(found.front(), at("ring_allreduce_sgd")), gossip = ratio(found.front(), at("d_psgd"));
  auto const calm = 1 / ratio(found.back(), at("ring_allreduce_sgd"));
  auto holds = judge("default, ring_allreduce_sgd / r_fast", ring, ">=", 2, ring >= 2);
  holds = judge("default, d_psgd / r_fast", gossip, ">=", 2, gossip >= 2) && holds;
  return judge("calm, r_fast / ring_allreduce_sgd", calm, "<=", 1.25, calm <= 1.25) && holds;
}

struct timed_race {
  std::string csv;
  double wall_s = 0;
};

auto timed(problem::train_and_test const& data, unsigned threads) -> timed_race {
  auto o = default_options();
  o.batch = 256;
  o.until = std::chrono::seconds{10};
  o.measure_every = std::chrono::milliseconds{2500};
  o.threads = threads;
  auto const plan = planned(o);
  auto const problem = race_problem_of(data, plan.options);
  auto const begin = std::chrono::steady_clock::now();
  std::vector<run_result> results;
  auto end = until{};
  end.time = o.until;
  for (std::size_t a = 0; a < o.algorithms.size(); ++a) results.push_back(quiet_run(plan, problem, a, end));
  auto const wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return {report::history_csv(results), wall};
}

auto print_threads(problem::train_and_test const& data) -> bool {
  auto one = timed(data, 1), two = timed(data, 2);
  auto same = one.csv == two.csv;
  for (auto k = 1; k < 3; ++k) {
    auto const again = timed(data, 1), other = timed(data, 2);
    same = same && again.csv == one.csv && other.csv == one.csv;
    one.wall_s = std::min(one.wall_s, again.wall_s);
    two.wall_s = std::min(two.wall_s, other.wall_s);
  }
  std::printf("\nrace.csv, three runs on 1 thread and three on 2: %s\n", same ? "identical: holds" : "differ: MISSED");
  std::printf("default race at batch 256, 10 s of virtual time, 4 looks: %s s on 1 thread, %s s on 2 (best of three)\n",
              report::fixed(one.wall_s, 2).c_str(), report::fixed(two.wall_s, 2).c_str());
  auto const faster = one.wall_s / two.wall_s;
  return judge("1 thread / 2 threads", faster, ">=", 1.5, faster >= 1.5) && same;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const data = race_data(argc > 1 ? argv[1] : default_options().data);
    auto const faster = print_weathers(race_in_all_weathers(data));
    return print_threads(data) && faster ? 0 : 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "race_figures: %s\n", e.what());
    return 2;
  }
}
