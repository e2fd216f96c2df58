// SPDX-License-Identifier: MIT
// Sums of float vectors over TCP on loopback by several processes: collective::all_reduce with and without a checksum,
// beside Open MPI's MPI_Allreduce and Gloo's best algorithm, in the same processes, on the same data, in turn. Started
// by bench/all_reduce. Prints, for each size, reductions a second, with the processor time of all processes for one
// (medians; who waits by polling uses it too), and the medians of ratios of neighbouring rounds. Wrong if MPI is not
// held to TCP, or if the machine does something else.
//   mpirun -n N [options that hold it to TCP] bench_all_reduce [ROUNDS [KIB...]]
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <mpi.h>

#include <rubato/collective/all_reduce.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/wire/xxhash.hpp>

#include "support/quantile.hpp"

#ifdef RUBATO_BENCH_GLOO
#include <gloo/allreduce.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>
#endif

namespace {

using namespace rubato;
using bench::quantile;

struct place {
  int rank = 0;
  int size = 1;
};

/// One of a group whose addresses go round by MPI.
struct ours {
  ours(place const& at, wire::checksum check, collective::options const& how) {
    auto const door = transport::open_tcp_socket("127.0.0.1:0");
    std::array<char, 32> mine{};
    std::copy(door.address.begin(), door.address.end(), mine.begin());
    std::vector<std::array<char, 32>> all(static_cast<std::size_t>(at.size));
    MPI_Allgather(mine.data(), 32, MPI_CHAR, all.data(), 32, MPI_CHAR, MPI_COMM_WORLD);
    transport::tcp_options o;
    for (auto const& a : all) o.addresses.emplace_back(a.data());
    o.listener = door.descriptor;
    o.silence = std::chrono::minutes{5};  // it rests while others are measured
    auto const me = collective::identity_of(to_node(static_cast<std::size_t>(at.rank)),
                                            static_cast<std::size_t>(at.size), check, how);
    wires = std::make_unique<transport::tcp>(me, o);
    port = std::make_unique<collective::port<transport::tcp>>(me, *wires, how);
  }
  void operator()(std::span<float> v) const { collective::all_reduce(*port, v); }

