// SPDX-License-Identifier: MIT
// What an asynchronous server method really minimises: sum p_i F_i with p_i in proportion to (gradients a second of
// worker i) x (mean weight of its steps). Only if every p_i is 1/n is that the mean of all; this page says so in words.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/table.hpp>
#include <rubato/run/result.hpp>

namespace rubato::report {

/// One worker's part in the limit. What was not counted is NaN.
struct worker_weight {
  double gradients = std::numeric_limits<double>::quiet_NaN();  ///< that entered steps
  double mean_delay = std::numeric_limits<double>::quiet_NaN();  ///< in versions of the model
  double mean_weight = 1;  ///< factor on the step
  double capped = 0;  ///< of the weight that its gradients had, the share that a cap kept back
  double limit = 0;  ///< p_i; all together 1
};

namespace detail {

/// Makes the limits sum to 1.
inline auto normalised(std::vector<worker_weight> workers) -> std::vector<worker_weight> {
  double sum = 0;
  for (auto const& w : workers) sum += w.limit;
  for (auto& w : workers) w.limit = sum > 0 ? w.limit / sum : std::numeric_limits<double>::quiet_NaN();
  return workers;
}

}  // namespace detail

/// Before a run: p_i in proportion to mean_weights[i] / seconds[i], for workers that take `seconds` a gradient and
/// steps whose weights do not depend on delays. Requires seconds.size() == mean_weights.size().
[[nodiscard]] inline auto predicted_weights(std::span<double const> seconds, std::span<double const> mean_weights)
    -> std::vector<worker_weight> {
  RUBATO_EXPECTS(seconds.size() == mean_weights.size(), "there is one time and one mean weight a worker");
  std::vector<worker_weight> workers(seconds.size());
  for (std::size_t i = 0; i < workers.size(); ++i) {
    workers[i].mean_weight = mean_weights[i];
    workers[i].limit = mean_weights[i] / seconds[i];
  }
  return detail::normalised(std::move(workers));
}

/// After a run: from what its server counted, whatever the weights depend on. Empty if no server weighed anything.
[[nodiscard]] inline auto measured_weights(run_result const& r) -> std::vector<worker_weight> {
  if (r.nodes.size() < 2) return {};
  auto const server = r.nodes.size() - 1;  // or the last of several, to all of which workers send
  auto first = server;
  for (auto const& e : r.edges)
    if (e.channel == channel_id::gradient) first = (std::min)(first, to_index(e.to));
  std::vector<worker_weight> workers(first);
  auto weighed = false;
  for (auto const& e : r.edges) {
    if (e.channel != channel_id::gradient || to_index(e.to) != server || to_index(e.from) >= first) continue;
    auto const& w = e.weights;
    auto const asked = w.total + w.capped;
    weighed = weighed || w.uses > 0;
    workers[to_index(e.from)] = {static_cast<double>(w.uses), w.mean_delay(), w.mean_weight(),
                                 asked > 0 ? w.capped / asked : 0.0, w.total};
  }
  return weighed ? detail::normalised(std::move(workers)) : std::vector<worker_weight>{};
}

/// The largest deviation of a worker from 1/n, in parts of 1/n; 0 for no workers.
[[nodiscard]] inline auto largest_bias(std::span<worker_weight const> workers) -> double {
  double largest = 0;
  for (auto const& w : workers) {
    auto const off = std::abs(w.limit * static_cast<double>(workers.size()) - 1);
    largest = off <= largest ? largest : off;  // NaN counts
  }
  return largest;
}

/// A worker is biased if it counts more than this part of 1/n too much or too little.
inline constexpr double tolerated_bias = 0.05;

/// One line a worker, p_i beside 1/n, and a sentence that warns or does not.
[[nodiscard]] inline auto limit_weight_text(std::span<worker_weight const> workers) -> std::string {
  if (workers.empty()) return "No server weighed gradients in this run.\n";
  auto table = text_table{
      {{"worker"}, {"gradients"}, {"mean delay"}, {"mean weight"}, {"capped %"}, {"p in the limit"}, {"1/n"}}};
  auto const wanted = 1 / static_cast<double>(workers.size());
  std::size_t off = 0;
  for (std::size_t i = 0; i < workers.size(); ++i) {
    auto const& w = workers[i];
    table.add_row({std::to_string(i), fixed(w.gradients, 0), fixed(w.mean_delay, 2), readable(w.mean_weight),
                   fixed(100 * w.capped, 1), fixed(w.limit, 4), fixed(wanted, 4)});
    if (!(std::abs(w.limit / wanted - 1) <= tolerated_bias)) ++off;
  }
  auto const tolerated = fixed(100 * tolerated_bias, 0) + " % ";
  if (off == 0)
    return table.text() + "Every worker counts within " + tolerated + "of 1/n: the limit is the optimum of the mean.\n";
  return table.text() + "WARNING: " + std::to_string(off) + " of " + std::to_string(workers.size()) +
         " workers count more than " + tolerated + "too much or too little, up to " +
         fixed(100 * largest_bias(workers), 0) +
         " %: where data differ from worker to worker this run minimises sum p_i F_i and not their mean.\n";
}

}  // namespace rubato::report
