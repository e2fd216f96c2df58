// SPDX-License-Identifier: MIT
// Headlines of servers on data that differ: 6,000 pictures of Fashion-MNIST of 14 x 14 pixels, softmax, ten workers, no
// links.
//   bench_label_headlines rescaled|noisy|asgrad|dude|paced [--data FOLDER]
//   rescaled  one class a worker, two workers of each of 1, 2, 4, 8 and 16 times 10 ms a gradient, batch 64: seconds to
//             the loss that synchronous SGD has after 30 s (within 1 %), at which a run must stay for 1 s; with fixed
//             times, and with exponential ones of those means
//   noisy     the same with batch 4 and l2 0.01, where noise and not stability limits the step
//   asgrad    the same workers and batch 64, fixed times: loss after 6,000 gradients by who computes next
//   dude      shards by Dirichlet 0.1, mean times of 10 ms that a truncated normal spreads by 1 and by 5, exponential:
//             seconds to the loss of synchronous SGD, as above
//   paced     the same workers and batch 64, iid data, fixed times: seconds to the loss of synchronous SGD, as above,
//             of async_diloco with 16 local steps a job for all, and by speed
// Every method has the step that support/step_search.hpp finds with seeds 101 to 103; medians of seeds 1 to 5. Virtual
// time: load does not matter. Status 1 if a goal is missed. Wrong if a best step is at the end of its search, which
// the rows then say.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/report.hpp>
#include <rubato/rubato.hpp>

#include "support/finish.hpp"
#include "support/idx_files.hpp"
#include "support/jobs.hpp"
#include "support/quantile.hpp"
#include "support/smaller.hpp"
#include "support/step_search.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using bench::finish;
using space = backend::eigen<float>;
using pictures = problem::softmax_regression<float>;

constexpr std::size_t workers = 10;
constexpr std::uint64_t seeds = 5, tuning_seeds = 3, first_tuning_seed = 101;
constexpr auto horizon = 60s, synchronous_time = 30s;
constexpr auto look_every = 250ms;
constexpr std::size_t looks_to_stay = 4;

/// What runs are of: data and times, drawn anew with each seed.
struct world {
  std::string name;
  std::function<pictures(std::uint64_t seed)> problem;
  std::function<environment::scenario(std::uint64_t seed)> scenario;
};

struct method {
  std::string label;
  std::function<assembly(pictures const&, double step, std::uint64_t seed)> make;
};

template<class Node>
auto named(std::string label, std::function<void(typename Node::options&)> const& set = {}) -> method {
  return {std::move(label), [set](pictures const& p, double step, std::uint64_t seed) {
            auto o = typename Node::options{};
            o.step = step, o.seed = seed;
            if (set) set(o);
            return assemble<Node>(topology::star(workers), p, o);
          }};
}

/// Ends a run when the loss has been at the target for so many looks, and remembers since when.
struct arrival {
  double target;
  std::size_t stays = 0;
  double since = 0;
  std::vector<double> losses{};
  auto operator()(look const& l) -> verdict {
    losses.push_back(l.seen.loss);
    if (!(l.seen.loss <= target)) stays = 0;
    else if (++stays == 1) since = std::chrono::duration<double>(l.seen.at).count();
    return stays == looks_to_stay ? verdict::stop : verdict::go_on;
  }
  /// The median of the last looks.
  [[nodiscard]] auto last_loss() const -> double {
    auto const count = std::min(looks_to_stay, losses.size());
    return bench::median({losses.end() - static_cast<std::ptrdiff_t>(count), losses.end()});
  }
};

/// One run to the target, or to the end. Divergence counts as never arriving.
auto run(world const& w, method const& m, double step, std::uint64_t seed, until const& end) -> finish {
  auto watching = arrival{end.target_loss};
  auto ends = until{.time = end.time, .gradients = end.gradients};
  auto s = w.scenario(seed);
  s.seed = seed, s.measure_every = look_every;
  try {
    auto const r = simulate(m.make(w.problem(seed), step, seed), s, ends, {.watching = {observer{std::ref(watching)}}});
    auto const reached = watching.stays == looks_to_stay;
    auto const seconds = reached ? watching.since : std::chrono::duration<double>(r.ended).count();
    auto const loss = watching.last_loss();
    return {seconds, std::isfinite(loss) ? loss : finish{}.loss, reached};
  } catch (run_error const&) {
    return {};
  }
}

