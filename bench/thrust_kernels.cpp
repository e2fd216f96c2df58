// SPDX-License-Identifier: MIT
// Shows what Thrust costs on the host: one r_fast local iteration (either ledger) and a dot product on thrust's systems
// against backend::eigen, d = 2^24 floats, interleaved rounds, memory from one kind of pool. Required: 0.9 of eigen's
// speed for cpp and omp, by the median of the ratio round by round; the exit status says whether that was met. One
// thread against one thread (cpp) is compared by the thread's processor time, so that preemption does not count;
// several threads by wall-clock time.
//   --rounds N    interleaved rounds, 21     --log2d L    the size is 2^L, 24     --json FILE
// Wrong if other programs are at work, or with OMP_WAIT_POLICY=active: waiting threads then spin, which makes omp's
// launches cheaper and takes a core from everything else. The policy is printed with the figures.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/backend/thrust.hpp>

#include "support/huge_pages.hpp"
#include "support/tree_node.hpp"

namespace bench {
namespace {

namespace system = rubato::backend::system;
using eigen = rubato::backend::eigen<float>;
template<class System>
using thrust = rubato::backend::thrust<float, System>;

enum class by : std::uint8_t { clock, processor };

struct line {
  std::string backend;
  bool judged = false;
  by measure = by::clock;
  std::vector<double> seconds{};  // one a round, by the clock
  std::vector<double> processor_seconds{};  // of the calling thread

  [[nodiscard]] auto times(by m) const -> std::vector<double> const& {
    return m == by::clock ? seconds : processor_seconds;
  }
  template<class Work>
  void time(Work&& work) {
    auto const thread_time = [] {
      timespec t{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
      return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
    };
    auto const begin = clock::now();
    auto const thread_begin = thread_time();
    work();
    processor_seconds.push_back(thread_time() - thread_begin);
    seconds.push_back(std::chrono::duration<double>(clock::now() - begin).count());
  }
};

auto new_lines() -> std::vector<line> {
  return {{"eigen", false, by::processor}, {"thrust cpp", true, by::processor}, {"thrust omp", true}, {"thrust tbb"}};
}

struct comparison {
  std::string what;
  double bytes;  // a call
  std::vector<line> lines;  // eigen first

