// SPDX-License-Identifier: MIT
// Vectors from one end to the other by others' libraries, as transport::tcp sends them: from where they lie, into a
// pooled vector each, four under way, over TCP on loopback. Gloo between two threads; MPI between the two ranks of
// mpirun, of which rank 1 sleeps while the others are measured.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/core/shared_buffer.hpp>

#include "support/goodput.hpp"

#ifdef RUBATO_BENCH_GLOO
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/hash_store.h>
#include <gloo/transport/tcp/device.h>
#endif
#ifdef RUBATO_BENCH_MPI
#include <mpi.h>
#endif

namespace bench {

#ifdef RUBATO_BENCH_GLOO

/// GB/s of one way, from the moment both ends are connected.
inline auto gloo_rate(load const& l) -> double {
  namespace tcp = gloo::transport::tcp;
  gloo::rendezvous::HashStore store;
  auto const connected = [&](int rank) {
    tcp::attr where;
    where.hostname = "127.0.0.1";
    auto device = tcp::CreateDevice(where);
    auto context = std::make_shared<gloo::rendezvous::Context>(rank, 2);
    context->connectFullMesh(store, device);
    return context;
  };
  auto const sender = std::jthread{[&] {
    rubato::buffer_pool pool;
    auto const body = vector_of(pool, l.values);
    auto const context = connected(1);
    auto const from = context->createUnboundBuffer(const_cast<std::byte*>(body.bytes().data()), l.bytes());
    for (std::size_t k = 0; k < l.messages; ++k) {
      from->send(0, k);
      if (k >= under_way) from->waitSend();
    }
    for (std::size_t k = 0; k < std::min(under_way, l.messages); ++k) from->waitSend();
    std::byte done{};
    auto const last = context->createUnboundBuffer(&done, 1);
    last->recv(0, l.messages);
    last->waitRecv();
  }};
  auto const context = connected(0);
  auto const begin = std::chrono::steady_clock::now();
  rubato::buffer_pool pool;
  struct slot {
    rubato::writable_buffer<float> fresh;
    std::unique_ptr<gloo::transport::UnboundBuffer> into;
  };
  std::vector<slot> slots;
  auto const post = [&](std::size_t k) {
    auto fresh = pool.allocate<float>(l.values);
    auto into = context->createUnboundBuffer(fresh.data(), l.bytes());
    into->recv(1, k);
    slots.push_back({std::move(fresh), std::move(into)});
  };
  for (std::size_t k = 0; k < std::min(under_way, l.messages); ++k) post(k);
  rubato::shared_buffer kept;
  for (std::size_t k = 0; k < l.messages; ++k) {
    slots.front().into->waitRecv();
    kept = std::move(slots.front().fresh).publish();
    slots.erase(slots.begin());
    if (k + under_way < l.messages) post(k + under_way);
  }
  auto const rate = l.gigabytes() / seconds_since(begin);
  std::byte done{};
  auto const last = context->createUnboundBuffer(&done, 1);
  last->send(1, l.messages);
  last->waitSend();
  return rate;
}

#endif

#ifdef RUBATO_BENCH_MPI

/// Two ranks of one mpirun, or nothing: where the program was started by itself there is no second process.
class mpi_rival {
 public:
  mpi_rival(int& argc, char**& argv) {
    auto const* const ranks = std::getenv("OMPI_COMM_WORLD_SIZE");
    if (ranks == nullptr) ranks_ = 1;
    else ranks_ = std::atoi(ranks);
    if (ranks_ != 2) return;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  }
  mpi_rival(mpi_rival const&) = delete;
  auto operator=(mpi_rival const&) -> mpi_rival& = delete;
  ~mpi_rival() {
    if (ranks_ != 2) return;
    if (rank_ == 0) command({0, 0});
    MPI_Finalize();
  }
  [[nodiscard]] auto is_there() const -> bool { return ranks_ == 2; }
  [[nodiscard]] auto serves() const -> bool { return rank_ == 1; }

  /// Rank 1: sends what rank 0 asks for, asleep in between, until rank 0 is done.
  void serve() const {
    while (true) {
      auto flag = 0;
      while (flag == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
        MPI_Iprobe(0, 1, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE);
      }
      std::array<unsigned long, 2> asked{};
      MPI_Recv(asked.data(), 2, MPI_UNSIGNED_LONG, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      if (asked[0] == 0) return;
      send({asked[0], asked[1]});
    }
  }

  /// Rank 0: GB/s of what comes.
  [[nodiscard]] auto rate(load const& l) const -> double {
    command({l.messages, l.values});
    MPI_Recv(nullptr, 0, MPI_BYTE, 1, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    auto const begin = std::chrono::steady_clock::now();
    rubato::buffer_pool pool;
    std::vector<std::pair<rubato::writable_buffer<float>, MPI_Request>> slots;
    auto const post = [&] {
      auto fresh = pool.allocate<float>(l.values);
      auto& s = slots.emplace_back(std::move(fresh), MPI_REQUEST_NULL);
      MPI_Irecv(s.first.data(), static_cast<int>(l.bytes()), MPI_BYTE, 1, 3, MPI_COMM_WORLD, &s.second);
    };
    for (std::size_t k = 0; k < std::min(under_way, l.messages); ++k) post();
    rubato::shared_buffer kept;
    for (std::size_t k = 0; k < l.messages; ++k) {
      MPI_Wait(&slots.front().second, MPI_STATUS_IGNORE);
      kept = std::move(slots.front().first).publish();
      slots.erase(slots.begin());
      if (k + under_way < l.messages) post();
    }
    return l.gigabytes() / seconds_since(begin);
  }

 private:
  static void command(std::array<unsigned long, 2> asked) {
    MPI_Send(asked.data(), 2, MPI_UNSIGNED_LONG, 1, 1, MPI_COMM_WORLD);
  }
  static void send(load const& l) {
    rubato::buffer_pool pool;
    auto const body = vector_of(pool, l.values);
    MPI_Send(nullptr, 0, MPI_BYTE, 0, 2, MPI_COMM_WORLD);
    std::array<MPI_Request, under_way> pending{};
    pending.fill(MPI_REQUEST_NULL);
    for (std::size_t k = 0; k < l.messages; ++k) {
      auto& r = pending[k % under_way];
      MPI_Wait(&r, MPI_STATUS_IGNORE);
      MPI_Isend(body.bytes().data(), static_cast<int>(l.bytes()), MPI_BYTE, 0, 3, MPI_COMM_WORLD, &r);
    }
    MPI_Waitall(static_cast<int>(under_way), pending.data(), MPI_STATUSES_IGNORE);
  }

  int ranks_ = 1;
  int rank_ = 0;
};

#endif

}  // namespace bench
