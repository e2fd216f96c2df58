// SPDX-License-Identifier: MIT
// The node type of the simulator on real threads: one per node, messages in shared memory, no copies. The times of the
// scenario become real delays: node 3 sleeps ten times longer than the others, and a tenth of all messages is dropped.
// Nothing here depends on the speed of the machine, so the output is always the same.
//
//      0 --> 1 --> 2 --> 3*      a ring that works in one direction only
//      ^                 |
//      +-----------------+
//
// Models are float: their tracked gradients are kept in a fixed-point ledger, in which sum z + in flight = sum g holds
// exactly in every run, whatever messages were lost and whichever node was late.
// Expected output: expected/06_threads.txt
#include <cmath>
#include <cstdio>

#include <rubato/backend/eigen.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;
using node = rubato::r_fast<rubato::backend::eigen<float>>;

int main() {
  auto const problem = rubato::problem::quadratic::random(4, 100, 11);
  auto const scenario =
      rubato::environment::scenario{.compute = rubato::environment::fixed(200us).slow(3, 10.0), .link = {.loss = 0.1}};

  // A run ends when its first condition holds: here at a loss very near the minimum, or after a minute.
  auto start = rubato::assemble<node>(rubato::topology::directed_ring(4), problem, {.step = 0.1});
  auto const result =
      rubato::run_threads(std::move(start), scenario, {.time = 60s, .target_loss = problem.minimum() + 1e-6});

  auto lost = false;
  for (auto const& edge : result.edges) lost = lost || edge.lost > 0;
  auto worst = 0.0;
  for (auto const& model : result.models)
    for (std::size_t k = 0; k < problem.dimension(); ++k)
      worst = std::fmax(worst, std::abs(model.view<float>()[k] - problem.optimum()[k]));
  auto const& last = result.history.back();

  auto const yes_or_no = [](bool is) { return is ? "yes" : "no"; };
  std::printf("stopped by: %.*s\n", static_cast<int>(name_of(result.stopped).size()), name_of(result.stopped).data());
  std::printf("messages were lost: %s\n", yes_or_no(lost));
  std::printf("the straggler did fewer iterations: %s\n",
              yes_or_no(result.nodes[3].iterations < result.nodes[0].iterations));
  std::printf("worst value of any model within 0.1 of the optimum: %s\n", yes_or_no(worst < 0.1));
  std::printf("what the tracking law misses, in units of the ledger: %.0f\n", last.tracking_residual);
}
