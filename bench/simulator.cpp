// SPDX-License-Identifier: MIT
// Shows what the simulator costs beside the maths (figure 6): r_fast at d = 8 on a random 4-regular graph read from a
// file, checks off. An event is a delivered packet or a local iteration. Prints events a second (best of five), beside
// the control's, the time of 10,000 nodes for 100 local iterations each, and bytes a node against (4 + dWin + dAout +
// 2 dAin) vectors. The control is a plain loop that does the same work for one algorithm, network and problem
// (support/plain_loop.hpp).
//   bench_simulator [--json FILE]            the figures
//   bench_simulator --beside N ITERATIONS    N nodes beside the control only
//   bench_simulator --nodes N ITERATIONS     one run of any size: time and memory
//   bench_simulator --server N ITERATIONS    a server with N workers (asgd), beside the gossip of N nodes in turns
//   bench_simulator --callgrind ITERATIONS [control]
//                   one small run, 64 nodes, or the control's; bench/instructions counts its instructions
// What would make it wrong: other programs at work (the time is the process's own processor time).
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology.hpp>

#include <unistd.h>

#include "support/plain_loop.hpp"
#include "support/quantile.hpp"

namespace {

using namespace std::chrono_literals;
using backend = rubato::backend::eigen<float>;
using node = rubato::r_fast<backend>;

constexpr std::size_t degree = 4;
/// Of a node besides its vectors: object, tables, mailboxes, buffer records, and the simulator's links and events.
constexpr double stated_constant = 8192;

auto processor_seconds() -> double {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
auto bytes_in_use() -> double {
  auto const m = mallinfo2();
  return static_cast<double>(m.uordblks + m.hblkhd);
}

/// A random regular graph that has been through a file.
auto graph_from_file(std::size_t nodes) -> rubato::topology::pair {
  auto folder = (std::filesystem::temp_directory_path() / "rubato_bench_XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr)
    throw std::filesystem::filesystem_error{folder, {errno, std::generic_category()}};
  auto const path = std::filesystem::path{folder} / "edges";
  std::ofstream{path} << rubato::topology::to_edge_list(rubato::topology::random_regular(nodes, degree, 1));
  auto const graph = rubato::topology::read_edge_list(path.string());
  std::filesystem::remove_all(folder);
  return {graph, graph};
}

struct setup {
  rubato::topology::pair network;
  rubato::problem::quadratic problem;
  backend memory{};
  explicit setup(std::size_t nodes, std::size_t d = 8)
      : network{graph_from_file(nodes)}, problem{rubato::problem::quadratic::random(nodes, d, 1)} {}

  [[nodiscard]] auto assemble() const -> rubato::assembly {
    return rubato::assemble<node>(network, problem, {.step = 0.05}, memory);
  }
};

auto scenario() -> rubato::environment::scenario {
  rubato::environment::scenario s;
  s.compute = rubato::environment::lognormal(10ms, 0.2);
  s.link.latency = 1ms;
  s.link.jitter = 200us;
  s.measure_every = std::chrono::hours{24};
  return s;
}

struct run_cost {
  std::uint64_t events = 0;
  double seconds = 0;
};

auto timed_run(setup const& given, std::uint64_t iterations) -> run_cost {
  auto a = given.assemble();
  auto const gradients = iterations * a.nodes.size();
  auto const begin = processor_seconds();
  auto const result = rubato::simulate(std::move(a), scenario(), {.gradients = gradients});
  return {result.events, processor_seconds() - begin};
}

auto timed_server(std::size_t workers, rubato::problem::quadratic const& problem, std::uint64_t iterations)
    -> run_cost {
  auto a = rubato::assemble<rubato::asgd<backend>>(rubato::topology::star(workers), problem, {.step = 0.05}, backend{});
  auto const begin = processor_seconds();
  auto const result = rubato::simulate(std::move(a), scenario(), {.gradients = iterations * workers});
  return {result.events, processor_seconds() - begin};
}

/// The control: a loop that does the same work by hand (bench/support/plain_loop.hpp).
auto timed_control(setup const& given, std::uint64_t iterations) -> run_cost {
  auto const a = given.assemble();
  bench::plain_setup s;
  s.gamma = static_cast<float>(a.raw_step);
  s.exponent = std::stoi(std::string{*rubato::wire::detail::value_of(a.agreed.text(), "ledger exponents")});
  auto loop = bench::plain_loop{given.network.pull(), given.problem, s};
  auto const begin = processor_seconds();
  auto const events = loop.run(iterations * given.network.nodes());
  return {events, processor_seconds() - begin};
}

/// Live bytes at the end of a run, less what the problem and the graph hold; vectors and everything else.
auto bytes_a_node(std::size_t nodes, std::size_t d) -> double {
  setup const given{nodes, d};
  auto const before = bytes_in_use();
  auto a = given.assemble();
  rubato::simulator simulation{std::move(a), scenario()};
  struct look final : rubato::simulation_trace {
    double most = 0;
    std::uint64_t count = 0;
    void after_event(rubato::instant, rubato::node_id, std::span<rubato::any_node const>) override {
      if (++count % 4096 == 0) most = std::max(most, bytes_in_use());
    }
  } watching;
  simulation.trace(watching);
  static_cast<void>(simulation.run({.gradients = 30 * nodes}));
  return (watching.most - before) / static_cast<double>(nodes);
}

void memory_line(std::size_t nodes, std::size_t d, std::FILE* json) {
  auto const vectors = 4 + degree + degree + 2 * degree;
  auto const formula = static_cast<double>(vectors * d * sizeof(float));
  auto const measured = bytes_a_node(nodes, d);
  std::printf(
      "bytes a node, d = %zu, %zu nodes: %.0f; %zu vectors of section 1.9 are %.0f; 1.3 of these plus the stated %.0f: "
      "%.0f%s\n",
      d, nodes, measured, vectors, formula, stated_constant, 1.3 * formula + stated_constant,
      measured <= 1.3 * formula + stated_constant ? "" : "  MISSED");
  if (json != nullptr) std::fprintf(json, "  \"bytes_a_node_d%zu\": %.0f,\n", d, measured);
}

/// Simulator and control in turns, so that both run under the same conditions: best rates,
/// and the median ratio of the rounds.
void beside_control(std::size_t nodes, std::uint64_t iterations) {
  setup const given{nodes};
  auto ours = 0.0, control = 0.0;
  std::vector<double> ratios;
  for (int round = 0; round < 5; ++round) {
    auto const c = timed_control(given, iterations), o = timed_run(given, iterations);
    auto const rate = [](run_cost const& r) { return static_cast<double>(r.events) / r.seconds; };
    ours = std::max(ours, rate(o));
    control = std::max(control, rate(c));
    ratios.push_back(rate(o) / rate(c));
  }
  std::printf("%zu nodes: %.2f M events a second, control %.2f M; ratio, median of %zu rounds: %.2f (%.2f to %.2f)\n",
              nodes, ours / 1e6, control / 1e6, ratios.size(), bench::quantile(ratios, 0.5),
              bench::quantile(ratios, 0.0), bench::quantile(ratios, 1.0));
}

/// A server's star and the gossip of as many nodes in turns: best rates, and the median ratio of the rounds.
auto beside_gossip(std::size_t nodes, std::uint64_t iterations) -> bool {
  setup const given{nodes};
  auto gossip = 0.0, server = 0.0;
  std::vector<double> ratios;
  for (int round = 0; round < 7; ++round) {
    auto const g = timed_run(given, iterations), s = timed_server(nodes, given.problem, 3 * iterations);
    auto const rate = [](run_cost const& r) { return static_cast<double>(r.events) / r.seconds; };
    gossip = std::max(gossip, rate(g));
    server = std::max(server, rate(s));
    ratios.push_back(rate(s) / rate(g));
  }
  auto const middle = bench::quantile(ratios, 0.5);
  std::printf(
      "%zu workers of a server: %.2f M events a second, gossip %.2f M; ratio, median of %zu rounds: %.2f (%.2f to "
      "%.2f; goal: at least 0.7): %s\n",
      nodes, server / 1e6, gossip / 1e6, ratios.size(), middle, bench::quantile(ratios, 0.0),
      bench::quantile(ratios, 1.0), middle >= 0.7 ? "holds" : "MISSED");
  return middle >= 0.7;
}

/// One run of any size: time and the most memory of the whole process, the file of the graph and the problem included.
auto large_run(std::size_t nodes, std::uint64_t iterations) -> int {
  auto const wall = std::chrono::steady_clock::now();
  auto const passed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count(); };
  setup const given{nodes};
  std::printf("%zu nodes: graph and problem after %.1f s\n", nodes, passed());
  std::fflush(stdout);
  auto const c = timed_run(given, iterations);
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  auto const kilobytes = static_cast<double>(used.ru_maxrss);
  std::printf(
      "%llu local iterations each: %llu events, %.1f s of processor time; in all %.1f s and %.2f GiB, %.0f bytes "
      "a node\n",
      static_cast<unsigned long long>(iterations), static_cast<unsigned long long>(c.events), c.seconds, passed(),
      kilobytes / (1 << 20), 1024 * kilobytes / static_cast<double>(nodes));
  return 0;
}

auto figures(char const* json_file) -> int {
  beside_control(64, 2000);  // ratio asked: 0.5
  beside_control(10'000, 20);  // 0.6
  auto* json = json_file == nullptr ? nullptr : std::fopen(json_file, "w");
  if (json != nullptr) std::fprintf(json, "{\n");
  setup const thousand{1000};
  auto best = 0.0;
  for (int i = 0; i < 5; ++i) {
    auto const c = timed_run(thousand, 200);
    auto const rate = static_cast<double>(c.events) / c.seconds;
    best = std::max(best, rate);
    std::printf("1000 nodes, 200 local iterations: %llu events in %.2f s, %.0f a second\n",
                static_cast<unsigned long long>(c.events), c.seconds, rate);
  }
  std::printf("best of five: %.0f events a second\n", best);
  setup const many{10'000};
  auto const wall = std::chrono::steady_clock::now();
  auto const c = timed_run(many, 100);
  auto const passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count();
  std::printf(
      "10000 nodes, 100 local iterations each: %llu events, %.1f s of processor time, %.1f s by the wall clock\n",
      static_cast<unsigned long long>(c.events), c.seconds, passed);
  memory_line(2000, 8, json);
  memory_line(200, 4096, json);
  if (json != nullptr) {
    std::fprintf(json, "  \"events_per_second\": %.0f,\n  \"ten_thousand_nodes_seconds\": %.2f\n}\n", best, c.seconds);
    std::fclose(json);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  auto const first = argc > 1 ? std::string_view{argv[1]} : std::string_view{};
  if (first == "--callgrind" && argc > 2) {
    auto const which = argc > 3 && std::string_view{argv[3]} == "control" ? timed_control : timed_run;
    auto const c = which(setup{64}, std::strtoull(argv[2], nullptr, 10));
    std::printf("%llu\n", static_cast<unsigned long long>(c.events));
    return 0;
  }
  if (first == "--beside" && argc > 3) {
    beside_control(std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[3], nullptr, 10));
    return 0;
  }
  if (first == "--server" && argc > 3) {
    auto const holds = beside_gossip(std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[3], nullptr, 10));
    return holds ? 0 : 1;
  }
  if (first == "--nodes" && argc > 3) {
    return large_run(std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[3], nullptr, 10));
  }
  return figures(first == "--json" && argc > 2 ? argv[2] : nullptr);
}
