// SPDX-License-Identifier: MIT
// A run that is interrupted, kept in a file, and resumed. In the simulator the bits are those of an uninterrupted run.
// Nodes on threads, and in processes of their own, are each saved at a time of their own. Messages sent after that are
// lost with the process; edges open in new sessions, every sum sent over them is settled at both ends, and the tracking
// law holds again, exactly.
// Expected output: expected/14_checkpoint.txt
#include <cstdio>
#include <filesystem>
#include <optional>

#include <unistd.h>

#include <rubato/backend/eigen.hpp>
#include <rubato/driver/simulator.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using node = rubato::r_fast<rubato::backend::eigen<float>>;

auto const problem = rubato::problem::quadratic::random(4, 100, 11);

auto assembled() -> rubato::assembly {
  return rubato::assemble<node>(rubato::topology::binary_tree(4), problem, {.step = 0.05});
}

/// Keeps the state of a simulation after a given number of events.
struct saver : rubato::simulation_trace {
  void between_events(rubato::simulator& s) override {
    if (!kept && s.events() >= 3000) kept = s.state();
  }
  std::optional<rubato::snapshot> kept{};
};

void simulated(fs::path const& file) {
  auto const weather = rubato::environment::scenario{.compute = rubato::environment::fixed(10ms).slow(3, 4),
                                                     .link = {.latency = 1ms, .loss = 0.2}};
  auto const end = rubato::until{.time = 20s};
  auto run = assembled();
  auto const subject = run.agreed.text();  // all that a run must have in common with the file; also part of the state
  saver by;
  auto const whole = rubato::simulate(std::move(run), weather, end, {.trace = &by});
  rubato::write_checkpoint(file, {subject, {}, 3000, 0, *by.kept});  // synced to the disk, then renamed

  auto const saved = rubato::read_checkpoint(file);  // throws one sentence if it is damaged
  auto const resumed =
      rubato::simulate(assembled(), weather, end, {.resume = &saved.state});  // throws if it belongs to another run
  auto same = resumed.events == whole.events;
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t k = 0; k < problem.dimension(); ++k) {
      same = same && resumed.models[i].view<float>()[k] == whole.models[i].view<float>()[k];
    }
  }
  std::printf("a simulation that was cut ends with the bits of one that was not: %s\n", same ? "yes" : "no");
}

void on_threads(fs::path const& folder) {
  auto const weather = rubato::environment::scenario{.compute = rubato::environment::fixed(200us)};
  auto first = rubato::thread_options{};
  first.checkpoint = {.folder = folder, .every = 10ms};
  rubato::run_threads(assembled(), weather, {.gradients = 400}, first);

  auto second = first;
  second.checkpoint.resume = true;  // `until` counts from here
  auto const result =
      rubato::run_threads(assembled(), weather, {.time = 60s, .target_loss = problem.minimum() + 1e-5}, second);
  std::printf("on threads it goes on until it is there: %s; the law is missed by %.0f units\n",
              result.time_to_target ? "yes" : "no", result.history.back().tracking_residual);
}

int main() {
  auto const folder = fs::temp_directory_path() / ("rubato-example-14-" + std::to_string(::getpid()));
  simulated(folder / "simulation.checkpoint");
  on_threads(folder);
  fs::remove_all(folder);
}
