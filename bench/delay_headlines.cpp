// SPDX-License-Identifier: MIT
// Headlines about delays that theory makes claims of, each on a problem whose answer is known.
//   bench_delay_headlines dasa|prox_dgd|workers|all
//   dasa      a root that is no minimum (temporal differences, 20 states, 5 features), agents of mean times 1 to 4 s,
//             exponential, one step size: n times the mean loss, once it no longer falls, is the same for all n
//   prox_dgd  ring of 8, quadratics that differ, one node 10x slower, 30 % loss, messages that overtake: seconds until
//             all models are within 1e-6 of the fixed point of the synchronous method, with one step for all delays:
//             with an l1 term, and without one (adsgd) beside d_psgd, which has the same fixed point then
//   workers   one mode of curvature 1, asgd with steps h = 0.05 and 0.02, n workers of equal times, fixed or
//             exponential: gradient times until |x - 1| stays below 1e-6, beside the planner's useful number of workers
// Medians of seeds 1 to 5 where anything is drawn. Virtual time: load does not matter. Status 1 if a goal is missed.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/planner/useful_workers.hpp>
#include <rubato/report.hpp>
#include <rubato/rubato.hpp>

#include "support/jobs.hpp"
#include "support/quantile.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using space = backend::host<double>;

constexpr std::uint64_t seeds = 5;

auto seconds_of(std::chrono::nanoseconds t) -> double { return std::chrono::duration<double>(t).count(); }

auto judge(std::string const& what, bool holds) -> bool {
  std::printf("%s: %s\n", what.c_str(), holds ? "holds" : "MISSED");
  return holds;
}

