// SPDX-License-Identifier: MIT
// Repeats what race --record has recorded, in a separate program, and requires the same bits of every node after every
// event. Exit status: 0 all recordings match, 1 some node differs, 2 a recording cannot be read or is damaged.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/run/replay.hpp>

#include "support/race_command_line.hpp"
#include "support/race_run.hpp"
#include "support/say.hpp"

namespace {

namespace examples = rubato::examples;

/// What all nodes of one race share; loaded once for many files.
struct stage {
  std::string setup;
  examples::race_plan plan;
  examples::race_problem problem;
};

auto stage_of(std::string const& setup) -> stage {
  std::vector<std::string> arguments{"race"};
  for (auto rest = std::string_view{setup}; !rest.empty();) {
    auto const end = std::min(rest.find('\0'), rest.size());
    arguments.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  std::vector<char const*> argv;
  for (auto const& text : arguments) argv.push_back(text.c_str());
  auto const options = examples::read_command_line(static_cast<int>(argv.size()), argv.data());
  if (!options) throw rubato::config_error{"the recording was made by race --help, which runs nothing"};
  auto plan = examples::planned(*options);
  auto problem = examples::race_problem_of(examples::race_data(plan.options.data), plan.options);
  return {setup, std::move(plan), std::move(problem)};
}

auto nodes_of(stage const& s, std::string const& algorithm) -> rubato::assembly {
  for (std::size_t i = 0; i < s.plan.algorithms.size(); ++i) {
    if (s.plan.algorithms[i].told.name == algorithm) return examples::assembled(s.plan, i, s.problem).nodes;
  }
  throw rubato::config_error{"the recorded race did not run '" + algorithm + "'"};
}

void replay_file(char const* path, std::optional<stage>& on) {
  rubato::recorded_run run{path};
  auto const& head = run.header();
  if (!on || on->setup != head.setup) on = stage_of(head.setup);
  auto const report = run.replay(nodes_of(*on, head.name));
  examples::say(rubato::escaped(path) + ": " + head.name + ", node " + std::to_string(rubato::to_index(head.self)) +
                ": " + std::to_string(report.events) + " events replay to identical bits" +
                (report.cut_short ? "; the recording ended there, at its size limit\n" : "\n"));
}

}  // namespace

auto main(int argc, char** argv) -> int {
  auto const usage = std::string{
      "usage: replay RECORDING...\n  RECORDING is a file that race --record wrote, or cluster, or peer; as "
      "r_fast.node-0.log\n"};
  return examples::run_program("replay", [&] {
    if (argc < 2) {
      std::fputs(usage.c_str(), stderr);
      return 2;
    }
    if (std::string{argv[1]} == "--help") {
      examples::say(usage);
      return 0;
    }
    std::optional<stage> on;
    for (int i = 1; i < argc; ++i) replay_file(argv[i], on);
    return 0;
  });
}
