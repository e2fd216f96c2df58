// SPDX-License-Identifier: MIT
// Trains the same model on the same data, split, seeds and scenario with several algorithms, side by side, or finds the
// optimum of the same quadratics. Exit status:
// 0 done, 1 a run failed, 2 the options are invalid, 130 interrupted (with the report so far).
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "support/race_command_line.hpp"
#include "support/race_live.hpp"
#include "support/race_report.hpp"
#include "support/say.hpp"

namespace {

namespace examples = rubato::examples;

auto race(examples::race_options const& asked) -> int {
  auto const plan = examples::planned(asked);
  auto const& o = plan.options;
  rubato::ensure_writable_folder(o.out);
  for (auto const* const name : examples::result_files) rubato::ensure_replaceable(std::filesystem::path{o.out} / name);
  examples::signals();  // starts listening
  auto const live = o.live.empty() ? nullptr : std::make_unique<examples::live_page>(o.live);
  auto const data = o.quadratic ? std::optional<rubato::problem::train_and_test>{} : examples::race_data(o.data);
  auto const problem = data ? examples::race_objective{examples::race_problem_of(*data, o)}
                            : examples::race_objective{examples::quadratic_of(*o.quadratic, o)};
  if (!o.quiet) examples::say(examples::scenario_text(plan, data ? &*data : nullptr) + "\n");
  auto const all = examples::run_all(plan, problem, live.get());
  auto words = std::string{};
  if (examples::interrupted()) {
    words = "Interrupted: " + std::to_string(all.results.size()) + " of " + std::to_string(o.algorithms.size()) +
            " algorithms began; the last may be cut short.\n";
  }
  if (all.results.empty()) {
    examples::say(words);
    return 130;
  }
  words += examples::result_table(o, all) + "\n";
  examples::tell_warnings("race", all.results);
  examples::tell(all, words, [&] { return examples::write_results(plan, all.results, examples::more_of(o, all)); });
  auto const its_status = examples::interrupted() ? 130 : 0;
  if (live) live->stay();
  return its_status;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  return examples::run_program("race", [&] {
    auto const options = examples::read_command_line(argc, argv);
    if (!options) return 0;
    examples::refuse_unheeded(*options);
    return race(*options);
  });
}
