// SPDX-License-Identifier: MIT
// Tables for a person: the race of several runs, and the counters of one run (nodes, edges). "-" stands for no value.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <rubato/report/numbers.hpp>
#include <rubato/report/table.hpp>
#include <rubato/report/totals.hpp>
#include <rubato/run/result.hpp>

namespace rubato::report {
namespace detail {

inline auto megabytes(std::uint64_t bytes) -> std::string { return fixed(static_cast<double>(bytes) / 1e6, 2); }
inline auto milliseconds(double seconds) -> std::string { return fixed(1e3 * seconds, 2); }
inline auto percent(double part, double whole) -> std::string {
  return fixed(whole > 0 ? 100 * part / whole : std::numeric_limits<double>::quiet_NaN(), 1);
}

/// The cost of a run: the last columns of every table of runs.
inline auto with_cost(std::vector<column> columns) -> std::vector<column> {
  for (auto const* const title : {"gradients", "MB sent", "packets lost", "mean age ms", "largest age ms"}) {
    columns.push_back({title});
  }
  return columns;
}
inline auto with_cost(std::vector<std::string> cells, run_result const& r) -> std::vector<std::string> {
  auto const sums = totals_of(r);
  cells.insert(cells.end(),
               {std::to_string(sums.gradients), megabytes(sums.bytes_sent), std::to_string(sums.packets_lost),
                milliseconds(mean_age(sums.age)), milliseconds(largest_age(sums.age))});
  return cells;
}

}  // namespace detail

/// One line a run, in the given order. `target` is the loss that the times belong to; if it is infinite, the runs had
/// no target.
[[nodiscard]] inline auto summary_table(std::span<run_result const> results, double target) -> std::string {
  auto const goal = std::isfinite(target) ? "s to loss " + readable(target) : std::string{"s to target"};
  auto table = text_table{detail::with_cost({{"algorithm", side::left}, {goal}, {"final loss"}, {"accuracy"}})};
  for (auto const& r : results) {
    table.add_row(detail::with_cost({r.algorithm, r.time_to_target ? fixed(seconds_of(*r.time_to_target), 2) : "-",
                                     readable(final_loss(r)), fixed(final_accuracy(r), 4)},
                                    r));
  }
  return table.text();
}

/// The same for problems whose optimum is known: `distances`, one for each run, replace loss and accuracy. Requires
/// distances.size() == results.size().
[[nodiscard]] inline auto distance_table(std::span<run_result const> results, std::span<double const> distances)
    -> std::string {
  RUBATO_EXPECTS(results.size() == distances.size(), "there is one distance a run");
  auto table = text_table{detail::with_cost({{"algorithm", side::left}, {"from the optimum"}})};
  for (std::size_t i = 0; i < results.size(); ++i) {
    table.add_row(detail::with_cost({results[i].algorithm, readable(distances[i])}, results[i]));
  }
  return table.text();
}

/// One line a node: what it did, and at what rate on the run's clock. Iterations include those before it went on from a
/// checkpoint; the rest counts from then on.
[[nodiscard]] inline auto node_table(run_result const& r) -> std::string {
  auto table = text_table{{{"node"}, {"iterations"}, {"before"}, {"per second"}, {"gradients"}, {"dropped"}}};
  auto const seconds = seconds_of(r.ended);
  for (auto const& n : r.nodes) {
    auto const rate = seconds > 0 ? static_cast<double>(n.iterations - n.iterations_before) / seconds : std::nan("");
    table.add_row({std::to_string(to_index(n.id)), std::to_string(n.iterations), std::to_string(n.iterations_before),
                   fixed(rate, 1), std::to_string(n.gradients), std::to_string(n.dropped)});
  }
  return table.text();
}

/// A sentence to follow a table, where some of the runs went on from a checkpoint; else nothing.
[[nodiscard]] inline auto counted_since(std::span<run_result const> results) -> std::string {
  for (auto const& r : results) {
    for (auto const& n : r.nodes) {
      if (n.iterations_before > 0)
        return "Times, gradients and bytes count from the checkpoint from which a run went on.\n";
    }
  }
  return {};
}

/// One line a directed edge and channel; "-" for what a node counts whose result is missing. Goodput counts
/// received bodies, where nodes are processes.
[[nodiscard]] inline auto edge_table(run_result const& r) -> std::string {
  auto table = text_table{{{"edge", side::left},
                           {"channel", side::left},
                           {"packets"},
                           {"values"},
                           {"MB"},
                           {"lost"},
                           {"lost %"},
                           {"duplicated"},
                           {"conflated"},
                           {"delivered"},
                           {"overtaken"},
                           {"goodput MB/s"},
                           {"mean age ms"},
                           {"largest age ms"}}};
  auto const seconds = seconds_of(r.ended);
  auto const ends = counting_ends{r};
  for (auto const& e : r.edges) {
    auto const goodput = e.bytes_received == 0 || seconds == 0
                             ? std::string{"-"}
                             : fixed(1e-6 * static_cast<double>(e.bytes_received) / seconds, 2);
    auto const sent = ends.has(e.from), received = ends.has(e.to);
    auto const counted = [](bool known, std::uint64_t n) { return known ? std::to_string(n) : std::string{"-"}; };
    auto const lost = sent ? static_cast<double>(e.lost) : std::numeric_limits<double>::quiet_NaN();
    table.add_row({std::to_string(to_index(e.from)) + " -> " + std::to_string(to_index(e.to)),
                   std::string{name_of(e.channel)}, counted(sent, e.packets_sent), counted(sent, e.values_sent),
                   sent ? detail::megabytes(e.bytes_sent) : "-", counted(sent, e.lost),
                   detail::percent(lost, static_cast<double>(e.packets_sent)), counted(sent && received, e.duplicated),
                   counted(sent && received, e.conflated), counted(received, e.delivered),
                   counted(received, e.overtaken), goodput, detail::milliseconds(mean_age(e.age)),
                   detail::milliseconds(largest_age(e.age))});
  }
  return table.text();
}

}  // namespace rubato::report
