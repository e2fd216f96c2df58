// SPDX-License-Identifier: MIT
// The same node under MPI: each rank is a node, with the rank as its id. Messages are two-sided and non-blocking, on a
// communicator of rubato's own, so the rest of the program can go on using MPI.
//
//      mpirun -n 3 example_11_mpi        rank 0 --- rank 1, rank 0 --- rank 2: a binary tree
//
// Expected output, of rank 0: expected/11_mpi.txt
#include <cmath>
#include <cstdio>

#include <rubato/backend/eigen.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/rubato.hpp>
#include <rubato/transport/mpi.hpp>

using namespace std::chrono_literals;
using node = rubato::r_fast<rubato::backend::eigen<double>>;

auto distance_of(std::size_t self, std::size_t nodes) -> double {
  auto const problem = rubato::problem::quadratic::random(nodes, 100, 1);
  auto run = rubato::assemble<node>(rubato::topology::binary_tree(nodes), problem, {.step = 0.1});
  auto const me = rubato::identity_of(run, rubato::to_node(self));
  auto wires = rubato::transport::mpi{me, {}};
  auto const mine =
      rubato::run_peer(run, me, wires, {.time = 60s, .gradients = 2500}, {.compute = rubato::environment::fixed(1ms)});
  auto worst = 0.0;
  for (std::size_t k = 0; k < problem.dimension(); ++k)
    worst = std::fmax(worst, std::abs(mine.result.models[0].view<double>()[k] - problem.optimum()[k]));
  return worst;
}

int main(int argc, char** argv) {
  auto level = 0, rank = 0, ranks = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  auto const mine = distance_of(static_cast<std::size_t>(rank), static_cast<std::size_t>(ranks));
  auto worst = 0.0;
  MPI_Reduce(&mine, &worst, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
  if (rank == 0) {
    std::printf("%d ranks, none farther than 1e-6 from the optimum of all: %s\n", ranks, worst < 1e-6 ? "yes" : "no");
  }
  MPI_Finalize();
}
