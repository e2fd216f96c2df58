// SPDX-License-Identifier: MIT
// Shows that nobody waits for a slow node (figure 5): 8 threads run r_fast on a binary tree with an oracle that sleeps
// 2 ms a gradient; runs in which one leaf sleeps 20 ms alternate with calm ones. The others' rate must fall by less
// than 10 %.
//   bench_threads_straggler [SECONDS A RUN, 3] [PAIRS OF RUNS, 5] [--json FILE]
// What would make it wrong: other programs at work, unless they disturb both kinds of run alike (hence the
// alternation).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology.hpp>

#include "support/quantile.hpp"

namespace {

using node = rubato::r_fast<rubato::backend::eigen<float>>;
constexpr std::size_t node_count = 8;
constexpr std::size_t slow_node = 5;
constexpr std::size_t dimension = 1024;

/// A quadratic whose gradients take a while, as real ones do, without using a processor.
struct sleeping_quadratic {
  rubato::problem::quadratic inner;
  std::chrono::milliseconds usual{2};
  std::chrono::milliseconds at_slow_node{2};

  [[nodiscard]] auto dimension() const -> std::size_t { return inner.dimension(); }
  [[nodiscard]] auto nodes() const -> std::size_t { return inner.nodes(); }
  template<class Backend>
  auto gradient(Backend& b, std::span<typename Backend::scalar const> x, rubato::sample_key key,
                std::span<typename Backend::scalar> g) const -> double {
    // The largest first gradient is looked for before the run; its sleep is short enough not to matter.
    std::this_thread::sleep_for(rubato::to_index(key.node) == slow_node ? at_slow_node : usual);
    return inner.gradient(b, x, key, g);
  }
};

struct rates {
  double others = 0;  // local iterations a second and node
  double slow = 0;
};

auto run(sleeping_quadratic const& problem, std::chrono::seconds time) -> rates {
  rubato::environment::scenario s;
  s.compute = rubato::environment::fixed(std::chrono::nanoseconds{0});
  auto a = rubato::assemble<node>(rubato::topology::binary_tree(node_count), problem, {.step = 0.02});
  auto const result = rubato::run_threads(std::move(a), s, {.time = time});
  rates r;
  auto const seconds = rubato::to_seconds(result.ended);
  for (auto const& n : result.nodes) {
    auto const rate = static_cast<double>(n.iterations) / seconds;
    if (rubato::to_index(n.id) == slow_node) r.slow = rate;
    else r.others += rate / static_cast<double>(node_count - 1);
  }
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  std::string json;
  std::vector<int> numbers{3, 5};
  for (int i = 1, k = 0; i < argc; ++i) {
    if (std::string_view{argv[i]} == "--json" && i + 1 < argc) json = argv[++i];
    else if (k < 2) numbers[static_cast<std::size_t>(k++)] = std::max(1, std::atoi(argv[i]));
  }
  auto const time = std::chrono::seconds{numbers[0]};
  auto const problem = rubato::problem::quadratic::random(node_count, dimension, 1);
  std::vector<double> ratios;
  for (int i = 0; i < numbers[1]; ++i) {
    auto const calm = run({problem}, time);
    auto const slowed = run({problem, std::chrono::milliseconds{2}, std::chrono::milliseconds{20}}, time);
    ratios.push_back(slowed.others / calm.others);
    std::printf("calm: %.1f and node %zu %.1f iterations a second; slowed: %.1f and %.1f; the others' ratio %.3f\n",
                calm.others, slow_node, calm.slow, slowed.others, slowed.slow, ratios.back());
    std::fflush(stdout);
  }
  auto const result = bench::median(ratios);
  std::printf("the others keep %.1f %% of their rate (median of %d) while node %zu sleeps 10x as long: %s\n",
              100 * result, numbers[1], slow_node, result > 0.9 ? "less than 10 % lost" : "MISSED");
  if (!json.empty()) {
    auto* out = std::fopen(json.c_str(), "w");
    if (out == nullptr) return 1;
    std::fprintf(out, "{\"others_keep\": %.4f}\n", result);
    std::fclose(out);
  }
  return result > 0.9 ? 0 : 1;
}
