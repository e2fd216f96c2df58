// SPDX-License-Identifier: MIT
// Which algorithm is first in which weather: every combination of stragglers, loss, latency, bandwidth and split of the
// data, on a small noisy problem, one algorithm a family, one seed.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <rubato/report/heat_map.hpp>
#include <rubato/report/numbers.hpp>

#include "support/plain_sgd.hpp"
#include "support/smaller.hpp"
#include "support/tuning.hpp"

namespace bench {

/// One of the map's 72 weathers.
struct cell {
  std::string stragglers, loss, latency, bandwidth, split;
  race_options options;
};

[[nodiscard]] inline auto cells() -> std::vector<cell> {
  std::vector<cell> all;
  for (auto const* stragglers : {"none", "one 4x", "random"}) {
    for (auto const* loss : {"0", "0.1", "0.3"}) {
      for (auto const* latency : {"1ms", "50ms"}) {
        for (auto const* bandwidth : {"10Mbit", "1Gbit"}) {
          for (auto const* split : {"iid", "by-label"}) {
            cell c{stragglers, loss, latency, bandwidth, split, default_options()};
            auto const tell = [&](std::string_view name, std::string_view value) {
              for (auto const& row : option_rows()) {
                if (row.name == name) row.set(c.options, {name, value});
              }
            };
            tell("--loss", loss), tell("--latency", latency), tell("--bandwidth", bandwidth), tell("--split", split);
            if (c.stragglers != "one 4x") tell("--slow", "none");
            if (c.stragglers == "random") tell("--compute", "random_slow:10ms,0.25,3,5");
            tell("--until", "30s"), tell("--measure-every", "200ms"), tell("--batch", "16");
            all.push_back(std::move(c));
          }
        }
      }
    }
  }
  return all;
}

/// 1.05 times the lowest loss that plain SGD reaches in 500 steps of 8 batches: as many samples as 8 nodes see in 5 s.
[[nodiscard]] inline auto map_target(problem::train_and_test const& data, race_options const& o) -> double {
  auto best = std::numeric_limits<double>::infinity();
  for (auto const step : {0.011, 0.022, 0.044, 0.088, 0.177}) {
    auto const loss = plain_sgd_loss(data, o.batch * 8, step, 1, 500);
    if (loss < best) best = loss;
  }
  return std::round(1.05 * best * 1e4) / 1e4;
}

/// How one algorithm did in one cell.
struct map_entry {
  std::string algorithm;
  trial with;
  finish best;
};

/// The competitors of the map and their networks; three steps each, an octave apart, around the one of race.
[[nodiscard]] inline auto map_competitors() -> std::vector<std::pair<competitor, std::vector<std::string>>> {
  return {{{"r_fast", "r_fast"}, {"star"}},
          {{"push_pull", "push_pull"}, {"star"}},
          {{"d_psgd", "d_psgd"}, {"exponential"}},
          {{"ad_psgd", "ad_psgd"}, {"complete"}},
          {{"osgp", "osgp"}, {"exponential"}},
          {{"ring_allreduce_sgd", "ring_allreduce_sgd", {}, false}, {""}},
          {{"byte_grad", "byte_grad", {}, false}, {""}},
          {{"non_blocking_allreduce", "non_blocking_allreduce", {}, false}, {""}},
          {{"m_synchronous_sgd", "m_synchronous_sgd", {}, false}, {""}},
          {{"rescaled_asgd", "rescaled_asgd", {}, false}, {""}}};
}

/// Runs one algorithm in one cell with each step, and keeps its best.
[[nodiscard]] inline auto run_in(cell const& c, std::pair<competitor, std::vector<std::string>> const& who,
                                 race_problem const& problem, double target) -> map_entry {
  map_entry entry{who.first.label, {}, {}};
  auto const own = algorithm_named(who.first.algorithm).step;
  for (auto const factor : {1.0, 2.0, 0.5}) {
    for (auto const& network : who.second) {
      auto o = c.options;
      o.target_loss = target;
      o.algorithms = {who.first.algorithm};
      o.settings = {{{}, "step", report::shortest(own * factor)}};
      if (!network.empty()) o.topology = network;
      o.threads = 1;
      auto const longest = entry.best.reached ? std::chrono::nanoseconds{std::llround(entry.best.seconds * 1e9)}
                                              : std::chrono::nanoseconds{o.until};
      auto const f = run_trial({planned(std::move(o))}, problem, longest);
      if (beats(f, entry.best)) entry.with = {own * factor, network}, entry.best = f;
    }
  }
  return entry;
}

/// Who is first in each of cells(), and how many times sooner than the second. `found`: by cell, the best first.
[[nodiscard]] inline auto picture_of(std::vector<std::vector<map_entry>> const& found, double target)
    -> report::heat_map {
  auto map = report::heat_map{.title = "Who is first to loss " + report::shortest(target) + ", in which weather",
                              .note = "A small softmax regression, 8 nodes, one algorithm a family, one seed"};
  map.rows = {{"stragglers", {"none", "one 4x", "random"}}, {"loss", {"0 %", "10 %", "30 %"}}};
  map.columns = {
      {"latency", {"1 ms", "50 ms"}}, {"bandwidth", {"10 Mbit/s", "1 Gbit/s"}}, {"split", {"iid", "by label"}}};
  for (auto const& entries : found) {
    auto const& first = entries.front().best;
    auto const second = entries.size() > 1 ? entries[1].best : finish{};
    auto const lead = second.reached ? second.seconds / first.seconds : std::numeric_limits<double>::infinity();
    map.cells.push_back(first.reached ? report::heat_cell{entries.front().algorithm, lead} : report::heat_cell{});
  }
  return map;
}

}  // namespace bench
