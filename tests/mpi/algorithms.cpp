// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

#include "mpi/worlds.hpp"
#include "support/catch.hpp"
#include "transport/algorithms.hpp"

namespace rubato::test {
namespace {

TEST_CASE("every algorithm runs over MPI, a rank for each node") {
  auto const rank = rank_of(MPI_COMM_WORLD);
  auto const p = one_goal();
  for_every_algorithm(topology::ring(3), p, [&](std::string const& name, std::function<assembly()> const& make) {
    CAPTURE(name);
    auto a = make();
    MPI_Comm seated = MPI_COMM_NULL;
    MPI_Comm_split(MPI_COMM_WORLD, rank < a.nodes.size() ? 0 : MPI_UNDEFINED, 0, &seated);
    auto near = 0, near_anywhere = 0;
    if (seated != MPI_COMM_NULL) {
      auto const [end, options] = until_near(std::chrono::microseconds{300});
      auto const me = identity_of(a, to_node(rank), &wire::crc32_of);
      transport::mpi wires{me, {}, seated};
      near = are_near_the_goal(run_peer(a, me, wires, end, options).result.models) ? 1 : 0;
    }
    if (seated != MPI_COMM_NULL) MPI_Comm_free(&seated);
    MPI_Allreduce(&near, &near_anywhere, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    CHECK(near_anywhere > 0);
  });
}

}  // namespace
}  // namespace rubato::test
