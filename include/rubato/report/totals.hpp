// SPDX-License-Identifier: MIT
// Totals of a run over its nodes, edges and channels; tables and JSON both use them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/core/statistics.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/run/result.hpp>

namespace rubato::report {

/// Sums over all nodes and all edges.
struct run_totals {
  std::uint64_t gradients = 0;  ///< computed up to the last measurement; if there is none, used by the nodes
  std::uint64_t packets_sent = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t packets_lost = 0;
  age_counter age;                                          ///< over all uses of received values
  std::array<age_counter, channel_count> age_of_channel{};  ///< the same, by channel
  std::array<std::uint64_t, channel_count> edges_of_channel{};
};

/// Which ends of edges have counted: each counts for itself, and results of nodes may be missing (gaps::left_out).
class counting_ends {
 public:
  explicit counting_ends(run_result const& r) {
    for (auto const& n : r.nodes) all_.push_back(n.id);
    std::sort(all_.begin(), all_.end());
  }
  [[nodiscard]] auto has(node_id id) const -> bool { return std::binary_search(all_.begin(), all_.end(), id); }

 private:
  std::vector<node_id> all_;
};

/// The sum of two counters.
[[nodiscard]] inline auto joined(age_counter const& a, age_counter const& b) -> age_counter {
  return {a.uses + b.uses, a.total_ns + b.total_ns, (std::max)(a.largest, b.largest)};
}

[[nodiscard]] inline auto totals_of(run_result const& r) -> run_totals {
  auto sums = run_totals{};
  for (auto const& n : r.nodes) sums.gradients += n.gradients;
  if (!r.history.empty()) sums.gradients = r.history.back().gradients;
  for (auto const& e : r.edges) {
    auto const channel = static_cast<std::size_t>(e.channel);
    sums.packets_sent += e.packets_sent;
    sums.bytes_sent += e.bytes_sent;
    sums.packets_lost += e.lost;
    sums.age = joined(sums.age, e.age);
    sums.age_of_channel[channel] = joined(sums.age_of_channel[channel], e.age);
    ++sums.edges_of_channel[channel];
  }
  return sums;
}

/// NaN if the run was never measured, or its problem has no such measure.
[[nodiscard]] inline auto final_loss(run_result const& r) -> double {
  return r.history.empty() ? std::numeric_limits<double>::quiet_NaN() : r.history.back().loss;
}

[[nodiscard]] inline auto final_accuracy(run_result const& r) -> double {
  return r.history.empty() ? std::numeric_limits<double>::quiet_NaN() : r.history.back().accuracy;
}

/// Seconds; NaN if nothing was used, since that is not an age of zero.
[[nodiscard]] inline auto mean_age(age_counter const& age) -> double {
  return age.uses == 0 ? std::numeric_limits<double>::quiet_NaN() : age.mean_seconds();
}

/// Seconds; NaN if nothing was used.
[[nodiscard]] inline auto largest_age(age_counter const& age) -> double {
  return age.uses == 0 ? std::numeric_limits<double>::quiet_NaN() : seconds_of(age.largest);
}

}  // namespace rubato::report
