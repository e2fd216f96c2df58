// SPDX-License-Identifier: MIT
// A bad day on the network: three messages in ten are lost, links reorder and duplicate, and node 5 is ten times slower
// than the others. The nodes' data also differ strongly. R-FAST still ends at the optimum of the sum, to the last
// digits. D-PSGD, with the same network and the same step, ends off the optimum and
// waits for the slow node all the time.
//
//            0
//          /   \                 every edge carries models and gradients, both ways
//         1     2
//        / \   / \               R-FAST makes two spanning trees of this:
//       3   4 5*  6              models flow down from node 0, gradients flow up to it
//
// Why: R-FAST sends running sums, not increments, so the newest message replaces all that were lost before it. D-PSGD
// needs every message; a lost one is sent again, and all nodes wait.
// Expected output: expected/02_loss_and_stragglers.txt
#include <cmath>
#include <cstdio>

#include <rubato/backend/eigen.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;
using backend = rubato::backend::eigen<double>;

template<class Node>
void report(char const* name, rubato::problem::quadratic const& problem,
            rubato::environment::scenario const& scenario) {
  auto const result = rubato::simulate<Node>(rubato::topology::binary_tree(7), problem, {.step = 0.1}, scenario,
                                             rubato::until{.time = 60s});
  auto worst = 0.0;
  for (auto const& model : result.models)
    for (std::size_t k = 0; k < problem.dimension(); ++k)
      worst = std::fmax(worst, std::abs(model.template view<double>()[k] - problem.optimum()[k]));
  auto const iterations = [&](std::size_t i) { return static_cast<double>(result.nodes[i].iterations); };
  std::printf("%-7s every node within 1e-8 of the optimum: %-3s   fast nodes iterate %2.0f times as often as node 5\n",
              name, worst < 1e-8 ? "yes" : "no", std::round(iterations(3) / iterations(5)));
}

int main() {
  auto const problem = rubato::problem::quadratic::random(7, 20, 1, {.spread = 3, .condition = 10});
  auto const weather = rubato::environment::scenario{
      .compute = rubato::environment::fixed(10ms).slow(5, 10.0),
      .link = {.latency = 1ms, .jitter = 500us, .loss = 0.3, .duplication = 0.05, .overtaking = 0.1}};
  report<rubato::r_fast<backend>>("R-FAST", problem, weather);
  report<rubato::d_psgd<backend>>("D-PSGD", problem, weather);
}
