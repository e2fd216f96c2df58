// SPDX-License-Identifier: MIT
// Shows how near one r_fast local iteration comes to the bandwidth of memory (figure 7): in interleaved rounds, the
// iteration of an interior binary-tree node beside STREAM triads, an axpy chain, Eigen expressions and a plain fused
// loop on equal memory. All other kernels, backends and sizes are in bench_update_kernels.
//   --rounds N        interleaved rounds, 31     --large L      the large size is 2^L, 24
//   --json FILE       the same figures
// What would make it wrong: other programs at work (from 2^20 on, the time is the thread's own processor time, so that
// being put aside does not count; a neighbour who uses the memory does), or buffers without huge pages.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/algorithm/detail/gossip_kernel.hpp>
#include <rubato/backend/eigen.hpp>

#include "support/huge_pages.hpp"
#include "support/quantile.hpp"
#include "support/rivals.hpp"
#include "support/tree_node.hpp"
#include "support/triad.hpp"

namespace bench {
namespace {

namespace ledger = rubato::ledger;
template<class T>
using eigen = rubato::backend::eigen<T>;

/// Room for `vectors` vectors of n floats and the shifts between them.
auto pool_for(std::size_t n, std::size_t vectors) -> rubato::buffer_pool {
  return rubato::buffer_pool{std::make_shared<huge_pages>(vectors * (4 * n + 8192))};
}

template<class Ledger>
auto counted_bytes(degrees d) -> std::size_t {
  using value = typename Ledger::template value<float>;
  using arithmetic = typename Ledger::template arithmetic<float>;
  using enum rubato::order::action;
  using rule = typename rubato::step::sgd::state<eigen<float>>::rule;
  using kernel = rubato::detail::gossip_kernel<float, value, arithmetic, rule, true, track, consume, push, descend,
                                               write_model, send_model, pull>;
  static float const t = 0;
  static value u = 0;
  std::vector<rubato::detail::model_source<float>> pulls(d.pull_in, {&t, 1.0F});
  std::vector<rubato::detail::sum_source<value>> in(d.push_in, {&u, &u});
  std::vector<rubato::detail::sum_target<float, value>> out(d.push_out, {&u, &u, 1.0F});
  rubato::detail::gossip_streams<float, value> s;
  s.t.g_old = &t;
  s.w.models = {pulls.data(), pulls.size()};
  s.t.sums_in = {in.data(), in.size()};
  s.t.sums_out = {out.data(), out.size()};
  auto const counted = kernel{s, {}, {}}.bytes_per_value();
  if (counted != d.vectors() * sizeof(float)) {
    std::fprintf(stderr, "the kernel counts %zu bytes a value, the formula of r_fast.hpp %zu\n", counted,
                 d.vectors() * sizeof(float));
    std::exit(1);
  }
  return counted;
}

auto seconds(bool of_thread) -> double {
  timespec t{};
  clock_gettime(of_thread ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct line {
  std::string what;
  std::size_t n;
  double bytes;  // counted, a value
  std::vector<double> times{};  // one a round
};

struct comparison {
  std::string ledger;
  std::size_t n;
  std::vector<line> lines;  // the node first, the streaming triad second, the axpy chain third

  /// The ratio of line `other` to the node in one round: of times, or of bandwidths.
  [[nodiscard]] auto speed_up(std::size_t other, double q) const -> double {
    std::vector<double> r;
    for (std::size_t i = 0; i < lines[0].times.size(); ++i) r.push_back(lines[other].times[i] / lines[0].times[i]);
    return quantile(r, q);
  }
  [[nodiscard]] auto of_triad(double q) const -> double { return speed_up(1, q) * lines[0].bytes / lines[1].bytes; }
  /// The same from the shortest time of either, which is STREAM's own rule.
  [[nodiscard]] auto best_speed_up(std::size_t other) const -> double {
    return quantile(lines[other].times, 0) / quantile(lines[0].times, 0);
  }
  [[nodiscard]] auto best_of_triad() const -> double { return best_speed_up(1) * lines[0].bytes / lines[1].bytes; }
};

template<class Ledger>
auto compare(std::string name, std::size_t n, int rounds) -> comparison {
  auto const bytes = static_cast<double>(counted_bytes<Ledger>({}));
  tree_node<eigen<float>, Ledger> node{eigen<float>{pool_for(n, 32)}, {}, n};
  triad t{pool_for(n, 4), n};
  rival<typename Ledger::template value<float>> other{pool_for(n, 20), n};
  comparison c{std::move(name),
               n,
               {{"r_fast local iteration", n, bytes},
                {"triad, streaming stores", n, 12},
                {"axpy chain", n, bytes},
                {"triad, plain", n, 12},
                {"Eigen expressions", n, bytes},
                {"plain fused loop", n, bytes}}};
  auto const large = n >= (std::size_t{1} << 20);
  auto const repetitions = large ? 1 : static_cast<int>((std::size_t{1} << 18) / n) + 1;
  auto const take = [&](std::size_t line, auto&& work) {
    work();  // its own data in the cache, as far as they fit
    auto const begin = seconds(large);
    for (int i = 0; i < repetitions; ++i) work();
    c.lines[line].times.push_back((seconds(large) - begin) / repetitions);
  };
  for (int round = 0; round < rounds; ++round) {
    take(0, [&] { static_cast<void>(node.step()); });
    take(1, [&] { t.streaming(); });
    take(2, [&] { other.step(style::axpy_chain); });
    take(3, [&] { t.plain(); });
    take(4, [&] { other.step(style::eigen_expressions); });
    take(5, [&] { other.step(style::fused_loop); });
  }
  return c;
}

void print(comparison const& c) {
  std::printf("\n%s ledger, d = %zu, eigen backend, one thread\n", c.ledger.c_str(), c.n);
  std::printf("  %-26s %12s %10s %10s\n", "", "median us", "best us", "GB/s");
  for (auto const& l : c.lines) {
    auto const t = quantile(l.times, 0.5);
    std::printf("  %-26s %12.2f %10.2f %10.1f\n", l.what.c_str(), 1e6 * t, 1e6 * quantile(l.times, 0),
                1e-9 * l.bytes * static_cast<double>(l.n) / t);
  }
  std::printf(
      "  counted bytes over time, of the streaming triad's: best times %.3f; by rounds: median %.3f, quartiles %.3f "
      "%.3f\n",
      c.best_of_triad(), c.of_triad(0.5), c.of_triad(0.25), c.of_triad(0.75));
  std::printf(
      "  times faster than the axpy chain:                  best times %.3f; by rounds: median %.3f, quartiles %.3f "
      "%.3f\n",
      c.best_speed_up(2), c.speed_up(2, 0.5), c.speed_up(2, 0.25), c.speed_up(2, 0.75));
}

void write_json(std::string const& file, std::vector<comparison> const& all) {
  std::ofstream out{file};
  out << "[";
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto const& c = all[i];
    out << (i == 0 ? "\n" : ",\n") << " {\"ledger\": \"" << c.ledger << "\", \"d\": " << c.n
        << ", \"of_streaming_triad\": {\"best\": " << c.best_of_triad() << ", \"median\": " << c.of_triad(0.5)
        << ", \"q25\": " << c.of_triad(0.25) << "}, \"of_axpy_chain\": {\"best\": " << c.best_speed_up(2)
        << ", \"median\": " << c.speed_up(2, 0.5) << ", \"q25\": " << c.speed_up(2, 0.25) << "}, \"median_seconds\": {";
    for (std::size_t k = 0; k < c.lines.size(); ++k) {
      out << (k == 0 ? "\"" : ", \"") << c.lines[k].what << "\": " << quantile(c.lines[k].times, 0.5);
    }
    out << "}}";
  }
  out << "\n]\n";
}

struct figure_options {
  int rounds = 31;
  int large = 24;
  std::string json;
};

/// Ends the program where an option is unknown. (--figures-only is what bench/paired says to earlier builds.)
auto options_of(int argc, char** argv) -> figure_options {
  figure_options o;
  for (int i = 1; i < argc; ++i) {
    auto const a = std::string_view{argv[i]};
    if (a == "--figures-only") continue;
    if (a == "--rounds" && i + 1 < argc) o.rounds = std::max(1, std::atoi(argv[++i]));
    else if (a == "--large" && i + 1 < argc) o.large = std::clamp(std::atoi(argv[++i]), 16, 26);
    else if (a == "--json" && i + 1 < argc) o.json = argv[++i];
    else
      std::fprintf(stderr, "%s: there are --rounds N, --large L and --json FILE, not '%s'\n", argv[0], argv[i]),
          std::exit(2);
  }
  return o;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  auto const o = bench::options_of(argc, argv);
  std::vector<bench::comparison> all;
  for (auto const log : {14, o.large}) {
    auto const n = std::size_t{1} << log;
    auto const rounds = log == 14 ? 5 * o.rounds : o.rounds;
    all.push_back(bench::compare<rubato::ledger::fixed_point>("fixed_point", n, rounds));
    bench::print(all.back());
    all.push_back(bench::compare<rubato::ledger::floating>("floating", n, rounds));
    bench::print(all.back());
  }
  if (!o.json.empty()) bench::write_json(o.json, all);
}