auto median_of(std::vector<finish> runs) -> finish {
  std::sort(runs.begin(), runs.end(), bench::beats);
  return runs[runs.size() / 2];
}

struct outcome {
  bench::found_step with;
  std::vector<finish> runs;  ///< by seed
  [[nodiscard]] auto median() const -> finish { return median_of(runs); }
};

/// The step by the median of the tuning seeds.
auto tuned(world const& w, method const& m, until const& end) -> bench::found_step {
  auto const found = bench::best_step(0.1, [&](double step, finish const& best) {
    auto here = end;
    auto const cut = std::chrono::nanoseconds{std::llround(1e9 * best.seconds)} + look_every * looks_to_stay;
    if (best.reached) here.time = std::min<std::chrono::nanoseconds>(here.time, cut);
    std::vector<finish> runs;
    for (std::uint64_t s = 0; s < tuning_seeds; ++s) runs.push_back(run(w, m, step, first_tuning_seed + s, here));
    return median_of(runs);
  });
  std::fprintf(stderr, "%s; %s: step %s%s, %s%s s, loss %s\n", w.name.c_str(), m.label.c_str(),
               report::fixed(found.step, 4).c_str(), found.at_edge ? " (edge)" : "",
               found.with.reached ? "" : "not in ", report::fixed(found.with.seconds, 2).c_str(),
               report::fixed(found.with.loss, 4).c_str());
  return found;
}

auto outcomes_of(world const& w, std::vector<method> const& all, until const& end) -> std::vector<outcome> {
  std::vector<outcome> found(all.size());
  bench::for_all_jobs(all.size(), [&](std::size_t k) {
    found[k].with = tuned(w, all[k], end);
    for (std::uint64_t s = 1; s <= seeds; ++s) found[k].runs.push_back(run(w, all[k], found[k].with.step, s, end));
  });
  return found;
}

auto step_text(bench::found_step const& s) -> std::string {
  return report::fixed(s.step, 4) + (s.at_edge ? " (edge)" : "");
}

void print(std::vector<method> const& all, std::vector<outcome> const& found) {
  report::text_table table{
      {{"method", report::side::left}, {"step"}, {"s, median"}, {"least"}, {"most"}, {"of 5 there"}, {"last loss"}}};
  for (std::size_t k = 0; k < all.size(); ++k) {
    auto runs = found[k].runs;
    std::sort(runs.begin(), runs.end(), bench::beats);
    auto const text = [](finish const& f) { return (f.reached ? "" : ">") + report::fixed(f.seconds, 1); };
    auto const there = std::count_if(runs.begin(), runs.end(), [](auto const& f) { return f.reached; });
    table.add_row({all[k].label, step_text(found[k].with), text(found[k].median()), text(runs.front()),
                   text(runs.back()), std::to_string(there), report::fixed(found[k].median().loss, 4)});
  }
  std::printf("%s\n", table.text().c_str());
  std::fflush(stdout);
}

/// The loss to which synchronous SGD comes in its time, with the step that is best for that; medians of tuning seeds.
auto target_in(world const& w) -> double {
  auto const found = tuned(w, named<m_synchronous_sgd<space>>("m_synchronous_sgd"), {.time = synchronous_time});
  auto const target = 1.01 * found.with.loss;
  std::printf("%s: target %s, 1.01 of the loss of synchronous SGD after %d s (step %s)\n\n", w.name.c_str(),
              report::fixed(target, 4).c_str(), static_cast<int>(synchronous_time.count()), step_text(found).c_str());
  return target;
}

/// Prints whether `first` takes at most so many times as long as `other`.
auto at_most(double goal, outcome const& first, method const& of, outcome const& other, method const& than) -> bool {
  auto const a = first.median(), b = other.median();
  auto const ratio = a.seconds / b.seconds;
  auto const holds = a.reached && ratio <= goal;
  std::printf("%s / %s: %s%s (goal: at most %s): %s\n", of.label.c_str(), than.label.c_str(),
              b.reached ? "" : "less than ", report::fixed(ratio, 2).c_str(), report::shortest(goal).c_str(),
              holds ? "holds" : "MISSED");
  return holds;
}

auto by_class(problem::dataset const& d) -> split::shards {
  split::shards all(d.classes());
  for (std::size_t k = 0; k < d.samples(); ++k) all[d.labels()[k]].push_back(static_cast<std::uint32_t>(k));
  return all;
}

