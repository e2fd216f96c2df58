// SPDX-License-Identifier: MIT
// What race prints and writes: a paragraph before, a table after, and files that appear complete or not at all.
#pragma once

#include <array>
#include <exception>
#include <filesystem>
#include <limits>
#include <span>
#include <string>

#include <rubato/report.hpp>
#include <rubato/report/nlohmann_json.hpp>

#include "support/race_run.hpp"
#include "support/say.hpp"

namespace rubato::examples {

namespace detail {

inline auto duration_text(std::chrono::nanoseconds d) -> std::string {
  auto const ns = static_cast<double>(d.count());
  if (ns == 0) return "0 s";
  if (d.count() % 1'000'000'000 == 0) return std::to_string(d.count() / 1'000'000'000) + " s";
  if (ns < 1e3) return report::shortest(ns) + " ns";
  if (ns < 1e6) return report::shortest(ns / 1e3) + " us";
  if (ns < 1e9) return report::shortest(ns / 1e6) + " ms";
  return report::shortest(ns / 1e9) + " s";
}

/// A remark if the batch is larger than a node's share of the samples.
inline auto batch_text(race_plan const& plan, problem::train_and_test const& data) -> std::string {
  auto const share = data.train.samples() / *plan.options.nodes;
  return plan.options.batch <= share
             ? ""
             : " (more than the " + std::to_string(share) + " samples of a node: some are drawn twice)";
}

inline auto data_text(race_plan const& plan, problem::train_and_test const& data) -> std::string {
  auto const& o = plan.options;
  return "Softmax regression on " + o.data + " (" + std::to_string(data.train.samples()) + " training and " +
         std::to_string(data.test.samples()) + " test samples, " + std::to_string(data.train.width()) +
         " features, standardised), split " + (o.split == data_split::iid ? "at random" : "by label") + " over " +
         std::to_string(*o.nodes) + " nodes, batch " + std::to_string(o.batch) + batch_text(plan, data) + ", l2 " +
         report::shortest(o.l2);
}

inline auto quadratics_text(race_options const& o) -> std::string {
  return "Quadratics of " + std::to_string(*o.quadratic) + " values, another one at each of " +
         std::to_string(*o.nodes) + " nodes; the optimum of their sum is known";
}

inline auto slow_text(race_options const& o) -> std::string {
  if (o.slow->empty()) return "no node is slower than the others";
  std::string text;
  for (auto const& [node, factor] : *o.slow) {
    text += (text.empty() ? "node " : ", node ") + std::to_string(node) + " takes " + report::shortest(factor) +
            " times as long";
  }
  return text;
}

inline auto links_text(race_options const& o) -> std::string {
  return "links with latency " + duration_text(o.latency) + ", " + o.bandwidth_text +
         (o.bits_per_second > 0 ? "/s" : "") + " and " + report::shortest(100 * o.loss) + " % loss";
}

inline auto steps_text(race_plan const& plan) -> std::string {
  std::string text;
  for (auto const& a : plan.algorithms) {
    text += (text.empty() ? "" : ", ") + a.told.name + " " + report::shortest(a.step);
  }
  return text;
}

}  // namespace detail

/// One paragraph: the problem, the network, the driver and the duration. `data`: null if the problem has none.
[[nodiscard]] inline auto scenario_text(race_plan const& plan, problem::train_and_test const* data) -> std::string {
  auto const& o = plan.options;
  auto const simulated = o.driver == race_driver::sim;
  return (data != nullptr ? detail::data_text(plan, *data) : detail::quadratics_text(o)) +
         ". Network: " + network_text(plan) + "; " + detail::links_text(o) + ". A gradient takes " + o.compute_text +
         "; " + detail::slow_text(o) + ". " + (simulated ? "Simulated" : "One thread a node, in real time") + ", " +
         detail::duration_text(o.until) + (simulated ? " of virtual time" : "") + " an algorithm, seed " +
         std::to_string(o.seed) + (o.quadratic ? "" : ", target loss " + report::shortest(o.target_loss)) +
         ". Steps: " + detail::steps_text(plan) + ".\n";
}

/// The options used by the run, with units in the names; the steps by algorithm.
[[nodiscard]] inline auto json_of(race_plan const& plan) -> nlohmann::ordered_json {
  auto const& o = plan.options;
  auto steps = nlohmann::ordered_json::object();
  for (auto const& a : plan.algorithms) steps[a.told.name] = a.step;
  auto set = nlohmann::ordered_json::array();
  for (auto const& s : o.settings) set.push_back(s.written());
  auto slow = nlohmann::ordered_json::array();
  for (auto const& [node, factor] : *o.slow) slow.push_back({{"node", node}, {"factor", factor}});
  nlohmann::ordered_json json{{"algorithms", o.algorithms},
                              {"driver", name_of(o.driver)},
                              {"nodes", *o.nodes},
                              {"topology", o.topology},
                              {"problem", o.problem_text}};
  if (o.problem_text == "softmax") {
    json.update({{"split", o.split == data_split::iid ? "iid" : "by-label"},
                 {"data", o.data},
                 {"batch", o.batch},
                 {"l2", o.l2},
                 {"target_loss", o.target_loss}});
  }
  json.update(
      {{"steps", std::move(steps)}, {"set", std::move(set)}, {"compute", o.compute_text}, {"slow", std::move(slow)}});
  if (o.driver != race_driver::processes) {
    json.update({{"latency_s", report::seconds_of(o.latency)}, {"bandwidth", o.bandwidth_text}, {"loss", o.loss}});
  }
  json.update({{"until_s", report::seconds_of(o.until)},
               {"measure_every_s", report::seconds_of(o.measure_every)},
               {"seed", o.seed}});
  if (o.driver == race_driver::sim) json["threads"] = o.threads;
  return json;
}

inline constexpr std::array result_files{"race.csv", "race.json", "race.weights.csv", "race.svg"};

/// Additions of one program to race.json and the picture.
struct more_to_say {
  nlohmann::ordered_json options = nlohmann::ordered_json::object();
  std::span<double const> from_optimum{};  ///< by result, if known; otherwise empty
  double lowest_loss = std::numeric_limits<double>::quiet_NaN();  ///< that of the optimum, if known
};

namespace detail {

/// The last part of a folder's path.
inline auto name_of_folder(std::string const& folder) -> std::string {
  auto const path = std::filesystem::absolute(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

inline auto picture_title(race_options const& o, std::string const& network) -> std::string {
  auto const softmax = o.problem_text == "softmax";
  auto const data = softmax ? "Softmax regression on " + name_of_folder(o.data) + ", split " +
                                  (o.split == data_split::iid ? "at random" : "by label")
                            : o.problem_text;
  return data + ", " + std::to_string(*o.nodes) + " nodes, " + network;
}

/// The weather.
inline auto picture_note(race_options const& o) -> std::string {
  auto const real = o.driver == race_driver::processes;
  return (real ? std::string{} : links_text(o) + "; ") + "a gradient takes " + o.compute_text + "; " + slow_text(o) +
         "; " +
         (real                               ? "one process a node, in real time"
          : o.driver == race_driver::threads ? "one thread a node, in real time"
                                             : "simulated") +
         ", seed " + std::to_string(o.seed);
}

inline auto picture_of(race_plan const& plan, more_to_say const& more) -> report::plot_options {
  auto const& o = plan.options;
  auto look = report::plot_options{};
  look.target_loss = o.target_loss;
  look.optimum = more.lowest_loss;
  look.by = o.picture_by;
  if (o.driver == race_driver::sim) look.clock = "virtual time";
  look.title =
      picture_title(o, has_one_network(plan) ? plan.networks.front().graphs.name() : "each on its best network");
  look.note = picture_note(o);
  return look;
}

}  // namespace detail

/// What to say of all results: losses, or on quadratics how far models are from the optimum.
[[nodiscard]] inline auto result_table(race_options const& o, race_outcome const& all) -> std::string {
  auto const since = report::counted_since(all.results);
  if (!o.quadratic) return report::summary_table(all.results, o.target_loss) + since;
  return report::distance_table(all.results, all.away) +
         "No value of any node's model is farther from the optimum than is said there.\n" + since;
}

/// What race.json and the picture of quadratics hold beside what they always do.
[[nodiscard]] inline auto more_of(race_options const& o, race_outcome const& all) -> more_to_say {
  auto more = more_to_say{};
  more.from_optimum = all.away;
  if (o.quadratic) more.lowest_loss = quadratic_of(*o.quadratic, o).minimum();
  return more;
}

/// On standard error.
inline void tell_warnings(char const* program, std::string const& algorithm, std::vector<std::string> const& warnings) {
  for (auto const& sentence : warnings)
    std::fprintf(stderr, "%s: %s: %s\n", program, algorithm.c_str(), sentence.c_str());
}
inline void tell_warnings(char const* program, std::span<run_result const> results) {
  for (auto const& r : results) tell_warnings(program, r.algorithm, r.warnings);
}

/// Writes race.csv, race.json and race.weights.csv, all or none, and race.svg if gnuplot can draw it. Returns the
/// sentence that says so.
[[nodiscard]] inline auto write_results(race_plan const& plan, std::span<run_result const> results,
                                        more_to_say const& more = {}) -> std::string {
  auto const folder = std::filesystem::path{plan.options.out};
  atomic_file csv{folder / "race.csv"};
  atomic_file json{folder / "race.json"};
  atomic_file weights{folder / "race.weights.csv"};
  csv.write(report::history_csv(results));
  auto whole = report::json_report(json_of(plan), results);
  whole["options"].update(more.options);
  for (std::size_t i = 0; i < more.from_optimum.size(); ++i) whole["results"][i]["from_optimum"] = more.from_optimum[i];
  json.write(report::json_text(whole));
  weights.write(report::limit_weights_csv(results));
  for (auto* const file : {&csv, &json, &weights}) file->flush();
  for (auto* const file : {&csv, &json, &weights}) file->commit();
  auto const written = "Wrote " + (folder / "race.csv").string() + ", " + (folder / "race.json").string() + ", " +
                       (folder / "race.weights.csv").string();
  auto const plot = report::write_plot(folder / "race.svg", results, detail::picture_of(plan, more));
  if (plot.status == report::plot_status::drawn) return written + " and " + (folder / "race.svg").string() + ".\n";
  return written + "; no race.svg: " + plot.sentence + ". A plot can be made from " + (folder / "race.csv").string() +
         " (columns algorithm, time_s, loss, accuracy).\n";
}

/// Files first, because the reader of the output may be gone: prints `words`, and then what `write` returns. If the
/// runs ended early, writes nothing, so that files of an earlier run are kept, and throws the cause; otherwise throws
/// if files or recordings could not be written.
template<class Write>
void tell(race_outcome const& all, std::string const& words, Write const& write) {
  auto failed = all.failed;
  auto written = std::string{};
  try {
    if (!failed) written = write();
  } catch (run_error const&) {
    failed = std::current_exception();
  }
  say(words);
  if (failed) std::rethrow_exception(failed);
  say(written);
  if (!all.unwritten.empty()) throw run_error{all.unwritten};
}

}  // namespace rubato::examples
