// SPDX-License-Identifier: MIT
// No waiting for slow nodes, without stale gradients. Each node cuts its batch into 4 mini-batches. When the fastest
// nodes have done all of theirs they say so, and every node contributes what it has finished: node 3, four times
// slower, 1 of 4. It continues with its next samples at the next model. A round then takes the time of the fast nodes,
// not that of the slow one.
//
//      0 --- 1           the all-reduce makes a ring of its own, by node numbers
//      |     |
//      3* -- 2
//
// There are two ways to weight partial batches. By samples, node 3 counts a quarter of the others, and so do its data:
// the answer is slightly off the optimum. By nodes, it counts as if it had finished all. After a minute the latter is
// at the optimum, and the blocking run is still on its way.
// Expected output: expected/08_non_blocking.txt
#include <cmath>
#include <cstdio>

#include <rubato/backend/eigen.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;
using backend = rubato::backend::eigen<double>;
using weigh = rubato::contribution::weigh;

template<class Node>
void report(char const* name, typename Node::options options) {
  auto const problem = rubato::problem::quadratic::random(4, 20, 1, {.spread = 3, .condition = 10});
  auto const scenario =
      rubato::environment::scenario{.compute = rubato::environment::fixed(10ms).slow(3, 4.0), .link = {.latency = 1ms}};
  options.step = 0.2;
  options.contribution.minibatches = 4;
  auto const result = rubato::simulate<Node>(rubato::topology::ring(4), problem, options, scenario, {.time = 60s});
  auto worst = 0.0;
  for (auto const& model : result.models)
    for (std::size_t k = 0; k < problem.dimension(); ++k)
      worst = std::fmax(worst, std::abs(model.template view<double>()[k] - problem.optimum()[k]));
  std::printf("%-24s %4.1f rounds a second, within 1e-8 of the optimum: %s\n", name,
              static_cast<double>(result.nodes[0].iterations) / 60, worst < 1e-8 ? "yes" : "no");
}

int main() {
  report<rubato::ring_allreduce_sgd<backend>>("blocking", {});
  report<rubato::non_blocking_allreduce<backend>>("non-blocking, by samples", {.contribution = {.by = weigh::samples}});
  report<rubato::non_blocking_allreduce<backend>>("non-blocking, by nodes", {.contribution = {.by = weigh::nodes}});
}
