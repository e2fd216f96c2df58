// SPDX-License-Identifier: MIT
// race's options as values, and the one table of their names, units, defaults and meanings.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/environment/scenario.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/plot_script.hpp>
#include <rubato/topology/builders.hpp>

#include "support/race_catalogue.hpp"
#include "support/race_defaults.hpp"
#include "support/race_text.hpp"

namespace rubato::examples {

enum class race_driver : std::uint8_t { sim, threads, processes };
constexpr auto name_of(race_driver d) -> char const* {
  return d == race_driver::sim ? "sim" : d == race_driver::threads ? "threads" : "processes";
}
enum class data_split : std::uint8_t { iid, by_label };

struct race_options {
  std::vector<std::string> algorithms;
  race_driver driver{};
  std::optional<std::size_t> nodes;  ///< unset: 8, or as many as the topology's file or form has
  bool members_come_and_go = false;  ///< of peer and cluster: then `nodes` is the largest number of them
  std::string topology;
  std::string problem_text = "softmax";
  std::optional<std::size_t> quadratic;  ///< dimension of quadratics, one a node, drawn from the seed; unset: softmax
  data_split split{};
  std::string data;
  std::size_t batch = 0;
  double l2 = 0;
  std::vector<setting> settings;  ///< of algorithms, as given
  std::size_t block_values = 0;  ///< the algorithms' default; not an option
  std::string compute_text;
  environment::compute_model compute{};
  std::optional<std::vector<std::pair<std::uint32_t, double>>> slow;  ///< unset: the last node, 4 times
  std::chrono::nanoseconds latency{};
  std::string bandwidth_text;
  double bits_per_second = 0;
  double loss = 0;
  std::chrono::nanoseconds until{};
  std::chrono::nanoseconds measure_every{};  ///< 0: a 240th of `until`, at least 100 ms
  double target_loss = 0;
  std::uint64_t seed = 0;
  unsigned threads = 1;
  std::string out;
  report::plot_by picture_by{};
  std::string record;  ///< folder for recordings; empty: none
  bool quiet = false;
  std::string live;  ///< a port of loopback, or auto: a page shows the run there; empty: none
  std::vector<std::string> arguments;  ///< names and values as given, so that a replay can read them again
};

enum class repeatable : std::uint8_t { no, yes };

/// Which programs use an option; race for either driver, by the name of the driver.
enum heeder : unsigned { by_sim = 1, by_threads = 2, by_cluster = 4, by_peer = 8 };
inline constexpr unsigned by_race = by_sim | by_threads, by_all = by_race | by_cluster | by_peer;

/// One option: its name, the placeholder for its value in --help, its default as text (empty: none), and its meaning.
struct option_row {
  char const* name;
  char const* value;
  std::string initial;
  std::string help;
  void (*set)(race_options&, given);
  repeatable repeats = repeatable::no;
  unsigned heeded = by_all;
  bool of_data = false;  ///< about samples, which quadratics do not have
};

/// In words; requires a row that some program uses.
[[nodiscard]] inline auto heeders_of(option_row const& row) -> std::string {
  std::string text = (row.heeded & by_race) == by_race ? "race" : (row.heeded & by_sim) != 0 ? "race --driver sim" : "";
  if ((row.heeded & by_cluster) != 0) text += text.empty() ? "cluster" : " and cluster";
  return text;
}

namespace detail {

inline void set_algorithms(race_options& o, given g) {
  o.algorithms = list_in(g.text);
  for (std::size_t i = 0; i < o.algorithms.size(); ++i) {
    if (o.algorithms[i].empty()) refuse(g, "names with a comma between them");
    for (std::size_t j = 0; j < i; ++j) {
      if (o.algorithms[i] == o.algorithms[j]) {
        throw config_error{"--algorithms names " + o.algorithms[i] + " twice; name each algorithm once"};
      }
    }
  }
}

inline void set_problem(race_options& o, given g) {
  o.problem_text = g.text;
  o.quadratic.reset();
  if (g.text == "softmax") return;
  constexpr auto right =
      std::string_view{"softmax, or quadratic:DIMENSION with a dimension from 1 up (as quadratic:100)"};
  constexpr auto prefix = std::string_view{"quadratic:"};
  if (!g.text.starts_with(prefix)) refuse(g, right);
  try {
    o.quadratic = count_in({g.option, g.text.substr(prefix.size())}, 1, right);
  } catch (config_error const&) {
    refuse(g, right);  // names all that was given
  }
}

inline void set_driver(race_options& o, given g) {
  if (g.text != "sim" && g.text != "threads") refuse(g, "sim or threads");
  o.driver = g.text == "sim" ? race_driver::sim : race_driver::threads;
}

inline void set_split(race_options& o, given g) {
  if (g.text != "iid" && g.text != "by-label") refuse(g, "iid or by-label");
  o.split = g.text == "iid" ? data_split::iid : data_split::by_label;
}

inline void set_picture_by(race_options& o, given g) {
  if (g.text == "time") o.picture_by = report::plot_by::time;
  else if (g.text == "gradients") o.picture_by = report::plot_by::gradients;
  else if (g.text == "bytes") o.picture_by = report::plot_by::bytes;
  else refuse(g, "time, gradients or bytes");
}

inline void set_setting(race_options& o, given g) { o.settings.push_back(setting_in(g)); }

inline void set_step(race_options& o, given g) {
  static_cast<void>(step_in(g));
  o.settings.push_back({{}, "step", std::string{g.text}});
}

inline void set_slow(race_options& o, given g) {
  if (!o.slow) o.slow.emplace();
  if (g.text != "none") o.slow->push_back(slow_in(g, "NODE:FACTOR with a factor above 0 (as 7:4), or none"));
}

inline void set_loss(race_options& o, given g) {
  constexpr auto right = std::string_view{"a probability from 0 (included) to 1 (excluded)"};
  o.loss = number_in(g, 0, right);
  if (o.loss >= 1) refuse(g, right);
}

inline void set_until(race_options& o, given g) {
  o.until = duration_in(g, longest_run);
  if (o.until.count() == 0) refuse(g, "a time above 0");
}

}  // namespace detail

/// Rows in the order of --help. A row's default, if any, is given to `set` in the same way as a user's value.
[[nodiscard]] inline auto option_rows() -> std::vector<option_row> {
  using o = race_options;
  constexpr auto positive = "a whole number from 1 up";
  return {
      {"--algorithms", "A,B,C", "r_fast,ring_allreduce_sgd,m_synchronous_sgd,d_psgd",
       "what races: " + algorithm_names(), detail::set_algorithms},
      {"--driver", "sim|threads", "sim", "simulator in virtual time, or one thread per node in real time",
       detail::set_driver, repeatable::no, by_race},
      {"--nodes", "N", "", "nodes that compute gradients (default: 8, or what the topology's file or form says)",
       [](o& x, given g) { x.nodes = count_in(g, 1, "a whole number from 1 up"); }},
      {"--topology", "NAME", std::string{best_networks},
       "best: each algorithm on the network where it was first in bench/headlines; or one for all: " + known_networks(),
       [](o& x, given g) { x.topology = g.text; }},
      {"--problem", "NAME", "softmax", "softmax (on --data), or quadratic:DIMENSION, whose optimum is known",
       detail::set_problem},
      {"--split", "iid|by-label", "by-label", "which samples a node holds: random ones, or those of few labels",
       detail::set_split, repeatable::no, by_all, true},
      {"--data", "DIR", "/usr/share/datasets/fashion-mnist", "folder with the four IDX files, plain or gzipped",
       [](o& x, given g) { x.data = folder_in(g); }, repeatable::no, by_all, true},
      {"--batch", "B", "32", "samples of one gradient", [](o& x, given g) { x.batch = count_in(g, 1, positive); },
       repeatable::no, by_all, true},
      {"--l2", "L", "0", "factor of the regularisation 1/2 |W|^2",
       [](o& x, given g) { x.l2 = number_in(g, 0, "a number of 0 or more"); }, repeatable::no, by_all, true},
      {"--step", "S", "", "the same as --set step=S (default: the best step of each algorithm in bench/sweep_steps.md)",
       detail::set_step},
      {"--set", "NAME=VALUE", "",
       "sets an option of all algorithms that have it, or of one as ALGORITHM.NAME=VALUE; may be given several times; "
       "--help ALGORITHM lists them",
       detail::set_setting, repeatable::yes},
      {"--compute", "MODEL", "lognormal:10ms,0.2", "time of one gradient: " + compute_names(),
       [](o& x, given g) { x.compute_text = g.text, x.compute = compute_in(g); }},
      {"--slow", "NODE:FACTOR", "",
       "a node whose gradients take FACTOR times as long, or none; may be given several times (default: the last node, "
       "4 times; with 8 nodes this is 7:4)",
       detail::set_slow, repeatable::yes},
      {"--latency", "T", "1ms", "latency of every link (ns, us, ms, s)",
       [](o& x, given g) { x.latency = duration_in(g); }, repeatable::no, by_race},
      {"--bandwidth", "R", "1Gbit", "bandwidth of every link in bit, kbit, Mbit or Gbit per second, or unlimited",
       [](o& x, given g) { x.bandwidth_text = g.text, x.bits_per_second = rate_in(g); }, repeatable::no, by_race},
      {"--loss", "P", "0.1",
       "probability from 0 to below 1 that a packet is lost; if an algorithm needs every packet it is sent again",
       detail::set_loss, repeatable::no, by_race},
      {"--until", "T", "60s", "time that each algorithm runs, on the driver's clock (ns, us, ms, s, min)",
       detail::set_until},
      {"--measure-every", "T", "0",
       "time between two measurements of loss and accuracy; 0: a 240th of --until, at least 100ms; each takes as long "
       "as some thousand gradients",
       [](o& x, given g) { x.measure_every = duration_in(g); }},
      {"--target-loss", "L", report::shortest(default_target_loss), "training loss for the time to target",
       [](o& x, given g) { x.target_loss = number_in(g, -1e300, "a number"); }, repeatable::no, by_race | by_cluster,
       true},
      {"--seed", "S", "1", "seed of the split, the mini-batches and the scenario",
       [](o& x, given g) { x.seed = count_in(g, 0, "a whole number from 0 up"); }},
      {"--threads", "K", "2", "threads that compute the simulator's gradients; results do not depend on it",
       [](o& x, given g) {
         auto const right = std::string_view{"a whole number from 1 to 256"};
         if (count_in(g, 1, right) > 256) refuse(g, right);
         x.threads = static_cast<unsigned>(count_in(g, 1, right));
       },
       repeatable::no, by_sim},
      {"--out", "DIR", ".", "folder for race.csv, race.json, race.weights.csv and race.svg; created if missing",
       [](o& x, given g) { x.out = folder_in(g); }, repeatable::no, by_race | by_cluster},
      {"--picture-by", "time|gradients|bytes", "time",
       "what race.svg compares the algorithms by: time, or the gradients or bytes of all nodes", detail::set_picture_by,
       repeatable::no, by_race | by_cluster},
      {"--record", "DIR", "",
       "folder for recordings of all input of every node (ALGORITHM.node-K.log), at most 1 GiB each; replay repeats "
       "them",
       [](o& x, given g) { x.record = folder_in(g); }},
      {"--live", "PORT|auto", "",
       "show each run in a browser while it goes on, at this port of loopback; auto: at one that is free",
       [](o& x, given g) { x.live = page_port_in(g); }, repeatable::no, by_race},
  };
}

/// Whether the command line contains it.
[[nodiscard]] inline auto was_given(race_options const& options, std::string_view name) -> bool {
  for (std::size_t i = 0; i < options.arguments.size(); i += 2) {
    if (options.arguments[i] == name) return true;
  }
  return false;
}

/// Throws config_error for an option about samples that was given for a problem that has none.
inline void refuse_without_samples(race_options const& o) {
  for (auto const& row : option_rows()) {
    if (!o.quadratic || !row.of_data || !was_given(o, row.name)) continue;
    throw config_error{std::string{row.name} + " has no effect on --problem " + o.problem_text +
                       ", which has no samples"};
  }
}

/// All defaults.
[[nodiscard]] inline auto default_options() -> race_options {
  race_options options;
  for (auto const& row : option_rows()) {
    if (!row.initial.empty()) row.set(options, {row.name, row.initial});
  }
  return options;
}

}  // namespace rubato::examples
