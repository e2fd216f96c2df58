// SPDX-License-Identifier: MIT
// The main job: the same model, data, split, seeds and scenario for several algorithms, side by side.
// Exit status: 0 done, 1 a run failed, 2 something that was asked for cannot be, 130 interrupted (with the report so far).
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "support/complain.hpp"
#include "support/race_command_line.hpp"
#include "support/race_report.hpp"

namespace {

namespace examples = rubato::examples;

void say(std::string const& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

auto race(examples::race_options const& asked) -> int {
  auto const plan = examples::planned(asked);
  auto const& o = plan.options;
  rubato::report::ensure_writable_folder(o.out);
  for (auto const* const name : examples::result_files) rubato::report::ensure_replaceable(std::filesystem::path{o.out} / name);
  examples::catch_interrupt();
  auto const data = examples::race_data(o.data);
  auto const problem = examples::race_problem_of(data, o);
  if (!o.quiet) say(examples::scenario_text(plan, data) + "\n");
  auto const [results, failed] = examples::run_all(plan, problem);
  if (examples::interrupted()) {
    auto const all = o.algorithms.size();
    say("Interrupted: " + std::to_string(results.size()) + " of " + std::to_string(all) +
        " algorithms began; the last may be cut short.\n");
    if (results.empty()) return 130;
  }
  say(rubato::report::summary_table(results, o.target_loss) + "\n");
  if (failed) std::rethrow_exception(failed);  // files of a former run outlive it
  say(examples::write_results(plan, results));
  return examples::interrupted() ? 130 : 0;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const options = examples::read_command_line(argc, argv);
    if (!options) return 0;
    examples::refuse_unheeded(*options);
    return race(*options);
  } catch (...) {
    return examples::complain("race");
  }
}