  std::unique_ptr<transport::tcp> wires;
  std::unique_ptr<collective::port<transport::tcp>> port;
};

#ifdef RUBATO_BENCH_GLOO
/// Its processes find each other by files in a folder that bench/all_reduce makes and removes.
struct gloo_rival {
  explicit gloo_rival(place const& at) {
    auto const folder = std::string{std::getenv("BENCH_ALL_REDUCE_FOLDER")} + "/" + std::to_string(at.size);
    if (at.rank == 0) std::filesystem::create_directory(folder);
    MPI_Barrier(MPI_COMM_WORLD);
    gloo::transport::tcp::attr where;
    where.hostname = "127.0.0.1";
    auto device = gloo::transport::tcp::CreateDevice(where);
    gloo::rendezvous::FileStore store{folder};
    context = std::make_shared<gloo::rendezvous::Context>(at.rank, at.size);
    context->connectFullMesh(store, device);
  }
  void operator()(std::span<float> v, gloo::AllreduceOptions::Algorithm how) {
    gloo::AllreduceOptions o{context};
    o.setAlgorithm(how);
    o.setOutput(v.data(), v.size());
    o.setReduceFunction([](void* c, void const* a, void const* b, std::size_t n) {
      gloo::sum<float>(static_cast<float*>(c), static_cast<float const*>(a), static_cast<float const*>(b), n);
    });
    o.setTag(++tag);
    gloo::allreduce(o);
  }
  std::shared_ptr<gloo::rendezvous::Context> context;
  std::uint32_t tag = 0;
};
#endif

struct rival {
  std::string name;
  std::function<void(std::span<float>)> reduce;
  std::vector<double> rates{}, work{};  // reductions a second; processor seconds of all processes for one
};

/// Reductions a second of this many, at the slowest process, and what they took of the processors.
auto rate_of(rival& r, std::span<float> values, int calls) -> std::pair<double, double> {
  std::fill(values.begin(), values.end(), 1.0F);
  MPI_Barrier(MPI_COMM_WORLD);
  auto const begin = std::chrono::steady_clock::now();
  auto const used = std::clock();
  for (auto k = 0; k < calls; ++k) r.reduce(values);
  auto work = static_cast<double>(std::clock() - used) / CLOCKS_PER_SEC;
  MPI_Allreduce(MPI_IN_PLACE, &work, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  auto size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  auto expected = 1.0F;
  for (auto k = 0; k < calls; ++k) expected *= static_cast<float>(size);
  if (values.front() != expected || values.back() != expected) {
    std::fprintf(stderr, "bench_all_reduce: %s gives %g, not %g\n", r.name.c_str(), static_cast<double>(values[0]),
                 static_cast<double>(expected));
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  return {calls / seconds, work / calls};
}

auto over(rival const& a, std::vector<double> const& b) -> double {
  std::vector<double> ratios;
  for (std::size_t k = 0; k < b.size(); ++k) ratios.push_back(a.rates[k] / b[k]);
  return quantile(ratios, 0.5);
}

void measure(place const& at, std::vector<rival>& all, std::size_t kib, int rounds) {
  std::vector<float> values(kib * 256);
  auto const calls = static_cast<int>(std::clamp<std::size_t>(16'384 / kib, 2, 60));
  for (auto& r : all) r.rates.clear(), r.work.clear();
  for (auto k = -1; k < rounds; ++k) {  // the first one warms up
    for (auto& r : all) {
      auto const [rate, work] = rate_of(r, values, calls);
      if (k < 0) continue;
      r.rates.push_back(rate);
      r.work.push_back(work);
    }
  }
  if (at.rank != 0) return;
  auto best_gloo = std::vector<double>(static_cast<std::size_t>(rounds));
  for (auto const& r : all) {
    if (!r.name.starts_with("Gloo")) continue;
    for (std::size_t k = 0; k < best_gloo.size(); ++k) best_gloo[k] = std::max(best_gloo[k], r.rates[k]);
  }
  std::printf("| %d | %zu KiB |", at.size, kib);
  for (auto const& r : all) std::printf(" %.0f (%.2f ms) |", quantile(r.rates, 0.5), 1e3 * quantile(r.work, 0.5));
  std::printf(" %.2f | %.2f | %.2f |\n", best_gloo[0] > 0 ? over(all[0], best_gloo) : 0.0, over(all[0], all[2].rates),
              over(all[1], all[0].rates));
  std::fflush(stdout);
}

}  // namespace

auto main(int argc, char** argv) -> int {
  auto const rounds = argc > 1 ? std::atoi(argv[1]) : 15;
  std::vector<std::size_t> sizes;
  for (auto k = 2; k < argc; ++k) sizes.push_back(std::strtoul(argv[k], nullptr, 10));
  if (sizes.empty()) sizes = {64, 1024, 16'384};
  if (rounds < 1 || std::find(sizes.begin(), sizes.end(), 0U) != sizes.end() ||
      std::getenv("BENCH_ALL_REDUCE_FOLDER") == nullptr) {
    std::fprintf(stderr, "usage: bench/all_reduce BENCH_ALL_REDUCE [ROUNDS [KIB...]], all from 1 up\n");
    return 2;
  }
  MPI_Init(&argc, &argv);
  place at;
  MPI_Comm_rank(MPI_COMM_WORLD, &at.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &at.size);
  {
    auto how = collective::options{};
    how.costs.at_once = static_cast<std::size_t>(sysconf(_SC_NPROCESSORS_ONLN));
    auto const plain = ours{at, nullptr, how}, checked = ours{at, &wire::xxh3_of, how};
    std::vector<rival> all{{"ours", [&](std::span<float> v) { plain(v); }},
                           {"ours, checksum", [&](std::span<float> v) { checked(v); }},
                           {"Open MPI", [](std::span<float> v) {
                              MPI_Allreduce(MPI_IN_PLACE, v.data(), static_cast<int>(v.size()), MPI_FLOAT, MPI_SUM,
                                            MPI_COMM_WORLD);
                            }}};
#ifdef RUBATO_BENCH_GLOO
    gloo_rival gloo{at};
    using how_gloo = gloo::AllreduceOptions::Algorithm;
    all.push_back({"Gloo, ring", [&](std::span<float> v) { gloo(v, how_gloo::RING); }});
    all.push_back({"Gloo, bcube", [&](std::span<float> v) { gloo(v, how_gloo::BCUBE); }});
#endif
    if (at.rank == 0) {
      std::printf("| processes | size |");
      for (auto const& r : all) std::printf(" %s |", r.name.c_str());
      std::printf(" ours over Gloo's best | over Open MPI | with checksum over without |\n");
    }
    for (auto const kib : sizes) measure(at, all, kib, rounds);
  }
  MPI_Finalize();
  return 0;
}
