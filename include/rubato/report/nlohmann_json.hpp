// SPDX-License-Identifier: MIT
// Results as JSON by the library nlohmann_json. Only what the runs determine is written: no date, no wall-clock value.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <rubato/report/limit_weights.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/totals.hpp>
#include <rubato/run/result.hpp>

namespace rubato::report {
namespace detail {

/// JSON has neither NaN nor infinities.
inline auto number_or_null(double x) -> nlohmann::ordered_json {
  return std::isfinite(x) ? nlohmann::ordered_json(x) : nlohmann::ordered_json(nullptr);
}

inline auto json_of(node_report const& n) -> nlohmann::ordered_json {
  return {{"node", to_index(n.id)}, {"iterations", n.iterations}, {"gradients", n.gradients}, {"dropped", n.dropped}};
}

inline auto json_of(edge_report const& e) -> nlohmann::ordered_json {
  return {{"from", to_index(e.from)},
          {"to", to_index(e.to)},
          {"channel", std::string{name_of(e.channel)}},
          {"packets_sent", e.packets_sent},
          {"values_sent", e.values_sent},
          {"bytes_sent", e.bytes_sent},
          {"lost", e.lost},
          {"duplicated", e.duplicated},
          {"conflated", e.conflated},
          {"delivered", e.delivered},
          {"bytes_received", e.bytes_received},
          {"overtaken", e.overtaken},
          {"uses", e.age.uses},
          {"mean_age_s", number_or_null(mean_age(e.age))},
          {"largest_age_s", number_or_null(largest_age(e.age))}};
}

inline auto json_of(worker_weight const& w) -> nlohmann::ordered_json {
  return {{"gradients", number_or_null(w.gradients)},
          {"mean_delay", number_or_null(w.mean_delay)},
          {"mean_weight", number_or_null(w.mean_weight)},
          {"capped", number_or_null(w.capped)},
          {"limit", number_or_null(w.limit)}};
}

inline auto object_of(std::vector<std::pair<std::string, std::string>> const& options) -> nlohmann::ordered_json {
  auto all = nlohmann::ordered_json::object();
  for (auto const& [name, value] : options) all[name] = value;
  return all;
}

/// Only the channels that the run's edges have.
inline auto mean_ages_by_channel(run_totals const& sums) -> nlohmann::ordered_json {
  auto ages = nlohmann::ordered_json::object();
  for (auto c = std::size_t{0}; c < channel_count; ++c) {
    if (sums.edges_of_channel[c] == 0) continue;
    ages[std::string{name_of(static_cast<channel_id>(c))}] = number_or_null(mean_age(sums.age_of_channel[c]));
  }
  return ages;
}

template<class Report>
auto list_of(std::span<Report const> reports) -> nlohmann::ordered_json {
  auto list = nlohmann::ordered_json::array();
  for (auto const& r : reports) list.push_back(json_of(r));
  return list;
}

}  // namespace detail

/// One run. Times are in seconds on the run's clock; null stands for a missing number. If a server weighed gradients,
/// `limit_weights` has an entry for each worker, in the order of their ids; otherwise it is empty. `warnings` is
/// present only if there are any.
[[nodiscard]] inline auto json_of(run_result const& r) -> nlohmann::ordered_json {
  auto const sums = totals_of(r);
  auto const workers = measured_weights(r);
  auto all = nlohmann::ordered_json{
      {"algorithm", r.algorithm},
      {"network", r.network},
      {"step", detail::number_or_null(r.step)},
      {"raw_step", detail::number_or_null(r.raw_step)},
      {"gain", detail::number_or_null(r.gain)},
      {"options", detail::object_of(r.options)},
      {"stopped", std::string{name_of(r.stopped)}},
      {"ended_s", seconds_of(r.ended)},
      {"events", r.events},
      {"seconds_to_target", r.time_to_target ? nlohmann::ordered_json(seconds_of(*r.time_to_target)) : nullptr},
      {"final_loss", detail::number_or_null(final_loss(r))},
      {"test_accuracy", detail::number_or_null(final_accuracy(r))},
      {"gradients", sums.gradients},
      {"bytes_sent", sums.bytes_sent},
      {"packets_sent", sums.packets_sent},
      {"packets_lost", sums.packets_lost},
      {"mean_age_s", detail::number_or_null(mean_age(sums.age))},
      {"largest_age_s", detail::number_or_null(largest_age(sums.age))},
      {"mean_age_s_by_channel", detail::mean_ages_by_channel(sums)},
      {"limit_weights", detail::list_of(std::span<worker_weight const>{workers})},
      {"nodes", detail::list_of(std::span<node_report const>{r.nodes})},
      {"edges", detail::list_of(std::span<edge_report const>{r.edges})}};
  if (!r.warnings.empty()) all["warnings"] = r.warnings;
  return all;
}

/// An object with `options`, as given, and the list `results` in the given order.
[[nodiscard]] inline auto json_report(nlohmann::ordered_json options, std::span<run_result const> results)
    -> nlohmann::ordered_json {
  auto list = nlohmann::ordered_json::array();
  for (auto const& r : results) list.push_back(json_of(r));
  auto report = nlohmann::ordered_json::object();
  report["options"] = std::move(options);
  report["results"] = std::move(list);
  return report;
}

/// Indented, with a newline at the end. Bytes that are not UTF-8 (in a file's name) are replaced; they do not throw.
[[nodiscard]] inline auto json_text(nlohmann::ordered_json const& report) -> std::string {
  return report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace rubato::report
