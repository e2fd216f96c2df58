// SPDX-License-Identifier: MIT
// Where the endpoints of MPI meet: on the first ranks of the run, one each. Every rank makes the same calls, and waits
// with the others for each condition; a rank that gives up ends them all.
#pragma once

#include <cstddef>
#include <memory>
#include <tuple>

#include <rubato/transport/mpi.hpp>

#include "transport/seats.hpp"

namespace rubato::test {

inline auto rank_of(MPI_Comm all) -> std::size_t {
  auto rank = 0;
  MPI_Comm_rank(all, &rank);
  return static_cast<std::size_t>(rank);
}

template<>
class world<transport::mpi> {
 public:
  /// Collective over all ranks, of which there must be n.
  world(std::size_t n, limits const& l) : n_{n}, limits_{l} {
    MPI_Comm_split(MPI_COMM_WORLD, rank_of(MPI_COMM_WORLD) < n ? 0 : MPI_UNDEFINED, 0, &seated_);
  }
  world(world const&) = delete;
  auto operator=(world const&) -> world& = delete;
  ~world() {
    if (seated_ != MPI_COMM_NULL) MPI_Comm_free(&seated_);
  }

  auto make(std::size_t self) -> std::unique_ptr<transport::mpi> {
    if (rank_of(MPI_COMM_WORLD) != self) return nullptr;
    return std::make_unique<transport::mpi>(
        test_identity(self, n_), transport::mpi_options{limits_.arrival, limits_.silence, limits_.event_bound},
        seated_);
  }
  /// Whether all ranks are done, once this one is.
  auto everywhere(bool done) -> bool {
    if (done && agreed_ == MPI_REQUEST_NULL) MPI_Ibarrier(MPI_COMM_WORLD, &agreed_);
    if (agreed_ == MPI_REQUEST_NULL) return false;
    auto all = 0;
    MPI_Test(&agreed_, &all, MPI_STATUS_IGNORE);
    return all != 0;
  }
  void vanish(std::unique_ptr<transport::mpi> end) { end.reset(); }

 private:
  std::size_t n_;
  limits limits_;
  MPI_Comm seated_ = MPI_COMM_NULL;
  MPI_Request agreed_ = MPI_REQUEST_NULL;
};

using every_transport = std::tuple<transport::mpi>;
using lossless_transports = every_transport;
using transports_with_silence = every_transport;
using carriers_of_messages = every_transport;
using carriers_of_events = every_transport;

}  // namespace rubato::test