/// One class a worker; which one is how slow is drawn.
auto classes(problem::train_and_test const& data, std::string name, environment::compute_model const& compute,
             problem::softmax_options const& options) -> world {
  auto const problem = pictures{data, by_class(data.train), options};
  return {std::move(name), [problem](std::uint64_t) { return problem; },
          [compute](std::uint64_t seed) {
            std::array<double, workers> slowness{1, 1, 2, 2, 4, 4, 8, 8, 16, 16};
            auto draw = random_stream{{seed, 0x736c6f77ULL}};
            for (auto k = workers; k > 1; --k) std::swap(slowness[k - 1], slowness[draw.below(k)]);
            auto s = environment::scenario{.compute = compute};
            for (std::uint32_t i = 0; i < workers; ++i) s.compute = s.compute.slow(i, slowness[i]);
            return s;
          }};
}

/// Weights in units of the longest mean duration of a worker; `cap` is in these units.
auto paying(server::time_estimate estimate, double cap = 10) {
  return [estimate, cap](rescaled_asgd<space>::options& o) {
    o.weight.scale = server::time_scale::cycle, o.weight.estimate = estimate, o.weight.cap = cap;
  };
}

constexpr auto plain = problem::softmax_options{.l2 = 0, .batch = 64},
               noisy = problem::softmax_options{.l2 = 0.01, .batch = 4};

auto rescaled_headline(problem::train_and_test const& data, problem::softmax_options const& options) -> bool {
  using server::time_estimate;
  std::vector<method> const rivals{named<ringleader_asgd<space>>("ringleader_asgd"),
                                   named<malenia_sgd<space>>("malenia_sgd"),
                                   named<dude_asgd<space>>("dude_asgd"),
                                   named<m_synchronous_sgd<space>>("m_synchronous_sgd"),
                                   named<asgd<space>>("asgd"),
                                   named<delay_adaptive_asgd<space>>("delay_adaptive_asgd")};
  auto holds = true;
  for (auto const fluctuates : {false, true}) {
    std::vector<method> all{named<rescaled_asgd<space>>("rescaled_asgd", paying(time_estimate::own))};
    if (fluctuates) {  // with fixed times these are the same
      all.push_back(named<rescaled_asgd<space>>("rescaled_asgd, mean durations", paying(time_estimate::mean)));
      all.push_back(named<rescaled_asgd<space>>("rescaled_asgd, cap 2", paying(time_estimate::own, 2)));
    }
    auto const forms = all.size();
    all.insert(all.end(), rivals.begin(), rivals.end());
    auto const w = fluctuates ? classes(data, "fluctuating times", environment::shifted_exponential(10ms, 1), options)
                              : classes(data, "fixed times", environment::fixed(10ms), options);
    auto const found = outcomes_of(w, all, {.time = horizon, .target_loss = target_in(w)});
    print(all, found);
    for (std::size_t form = 0; form < forms; ++form)
      for (auto k = forms; k < forms + 3; ++k)
        holds = at_most(fluctuates ? 1.0 : 1.1, found[form], all[form], found[k], all[k]) && holds;
    for (auto k = forms + 4; k < all.size(); ++k) {
      auto const stays_away = !found[k].median().reached;
      std::printf("%s does not come there: %s\n", all[k].label.c_str(), stays_away ? "holds" : "MISSED");
      holds = stays_away && holds;
    }
    std::printf("\n");
  }
  return holds;
}

auto asgrad_headline(problem::train_and_test const& data) -> bool {
  std::vector<method> all;
  for (auto const order : {server::job_order::shuffled, server::job_order::random, server::job_order::pure}) {
    all.push_back(named<asgrad<space>>("asgrad, " + std::string{name_of(order)},
                                       [order](auto& o) { o.assignment.order = order; }));
  }
  auto const w = classes(data, "fixed times", environment::fixed(10ms), plain);
  auto const found = outcomes_of(w, all, {.gradients = 6000});
  report::text_table table{{{"method", report::side::left}, {"step"}, {"loss, median"}, {"least"}, {"most"}, {"s"}}};
  std::vector<double> medians;
  for (std::size_t k = 0; k < all.size(); ++k) {
    std::vector<double> losses;
    for (auto const& f : found[k].runs) losses.push_back(f.loss);
    medians.push_back(bench::median(losses));
    table.add_row({all[k].label, step_text(found[k].with), report::fixed(medians[k], 4),
                   report::fixed(bench::quantile(losses, 0), 4), report::fixed(bench::quantile(losses, 1), 4),
                   report::fixed(found[k].median().seconds, 1)});
  }
  auto const holds = medians[0] < medians[1] && medians[1] < medians[2];
  std::printf("after 6,000 gradients\n\n%s\nshuffled before random before pure: %s\n\n", table.text().c_str(),
              holds ? "holds" : "MISSED");
  return holds;
}

