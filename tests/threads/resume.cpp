// SPDX-License-Identifier: MIT
// Nodes on threads that are saved each at a moment of its own, and go on from there: the law of conservation is exact,
// and they end at the optimum of the sum.
#include <rubato/driver/threads.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node = r_fast<backend::host<float>>;
auto const p = problem::quadratic::random(4, 50, 4);
auto run(std::uint64_t gradients, checkpoint_options const& saved, std::size_t nodes = 4) -> run_result {
  auto made = assemble<node>(topology::complete(nodes), problem::quadratic::random(nodes, 50, 4), {.step = 0.1});
  thread_options o;
  o.checkpoint = saved;
  return run_threads(std::move(made), {.compute = environment::fixed(300us)}, {.gradients = gradients}, o);
}

TEST_CASE("nodes on threads resume from where each of them was saved") {
  scratch_folder folder{"threads"};
  auto const first = run(800, {folder.path(), 20ms, false});
  CHECK(folder.files() == 4);
  auto const second = run(12000, {folder.path(), 20ms, true});
  CHECK(second.history.front().loss <
        (first.history.front().loss + first.history.back().loss) / 2);  // it did not begin anew
  CHECK(second.history.back().tracking_residual == 0);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(second.nodes[i].iterations > first.nodes[i].iterations);
    auto const x = second.models[i].view<float>();
    for (std::size_t k = 0; k < x.size(); ++k) REQUIRE(std::abs(x[k] - p.optimum()[k]) < 1e-5);
  }
}

TEST_CASE("checkpoints that are missing, or of another run, are refused before a thread begins") {
  scratch_folder folder{"threads"};
  checkpoint_options const o{folder.path(), 1s, true};
  CHECK(says(refusal([&] { static_cast<void>(run(10, o)); }), "node-0.checkpoint' cannot be read"));
  static_cast<void>(run(10, {folder.path(), 1s, false}));
  CHECK(says(refusal([&] { static_cast<void>(run(10, o, 3)); }), "has nodes 4, but this node has 3"));
}

TEST_CASE("nodes that go on together are refused on threads before one begins") {
  scratch_folder folder{"threads"};
  thread_options o;
  o.checkpoint = {.folder = folder.path()};
  auto const run_ring = [&] {
    auto made = assemble<ring_allreduce_sgd<backend::host<float>>>(topology::ring(4), p, {.step = 0.1});
    static_cast<void>(run_threads(std::move(made), {.compute = environment::fixed(300us)}, {.gradients = 8}, o));
  };
  CHECK(says(refusal(run_ring), "which threads cannot do yet: run it in processes or in the simulator"));
}

}  // namespace
}  // namespace rubato::test
