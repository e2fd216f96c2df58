// SPDX-License-Identifier: MIT
// Catch's main under MPI: mpirun -n 4 starts it. Refusals that need MPI in another state than the tests do come first.
// All ranks run the same tests in the same order; a rank that fails reports it and ends
// the others, which would wait for it.
#define CATCH_CONFIG_RUNNER
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "mpi/worlds.hpp"
#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {

auto ranks() -> int {
  auto n = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &n);
  return n;
}

auto refused(char const* words) -> bool {
  using namespace rubato;
  auto const said = test::refusal([] { transport::mpi m{test::test_identity(0, 2), {}}; });
  if (test::says(said, words)) return true;
  std::fprintf(stderr, "FAILED: instead of '%s' it says '%s'\n", words, said.c_str());
  return false;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  auto const one_thread = argc > 1 && std::string{argv[1]} == "--one-thread";
  if (!refused("MPI is not initialised: call MPI_Init_thread")) return 1;
  // Large messages need both sides, as between machines, where one side could otherwise read the other's memory.
  setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
  auto level = 0;
  MPI_Init_thread(&argc, &argv, one_thread ? MPI_THREAD_SINGLE : MPI_THREAD_FUNNELED, &level);
  auto status = 0;
  if (!one_thread && ranks() != 4) {
    std::printf(
        "FAILED: there are not four ranks: mpirun and the library are not of one MPI, or it was not mpirun -n 4\n");
    MPI_Finalize();
    return 1;
  }
  if (one_thread)
    status = level >= MPI_THREAD_FUNNELED || refused("ask MPI_Init_thread for MPI_THREAD_FUNNELED") ? 0 : 1;
  else status = Catch::Session().run(argc, argv);
  if (status != 0) {
    std::fflush(stdout);
    std::_Exit(std::min(status, 100));  // mpirun ends the others; after MPI_Abort MPICH's may lose what was said
  }
  MPI_Finalize();
}
