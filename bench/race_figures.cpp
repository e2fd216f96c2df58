// SPDX-License-Identifier: MIT
// Figures 3 and 4 of the race: that threads change the time but not one bit of race.csv, and how much sooner r_fast
// reaches the target than the others in five kinds of weather (medians of 5 seeds, virtual time; steps tuned in the
// first, with another seed). m_synchronous_sgd appears twice: with all gradients a round, and with all but one (the
// same step). Also all algorithms of the race in the first weather, run to the end, with their last loss.
//   bench_race_figures [weathers|rivals|threads [DATA_FOLDER]]      without a word, all
// Status 1 if a figure is missed. Wrong if the machine has fewer than 2 free cores (the ratio of threads is
// wall-clock), or if a target is never reached: such a run counts as the whole 60 s, so a ratio in its disfavour is a
// lower bound (marked >).
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
constexpr std::size_t nodes = 8;
constexpr unsigned workers = 2;

struct competitor {
  std::string label, algorithm;
  std::vector<setting> settings{};
};

/// Every algorithm there is; r_fast, by which the others are measured, comes first.
auto rivals() -> std::vector<competitor> {
  std::vector<competitor> all;
  for (auto const& entry : catalogue()) all.push_back({std::string{entry.name}, std::string{entry.name}});
  auto const first = std::find_if(all.begin(), all.end(), [](auto const& c) { return c.label == "r_fast"; });
  std::rotate(all.begin(), first, first + 1);
  for (auto const* name : {"non_blocking_allreduce", "non_blocking_d_psgd"}) {
    all.push_back({std::string{name} + ", weighed by samples", name, {{{}, "contribution-weigh-by", "samples"}}});
  }
  return all;
}

/// The algorithms of the default race, and one that waits for all nodes but one.
auto competitors() -> std::vector<competitor> {
  std::vector<competitor> all;
  for (auto const& name : default_options().algorithms) all.push_back({name, name});
  all.push_back({"m_synchronous_sgd, m = n - 1", "m_synchronous_sgd", {{{}, "m", std::to_string(nodes - 1)}}});
  return all;
}

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

auto plan_of(weather const& w, competitor const& c, std::uint64_t seed) -> race_plan {
  auto o = default_options();
  o.algorithms = {c.algorithm};
  o.nodes = nodes;
  o.settings = c.settings;
  o.seed = seed;
  o.loss = w.loss;
  o.slow = w.slow;
  o.threads = 1;
  return planned(o);
}

struct sample {
  double seconds = 0;
  bool reached = false;
  double loss = 0;  ///< at the end of the run
};

/// Whether a run ends at the target, or goes on to its last second.
enum class run_to : std::uint8_t { target, end };

auto quiet_run(race_plan const& plan, race_problem const& problem, std::size_t which, until const& end) -> run_result {
  auto const& name = plan.options.algorithms[which];
  auto r = run_one(assembled(plan, which, problem), plan, end);
  r.algorithm = name;
  return r;
}

auto time_to_target(race_plan const& plan, race_problem const& problem, run_to where) -> sample {
  auto end = until{};
  end.time = plan.options.until;
  if (where == run_to::target) end.target_loss = plan.options.target_loss;
  auto r = quiet_run(plan, problem, 0, end);
  find_target(r, plan.options.target_loss);
  auto const last = r.history.back().loss;
  return r.time_to_target ? sample{to_seconds(*r.time_to_target), true, last}
                          : sample{to_seconds(end.time), false, last};
}

/// [weather][competitor][seed]
using samples = std::vector<std::vector<std::vector<sample>>>;

auto race_in(std::vector<weather> const& all, std::vector<competitor> const& who, run_to where,
             problem::train_and_test const& data) -> samples {
  samples found(all.size(), std::vector<std::vector<sample>>(who.size(), std::vector<sample>(seeds)));
  std::vector<race_problem> problems;
  for (std::uint64_t s = 0; s < seeds; ++s) {
    problems.push_back(race_problem_of(data, plan_of(all[0], who[0], s + 1).options));
  }
  auto const a_weather = who.size() * seeds;
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> threads;
  for (unsigned k = 0; k < workers; ++k) {
    threads.emplace_back([&] {
      for (auto i = next++; i < all.size() * a_weather; i = next++) {
        auto const w = i / a_weather, c = i % a_weather / seeds, s = i % seeds;
        auto const t = found[w][c][s] = time_to_target(plan_of(all[w], who[c], s + 1), problems[s], where);
        std::fprintf(stderr, "%s; %s; seed %d: %s%s s, loss %s\n", all[w].name, who[c].label.c_str(),
                     static_cast<int>(s + 1), t.reached ? "" : "> ", report::fixed(t.seconds, 2).c_str(),
                     report::fixed(t.loss, 4).c_str());
      }
    });
  }
  threads.clear();
  return found;
}

/// The one in the middle by that member.
auto median(std::vector<sample> of, double sample::* by = &sample::seconds) -> sample {
  std::sort(of.begin(), of.end(), [&](auto const& a, auto const& b) { return a.*by < b.*by; });
  return of[of.size() / 2];
}

/// How many times longer than r_fast (the first algorithm) another one takes.
auto ratio(std::vector<std::vector<sample>> const& in_weather, std::size_t other, std::size_t than = 0) -> double {
  return median(in_weather[other]).seconds / median(in_weather[than]).seconds;
}

