// SPDX-License-Identifier: MIT
// Rounds a second of SGD over an all-reduce between processes of this machine: ours (ring_allreduce_sgd as run_peer
// runs it) over shared memory and over TCP; our plain call all_reduce over shared memory, and Open MPI's MPI_Allreduce,
// both in one plain loop. Each round makes the same gradient (x - a) and step. All in the same processes and by turns,
// so that ratios are of one moment. Wrong if anything else runs, or if MPI is not told to use shared memory:
//   mpirun -n 2 --mca pml ob1 --mca btl self,vader bench_allreduce_memory [TURNS] [SECONDS] [RING_KIB]
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/collective/all_reduce.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/transport/shared_memory.hpp>
#include <rubato/transport/tcp.hpp>

#include "support/quantile.hpp"

namespace {

using namespace rubato;
using space = backend::eigen<float>;

/// f_i(x) = |x - i|^2 / 2 in each value: one pass, and no samples.
struct bowl {
  std::size_t values;
  std::size_t processes;
  [[nodiscard]] auto dimension() const -> std::size_t { return values; }
  [[nodiscard]] auto nodes() const -> std::size_t { return processes; }
  template<class Backend, class T>
  auto gradient(Backend&, std::span<T const> x, sample_key key, std::span<T> g) const -> double {
    auto const centre = static_cast<T>(to_index(key.node));
    for (std::size_t k = 0; k < x.size(); ++k) g[k] = x[k] - centre;
    return std::nan("");
  }
};

struct place {
  int rank = 0;
  int size = 1;
  std::string run{};  // a name for it
  std::vector<std::string> addresses{};
  std::vector<int> sockets{};
};

constexpr auto step = 0.01F;

/// Seconds. `sum(span)` replaces a gradient by the sum of all.
template<class Sum>
auto plain_rounds(place const& here, std::size_t values, std::uint64_t rounds, char const* whose, Sum sum) -> double {
  std::vector<float> x(values), g(values);
  MPI_Barrier(MPI_COMM_WORLD);
  auto const begin = std::chrono::steady_clock::now();
  for (std::uint64_t r = 0; r < rounds; ++r) {
    bowl{values, 0}.gradient(x, std::span<float const>{x}, {.node = to_node(static_cast<std::size_t>(here.rank))},
                             std::span<float>{g});
    sum(std::span<float>{g});
    auto const share = step / static_cast<float>(here.size);
    for (std::size_t k = 0; k < values; ++k) x[k] -= share * g[k];
  }
  auto const all = std::chrono::steady_clock::now() - begin;
  auto const right = static_cast<float>(here.size - 1) / 2 *
                     (1 - std::pow(1 - step, static_cast<float>(rounds)));  // of the mean's centre
  if (std::abs(x[values / 2] - right) > 1e-2F * (1 + right)) std::fprintf(stderr, "the model of %s is wrong\n", whose);
  return std::chrono::duration<double>(all).count();
}
auto mpi_rounds(place const& here, std::size_t values, std::uint64_t rounds) -> double {
  return plain_rounds(here, values, rounds, "MPI", [](std::span<float> g) {
    MPI_Allreduce(MPI_IN_PLACE, g.data(), static_cast<int>(g.size()), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  });
}
auto call_rounds(place const& here, std::size_t values, std::uint64_t rounds, std::size_t ring) -> double {
  auto const me =
      collective::identity_of(to_node(static_cast<std::size_t>(here.rank)), static_cast<std::size_t>(here.size));
  MPI_Barrier(MPI_COMM_WORLD);
  transport::shared_memory wires{me, {.run = here.run, .ring_bytes = ring}};
  collective::port port{me, wires};
  std::vector<float> first(1);
  collective::all_reduce(port, std::span{first});  // so that all have met
  return plain_rounds(here, values, rounds, "the plain call",
                      [&](std::span<float> g) { collective::all_reduce(port, g); });
}

template<class Transport, class Options>
auto our_rounds(place const& here, std::size_t values, std::uint64_t rounds, Options o) -> double {
  auto const n = static_cast<std::size_t>(here.size);
  auto a = assemble<ring_allreduce_sgd<space>>(topology::ring(n), bowl{values, n}, {.step = step});
  auto const me = identity_of(a, to_node(static_cast<std::size_t>(here.rank)));
  MPI_Barrier(MPI_COMM_WORLD);
  Transport wires{me, std::move(o)};
  auto const r = run_peer(a, me, wires, {.gradients = rounds}, {.awake = std::chrono::microseconds{50}});
  auto const x = r.result.models[0].template view<float>()[values / 2];
  auto const right = static_cast<float>(n - 1) / 2 * (1 - std::pow(1 - step, static_cast<float>(rounds)));
  if (std::abs(x - right) > 1e-2F * (1 + right))
    std::fprintf(stderr, "our model is wrong: %g, not %g\n", double(x), double(right));
  return to_seconds(r.result.ended);
}

/// The slowest rank's.
auto slowest(double mine) -> double {
  auto all = mine;
  MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return all;
}

auto here_of(int argc, char** argv) -> place {
  auto level = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
  place here;
  MPI_Comm_rank(MPI_COMM_WORLD, &here.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &here.size);
  auto name = static_cast<int>(::getpid());
  MPI_Bcast(&name, 1, MPI_INT, 0, MPI_COMM_WORLD);
  here.run = "bench-" + std::to_string(name);
  for (auto k = 0; k < here.size; ++k) here.addresses.push_back("127.0.0.1:" + std::to_string(21000 + name % 5000 + k));
  return here;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  auto const here = here_of(argc, argv);
  auto const argument = [&](int at, double otherwise) {
    return argc > at ? std::strtod(argv[at], nullptr) : otherwise;
  };
  auto const turns = static_cast<int>(argument(1, 9));
  auto const seconds = argument(2, 0.3);
  auto const ring = static_cast<std::size_t>(argument(3, 512)) << 10;
  if (here.rank == 0) {
    std::printf("%d processes, %d turns, rings of %zu KiB: rounds a second, and over MPI's (quartiles)\n", here.size,
                turns, ring >> 10);
    std::printf("%-10s %8s %31s %31s %31s\n", "", "MPI", "plain call, shared memory", "run_peer, shared memory",
                "run_peer, TCP");
  }
  for (auto const kib : {64UL, 1024UL, 16384UL}) {
    auto const values = kib * 256;
    auto const rounds = static_cast<std::uint64_t>(
        std::max(8.0, 4 * seconds / slowest(mpi_rounds(here, values, 4) + mpi_rounds(here, values, 4))));
    std::vector<double> memory, tcp, call, mpi, memory_over, tcp_over, call_over;
    for (auto t = 0; t < turns; ++t) {
      auto const per_second = [&](double s) { return static_cast<double>(rounds) / slowest(s); };
      mpi.push_back(per_second(mpi_rounds(here, values, rounds)));
      memory.push_back(per_second(our_rounds<transport::shared_memory>(
          here, values, rounds, transport::shared_memory_options{.run = here.run, .ring_bytes = ring})));
      tcp.push_back(per_second(
          our_rounds<transport::tcp>(here, values, rounds, transport::tcp_options{.addresses = here.addresses})));
      call.push_back(per_second(call_rounds(here, values, rounds, ring)));
      call_over.push_back(call.back() / mpi.back());
      memory_over.push_back(memory.back() / mpi.back());
      tcp_over.push_back(tcp.back() / mpi.back());
    }
    if (here.rank != 0) continue;
    std::printf("%6lu KiB %8.0f", kib, bench::quantile(mpi, 0.5));
    auto const show = [](std::vector<double> const& rates, std::vector<double> const& over) {
      std::printf(" %10.0f %5.2f (%.2f to %.2f)", bench::quantile(rates, 0.5), bench::quantile(over, 0.5),
                  bench::quantile(over, 0.25), bench::quantile(over, 0.75));
    };
    show(call, call_over), show(memory, memory_over), show(tcp, tcp_over);
    std::printf("\n");
    std::fflush(stdout);
  }
  MPI_Finalize();
}
