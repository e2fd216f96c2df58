// SPDX-License-Identifier: MIT
// Runs of server methods in virtual time without links, where workers take fixed times, and what there was to see.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <rubato/algorithm/options.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

namespace rubato::test {

/// Four workers on a line: the optimum of the mean is 68/13, of the mean by frequency 2.1.
inline auto four_workers() -> problem::quadratic { return {{{1}, {2}, {0.5}, {3}}, {{0}, {1}, {4}, {10}}}; }
inline auto four_times() -> std::vector<double> { return {1, 2, 4, 8}; }

inline auto uneven() -> std::vector<double> { return {3, 1, 2.5, 1, 7}; }
inline auto problem_of_five() -> problem::quadratic { return problem::quadratic::random(5, 3, 9); }

/// Options with gamma itself as the step.
template<class Node>
auto with_step(double gamma) -> typename Node::options {
  typename Node::options o;
  o.step = gamma;
  o.scale = step_scale::raw;
  return o;
}

/// A list of jobs: the next to end, of equal ones the first by id, is handed to `take`, which may move x.
struct plain_loop {
  struct job {
    double ends;
    std::vector<double> at;
    std::uint64_t version;
  };
  problem::quadratic p;
  std::vector<double> times;
  bool stops = false;  // all jobs begin anew after each step
  std::vector<job> jobs{};
  std::vector<double> x = std::vector<double>(p.dimension(), 0.0);
  std::uint64_t version = 0;

  [[nodiscard]] auto gradient(std::size_t i, std::vector<double> const& at) const -> std::vector<double> {
    std::vector<double> g(at.size());
    for (std::size_t c = 0; c < at.size(); ++c) g[c] = p.curvature(i, c) * (at[c] - p.centre(i, c));
    return g;
  }
  void move(double by, std::vector<double> const& along) {
    for (std::size_t c = 0; c < x.size(); ++c) x[c] -= by * along[c];
  }
  /// Until there are `count` versions; take(worker, its job) says whether it made one.
  void run(std::uint64_t count, std::function<bool(std::size_t, job const&)> const& take) {
    for (auto const t : times) jobs.push_back({t, x, 0});
    while (version < count) {
      auto const next =
          std::min_element(jobs.begin(), jobs.end(), [](job const& a, job const& b) { return a.ends < b.ends; });
      auto const i = static_cast<std::size_t>(next - jobs.begin());
      auto const now = next->ends;
      auto const moved = take(i, *next);
      if (moved) ++version;
      *next = {now + times[i], x, version};
      for (std::size_t j = 0; moved && stops && j < jobs.size(); ++j) jobs[j] = {now + times[j], x, version};
    }
  }
};

/// The simulator breaks ties by the order of scheduling. One part in 10^9 more time per id makes ties go by id.
enum class tuned : std::uint8_t { by_id, evenly };

inline auto taking(std::vector<double> const& seconds, tuned how) -> environment::scenario {
  auto s = environment::scenario{.compute = environment::fixed(std::chrono::seconds{1})};
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    auto const apart = how == tuned::by_id ? 1e-9 * static_cast<double>(i) : 0.0;
    s.compute = s.compute.slow(static_cast<std::uint32_t>(i), seconds[i] * (1 + apart));
  }
  s.measure_every = std::chrono::hours{1};
  return s;
}

/// What an onlooker saw of the server.
struct server_view : simulation_trace {
  explicit server_view(std::size_t workers, std::uint64_t mean_from) : computes_at(workers), mean_from_{mean_from} {}

  void posted(instant, packet const& p) override {
    if (p.channel == channel_id::control) ++stops;
    if (p.channel != channel_id::gradient) computes_at[to_index(p.to)] = to_count(p.based_on);
  }
  void after_event(instant now, node_id who, std::span<any_node const> nodes) override {
    if (to_index(who) + 1 != nodes.size()) return;
    auto const s = nodes.back().statistics();
    if (s.iterations == versions) return;
    versions = s.iterations;
    stepped_at.push_back(now.since_start);
    auto const now_at = nodes.back().estimate().view<double>();
    x.assign(now_at.begin(), now_at.end());
    if (versions > mean_from_) late_sum += x[0];
  }

  /// Of the first value, over the versions after `mean_from`.
  [[nodiscard]] auto late_mean() const -> double { return late_sum / static_cast<double>(versions - mean_from_); }

  std::uint64_t versions = 0, stops = 0;
  std::vector<double> x;
  std::vector<std::chrono::nanoseconds> stepped_at;
  std::vector<std::uint64_t> computes_at;  // version of each worker's job
  std::vector<weight_counter> weights;  // by worker
  run_result result;
  double late_sum = 0;

 private:
  std::uint64_t mean_from_;
};

/// Runs for `time` and a little more, so that what ends then has ended by every tie.
template<class Node>
auto watched(problem::quadratic const& p, std::vector<double> const& seconds, typename Node::options const& o,
             std::chrono::nanoseconds time, tuned how = tuned::by_id, std::uint64_t mean_from = 0) -> server_view {
  server_view view{p.nodes(), mean_from};
  view.result = simulate(assemble<Node>(topology::star(p.nodes()), p, o), taking(seconds, how),
                         {.time = time + std::chrono::milliseconds{1}}, {.trace = &view});
  view.weights.resize(p.nodes());
  for (auto const& e : view.result.edges) {
    if (e.channel == channel_id::gradient) view.weights[to_index(e.from)] = e.weights;
  }
  return view;
}

}  // namespace rubato::test
