// SPDX-License-Identifier: MIT
// The headlines of R-FAST and of Non-blocking SGD, and a map of which algorithm is first where.
//   bench_headlines r_fast|non_blocking|bytes|map [--out FOLDER] [--data FOLDER] [--algorithms A,B] [--weathers K,L]
// Every algorithm is tuned by one sweep of equal effort over steps and networks (support/tuning.hpp), in each weather
// anew, with seed 101; then it runs with seeds 1 to 5, of which the median counts. All times are virtual: they do not
// depend on the load of the machine. Writes FOLDER/NAME.csv (default: bench/headlines), and a picture of the map.
// Status 1 if a goal is missed.
//   r_fast        data by label; a leaf 4x slower and 10 % loss (race's default), calm, and slow root, where algorithms
//                 with a root choose it from durations that are measured in the run, and that time counts
//   non_blocking  iid data, cheap links, each gradient 3 to 5 times slower with probability 0.25; and race's default
//   bytes         data by label, 100 Mbit/s, a leaf 4x slower and 10 % loss: bytes of all nodes to the target, of
//                 r_fast with whole vectors and in 2 bits, and the loss of both after 15 s; on the star, on which
//                 messages are fewest, with six steps each
//   map           stragglers x loss x latency x bandwidth x split, a small problem, one algorithm a family, one seed
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/report/gnuplot.hpp>
#include <rubato/report/table.hpp>
#include <rubato/run/atomic_file.hpp>

#include "support/quantile.hpp"
#include "support/tuning.hpp"
#include "support/weather_map.hpp"

namespace {

using namespace bench;

constexpr std::uint64_t seeds = 5;

struct wishes {
  std::string what;
  std::string out = "bench/headlines";
  std::string data = default_options().data;
  std::vector<std::string> algorithms;  ///< empty: all
  std::vector<std::string> weathers;  ///< by their place, from 0; empty: all
};

/// What one algorithm did in one weather.
struct outcome {
  tuned with;
  std::vector<finish> runs;  ///< by seed

