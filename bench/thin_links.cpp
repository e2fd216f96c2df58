// SPDX-License-Identifier: MIT
// BAGUA's relaxations (bench/support/relaxations.hpp) over links that limit them, in the simulator: milliseconds of a
// local iteration of all nodes, and seconds until the training loss comes to 0.45.
//   bench_thin_links [thin|vgg16] [--data FOLDER]    default: both
// The perceptron 784-128-10 on Fashion-MNIST, split iid, batch 32, of bench/perceptron_peer.cpp; the loss is that of
// the first 2,000 pictures at the mean of models.
//   thin   4 nodes, gradients of 20 ms (lognormal, coefficient of variation 0.2), a node's way out and its way in of
//          100 or 500 Mbit/s, 1 or 5 ms: the links that bench/thin_links gives real processes
//   vgg16  16 nodes, gradients of 140 ms, 50 us; 10 and 25 Gbit/s over 1360, the values of VGG16 (138,357,544) over
//          those of the perceptron, so that a message takes as long as that of VGG16 would
// Each method has the step that support/step_search.hpp finds with seeds 101 to 103 on the first link of its part;
// medians of seeds 1 to 3. Time for codecs is not charged. Virtual times: load does not matter. Wrong if a step is at
// the end of its search, which the row then says.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <numeric>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/multilayer_perceptron.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/table.hpp>

#include "support/finish.hpp"
#include "support/idx_files.hpp"
#include "support/jobs.hpp"
#include "support/relaxations.hpp"
#include "support/step_search.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using space = backend::eigen<float>;
using perceptron = problem::multilayer_perceptron<float>;
constexpr double target = 0.45, vgg16_values = 138'357'544;
constexpr std::uint64_t seeds = 3, first_tuning_seed = 101;

/// Learns from all pictures and is judged by the first 2,000.
struct judged_by_some {
  perceptron learns;
  perceptron seen;
  [[nodiscard]] auto dimension() const { return learns.dimension(); }
  [[nodiscard]] auto initial() const { return learns.initial(); }
  auto gradient(space& b, std::span<float const> x, sample_key key, std::span<float> g) const {
    return learns.gradient(b, x, key, g);
  }
  auto loss(space& b, std::span<float const> x) const { return seen.loss(b, x); }
};

auto learnt(problem::train_and_test const& data, std::size_t nodes, std::uint64_t seed) -> judged_by_some {
  auto const options = problem::perceptron_options{.batch = 32, .seed = seed};
  split::shards first(1, std::vector<std::uint32_t>(2000));
  std::iota(first[0].begin(), first[0].end(), 0U);
  return {{data, split::iid(data.train, nodes, seed), options}, {data, first, options}};
}

struct links {
  std::string name;
  std::size_t nodes;
  std::chrono::nanoseconds gradient;  ///< its mean
  double spread;  ///< its coefficient of variation
  double bits;
  std::chrono::nanoseconds latency;

  [[nodiscard]] auto scenario(std::uint64_t seed) const -> environment::scenario {
    environment::scenario s;
    s.compute = environment::lognormal(gradient, spread);
    s.link.latency = latency;
    s.machine_bits_per_second = bits;
    s.seed = seed;
    s.measure_every = 5 * gradient;
    return s;
  }
};

struct outcome {
  bench::finish end;
  double milliseconds = 0;  ///< of a local iteration
};

template<class Row>
auto run(Row const& row, judged_by_some const& p, links const& over, double step, std::uint64_t seed, double longest)
    -> outcome {
  auto const end = until{.time = std::chrono::nanoseconds{std::llround(1e9 * longest)}, .target_loss = target};
  try {
    auto const r = simulate(row.assembled(p, over.nodes, step, seed), over.scenario(seed), end);
    auto const seconds = to_seconds(r.ended), loss = r.history.back().loss;
    auto iterations = 0.0;
    for (auto const& n : r.nodes) iterations += static_cast<double>(n.iterations) / static_cast<double>(r.nodes.size());
    return {{seconds, std::isfinite(loss) ? loss : bench::finish{}.loss, r.time_to_target.has_value()},
            1e3 * seconds / iterations};
  } catch (run_error const&) {
    return {};
  }
}

/// The median of three seeds from `first` on; [seed] is the problem.
template<class Row>
auto median_run(Row const& row, std::vector<judged_by_some> const& problems, links const& over, double step,
                std::uint64_t first, double longest) -> outcome {
  std::vector<outcome> runs;
  for (std::uint64_t s = 0; s < seeds; ++s) runs.push_back(run(row, problems[s], over, step, first + s, longest));
  std::sort(runs.begin(), runs.end(), [](auto const& a, auto const& b) { return bench::beats(a.end, b.end); });
  return runs[seeds / 2];
}

