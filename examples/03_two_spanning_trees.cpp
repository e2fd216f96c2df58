// SPDX-License-Identifier: MIT
// R-FAST needs less than a connected network: models must flow from some node to all others, and gradients from all
// others to that node. Two spanning trees with the same root are enough, and any graph that has them can be reduced to
// them. The choice of the root matters: it sets the pace, so choose a fast machine near the middle.
//
//      0 --> 1 --> 2         a one-way street with short cuts back to node 0: no node can be
//      ^     |     |         left out, and no link works in both directions
//      |     v     v
//      +---- 4 <-- 3         (and 2 --> 0)
//
// Expected output: expected/03_two_spanning_trees.txt
#include <cmath>
#include <cstdio>

#include <rubato/backend/eigen.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;
using node = rubato::r_fast<rubato::backend::eigen<double>>;

void print(char const* what, rubato::topology::digraph const& tree) {
  std::printf("%s:", what);
  for (auto const e : tree.edges()) std::printf("  %zu->%zu", to_index(e.from), to_index(e.to));
  std::printf("\n");
}

int main() {
  auto const id = [](std::size_t i) { return rubato::to_node(i); };
  auto const streets = rubato::topology::from_edges(
      5,
      {{id(0), id(1)}, {id(1), id(2)}, {id(2), id(3)}, {id(3), id(4)}, {id(4), id(0)}, {id(1), id(4)}, {id(2), id(0)}},
      "streets");
  auto const problem = rubato::problem::quadratic{{{1}, {2}, {1}, {2}, {1}}, {{5}, {0}, {-5}, {1}, {2}}};
  auto const scenario =
      rubato::environment::scenario{.compute = rubato::environment::lognormal(10ms, 0.2), .link = {.latency = 1ms}};

  for (auto const root : {id(0), id(1)}) {
    auto const trees = rubato::topology::spanning_trees(streets, root);
    std::printf("root %zu\n", to_index(root));
    print("  models pulled along   ", trees.pull());
    print("  gradients pushed along", trees.push());
    auto const result = rubato::simulate<node>(trees, problem, {.step = 0.1}, scenario, rubato::until{.time = 20s});
    auto worst = 0.0;
    for (auto const& model : result.models) worst = std::fmax(worst, std::abs(model.view<double>()[0] - 4.0 / 7.0));
    std::printf("  worst distance of a node from the optimum, 4/7, below 1e-9: %s\n", worst < 1e-9 ? "yes" : "no");
  }

  // A graph without such trees is refused before anything runs, with a sentence that names the node at fault.
  try {
    rubato::topology::pair{rubato::topology::from_edges(3, {{id(0), id(1)}, {id(0), id(2)}}, "one way only")};
  } catch (rubato::config_error const& refusal) {
    std::printf("refused: %s\n", refusal.what());
  }
}