  [[nodiscard]] auto median() const -> finish {
    auto sorted = runs;
    std::sort(sorted.begin(), sorted.end(), beats);
    return sorted[sorted.size() / 2];
  }
};

auto needs_network(std::string_view name) -> bool {
  constexpr std::array without{
      "ring_allreduce_sgd", "byte_grad",       "m_synchronous_sgd",   "asgd",
      "rescaled_asgd",      "ringmaster_asgd", "async_model_average", "non_blocking_allreduce"};
  return std::find(without.begin(), without.end(), name) == without.end();
}

auto named(std::string const& name) -> competitor { return {name, name, {}, needs_network(name)}; }

/// Those of `names` that were asked for. Throws config_error if there is none.
auto chosen(wishes const& w, std::vector<std::string> const& names) -> std::vector<competitor> {
  std::vector<competitor> all;
  for (auto const& name : names) {
    auto const wanted =
        w.algorithms.empty() || std::find(w.algorithms.begin(), w.algorithms.end(), name) != w.algorithms.end();
    if (wanted) all.push_back(named(name));
  }
  if (all.empty()) throw config_error{"of the algorithms of this headline, --algorithms names none: " + joined(names)};
  return all;
}

/// Tunes and runs everybody in one weather.
auto race_in(weather const& in, std::vector<competitor> const& who, effort const& e,
             problem::train_and_test const& data) -> std::vector<outcome> {
  auto o = default_options();
  in.set(o);
  o.nodes = o.nodes.value_or(8);
  auto const problem_of = [&](std::uint64_t seed) {
    auto with_seed = o;
    with_seed.seed = seed;
    return race_problem_of(data, with_seed);
  };
  auto const tuning = problem_of(e.seed);
  std::vector<race_problem> reported;
  for (std::uint64_t s = 1; s <= seeds; ++s) reported.push_back(problem_of(s));
  std::vector<outcome> all;
  for (auto const& c : who) {
    auto& of = all.emplace_back(outcome{tune(c, in, e, tuning), std::vector<finish>(seeds)});
    for_all_jobs(seeds, [&](std::size_t s) {
      of.runs[s] = run_trial(plan_for(c, of.with.best, in, s + 1, reported[s]), reported[s], std::chrono::hours{24});
    });
    std::fprintf(stderr, "  median %s s, loss %s\n", report::fixed(of.median().seconds, 2).c_str(),
                 report::fixed(of.median().loss, 4).c_str());
  }
  return all;
}

auto seconds_text(finish const& f) -> std::string { return (f.reached ? "" : ">") + report::fixed(f.seconds, 2); }

void print(weather const& in, std::vector<competitor> const& who, std::vector<outcome> const& found) {
  report::text_table table{{{"algorithm", report::side::left},
                            {"network", report::side::left},
                            {"step"},
                            {"s, median"},
                            {"s, seed by seed", report::side::left},
                            {"loss"}}};
  for (std::size_t k = 0; k < who.size(); ++k) {
    auto const m = found[k].median();
    std::string each;
    for (auto const& f : found[k].runs) each += (each.empty() ? "" : ", ") + seconds_text(f);
    table.add_row({who[k].label, found[k].with.best.network.empty() ? "-" : found[k].with.best.network,
                   report::shortest(found[k].with.best.step) + (found[k].with.at_edge ? " (edge)" : ""),
                   seconds_text(m), each, report::fixed(m.loss, 4)});
  }
  std::printf("%s: virtual seconds to training loss %s, medians of %d seeds\n\n%s\n", in.name.c_str(),
              report::shortest(default_target_loss).c_str(), static_cast<int>(seeds), table.text().c_str());
  std::fflush(stdout);
}

auto csv_rows(weather const& in, std::vector<competitor> const& who, std::vector<outcome> const& found) -> std::string {
  std::string text;
  for (std::size_t k = 0; k < who.size(); ++k) {
    for (std::size_t s = 0; s < found[k].runs.size(); ++s) {
      auto const& f = found[k].runs[s];
      text += "\"" + in.name + "\"," + who[k].label + "," + found[k].with.best.network + "," +
              report::shortest(found[k].with.best.step) + "," + std::to_string(s + 1) + "," +
              report::shortest(f.seconds) + "," + (f.reached ? "1" : "0") + "," + report::shortest(f.loss) + "\n";
    }
  }
  return text;
}
constexpr auto csv_header = "weather,algorithm,network,step,seed,seconds,reached,loss\n";

/// Outcomes by name, for goals.
class standings {
 public:
  standings(std::vector<competitor> const& who, std::vector<outcome> const& found) {
    for (std::size_t k = 0; k < who.size(); ++k) medians_[who[k].label] = found[k].median();
  }
  /// Whether `name` takes at least `goal` times as long as `first`; prints the sentence. A name that did not race
  /// decides nothing. A run that never arrives has a ratio that is at least the one printed.
  [[nodiscard]] auto sooner(std::string const& first, std::string const& name, double goal) const -> bool {
    auto const a = medians_.find(first), b = medians_.find(name);
    if (a == medians_.end() || b == medians_.end()) return true;
    auto const ratio = b->second.seconds / a->second.seconds;
    auto const holds = a->second.reached && ratio >= goal;
    std::printf("%s / %s: %s%s (goal: at least %s): %s\n", name.c_str(), first.c_str(),
                b->second.reached ? "" : "more than ", report::fixed(ratio, 2).c_str(), report::shortest(goal).c_str(),
                holds ? "holds" : "MISSED");
    return holds;
  }
  /// The soonest of all but `without`.
  [[nodiscard]] auto best_but(std::string const& without) const -> std::string {
    std::string best;
    for (auto const& [name, f] : medians_) {
      if (name != without && (best.empty() || beats(f, medians_.at(best)))) best = name;
    }
    return best;
  }