auto judge(char const* what, double value, char const* relation, double bound, bool holds) -> bool {
  std::printf("%s: %s (wanted: %s %s): %s\n", what, report::fixed(value, 2).c_str(), relation,
              report::shortest(bound).c_str(), holds ? "holds" : "MISSED");
  return holds;
}

auto place_of(std::vector<competitor> const& who, std::string_view name) -> std::size_t {
  return static_cast<std::size_t>(std::find_if(who.begin(), who.end(), [&](auto const& c) { return c.label == name; }) -
                                  who.begin());
}

auto print_weathers(problem::train_and_test const& data) -> bool {
  auto const who = competitors();
  auto const found = race_in(weathers(), who, run_to::target, data);
  std::vector<std::string> names;
  for (auto const& c : who) names.push_back(c.label);
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
  auto const ring = ratio(found.front(), place_of(who, "ring_allreduce_sgd")),
             gossip = ratio(found.front(), place_of(who, "d_psgd"));
  auto const calm = 1 / ratio(found.back(), place_of(who, "ring_allreduce_sgd"));
  auto holds = judge("default, ring_allreduce_sgd / r_fast", ring, ">=", 2, ring >= 2);
  holds = judge("default, d_psgd / r_fast", gossip, ">=", 2, gossip >= 2) && holds;
  return judge("calm, r_fast / ring_allreduce_sgd", calm, "<=", 1.25, calm <= 1.25) && holds;
}

/// All algorithms beside each other, and how each that waits for the slowest compares with r_fast.
auto print_rivals(problem::train_and_test const& data) -> bool {
  auto const who = rivals();
  auto const found = race_in({weathers().front()}, who, run_to::end, data).front();
  report::text_table table{
      {{"algorithm", report::side::left}, {"s to target"}, {"of 5 reached it"}, {"over r_fast"}, {"last loss"}}};
  for (std::size_t c = 0; c < who.size(); ++c) {
    auto const m = median(found[c]);
    auto const bound = std::string{m.reached ? "" : ">"};
    auto const reached = std::count_if(found[c].begin(), found[c].end(), [](auto const& s) { return s.reached; });
    table.add_row({who[c].label, bound + report::fixed(m.seconds, 2), std::to_string(reached),
                   bound + report::fixed(ratio(found, c), 2), report::fixed(median(found[c], &sample::loss).loss, 4)});
  }
  std::printf(
      "Virtual seconds to training loss %s and loss after 60 s, %s, data by label, medians of %d seeds:\n\n%s\n",
      report::shortest(default_target_loss).c_str(), weathers().front().name, static_cast<int>(seeds),
      table.text().c_str());
  auto holds = true;
  for (auto const* name : {"ring_allreduce_sgd", "m_synchronous_sgd", "byte_grad", "push_pull", "s_ab", "d_psgd",
                           "d_psgd_atc", "low_precision_d_psgd"}) {
    auto const over = ratio(found, place_of(who, name));
    holds = judge((std::string{name} + " / r_fast").c_str(), over, ">=", 2, over >= 2) && holds;
  }
  for (auto const& [twin, name] :
       {std::pair{"ring_allreduce_sgd", "non_blocking_allreduce"}, {"d_psgd", "non_blocking_d_psgd"}}) {
    for (auto const* weighed : {"", ", weighed by samples"}) {
      auto const over = ratio(found, place_of(who, twin), place_of(who, std::string{name} + weighed));
      holds = judge((std::string{twin} + " / " + name + weighed).c_str(), over, ">=", 1.5, over >= 1.5) && holds;
    }
  }
  std::fflush(stdout);
  return holds;
}

struct timed_race {
  std::string csv;
  double wall_s = 0;
};

auto timed(problem::train_and_test const& data, unsigned threads) -> timed_race {
  auto o = default_options();
  o.batch = 256;
  o.until = std::chrono::seconds{10};
  o.measure_every = o.until;  // looks are taken by one thread: one at the start and one at the end
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
  std::string csv;
  auto same = true;
  double best = 0;
  for (auto pair = 0; pair < 4; ++pair) {
    auto const one = timed(data, 1), two = timed(data, 2);
    if (csv.empty()) csv = one.csv;
    same = same && one.csv == csv && two.csv == csv;
    best = std::max(best, one.wall_s / two.wall_s);
    std::printf("default race at batch 256, 10 s of virtual time, 2 looks: %s s on 1 thread, %s s on 2: %s\n",
                report::fixed(one.wall_s, 2).c_str(), report::fixed(two.wall_s, 2).c_str(),
                report::fixed(one.wall_s / two.wall_s, 2).c_str());
    std::fflush(stdout);
  }
  std::printf("race.csv, four runs on 1 thread and four on 2: %s\n", same ? "identical: holds" : "differ: MISSED");
  return judge("1 thread / 2 threads, best of the pairs", best, ">=", 1.5, best >= 1.5) && same;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const what = std::string{argc > 1 ? argv[1] : ""};
    auto const data = race_data(argc > 2 ? argv[2] : default_options().data);
    if (!what.empty() && what != "weathers" && what != "rivals" && what != "threads") {
      std::fprintf(stderr, "race_figures: no figure is called '%s'; there are weathers, rivals and threads\n",
                   what.c_str());
      return 2;
    }
    auto holds = true;
    if (what.empty() || what == "weathers") holds = print_weathers(data) && holds;
    if (what.empty() || what == "rivals") holds = print_rivals(data) && holds;
    if (what.empty() || what == "threads") holds = print_threads(data) && holds;
    return holds ? 0 : 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "race_figures: %s\n", e.what());
    return 2;
  }
}
