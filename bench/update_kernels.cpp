// SPDX-License-Identifier: MIT
// Shows how near every kernel comes to what memory gives: bytes a second, and the share of a triad of as many bytes in
// the same run (on a device: of a copy by a sweep). Families and kernels are in bench/kernels/, one backend a build.
// Without arguments it measures float on every backend and double on Eigen at four sizes, for two minutes at most, and
// prints for each backend what is worst, codecs apart, by the best try of each. Any argument: Google Benchmark's own
// table of what its filter chooses, of all backends, scalars, degrees and sizes from 2^3 to 2^26.
//   --d N[,N...]        sizes of your own        --degree K[,K...]   neighbours in each direction
//   --worst N           rows a backend, 10       --seconds S         bound of a run without a filter, 115
// What would make it wrong: other programs at work; a share above 1 is several threads beside one, or a cache that
// serves a kernel better than a triad. Below 2^10 the time is of the call, not of the memory.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "kernels/list.hpp"
#include "support/huge_pages.hpp"
#include "support/triad.hpp"

namespace bench {
namespace {

using clock = std::chrono::steady_clock;

auto since(clock::time_point begin) -> double { return std::chrono::duration<double>(clock::now() - begin).count(); }

struct options {
  bool table = true;  ///< no argument of Google Benchmark's: the table of the worst
  std::vector<std::size_t> sizes{}, degrees{};
  std::size_t worst = 10;
  double seconds = 115;
};

struct result {
  std::string backend, kernel;  ///< the kernel with its scalar and degree
  std::size_t n = 0;
  double seconds = 0;  ///< of a call
  double bytes = 0, operations = 0;
  double share = 0;  ///< of the yardstick
};

struct run {
  options o;
  clock::time_point begin = clock::now();
  std::map<std::string, result> results{};
  std::size_t late = 0, too_large = 0;
  std::string prepared_name{};
  prepared now{};
};

/// Bytes a second of `call` that moves so many, the best of a few tries of a millisecond at least.
auto speed_of(std::function<void()> const& call, double bytes) -> double {
  double best = 0;
  call();
  for (int round = 0; round < 5; ++round) {
    auto const begin = clock::now();
    int calls = 0;
    do {
      for (int k = 0; k < 8; ++k) call();
      calls += 8;
    } while (since(begin) < 1e-3);
    best = std::max(best, bytes * calls / since(begin));
  }
  return best;
}

/// Bytes a second of a triad that moves about so many, with plain stores or streaming ones, whichever is faster.
auto triad_speed(double bytes) -> double {
  auto const n = std::max<std::size_t>(1, static_cast<std::size_t>(bytes / triad_bytes_per_value));
  auto const pool = rubato::buffer_pool{std::make_shared<huge_pages>(3 * (4 * n + 4096))};
  auto const moved = static_cast<double>(n * triad_bytes_per_value);
  auto t = triad{pool, n < 64 ? n : n / 64 * 64};
  auto const plain = speed_of([&] { t.plain(); }, moved);
  return n < 64 ? plain : std::max(plain, speed_of([&] { t.streaming(); }, moved));
}

/// Memoised by powers of two.
auto yardstick(entry const& e, double bytes) -> double {
  static std::map<std::pair<std::string, int>, double> known;
  auto const power = static_cast<int>(std::lround(std::log2(bytes)));
  auto& speed = known[{e.copy ? e.backend : std::string{}, power}];
  if (speed == 0) speed = e.copy ? e.copy(std::exp2(power)) : triad_speed(std::exp2(power));
  return speed;
}

/// Runs the kernel as often as Google Benchmark asks, and notes the result.
void measure(benchmark::State& state, run& r, entry const& e, std::pair<std::size_t, std::size_t> size) {
  auto const [n, degree] = size;
  auto const of_degree = e.takes_degree ? "/degree:" + std::to_string(degree) : std::string{};
  auto const name = e.name + of_degree + "/d:" + std::to_string(n);
  if (r.o.table && since(r.begin) > r.o.seconds) {
    ++r.late;
    return state.SkipWithError("the time of this run is over");
  }
  try {
    if (r.prepared_name != name) {
      r.prepared_name.clear();
      r.now = {};
      r.now = e.prepare(n, degree);
      r.prepared_name = name;
      r.now.call();
      e.wait();
    }
  } catch (std::bad_alloc const&) {
    ++r.too_large;
    return state.SkipWithError("its vectors need more than seven tenths of the memory that is free");
  }
  auto const begin = clock::now();
  if (e.copy) {
    constexpr int together = 16;
    while (state.KeepRunningBatch(together)) {
      for (int k = 0; k < together; ++k) r.now.call();
      e.wait();
    }
  } else {
    for (auto _ : state) r.now.call();
  }
  auto const elapsed = since(begin);
  auto const seconds = elapsed / static_cast<double>(state.iterations());
  auto const share = r.now.bytes > 0 ? r.now.bytes / seconds / yardstick(e, r.now.bytes) : 0.0;
  auto const scalar = e.name.substr(e.name.rfind('/'));
  auto const kernel = e.name.substr(0, e.name.size() - e.backend.size() - scalar.size() - 1) + scalar + of_degree;
  auto& best = r.results[name];  // of all tries that took long enough to be timed
  if (best.n == 0 || (elapsed > 1e-3 && seconds < best.seconds))
    best = {e.backend, kernel, n, seconds, r.now.bytes, r.now.operations, share};
  state.SetBytesProcessed(static_cast<std::int64_t>(r.now.bytes) * state.iterations());
  state.counters["share"] = share;
  if (r.now.operations > 0) {
    state.counters["operations"] =
        benchmark::Counter(r.now.operations * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
  }
}

/// Sizes outermost, then backends, so that vectors are made once for all kernels.
void add_benchmarks(run& r) {
  auto const& o = r.o;
  std::vector<std::string> backends;
  for (auto const& e : all_entries())
    if (std::find(backends.begin(), backends.end(), e.backend) == backends.end()) backends.push_back(e.backend);
  for (auto const n : o.sizes)
    for (auto const& backend : backends)
      for (auto const* scalar : {"/float", "/double"})
        for (auto const& e : all_entries()) {
          if (e.backend != backend || !e.name.ends_with(scalar)) continue;
          if (o.table && e.name.ends_with("/double") && backend != "eigen") continue;
          // Their work grows faster than their memory.
          if (o.table && n > 65536 && (e.family == "products" || e.family == "gradients")) continue;
          for (auto const k : e.takes_degree ? o.degrees : std::vector<std::size_t>{0}) {
            auto const of_degree = e.takes_degree ? "/degree:" + std::to_string(k) : std::string{};
            auto* const b =
                benchmark::RegisterBenchmark((e.name + of_degree + "/d:" + std::to_string(n)).c_str(),
                                             [&r, &e, n, k](benchmark::State& state) { measure(state, r, e, {n, k}); });
            b->UseRealTime();
            if (o.table) b->MinTime(0.004)->Repetitions(2);
          }
        }
}

/// Says nothing: the table comes last.
class no_report : public benchmark::BenchmarkReporter {
 public:
  auto ReportContext(Context const&) -> bool override { return true; }
  void ReportRuns(std::vector<Run> const&) override {}
};

/// One kernel's results by size.
using row = std::pair<std::string, std::map<std::size_t, result>>;

/// The geometric mean of the shares.
auto mean_share(row const& r) -> double {
  double sum = 0;
  for (auto const& [n, each] : r.second) sum += std::log(each.share);
  return std::exp(sum / static_cast<double>(r.second.size()));
}

void print_rows(char const* title, std::vector<row> const& rows, std::vector<std::size_t> const& sizes, bool shares) {
  std::printf("\n%-58s", title);
  for (auto const n : sizes) std::printf(" %11s", ("d = " + std::to_string(n)).c_str());
  std::printf("\n");
  for (auto const& [kernel, by_size] : rows) {
    std::printf("%-58s", kernel.c_str());
    for (auto const n : sizes) {
      auto const at = by_size.find(n);
      if (at == by_size.end()) std::printf(" %11s", "-");
      else if (shares) std::printf(" %11.2f", at->second.share);
      else std::printf(" %11.2f", 1e-9 * at->second.operations / at->second.seconds);
    }
    std::printf("\n");
  }
}

void print_tables(run const& r) {
  std::map<std::string, std::map<std::string, row>> bound_by_memory, bound_by_arithmetic;
  for (auto const& [name, each] : r.results) {
    auto& of = each.operations > 0 ? bound_by_arithmetic : bound_by_memory;
    auto const codecs = each.kernel.starts_with("codecs/");  // which are many, and slow, and a matter of their own
    auto& its = of[codecs ? each.backend + ", codecs" : each.backend][each.kernel];
    its.first = each.kernel;
    its.second[each.n] = each;
  }
  for (auto const& [backend, kernels] : bound_by_memory) {
    std::vector<row> rows;
    for (auto const& [kernel, its] : kernels) rows.push_back(its);
    std::sort(rows.begin(), rows.end(), [](row const& a, row const& b) { return mean_share(a) < mean_share(b); });
    std::vector<double> all;
    for (auto const& each : rows) all.push_back(mean_share(each));
    std::printf("\n%s: %zu kernels, the median of their shares %.2f\n", backend.c_str(), rows.size(),
                all[all.size() / 2]);
    rows.resize(std::min(rows.size(), r.o.worst));
    print_rows("share of a triad of as many bytes, the worst", rows, r.o.sizes, true);
  }
  for (auto const& [backend, kernels] : bound_by_arithmetic) {
    std::vector<row> rows;
    for (auto const& [kernel, its] : kernels) rows.push_back(its);
    print_rows((backend + ": 1e9 multiplications with additions a second").c_str(), rows, r.o.sizes, false);
  }
  std::printf("\n%zu measurements in %.0f s", r.results.size(), since(r.begin));
  if (r.late > 0) std::printf("; %zu more were not made, since the time was over (--seconds)", r.late);
  if (r.too_large > 0) std::printf("; %zu more would not fit into memory", r.too_large);
  std::printf("\n");
}

/// Numbers with commas between them, each in 1 .. most. Ends the program where that is not so.
auto numbers(std::string_view option, std::string_view text, std::size_t most) -> std::vector<std::size_t> {
  std::vector<std::size_t> all;
  for (std::size_t at = 0; at <= text.size();) {
    auto const end = std::min(text.find(',', at), text.size());
    auto const word = std::string{text.substr(at, end - at)};
    auto const digits = !word.empty() && word.size() < 12 && word.find_first_not_of("0123456789") == std::string::npos;
    auto const value = digits ? std::strtoull(word.c_str(), nullptr, 10) : 0;
    if (value < 1 || value > most) {
      std::fprintf(stderr, "bench_update_kernels: %s takes numbers from 1 to %zu, not '%s'\n",
                   std::string{option}.c_str(), most, word.c_str());
      std::exit(2);
    }
    all.push_back(value);
    at = end + 1;
  }
  return all;
}

/// Takes out what is ours and leaves the rest to Google Benchmark.
auto own_options(int& argc, char** argv) -> options {
  options o;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    auto const a = std::string_view{argv[i]};
    if (i + 1 < argc && a == "--d") o.sizes = numbers(a, argv[++i], std::size_t{1} << 30);
    else if (i + 1 < argc && a == "--degree") o.degrees = numbers(a, argv[++i], 4096);
    else if (i + 1 < argc && a == "--worst") o.worst = numbers(a, argv[++i], 1000).front();
    else if (i + 1 < argc && a == "--seconds") o.seconds = static_cast<double>(numbers(a, argv[++i], 86400).front());
    else argv[kept++] = argv[i], o.table = false;
  }
  argc = kept;
  if (o.sizes.empty() && o.table) o.sizes = {8, 1024, 65536, std::size_t{1} << 22};
  if (o.sizes.empty())
    for (int log = 3; log <= 26; ++log) o.sizes.push_back(std::size_t{1} << log);
  if (o.degrees.empty()) o.degrees = o.table ? std::vector<std::size_t>{2} : std::vector<std::size_t>{1, 2, 4, 16};
  return o;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  auto r = bench::run{bench::own_options(argc, argv)};
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  bench::add_benchmarks(r);
  if (!r.o.table) return benchmark::RunSpecifiedBenchmarks() == 0 ? 1 : 0;
  bench::no_report quiet;
  benchmark::RunSpecifiedBenchmarks(&quiet);
  bench::print_tables(r);
}