 private:
  std::map<std::string, finish> medians_;
};

void set_default(race_options& o) { o.measure_every = std::chrono::milliseconds{250}; }
void set_calm(race_options& o) {
  set_default(o);
  o.loss = 0;
  o.slow.emplace();
}
void set_slow_root(race_options& o) {
  set_default(o);
  o.slow = {{0, 4.0}};
}
void set_random_stragglers(race_options& o) {
  o.measure_every = std::chrono::milliseconds{100};
  o.split = data_split::iid;
  o.slow.emplace();
  o.loss = 0;
  o.latency = std::chrono::microseconds{100};
  o.compute_text = "random_slow:10ms,0.25,3,5";
  o.compute = environment::random_slow(std::chrono::milliseconds{10}, 0.25, 3, 5);
}

auto with_place(std::vector<weather> all, wishes const& w) -> std::vector<weather> {
  if (w.weathers.empty()) return all;
  std::vector<weather> some;
  for (auto const& place : w.weathers) {
    auto const k = count_in({"--weathers", place}, 0, "places from 0, with a comma between them");
    if (k >= all.size()) {
      throw config_error{"--weathers names place " + std::to_string(k) + ", and this headline has " +
                         std::to_string(all.size()) + " weathers, counted from 0"};
    }
    some.push_back(all[k]);
  }
  return some;
}

void save(wishes const& w, std::string const& csv) {
  std::filesystem::create_directories(w.out);
  write_file(w.out + "/" + w.what + ".csv", csv_header + csv);
}

auto r_fast_headline(wishes const& w, problem::train_and_test const& data) -> bool {
  auto const who =
      chosen(w, {"r_fast", "ring_allreduce_sgd", "d_psgd", "d_psgd_atc", "push_pull", "s_ab", "m_synchronous_sgd",
                 "byte_grad", "rescaled_asgd", "asgd", "ad_psgd", "osgp", "dsgt", "matcha"});
  auto holds = true;
  std::string csv;
  for (auto const& in : with_place({{"default: by label, a leaf 4x slower, 10 % loss", &set_default},
                                    {"calm: by label, no straggler, no loss", &set_calm},
                                    {"slow root: by label, node 0 4x slower, 10 % loss", &set_slow_root}},
                                   w)) {
    auto racing = who;
    for (auto& c : racing) {
      auto const has_root = c.label == "r_fast" || c.label == "push_pull" || c.label == "s_ab";
      if (has_root && in.set == &set_slow_root)
        c.networks = {"measured-star", "measured-binary-tree", "ring", "exponential", "complete"};
    }
    auto const found = race_in(in, racing, {}, data);
    print(in, racing, found);
    csv += csv_rows(in, racing, found);
    save(w, csv);
    auto const s = standings{racing, found};
    if (in.set == &set_default) {
      for (auto const* name : {"ring_allreduce_sgd", "d_psgd", "push_pull"})
        holds = s.sooner("r_fast", name, 3) && holds;
      for (auto const* name : {"m_synchronous_sgd", "byte_grad"}) holds = s.sooner("r_fast", name, 2) && holds;
      for (auto const* name : {"rescaled_asgd", "ad_psgd", "osgp"}) holds = s.sooner("r_fast", name, 1) && holds;
    } else if (in.set == &set_calm) {
      holds = s.sooner("r_fast", s.best_but("r_fast"), 0.95) && holds;
    } else {
      for (auto const* name : {"ring_allreduce_sgd", "m_synchronous_sgd", "byte_grad", "push_pull", "d_psgd"}) {
        holds = s.sooner("r_fast", name, 1.2) && holds;
      }
    }
    std::printf("\n");
  }
  return holds;
}

auto non_blocking_headline(wishes const& w, problem::train_and_test const& data) -> bool {
  auto const who = chosen(w, {"ring_allreduce_sgd", "non_blocking_allreduce", "d_psgd", "non_blocking_d_psgd", "matcha",
                              "non_blocking_matcha"});
  auto holds = true;
  std::string csv;
  for (auto const& in :
       with_place({{"random stragglers: iid, 3 to 5 times slower with probability 0.25", &set_random_stragglers},
                   {"default: by label, a leaf 4x slower, 10 % loss", &set_default}},
                  w)) {
    auto const found = race_in(in, who, {}, data);
    print(in, who, found);
    csv += csv_rows(in, who, found);
    save(w, csv);
    if (in.set != &set_random_stragglers) continue;
    std::printf(
        "A round that waits for 8 gradients takes 2.27 times as long as a gradient here: no method that is as good "
        "a step can gain more.\n");
    auto const s = standings{who, found};
    holds = s.sooner("non_blocking_allreduce", "ring_allreduce_sgd", 1.5) && holds;
    holds = s.sooner("non_blocking_d_psgd", "d_psgd", 1.5) && holds;
    holds = s.sooner("non_blocking_matcha", "matcha", 1.5) && holds;
  }
  return holds;
}

void set_thin_links(race_options& o) {
  set_default(o);
  o.bandwidth_text = "100Mbit";
  o.bits_per_second = 1e8;
}

/// The loss after this long, median of the seeds.
auto loss_after(std::chrono::nanoseconds end, competitor const& c, trial const& with, weather const& in,
                problem::train_and_test const& data) -> double {
  auto o = default_options();
  in.set(o);
  o.nodes = o.nodes.value_or(8);
  std::vector<double> losses(seeds);
  for_all_jobs(seeds, [&](std::size_t s) {
    auto with_seed = o;
    with_seed.seed = s + 1;
    auto const problem = race_problem_of(data, with_seed);
    auto p = plan_for(c, with, in, s + 1, problem);
    p.plan.options.until = end;
    p.plan.options.target_loss = 0;
    losses[s] = run_trial(p, problem, end).loss;
  });
  std::sort(losses.begin(), losses.end());
  return losses[seeds / 2];
}

auto bytes_headline(wishes const& w, problem::train_and_test const& data) -> bool {
  auto const in = weather{"thin: by label, 100 Mbit/s, a leaf 4x slower, 10 % loss", &set_thin_links};
  auto const who = chosen(w, {"r_fast", "r_fast_referenced"});
  auto const e = effort{.least_step = 1.0 / 128, .greatest_step = 0.25, .steps = 6, .networks = {"star"}};
  auto const found = race_in(in, who, e, data);
  print(in, who, found);
  save(w, csv_rows(in, who, found));
  auto const longest = std::chrono::seconds{15};
  std::vector<double> bytes, losses;
  for (std::size_t k = 0; k < who.size(); ++k) {
    std::vector<double> each;
    for (auto const& f : found[k].runs) each.push_back(f.bytes);
    std::sort(each.begin(), each.end());
    bytes.push_back(each[each.size() / 2]);
    losses.push_back(loss_after(longest, who[k], found[k].with.best, in, data));
    std::printf("%s: %s MB to the target (%s to %s), loss %s after 15 s\n", who[k].label.c_str(),
                report::fixed(bytes[k] / 1e6, 1).c_str(), report::fixed(each.front() / 1e6, 1).c_str(),
                report::fixed(each.back() / 1e6, 1).c_str(), report::fixed(losses[k], 4).c_str());
  }
  if (who.size() < 2) return true;
  auto const holds = found[1].median().reached && bytes[0] / bytes[1] >= 4 && losses[1] <= 1.01 * losses[0];
  std::printf("r_fast / r_fast_referenced: %s times the bytes (goal: at least 4, at 1.01 of its loss or less): %s\n",
              report::fixed(bytes[0] / bytes[1], 2).c_str(), holds ? "holds" : "MISSED");
  return holds;
}

/// [cell][competitor], best first.
auto map_of(std::vector<cell> const& all, problem::train_and_test const& data, double target)
    -> std::vector<std::vector<map_entry>> {
  auto const who = map_competitors();
  auto const of_split = [&](data_split split) {
    auto o = all.front().options;
    o.split = split;
    o.nodes = 8;
    return race_problem_of(data, o);
  };
  std::array const problems{of_split(data_split::iid), of_split(data_split::by_label)};
  std::vector<std::vector<map_entry>> found(all.size());
  for_all_jobs(all.size(), [&](std::size_t k) {
    auto const& problem = problems[all[k].options.split == data_split::iid ? 0 : 1];
    for (auto const& each : who) found[k].push_back(run_in(all[k], each, problem, target));
    std::stable_sort(found[k].begin(), found[k].end(),
                     [](auto const& a, auto const& b) { return beats(a.best, b.best); });
    auto const& first = found[k].front();
    std::fprintf(stderr, "%s, loss %s, %s, %s, %s: %s %s s, then %s %s s\n", all[k].stragglers.c_str(),
                 all[k].loss.c_str(), all[k].latency.c_str(), all[k].bandwidth.c_str(), all[k].split.c_str(),
                 first.algorithm.c_str(), seconds_text(first.best).c_str(), found[k][1].algorithm.c_str(),
                 seconds_text(found[k][1].best).c_str());
  });
  return found;
}

auto map_headline(wishes const& w) -> bool {
  auto const raw = read_idx_folder(w.data);
  auto const data = problem::standardise(smaller(raw.train, 15), smaller(raw.test, 10));
  auto const all = cells();
  auto const target = map_target(data, all.front().options);
  std::printf("%zu samples of %zu features, 8 nodes, batch %zu: virtual seconds to loss %s\n", data.train.samples(),
              data.train.width(), all.front().options.batch, report::shortest(target).c_str());
  auto const found = map_of(all, data, target);
  std::string csv = "stragglers,loss,latency,bandwidth,split,place,algorithm,network,step,seconds,reached,final loss\n";
  std::map<std::string, int> wins;
  for (std::size_t k = 0; k < all.size(); ++k) {
    auto const& c = all[k];
    for (std::size_t place = 0; place < found[k].size(); ++place) {
      auto const& e = found[k][place];
      csv += c.stragglers + "," + c.loss + "," + c.latency + "," + c.bandwidth + "," + c.split + "," +
             std::to_string(place + 1) + "," + e.algorithm + "," + e.with.network + "," +
             report::shortest(e.with.step) + "," + report::shortest(e.best.seconds) + "," +
             (e.best.reached ? "1" : "0") + "," + report::shortest(e.best.loss) + "\n";
    }
    ++wins[found[k].front().best.reached ? found[k].front().algorithm : "nobody"];
  }
  for (auto const& [name, count] : wins)
    std::printf("%s is first in %d of %zu weathers\n", name.c_str(), count, all.size());
  std::filesystem::create_directories(w.out);
  write_file(w.out + "/map.csv", csv);
  auto const drawn = report::write_heat_map(w.out + "/map.svg", picture_of(found, target));
  if (drawn.status != report::plot_status::drawn) std::printf("no map.svg: %s\n", drawn.sentence.c_str());
  return true;
}

auto wishes_in(std::span<char*> given) -> wishes {
  wishes w;
  constexpr auto usage =
      "bench_headlines r_fast|non_blocking|bytes|map [--out FOLDER] [--data FOLDER] [--algorithms A,B] "
      "[--weathers K,L]";
  if (given.empty()) throw config_error{std::string{"usage: "} + usage};
  w.what = given[0];
  if (w.what != "r_fast" && w.what != "non_blocking" && w.what != "bytes" && w.what != "map") {
    throw config_error{"there is no headline '" + escaped(w.what) + "'; usage: " + usage};
  }
  for (std::size_t i = 1; i < given.size(); i += 2) {
    auto const name = std::string{given[i]};
    if (i + 1 == given.size()) throw config_error{name + " needs a value"};
    auto const value = std::string{given[i + 1]};
    if (name == "--out") w.out = value;
    else if (name == "--data") w.data = value;
    else if (name == "--algorithms") w.algorithms = list_in(value);
    else if (name == "--weathers") w.weathers = list_in(value);
    else throw config_error{"unknown option " + escaped(name) + "; usage: " + usage};
  }
  for (auto const& a : w.algorithms) static_cast<void>(algorithm_named(a));
  if (w.what == "map" && !(w.algorithms.empty() && w.weathers.empty())) {
    throw config_error{"the map takes neither --algorithms nor --weathers: it is of all of them"};
  }
  return w;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const w = wishes_in(std::span{argv, static_cast<std::size_t>(argc)}.subspan(1));
    if (w.what == "map") return map_headline(w) ? 0 : 1;
    auto const data = race_data(w.data);
    auto const holds = w.what == "r_fast"  ? r_fast_headline(w, data)
                       : w.what == "bytes" ? bytes_headline(w, data)
                                           : non_blocking_headline(w, data);
    return holds ? 0 : 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_headlines: %s\n", e.what());
    return 2;
  }
}
