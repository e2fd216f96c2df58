// SPDX-License-Identifier: MIT
// Gradients a second where the machine of a server is the limit, with 1, 2 and 4 servers that share the model: 16
// workers, d values of float, machines that send and receive 1 Gbit/s each, gradients of 100 ms. The bound of k servers
// is k times what one machine receives, as long as it is below what the workers compute and send.
//   bench_shared_servers [D]
// Virtual time, so that load does not matter: the same figures every time. A minute and 3 GB of memory at d = 10^7.
// Wrong if a machine carried more than its rate: then a rate would be above its bound.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>

#include <rubato/backend/eigen.hpp>
#include <rubato/rubato.hpp>

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using backend_type = backend::eigen<float>;

constexpr std::size_t workers = 16;
constexpr double machine_bits = 1e9;
constexpr auto gradient_time = 100ms;
constexpr auto virtual_time = 12s;

/// f(x) = |x - 1|^2 / 2 of every node, without noise.
struct bowl {
  std::size_t values;
  [[nodiscard]] auto dimension() const -> std::size_t { return values; }
  static auto gradient(backend_type&, std::span<float const> x, sample_key, std::span<float> g) -> double {
    for (std::size_t k = 0; k < x.size(); ++k) g[k] = x[k] - 1;
    return 0;
  }
};

void measure(std::size_t d, std::size_t servers) {
  auto o = asgd<backend_type>::options{.step = 1e-3, .servers = servers};
  auto s = environment::scenario{.compute = environment::fixed(gradient_time),
                                 .link = {.latency = 100us},
                                 .machine_bits_per_second = machine_bits};
  s.measure_every = virtual_time;
  auto const r = simulate(assemble<asgd<backend_type>>(topology::star(workers), bowl{d}, o), s, {.time = virtual_time});
  auto const rate = static_cast<double>(r.nodes[workers].gradients) / 12;
  auto const bits = static_cast<double>(d) * 32;
  auto const server_bound = static_cast<double>(servers) * machine_bits / bits;
  // A worker computes, sends all parts one after another, and then receives the last one, when it has the others.
  auto const turn = 0.1 + bits / machine_bits * (1 + 1 / static_cast<double>(servers));
  auto const worker_bound = static_cast<double>(workers) / turn;
  std::printf("%7zu  %14.2f  %14.2f  %14.2f  %9.2f\n", servers, rate, server_bound, worker_bound,
              rate / std::min(server_bound, worker_bound));
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const d = argc > 1 ? static_cast<std::size_t>(std::strtoull(argv[1], nullptr, 10)) : std::size_t{10'000'000};
    std::printf("d = %zu, %zu workers, 1 Gbit/s a machine; gradients a second, and bounds\n", d, workers);
    std::printf("servers        measured      by servers      by workers    of least\n");
    for (auto const servers : {std::size_t{1}, std::size_t{2}, std::size_t{4}}) measure(d, servers);
    return 0;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_shared_servers: %s\n", e.what());
    return 2;
  }
}
