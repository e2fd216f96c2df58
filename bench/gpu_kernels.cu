// SPDX-License-Identifier: MIT
// Shows how near one r_fast local iteration on a device comes to what a copy within it reaches, d = 2^26 floats:
// counted bytes over time, both. bench/gpu builds and runs it; arguments: log2 d, rounds, the JSON file. What would
// make it wrong: another program on the device, or clocks that fall while it runs; so rounds are interleaved and
// medians taken. The fixed-point ledger asks for its magnitudes after every pass, so its time includes that wait.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include <rubato/backend/thrust.hpp>

#include "support/device_program.hpp"
#include "support/tree_node.hpp"

namespace {

using device = rubato::backend::thrust<float, rubato::backend::system::cuda>;

struct line {
  std::string what;
  double bytes;  // a call
  std::vector<double> seconds{};
  [[nodiscard]] auto gigabytes_a_second() const -> double {
    auto t = seconds;
    std::sort(t.begin(), t.end());
    return 1e-9 * bytes / t[t.size() / 2];
  }
};

/// Seconds of one call, over ten of them that are waited for together.
template<class Work>
auto timed(device const& on, Work&& work) -> double {
  constexpr int calls = 10;
  work();
  on.wait();
  auto const begin = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) work();
  on.wait();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / calls;
}

void write_json(char const* file, std::string const& name, std::size_t n, std::vector<line> const& lines) {
  std::ofstream out{file};
  out << "{\"device\": \"" << name << "\", \"d\": " << n;
  for (auto const& l : lines) out << ", \"" << l.what << "\": " << l.gigabytes_a_second();
  out << ", \"unit\": \"GB/s of counted bytes, median\"}\n";
}

void measure(int argc, char** argv) {
  auto const log = argc > 1 ? std::clamp(std::atoi(argv[1]), 10, 28) : 26;
  auto const rounds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 11;
  auto const n = std::size_t{1} << log;
  device on;
  cudaDeviceProp about{};
  if (cudaGetDeviceProperties(&about, 0) != cudaSuccess) throw rubato::run_error{"cudaGetDeviceProperties failed"};

  auto const iteration = static_cast<double>(bench::degrees{}.vectors() * sizeof(float) * n);
  auto const copy = static_cast<double>(2 * sizeof(float) * n);
  std::vector<line> lines{{"copy by cudaMemcpyAsync", copy},
                          {"copy by a sweep", copy},
                          {"r_fast local iteration, floating", iteration},
                          {"r_fast local iteration, fixed point", iteration}};
  auto x = on.allocate<float>(n), y = on.allocate<float>(n);
  on.sweep({0, n}, rubato::backend::zero_kernel<float>{x.data()});
  bench::tree_node<device, rubato::ledger::floating> floating{on, {}, n};
  bench::tree_node<device, rubato::ledger::fixed_point> fixed{on, {}, n};
  for (int round = 0; round < rounds; ++round) {
    lines[0].seconds.push_back(timed(on, [&] {
      auto const status = cudaMemcpyAsync(y.data(), x.data(), n * sizeof(float), cudaMemcpyDeviceToDevice, on.stream());
      if (status != cudaSuccess) throw rubato::run_error{cudaGetErrorString(status)};
    }));
    lines[1].seconds.push_back(
        timed(on, [&] { on.sweep({0, n}, rubato::backend::copy_kernel<float>{x.data(), y.data()}); }));
    lines[2].seconds.push_back(timed(on, [&] { static_cast<void>(floating.step()); }));
    lines[3].seconds.push_back(timed(on, [&] { static_cast<void>(fixed.step()); }));
  }
  auto const yardstick = std::max(lines[0].gigabytes_a_second(), lines[1].gigabytes_a_second());
  std::printf("%s, d = 2^%d floats, %d rounds of 10, medians\n", about.name, log, rounds);
  std::printf("%-38s %10s %10s\n", "", "GB/s", "of copy");
  for (auto const& l : lines) {
    std::printf("%-38s %10.0f %10.3f\n", l.what.c_str(), l.gigabytes_a_second(), l.gigabytes_a_second() / yardstick);
  }
  if (argc > 3) write_json(argv[3], about.name, n, lines);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::device_program([&] { measure(argc, argv); });
}