/// Means of times are positive draws from a normal of mean 1, in units of 10 ms.
auto spread_times(problem::train_and_test const& data, double deviation) -> world {
  return {
      "times spread by " + report::shortest(deviation),
      [data](std::uint64_t seed) { return pictures{data, split::dirichlet(data.train, workers, 0.1, seed), plain}; },
      [deviation](std::uint64_t seed) {
        auto draw = random_stream{{seed, 0x747275ULL}};
        auto s = environment::scenario{.compute = environment::shifted_exponential(10ms, 1)};
        for (std::uint32_t i = 0; i < workers; ++i) {
          auto factor = 0.0;
          while (!(factor > 0.1)) factor = 1 + deviation * draw.normal();
          s.compute = s.compute.slow(i, factor);
        }
        return s;
      }};
}

auto dude_headline(problem::train_and_test const& data) -> bool {
  std::vector<method> const all{named<dude_asgd<space>>("dude_asgd"),
                                named<asgd<space>>("asgd"),
                                named<delay_adaptive_asgd<space>>("delay_adaptive_asgd"),
                                named<fedbuff<space>>("fedbuff"),
                                named<rescaled_asgd<space>>("rescaled_asgd", paying(server::time_estimate::own)),
                                named<m_synchronous_sgd<space>>("m_synchronous_sgd")};
  auto holds = true;
  for (auto const deviation : {1.0, 5.0}) {
    auto const w = spread_times(data, deviation);
    auto const found = outcomes_of(w, all, {.time = horizon, .target_loss = target_in(w)});
    print(all, found);
    for (std::size_t k = 1; k < all.size(); ++k) holds = at_most(1, found[0], all[0], found[k], all[k]) && holds;
    std::printf("\n");
  }
  return holds;
}

auto paced_headline(problem::train_and_test const& data) -> bool {
  using paced = async_diloco<space, weighting::constant, step::sgd, server::steps_by_speed>;
  std::vector<method> const all{
      named<paced>("async_diloco, 16 steps of the fastest, fewer by speed", [](auto& o) { o.assignment.count = 16; }),
      named<async_diloco<space>>("async_diloco, 16 steps for all", [](auto& o) { o.assignment.count = 16; }),
      named<async_diloco<space>>("async_diloco, 1 step for all"), named<m_synchronous_sgd<space>>("m_synchronous_sgd")};
  auto w = classes(data, "iid, fixed times", environment::fixed(10ms), plain);
  auto const problem = pictures{data, split::iid(data.train, workers, 1), plain};
  w.problem = [problem](std::uint64_t) { return problem; };
  auto const found = outcomes_of(w, all, {.time = horizon, .target_loss = target_in(w)});
  print(all, found);
  return at_most(1, found[0], all[0], found[1], all[1]);
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const what = std::string{argc > 1 ? argv[1] : ""};
    auto const named_folder = argc == 4 && std::string_view{argv[2]} == "--data";
    auto const known = what == "rescaled" || what == "noisy" || what == "asgrad" || what == "dude" || what == "paced";
    if (!known || (argc != 2 && !named_folder))
      throw config_error{"usage: bench_label_headlines rescaled|noisy|asgrad|dude|paced [--data FOLDER]"};
    auto const raw = examples::read_idx_folder(named_folder ? argv[3] : examples::default_data_folder);
    auto const data = problem::standardise(bench::smaller(raw.train, 10), bench::smaller(raw.test, 10));
    auto const holds = what == "asgrad"  ? asgrad_headline(data)
                       : what == "dude"  ? dude_headline(data)
                       : what == "paced" ? paced_headline(data)
                                         : rescaled_headline(data, what == "noisy" ? noisy : plain);
    return holds ? 0 : 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_label_headlines: %s\n", e.what());
    return 2;
  }
}
