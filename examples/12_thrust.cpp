// SPDX-License-Identifier: MIT
// The same algorithm on another backend: Thrust computes on the vectors, here with the calling thread and with OpenMP
// threads if the compiler has them. Only the type of the backend changes, and the bits do not.
//
//      0 <-> 1 <-> 2 <-> 3      models are pulled and gradients pushed along a line
//
// Under nvcc, backend::thrust<float, system::cuda> puts the same vectors on a device.
// Expected output: expected/12_thrust.txt
#include <cmath>
#include <cstdio>

#include <rubato/backend/thrust.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;
namespace backend = rubato::backend;

constexpr std::size_t nodes = 4, dimension = 20'000;

template<class Backend>
auto run(rubato::problem::quadratic const& problem) -> rubato::run_result {
  // By default only sweeps over 8 MiB or more use several threads; here all do, so that the threads are used at all.
  auto const all_threads = Backend{rubato::buffer_pool{}, {.parallel_bytes = 0}};
  auto const network = rubato::topology::line(nodes);
  auto start = rubato::assemble<rubato::r_fast<Backend>>(network, problem, {.step = 0.1}, all_threads);
  auto const scenario = rubato::environment::scenario{
      .compute = rubato::environment::fixed(10ms), .link = {.loss = 0.1}, .measure_every = 1s};
  return rubato::simulate(std::move(start), scenario, {.time = 3s});
}

auto worst_distance(rubato::run_result const& result, std::vector<double> const& optimum) -> double {
  auto worst = 0.0;
  for (auto const& model : result.models)
    for (std::size_t k = 0; k < dimension; ++k) worst = std::fmax(worst, std::abs(model.view<float>()[k] - optimum[k]));
  return worst;
}

int main() {
  auto const problem = rubato::problem::quadratic::random(nodes, dimension, 7, {.condition = 3});
  auto const alone = run<backend::thrust<float, backend::system::cpp>>(problem);
  std::printf("within 0.01 of the optimum after 3 s: %s\n",
              worst_distance(alone, problem.optimum()) < 0.01 ? "yes" : "no");
  std::printf("what the tracking law misses, in units of the ledger: %.0f\n", alone.history.back().tracking_residual);
  auto same = true;
#if defined(_OPENMP)
  auto const together = run<backend::thrust<float, backend::system::omp>>(problem);
  for (std::size_t i = 0; i < nodes; ++i)
    for (std::size_t k = 0; k < dimension; ++k)
      same = same && alone.models[i].view<float>()[k] == together.models[i].view<float>()[k];
#endif
  std::printf("one thread and many end with the same bits: %s\n", same ? "yes" : "no");
}
