// SPDX-License-Identifier: MIT
// Shows what gradients cost where the vectors live: microseconds of one, and local iterations a second of eight r_fast
// nodes on threads that share one device, in either ledger. A plain compiler makes the same program of Eigen on this
// machine's processor, to compare with. bench/gpu builds and runs both; arguments: seconds of each run, the JSON file.
// What would make it wrong: another program on the device, or a processor with fewer cores than nodes, which share them
// under Eigen.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#if defined(__CUDACC__)
#include <rubato/backend/thrust.hpp>
#else
#include <rubato/backend/eigen.hpp>
#endif

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/problem/multilayer_perceptron.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/problem/softmax_regression.hpp>
#include <rubato/topology/builders.hpp>

#include "support/device_program.hpp"

namespace {

using namespace rubato;
#if defined(__CUDACC__)
using tested = backend::thrust<float, backend::system::cuda>;
#else
using tested = backend::eigen<float>;
#endif

constexpr std::size_t nodes = 8;
using fixed = r_fast<tested>;
using floating = r_fast<tested, step::sgd, weighting::constant, ledger::floating>;

struct line {
  std::string problem;
  double gradient_us = 0;
  double fixed = 0, floating = 0;  // local iterations a second, of all nodes together
};

template<class Backend>
void finish(Backend const& b) {
  if constexpr (requires { b.wait(); }) b.wait();
}

/// Microseconds of a gradient, over twenty that are waited for together; the median of nine.
template<class Backend, class Problem>
auto gradient_us(Backend b, Problem const& p) -> double {
  auto const oracle = problem::any_oracle{b, p};
  auto point = backend::zeros<float>(b, p.dimension());
  auto const x = std::move(point).publish();
  std::vector<double> times;
  std::uint64_t draw = 0;
  for (int round = 0; round < 10; ++round) {
    auto const begin = std::chrono::steady_clock::now();
    for (int k = 0; k < 20; ++k) static_cast<void>(oracle.evaluate({ticket{}, x, {1, node_id{0}, draw++}}));
    finish(b);
    auto const took = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
    if (round > 0) times.push_back(took / 20);  // the first one warms up
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

template<class Node, class Problem>
auto iterations_a_second(typename Node::backend_type b, Problem const& p, std::chrono::nanoseconds time) -> double {
  auto made = assemble<Node>(topology::binary_tree(nodes), p, {.step = 1e-4}, std::move(b));
  auto const result =
      run_threads(std::move(made), {.compute = environment::fixed({}), .measure_every = 10 * time}, {.time = time});
  double all = 0;
  for (auto const& node : result.nodes) all += static_cast<double>(node.iterations);
  return all / std::chrono::duration<double>(result.ended).count();
}

template<class Problem>
auto measured(std::string name, tested const& b, Problem const& p, std::chrono::nanoseconds time) -> line {
  line const l{std::move(name), gradient_us(b, p), iterations_a_second<fixed>(b, p, time),
               iterations_a_second<floating>(b, p, time)};
  std::printf("%-26s %14.1f %14.0f %14.0f\n", l.problem.c_str(), l.gradient_us, l.fixed, l.floating);
  std::fflush(stdout);
  return l;
}

auto samples() -> problem::dataset {
  random_stream draw{0x677075ULL, 1};
  constexpr std::size_t count = 4000, width = 784;
  std::vector<float> features(count * width);
  for (auto& v : features) v = static_cast<float>(draw.normal());
  std::vector<std::uint16_t> labels(count);
  for (auto& v : labels) v = static_cast<std::uint16_t>(draw.below(10));
  return {std::move(features), std::move(labels), 10};
}

void write_json(char const* file, std::vector<line> const& lines) {
  std::ofstream out{file};
  out << "[";
  for (auto const& l : lines) {
    out << (&l == lines.data() ? "" : ",") << "\n  {\"backend\": \"" << tested::name() << "\", \"problem\": \""
        << l.problem << "\", \"gradient_us\": " << l.gradient_us << ", \"fixed\": " << l.fixed
        << ", \"floating\": " << l.floating << "}";
  }
  out << "\n]\n";
}

void measure(int argc, char** argv) {
  auto const seconds = argc > 1 ? std::clamp(std::atof(argv[1]), 0.05, 60.0) : 2.0;
  auto const time = std::chrono::nanoseconds{static_cast<std::int64_t>(1e9 * seconds)};
  tested const b;
  auto const data = samples();
  auto const shards = split::iid(data, nodes, 1);
  using perceptron = problem::multilayer_perceptron<float>;
  std::printf("%s: r_fast on binary_tree(%zu), a thread a node\n", tested::name().data(), nodes);
  std::printf("%-26s %14s %14s %14s\n", "problem, batch", "gradient, us", "fixed, 1/s", "floating, 1/s");
  std::vector<line> lines;
  lines.push_back(measured("quadratic 1e5", b, problem::quadratic::random(nodes, 100'000, 1), time));
  lines.push_back(
      measured("softmax 784 x 10, 32", b, problem::softmax_regression<float>{data, shards, {.batch = 32}}, time));
  for (auto const& [hidden, batch] : {std::pair<std::size_t, std::size_t>{128, 32}, {512, 64}, {4096, 256}}) {
    lines.push_back(measured("perceptron " + std::to_string(hidden) + ", " + std::to_string(batch), b,
                             perceptron{data, shards, {.batch = batch, .hidden = hidden}}, time));
  }
  if (argc > 2) write_json(argv[2], lines);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::device_program([&] { measure(argc, argv); });
}