auto problems_from(std::uint64_t first, problem::train_and_test const& data, std::size_t nodes)
    -> std::vector<judged_by_some> {
  std::vector<judged_by_some> all;
  for (std::uint64_t s = 0; s < seeds; ++s) all.push_back(learnt(data, nodes, first + s));
  return all;
}

template<class Row>
auto row_of(Row const& row, std::vector<links> const& all, problem::train_and_test const& data)
    -> std::pair<bench::found_step, std::vector<outcome>> {
  auto const nodes = all.front().nodes;
  auto const longest = 400 * (to_seconds(all.front().gradient) + 0.06);
  auto const tuning = problems_from(first_tuning_seed, data, nodes);
  auto const found = bench::best_step(row.step, [&](double step, bench::finish const& best) {
    auto const bound = best.reached ? 1.5 * best.seconds : longest;
    return median_run(row, tuning, all.front(), step, first_tuning_seed, bound).end;
  });
  auto const problems = problems_from(1, data, nodes);
  std::vector<outcome> medians;
  for (auto const& over : all) medians.push_back(median_run(row, problems, over, found.step, 1, 2 * longest));
  std::fprintf(stderr, "%s: step %s\n", std::string{row.name}.c_str(), shortest(found.step).c_str());
  return {found, medians};
}

void table_of(char const* what, std::vector<links> const& all, problem::train_and_test const& data) {
  auto const rows = bench::relaxations<space>();
  constexpr auto count = std::tuple_size_v<std::remove_const_t<decltype(rows)>>;
  std::vector<std::pair<bench::found_step, std::vector<outcome>>> found(count);
  std::vector<std::string> names(count);
  bench::for_all_jobs(count, [&](std::size_t wanted) {
    auto k = std::size_t{0};
    std::apply(
        [&](auto const&... row) {
          (..., (k++ == wanted ? (names[wanted] = row.name, found[wanted] = row_of(row, all, data), 0) : 0));
        },
        rows);
  });
  for (std::size_t l = 0; l < all.size(); ++l) {
    report::text_table table{{{"algorithm", report::side::left},
                              {"step"},
                              {"ms an iteration"},
                              {"over all-reduce"},
                              {"s to the loss"},
                              {"over all-reduce"}}};
    auto const& plain = found[0].second[l];
    for (std::size_t k = 0; k < count; ++k) {
      auto const& [with, medians] = found[k];
      auto const& m = medians[l];
      table.add_row({names[k], report::fixed(with.step, 4) + (with.at_edge ? " (edge)" : ""),
                     report::fixed(m.milliseconds, 1), report::fixed(plain.milliseconds / m.milliseconds, 2),
                     (m.end.reached ? "" : "> ") + report::fixed(m.end.seconds, 2),
                     report::fixed(plain.end.seconds / m.end.seconds, 2)});
    }
    std::printf("%s, %s\n%s\n", what, all[l].name.c_str(), table.text().c_str());
    std::fflush(stdout);
  }
}

void show(std::string const& part, std::string const& folder) {
  auto const raw = examples::read_idx_folder(folder);
  auto const data = problem::standardise(raw.train, raw.test);
  if (part != "vgg16")
    table_of("thin",
             {{"100 Mbit/s, 1 ms", 4, 20ms, 0.2, 1e8, 1ms},
              {"100 Mbit/s, 5 ms", 4, 20ms, 0.2, 1e8, 5ms},
              {"500 Mbit/s, 1 ms", 4, 20ms, 0.2, 5e8, 1ms},
              {"500 Mbit/s, 5 ms", 4, 20ms, 0.2, 5e8, 5ms}},
             data);
  if (part == "thin") return;
  auto const smaller = vgg16_values / static_cast<double>(learnt(data, 1, 1).dimension());
  table_of("vgg16",
           {{"10 Gbit/s", 16, 140ms, 0, 1e10 / smaller, 50us}, {"25 Gbit/s", 16, 140ms, 0, 2.5e10 / smaller, 50us}},
           data);
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto words = std::vector<std::string>(argv + 1, argv + argc);
    auto folder = std::string{examples::default_data_folder};
    if (words.size() >= 2 && words[words.size() - 2] == "--data") {
      folder = words.back();
      words.resize(words.size() - 2);
    }
    auto const part = words.empty() ? std::string{} : words.front();
    if (words.size() > 1 || (!part.empty() && part != "thin" && part != "vgg16"))
      throw config_error{"usage: bench_thin_links [thin|vgg16] [--data FOLDER]"};
    show(part, folder);
    return 0;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_thin_links: %s\n", e.what());
    return 2;
  }
}