/// The mean loss of dasa with n agents over the second half of a long run.
auto rest_of_dasa(std::size_t n, std::uint64_t seed) -> double {
  auto const problem = problem::policy_evaluation::random(20, 5, seed, {.discount = 0.5, .restart = 0.2});
  auto s = environment::scenario{.compute = environment::shifted_exponential(1s, 1), .seed = seed};
  for (std::uint32_t i = 0; i < n; ++i) s.compute = s.compute.slow(i, 1.0 + i % 4);
  s.measure_every = 20s;
  auto o = dasa<space>::options{.step = 0.02, .scale = step_scale::raw, .seed = seed};
  auto const r = simulate<dasa<space>>(topology::star(n), problem, o, s, {.time = 40'000s});
  double sum = 0;
  auto const from = r.history.size() / 2;
  for (auto k = from; k < r.history.size(); ++k) sum += r.history[k].loss;
  return sum / static_cast<double>(r.history.size() - from);
}

auto dasa_headline() -> bool {
  constexpr std::array<std::size_t, 5> agents{4, 8, 16, 32, 64};
  std::vector<std::vector<double>> losses(agents.size(), std::vector<double>(seeds));
  bench::for_all_jobs(agents.size() * seeds, [&](std::size_t k) {
    losses[k / seeds][k % seeds] = rest_of_dasa(agents[k / seeds], k % seeds + 1);
  });
  std::printf("dasa: loss about the root, medians of %d seeds\n", static_cast<int>(seeds));
  auto least = 1e300, most = 0.0;
  for (std::size_t a = 0; a < agents.size(); ++a) {
    std::vector<double> gains;  // over 4 agents, seed by seed
    for (std::uint64_t s = 0; s < seeds; ++s) gains.push_back(losses[0][s] / losses[a][s]);
    auto const gain = bench::median(gains) / (static_cast<double>(agents[a]) / 4);
    least = std::fmin(least, gain), most = std::fmax(most, gain);
    std::printf("  n = %2zu: %.3e, n times that %.3e; over n = 4: %.2f times lower (%.2f to %.2f), of n / 4: %.2f\n",
                agents[a], bench::median(losses[a]), static_cast<double>(agents[a]) * bench::median(losses[a]),
                bench::median(gains), bench::quantile(gains, 0), bench::quantile(gains, 1), gain);
  }
  return judge("linear in agents, within 20 %", least >= 0.8 && most <= 1.2);
}

struct ring_case {
  problem::quadratic problem;
  double step;
  std::vector<std::vector<double>> limit;  ///< by node
};

constexpr std::size_t ring_nodes = 8;

constexpr auto l1_weight = 0.05;

/// gamma = 0.9 of the bound 2 w_ii / L; the limit, with this weight of an l1 term, by the plainest loop.
auto ring_of(std::uint64_t seed, double weight) -> ring_case {
  auto found = ring_case{problem::quadratic::random(ring_nodes, 10, seed), 0, {}};
  auto const& p = found.problem;
  double largest = 0;
  for (std::size_t i = 0; i < ring_nodes; ++i)
    for (std::size_t k = 0; k < p.dimension(); ++k) largest = std::fmax(largest, p.curvature(i, k));
  found.step = 0.9 * 2 / 3 / largest;
  auto x = std::vector(ring_nodes, std::vector<double>(p.dimension(), 0.0));
  for (auto round = 0; round < 20'000; ++round) {
    auto next = x;
    for (std::size_t i = 0; i < ring_nodes; ++i) {
      auto const &before = x[(i + ring_nodes - 1) % ring_nodes], &after = x[(i + 1) % ring_nodes];
      for (std::size_t k = 0; k < p.dimension(); ++k) {
        auto const y =
            (x[i][k] + before[k] + after[k]) / 3 - found.step * p.curvature(i, k) * (x[i][k] - p.centre(i, k));
        next[i][k] = std::copysign(std::fmax(std::abs(y) - found.step * weight, 0.0), y);
      }
    }
    x = std::move(next);
  }
  found.limit = std::move(x);
  return found;
}

/// Virtual seconds until all models are within 1e-6 of the limit; none if that takes longer than half an hour.
template<class Node>
auto arrives(ring_case const& c, std::chrono::nanoseconds latency, std::uint64_t seed) -> std::optional<double> {
  auto s = environment::scenario{.compute = environment::fixed(10ms).slow(7, 10)};
  s.link = {.latency = latency, .jitter = latency, .loss = 0.3, .overtaking = 0.3};
  s.seed = seed, s.measure_every = 100ms;
  std::optional<double> at;
  auto watching = observer{[&](look const& l) {
    double farthest = 0;
    for (std::size_t i = 0; i < l.models.size(); ++i) {
      auto const x = l.models[i].view<double>();
      for (std::size_t k = 0; k < x.size(); ++k) farthest = std::fmax(farthest, std::abs(x[k] - c.limit[i][k]));
    }
    if (farthest > 1e-6) return verdict::go_on;
    at = seconds_of(l.seen.at);
    return verdict::stop;
  }};
  auto o = typename Node::options{};
  o.step = c.step, o.scale = step_scale::raw, o.seed = seed;
  if constexpr (requires { o.prox.lambda; }) o.prox.lambda = l1_weight;
  auto const ring = topology::ring(ring_nodes);
  static_cast<void>(
      simulate<Node>(topology::pair{ring, ring}, c.problem, o, s, {.time = 30min}, {.watching = {watching}}));
  return at;
}

auto prox_dgd_headline() -> bool {
  constexpr std::array latencies{100us, 10'000us, 100'000us, 1'000'000us};
  auto holds = true;
  std::printf("prox_dgd: seconds to the fixed point, medians of %d seeds\n", static_cast<int>(seeds));
  for (auto const latency : latencies) {
    std::array<std::vector<double>, 3> took;  // prox_dgd, adsgd, d_psgd
    for (auto& each : took) each.resize(seeds);
    bench::for_all_jobs(3 * seeds, [&](std::size_t k) {
      auto const which = k / seeds;
      auto const seed = k % seeds + 1;
      auto const c = ring_of(seed, which == 0 ? l1_weight : 0);
      auto const at = which == 0   ? arrives<prox_dgd<space>>(c, latency, seed)
                      : which == 1 ? arrives<adsgd<space>>(c, latency, seed)
                                   : arrives<d_psgd<space>>(c, latency, seed);
      took[which][seed - 1] = at.value_or(std::numeric_limits<double>::infinity());
    });
    std::vector<double> ratios;
    for (std::uint64_t s = 0; s < seeds; ++s) ratios.push_back(took[2][s] / took[1][s]);
    std::printf("  latency %.4f s: prox_dgd %.1f; adsgd %.1f, d_psgd %.1f, %.2f times (%.2f to %.2f)\n",
                seconds_of(latency), bench::median(took[0]), bench::median(took[1]), bench::median(took[2]),
                bench::median(ratios), bench::quantile(ratios, 0), bench::quantile(ratios, 1));
    holds = holds && std::isfinite(bench::quantile(took[0], 1)) && std::isfinite(bench::quantile(took[1], 1)) &&
            bench::median(ratios) > 1;
  }
  return judge("one step for all delays comes to the fixed point of the synchronous method, and sooner", holds);
}

/// f(x) = (x - 1)^2 / 2 at every node, without noise; the first model is 0.
struct mode {
  [[nodiscard]] static auto dimension() -> std::size_t { return 1; }
  static auto gradient(space&, std::span<double const> x, sample_key, std::span<double> g) -> double {
    g[0] = x[0] - 1;
    return 0.5 * g[0] * g[0];
  }
  static auto loss(space&, std::span<double const> x) -> double { return 0.5 * (x[0] - 1) * (x[0] - 1); }
};

constexpr auto longest = 2000.0;  // gradient times

/// Gradient times after which |x - 1| stays below 1e-6, or `longest`.
auto time_to_rest(double h, std::size_t n, environment::compute_model const& compute, std::uint64_t seed) -> double {
  auto s = environment::scenario{.compute = compute, .seed = seed};
  s.measure_every = 100ms;
  auto o = asgd<space>::options{.step = h, .scale = step_scale::raw, .seed = seed};
  auto a = assemble<asgd<space>>(topology::star(n), mode{}, o);
  auto last_above = 0.0;
  auto calm = 0;
  auto watching = observer{[&](look const& l) {
    auto const below = l.seen.loss < 0.5e-12;
    if (!below) last_above = seconds_of(l.seen.at);
    calm = below ? calm + 1 : 0;
    return calm > 1000 || l.seen.loss > 1e12 ? verdict::stop : verdict::go_on;
  }};
  auto const end = std::chrono::nanoseconds{std::llround(1e9 * longest)};
  static_cast<void>(simulate(std::move(a), s, {.time = end}, {.watching = {watching}}));
  return calm > 1000 ? last_above : longest;
}

auto workers_headline() -> bool {
  auto holds = true;
  for (auto const h : {0.05, 0.02}) {
    auto const says = planner::useful_workers(h, 0), memoryless = planner::useful_workers(h, 1);
    auto const top = static_cast<std::size_t>(std::ceil(1.1 * says.diverges_near));
    std::vector<double> fixed(top + 1, longest), drawn(top + 1, longest);
    bench::for_all_jobs(top, [&](std::size_t k) {
      auto const n = k + 1;
      fixed[n] = time_to_rest(h, n, environment::fixed(1s), 1);
      std::vector<double> each;
      for (std::uint64_t s = 1; s <= seeds; ++s)
        each.push_back(time_to_rest(h, n, environment::shifted_exponential(1s, 1), s));
      drawn[n] = bench::median(each);
    });
    auto const best = [&](auto const& of) {
      return static_cast<std::size_t>(std::min_element(of.begin() + 1, of.end()) - of.begin());
    };
    auto stable = std::size_t{1};
    while (stable < top && fixed[stable + 1] < longest) ++stable;
    std::printf("h = %g, fixed times: best with %zu workers (planner %zu, %.1f by the formula), %.1f gradient times;\n",
                h, best(fixed), says.workers, says.best, fixed[best(fixed)]);
    std::printf("  comes to rest in %.0f gradient times up to %zu (planner: decays up to %zu)\n ", longest, stable,
                says.stable_to);
    for (auto const n : {std::size_t{1}, best(fixed) / 2, best(fixed), 2 * best(fixed), stable})
      std::printf(" %zu: %.1f;", n, fixed[n]);
    std::printf("\n  exponential times, medians of %d seeds: best with %zu (planner: no gain beyond %zu)\n ",
                static_cast<int>(seeds), best(drawn), memoryless.workers);
    for (auto const n : {std::size_t{1}, memoryless.workers, 2 * memoryless.workers, top})
      std::printf(" %zu: %.1f;", n, drawn[n]);
    std::printf("\n");
    auto const off = std::abs(static_cast<double>(best(fixed)) - static_cast<double>(says.workers));
    holds = judge("the best number is the planner's within 1, and twice as many are slower",
                  off <= 1 && fixed[2 * best(fixed)] > fixed[best(fixed)]) &&
            holds;
  }
  return holds;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const what = std::string_view{argc == 2 ? argv[1] : ""};
    auto const all = what == "all";
    if (!all && what != "dasa" && what != "prox_dgd" && what != "workers")
      throw config_error{"usage: bench_delay_headlines dasa|prox_dgd|workers|all"};
    auto holds = true;
    if (all || what == "dasa") holds = dasa_headline() && holds;
    if (all || what == "prox_dgd") holds = prox_dgd_headline() && holds;
    if (all || what == "workers") holds = workers_headline() && holds;
    return holds ? 0 : 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_delay_headlines: %s\n", e.what());
    return 2;
  }
}
