// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "mpi/worlds.hpp"
#include "support/catch.hpp"
#include "transport/algorithms.hpp"

namespace rubato::test {
namespace {

/// A number for each rank, and one more, that all of them see, since they run on one machine.
class seen_by_all {
 public:
  /// Collective over `ranks`.
  explicit seen_by_all(MPI_Comm ranks) {
    auto n = 0;
    int* own = nullptr;
    MPI_Comm_size(ranks, &n);
    auto const here = rank_of(ranks) == 0 ? 2 : 1;
    MPI_Win_allocate_shared(here * static_cast<int>(sizeof(int)), sizeof(int), MPI_INFO_NULL, ranks, &own, &window_);
    std::fill_n(own, here, 0);
    MPI_Aint bytes = 0;
    auto unit = 0;
    int* first = nullptr;
    MPI_Win_shared_query(window_, 0, &bytes, &unit, &first);  // the ranks' parts follow each other
    values_ = {first, static_cast<std::size_t>(n) + 1};
    MPI_Barrier(ranks);
  }
  seen_by_all(seen_by_all const&) = delete;
  auto operator=(seen_by_all const&) -> seen_by_all& = delete;
  ~seen_by_all() { MPI_Win_free(&window_); }
  [[nodiscard]] auto values() const -> std::span<int> { return values_; }

 private:
  MPI_Win window_ = MPI_WIN_NULL;
  std::span<int> values_;
};

TEST_CASE("every algorithm runs over MPI, a rank for each node") {
  auto const rank = rank_of(MPI_COMM_WORLD);
  auto const p = three_centres();
  for_every_algorithm(topology::ring(3), p, [&](std::string const& name, std::function<assembly()> const& make) {
    CAPTURE(name);
    auto a = make();
    MPI_Comm seated = MPI_COMM_NULL;
    MPI_Comm_split(MPI_COMM_WORLD, rank < a.nodes.size() ? 0 : MPI_UNDEFINED, 0, &seated);
    auto all_near = 1;
    if (seated != MPI_COMM_NULL) {
      {
        seen_by_all const told{seated};
        auto const [end, options] =
            until_all_near(rank, told.values(), distance_of(name), std::chrono::microseconds{300});
        auto const me = identity_of(a, to_node(rank), &wire::xxh3_of);
        transport::mpi wires{me, {}, seated};
        run_peer(a, me, wires, end, options);
        all_near = std::atomic_ref{told.values().back()}.load();
      }
      MPI_Comm_free(&seated);
    }
    CHECK(all_near == 1);
  });
}

}  // namespace
}  // namespace rubato::test
