// SPDX-License-Identifier: MIT
// Layer-wise asynchronous SGD (driver/layerwise.hpp) beside Hogwild of whole passes and plain SGD: a perceptron
// 784-256-256-10 learns Fashion-MNIST (d = 269,322, float, batch 32). Each form has its best step of five with seed
// 101, by updates to the target; then seeds 1 to 5 in turns, medians. The clock stands while a model is looked at,
// which is every 25 updates. Shown are updates and seconds to training loss 0.45 of the first 5,000 pictures, and the
// processor time of all threads an update, which the load of the machine changes least. Seconds compare cores only on
// a quiet machine.
//   bench_layerwise [DATA_FOLDER]
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/core/text.hpp>
#include <rubato/driver/layerwise.hpp>
#include <rubato/problem/deep_perceptron.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/table.hpp>

#include "support/idx_files.hpp"

namespace {

using namespace rubato;
using space = backend::eigen<float>;
using net = problem::deep_perceptron<float>;
constexpr std::uint64_t piece = 25, most = 2000;
constexpr double target = 0.45;

struct form {
  char const* name;
  layerwise_options options;
};

struct finish {
  bool reached = false;
  double updates = 0, seconds = 0, processor = 0, moved = 0;
};

auto run_of(form const& f, double step, std::uint64_t seed, net const& train, net const& seen) -> finish {
  auto b = space{};
  auto x = train.initial();
  finish found;
  for (std::uint64_t k = 0; k < most / piece; ++k) {
    auto o = f.options;
    o.step = step, o.seed = seed * 10000 + k, o.updates = piece;
    auto const before = std::clock();
    auto r = layerwise_result{};
    try {
      r = train_layerwise(train, b, x, o);
    } catch (run_error const&) {
      return {};
    }
    found.processor += static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
    found.seconds += r.seconds, found.updates += static_cast<double>(r.updates);
    found.moved = std::max(found.moved, r.moved_mean);
    for (std::size_t l = 0, at = 0; l < r.layers.size(); at += r.layers[l++].size())
      std::ranges::copy(r.layers[l].view<float>(), x.begin() + static_cast<std::ptrdiff_t>(at));
    if (!(seen.loss(b, std::span<float const>{x}) > target)) return found.reached = true, found;
  }
  return found;
}

auto median(std::vector<finish> runs, double finish::* of) -> double {
  std::sort(runs.begin(), runs.end(), [&](auto const& a, auto const& b) { return a.*of < b.*of; });
  return runs[runs.size() / 2].*of;
}

constexpr double steps[] = {0.0125, 0.025, 0.05, 0.1, 0.2};

auto best_step(form const& f, net const& train, net const& seen) -> double {
  auto best = 0.0, least = 0.0;
  for (auto const s : steps) {
    auto const r = run_of(f, s, 101, train, seen);
    std::fprintf(stderr, "%s, step %g: %g updates%s\n", f.name, s, r.updates, r.reached ? "" : ", not reached");
    if (r.reached && (best == 0 || r.updates < least)) best = s, least = r.updates;
  }
  if (best == 0) throw run_error{std::string{f.name} + " does not reach the target with any step"};
  return best;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const raw = examples::read_idx_folder(argc > 1 ? argv[1] : examples::default_data_folder);
    auto const data = problem::standardise(raw.train, raw.test);
    auto const options = problem::deep_perceptron_options{.batch = 32, .hidden = {256, 256}, .seed = 1};
    auto const train = net{data, split::iid(data.train, 1, 1), options};
    split::shards first(1, std::vector<std::uint32_t>(5000));
    std::iota(first[0].begin(), first[0].end(), 0U);
    auto const seen = net{data, first, options};
    std::vector<form> const forms{
        {"SGD, 1 thread", {.backward_threads = 0, .moves = layer_moves::after_the_pass}},
        {"Hogwild, 2 threads", {.forward_threads = 2, .backward_threads = 0, .moves = layer_moves::after_the_pass}},
        {"2 threads, layers at once", {.forward_threads = 2, .backward_threads = 0}},
        {"1 forward, 1 backward", {}},
        {"1 forward, 2 backward", {.backward_threads = 2}}};
    std::vector<double> best;
    for (auto const& f : forms) best.push_back(best_step(f, train, seen));
    std::vector<std::vector<finish>> runs(forms.size());
    for (std::uint64_t seed = 1; seed <= 5; ++seed)
      for (std::size_t k = 0; k < forms.size(); ++k) runs[k].push_back(run_of(forms[k], best[k], seed, train, seen));
    report::text_table table{{{"form", report::side::left},
                              {"step"},
                              {"reached"},
                              {"updates"},
                              {"s"},
                              {"updates/s"},
                              {"ms of processor an update"},
                              {"moved"}}};
    for (std::size_t k = 0; k < forms.size(); ++k) {
      auto const updates = median(runs[k], &finish::updates), seconds = median(runs[k], &finish::seconds);
      auto const is_at_edge = best[k] == steps[0] || best[k] == steps[std::size(steps) - 1];
      table.add_row({forms[k].name, shortest(best[k]) + (is_at_edge ? " (edge)" : ""),
                     std::to_string(std::ranges::count_if(runs[k], &finish::reached)) + " of 5",
                     report::fixed(updates, 0), report::fixed(seconds, 2), report::fixed(updates / seconds, 0),
                     report::fixed(1e3 * median(runs[k], &finish::processor) / updates, 3),
                     report::fixed(median(runs[k], &finish::moved), 2)});
    }
    std::printf("%s", table.text().c_str());
    return 0;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_layerwise: %s\n", e.what());
    return 2;
  }
}