  /// Times faster than eigen, by rounds.
  [[nodiscard]] auto speed(std::size_t k, double q) const -> double {
    std::vector<double> r;
    auto const& eigens = lines[0].times(lines[k].measure);
    auto const& own = lines[k].times(lines[k].measure);
    for (std::size_t i = 0; i < own.size(); ++i) r.push_back(eigens[i] / own[i]);
    std::sort(r.begin(), r.end());
    return r[static_cast<std::size_t>(q * static_cast<double>(r.size() - 1))];
  }
  [[nodiscard]] auto median_seconds(std::size_t k) const -> double {
    auto t = lines[k].times(lines[k].measure);
    std::sort(t.begin(), t.end());
    return t[t.size() / 2];
  }
};

auto pool_for(std::size_t n, std::size_t vectors) -> rubato::buffer_pool {
  return rubato::buffer_pool{std::make_shared<huge_pages>(vectors * (4 * n + 8192))};
}

template<class Ledger>
auto compare_iterations(std::string what, std::size_t n, int rounds) -> comparison {
  auto const bytes = static_cast<double>(degrees{}.vectors() * sizeof(float) * n);
  tree_node<eigen, Ledger> reference{eigen{pool_for(n, 32)}, {}, n};
  tree_node<thrust<system::cpp>, Ledger> alone{thrust<system::cpp>{pool_for(n, 32)}, {}, n};
  comparison c{std::move(what), bytes, new_lines()};
  auto const run = [&](std::size_t k, auto& node) { c.lines[k].time([&] { static_cast<void>(node.step()); }); };
#if defined(_OPENMP)
  tree_node<thrust<system::omp>, Ledger> open_mp{thrust<system::omp>{pool_for(n, 32)}, {}, n};
#endif
#if defined(RUBATO_THRUST_TBB)
  tree_node<thrust<system::tbb>, Ledger> blocks{thrust<system::tbb>{pool_for(n, 32)}, {}, n};
#endif
  for (int round = 0; round < rounds; ++round) {
    run(0, reference);
    run(1, alone);
#if defined(_OPENMP)
    run(2, open_mp);
#endif
#if defined(RUBATO_THRUST_TBB)
    run(3, blocks);
#endif
  }
  return c;
}

auto compare_dots(std::size_t n, int rounds) -> comparison {
  auto const pool = pool_for(n, 4);
  eigen reference{pool};
  auto x = reference.allocate<float>(n), y = reference.allocate<float>(n);
  for (std::size_t i = 0; i < n; ++i) {
    x.data()[i] = static_cast<float>(i % 1000) * 1e-3F;
    y.data()[i] = static_cast<float>(i % 777) * 1e-3F;
  }
  comparison c{"dot product", static_cast<double>(8 * n), new_lines()};
  double first = 0;
  auto const run = [&](std::size_t k, auto const& b) {
    double value = 0;
    c.lines[k].time([&] { value = b.dot(x.data(), y.data(), n); });
    if (first == 0) first = value;
    if (!(value > 0.99 * first && value < 1.01 * first)) throw rubato::run_error{"the dot products do not agree"};
  };
  for (int round = 0; round < rounds; ++round) {
    run(0, reference);
    run(1, thrust<system::cpp>{pool});
#if defined(_OPENMP)
    run(2, thrust<system::omp>{pool});
#endif
#if defined(RUBATO_THRUST_TBB)
    run(3, thrust<system::tbb>{pool});
#endif
  }
  return c;
}

/// Prints one comparison; whether all that is judged reached 0.9.
auto print(comparison const& c) -> bool {
  auto good = true;
  for (std::size_t k = 0; k < c.lines.size(); ++k) {
    if (c.lines[k].seconds.empty()) {
      std::printf("%-28s %-12s not built here\n", c.what.c_str(), c.lines[k].backend.c_str());
      continue;
    }
    auto const t = c.median_seconds(k);
    auto const enough = c.speed(k, 0.5) >= 0.9;
    std::printf("%-28s %-12s %10.2f %8.1f %9.3f  (%.3f to %.3f) %-9s %s\n", c.what.c_str(), c.lines[k].backend.c_str(),
                1e3 * t, 1e-9 * c.bytes / t, c.speed(k, 0.5), c.speed(k, 0.25), c.speed(k, 0.75),
                c.lines[k].measure == by::clock ? "clock" : "processor",
                !c.lines[k].judged ? ""
                : enough           ? "reached"
                                   : "MISSED");
    good = good && (!c.lines[k].judged || enough);
  }
  return good;
}

void write_json(std::string const& file, std::vector<comparison> const& all) {
  std::ofstream out{file};
  out << "[";
  for (auto const& c : all) {
    for (std::size_t k = 0; k < c.lines.size(); ++k) {
      if (c.lines[k].seconds.empty()) continue;
      out << (&c == &all[0] && k == 0 ? "\n" : ",\n") << " {\"what\": \"" << c.what << "\", \"backend\": \""
          << c.lines[k].backend << "\", \"median_seconds\": " << c.median_seconds(k)
          << ", \"speed_of_eigen\": " << c.speed(k, 0.5) << "}";
    }
  }
  out << "\n]\n";
}

auto environment(char const* name) -> char const* {
  auto const* value = std::getenv(name);
  return value == nullptr ? "(not set)" : value;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  int rounds = 21, log = 24;
  std::string json;
  for (int i = 1; i + 1 < argc; i += 2) {
    auto const a = std::string_view{argv[i]};
    if (a == "--rounds") rounds = std::max(1, std::atoi(argv[i + 1]));
    else if (a == "--log2d") log = std::clamp(std::atoi(argv[i + 1]), 10, 26);
    else if (a == "--json") json = argv[i + 1];
    else return std::fprintf(stderr, "unknown option %s\n", argv[i]), 2;
  }
  auto const n = std::size_t{1} << log;
  std::vector<bench::comparison> all;
  all.push_back(bench::compare_iterations<rubato::ledger::fixed_point>("r_fast, fixed point", n, rounds));
  all.push_back(bench::compare_iterations<rubato::ledger::floating>("r_fast, floating", n, rounds));
  all.push_back(bench::compare_dots(n, 5 * rounds));
  std::printf("d = 2^%d, %d rounds, OMP_WAIT_POLICY=%s, OMP_NUM_THREADS=%s\n", log, rounds,
              bench::environment("OMP_WAIT_POLICY"), bench::environment("OMP_NUM_THREADS"));
  std::printf("%-28s %-12s %10s %8s %9s  (quartiles)\n", "", "", "median ms", "GB/s", "of eigen");
  auto good = true;
  for (auto const& c : all) good = bench::print(c) && good;
  std::printf("asked: 0.9 of eigen for cpp and omp: %s\n", good ? "reached" : "MISSED");
  if (!json.empty()) bench::write_json(json, all);
  return good ? 0 : 1;
}
