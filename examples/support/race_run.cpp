// SPDX-License-Identifier: MIT
// Runs the algorithms of a race, each with the chosen driver.
#include "support/race_run.hpp"

#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/run/recorder.hpp>

#include "support/race_live.hpp"

namespace rubato::examples {

namespace {

/// Checks for divergence while a run goes on.
auto divergence_watch() -> observer {
  return [first = std::optional<measurement>{}](look const& l) mutable {
    if (!first) first = l.seen;
    refuse_divergence(*first, l.seen);
  };
}

void tell_of_gaps(recording const& r) {
  for (auto const& s : r.statuses()) {
    if (s.end != recording_status::ending::at_limit) continue;
    std::fprintf(stderr, "race: the recording '%s' ends after %llu events: %s\n", escaped(s.file.string()).c_str(),
                 static_cast<unsigned long long>(s.events), s.cut_short.c_str());
  }
}

}  // namespace

auto run_one(entrant who, race_plan const& plan, until const& end, observers watching, status_boards const& statuses)
    -> run_result {
  watching.push_back(divergence_watch());
  auto scenario = plan.scenario;
  scenario.compute = compute_of(plan, who.minibatches);
  if (plan.options.driver == race_driver::threads) {
    thread_options o;
    o.watching = std::move(watching);
    o.stop = signals().token();
    o.statuses = statuses;
    return run_threads(std::move(who.nodes), scenario, end, o);
  }
  return simulate(std::move(who.nodes), scenario, end,
                  {.watching = std::move(watching), .stop = signals().token(), .statuses = statuses});
}

auto run_all(race_plan const& plan, race_objective const& problem, live_page* live) -> race_outcome {
  auto const& o = plan.options;
  std::vector<entrant> entrants;
  std::vector<recording> recordings;
  for (std::size_t i = 0; i < o.algorithms.size(); ++i) {
    entrants.push_back(assembled(plan, i, problem));
    auto const& remark = entrants.back().nodes.remark;
    if (!remark.empty()) std::fprintf(stderr, "race: %s: %s\n", o.algorithms[i].c_str(), remark.c_str());
    if (o.record.empty()) continue;
    recordings.push_back(record(entrants.back().nodes, {o.record, o.algorithms[i], setup_text(o.arguments)}));
  }
  race_outcome all;
  auto& results = all.results;
  for (std::size_t i = 0; i < o.algorithms.size() && !interrupted(); ++i) {
    auto const& name = o.algorithms[i];
    try {
      auto end = until{};
      end.time = o.until;
      auto const shown = o.quiet ? report::progress_mode::quiet : report::progress_mode::on_terminal;
      auto watching = observers{report::progress{end, name, shown}};
      auto const statuses = live != nullptr ? live->begin(entrants[i].nodes) : status_boards{};
      results.push_back(run_one(std::move(entrants[i]), plan, end, std::move(watching), statuses));
    } catch (run_error const& e) {
      all.failed = std::make_exception_ptr(
          run_error{name + " with step " + report::shortest(plan.algorithms[i].step) + ": " + e.what()});
      break;
    }
    results.back().algorithm = name;
    judge_last(all, o);
    if (o.record.empty()) continue;
    tell_of_gaps(recordings[i]);
    if (all.unwritten.empty()) all.unwritten = recordings[i].failure();
  }
  if (all.failed && results.empty()) std::rethrow_exception(all.failed);
  return all;
}

}  // namespace rubato::examples
