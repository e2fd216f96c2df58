// SPDX-License-Identifier: MIT
// Conservation exact, optimum reached: every algorithm of the catalogue that its row says ends at the optimum, in
// random scenarios of network, speeds, delays, loss, duplication and overtaking. Where an algorithm tracks, the law of
// tracking is looked at every 50 ms and must be exactly 0 (fixed point, float32). The loss must come within 1e-5 of
// what it was over its minimum at the start (byte_grad and r_fast_low_bits: 1e-2, since their codes round). The largest
// step that converges depends on the ages of messages: it begins at 0.05 and is divided by 4 where a run does not
// arrive, at most four times.
//   bench_conservation [SCENARIOS [ALGORITHM...]]
// 1,000 scenarios of all algorithms: minutes on two cores. Status 1 if a requirement is missed. Wrong if a step that is
// too large would hide a fault: so how many runs needed a smaller one is printed. The control, plain float32 sums in
// place of the fixed-point ledger, must break the law.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/table.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catalogue.hpp"
#include "support/jobs.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using space = backend::host<float>;

struct drawn {
  topology::digraph network;
  environment::scenario weather;
  problem::quadratic problem;
};

auto draw(std::uint64_t seed) -> drawn {
  random_stream gen{0x636f6e73ULL, seed};
  auto const n = 2 + gen.below(9);
  using builder = topology::digraph (*)(std::size_t);
  constexpr builder builders[] = {&topology::binary_tree, &topology::line, &topology::star, &topology::ring,
                                  &topology::complete};
  drawn d{builders[gen.below(5)](n),
          {},
          problem::quadratic::random(n, 3 + gen.below(6), seed, {.spread = 3, .condition = 4})};
  auto& w = d.weather;
  w.seed = gen.bits();
  w.compute = environment::lognormal(10ms, gen.uniform());
  if (gen.chance(0.5)) w.compute = w.compute.slow(static_cast<std::uint32_t>(gen.below(n)), 10.0);
  w.link.latency = std::chrono::microseconds{gen.below(40'000)};
  w.link.jitter = std::chrono::microseconds{gen.below(20'000)};
  w.link.loss = 0.6 * gen.uniform();
  w.link.duplication = gen.chance(0.5) ? 0.5 * gen.uniform() : 0.0;
  w.link.overtaking = gen.chance(0.5) ? 0.5 * gen.uniform() : 0.0;
  w.measure_every = 50ms;
  return d;
}

/// What one algorithm did in all scenarios.
struct tally {
  std::size_t scenarios = 0, arrived = 0, with_smaller_step = 0;
  double worst_residual = 0;
  std::uint64_t events = 0, looks = 0;
  bool tracks = false;
  std::vector<std::uint64_t> not_arrived;  ///< seeds
};

template<class Node>
void run_scenario(std::uint64_t seed, double share, tally& of, std::mutex& one_at_a_time) {
  auto const d = draw(seed);
  space b;
  auto const start = d.problem.loss(b, std::vector<float>(d.problem.dimension()));
  auto const target = d.problem.minimum() + share * (start - d.problem.minimum());
  auto worst = 0.0;
  auto tracks = false;
  std::uint64_t events = 0, looks = 0;
  constexpr auto attempts = 5;
  for (auto attempt = 0; attempt < attempts; ++attempt) {
    typename Node::options o{};
    o.step = 0.05 / std::pow(4, attempt);
    o.seed = seed;
    auto arrived = false;
    try {
      auto made = assemble<Node>(topology::pair{d.network}, d.problem, o);
      tracking_audit audit;
      made.nodes.front().audit(audit);
      tracks = !audit.tracker.empty();
      auto const r = simulate(std::move(made), d.weather, {.time = 2000s, .target_loss = target});
      for (auto const& look : r.history) worst = std::max(worst, look.tracking_residual);
      looks += r.history.size();
      events += r.events;
      arrived = r.stopped == stop_reason::target_loss;
    } catch (run_error const&) {  // it diverges
    }
    if (!arrived && attempt + 1 < attempts) continue;
    auto const lock = std::lock_guard{one_at_a_time};
    ++of.scenarios;
    if (arrived) ++of.arrived;
    else of.not_arrived.push_back(seed);
    if (arrived && attempt > 0) ++of.with_smaller_step;
    of.worst_residual = std::max(of.worst_residual, worst);
    of.events += events, of.looks += looks, of.tracks = of.tracks || tracks;
    return;
  }
}

struct bench_of_all {
  std::size_t scenarios;
  std::set<std::string, std::less<>> asked;  ///< empty: all
  report::text_table table{{{"algorithm", report::side::left},
                            {"scenarios"},
                            {"arrived"},
                            {"with a smaller step"},
                            {"events"},
                            {"looks at the law"},
                            {"worst residual"}}};

  template<class Node>
  auto run(std::string const& name, double share) -> tally {
    tally of;
    std::mutex one_at_a_time;
    bench::for_all_jobs(scenarios, [&](std::size_t k) { run_scenario<Node>(k + 1, share, of, one_at_a_time); });
    table.add_row({name, std::to_string(of.scenarios), std::to_string(of.arrived), std::to_string(of.with_smaller_step),
                   std::to_string(of.events), of.tracks ? std::to_string(of.looks) : "-",
                   of.tracks ? report::readable(of.worst_residual) : "-"});
    std::fprintf(stderr, "%s is done\n", name.c_str());
    for (auto const seed : of.not_arrived)
      std::printf("%s does not arrive in scenario %llu\n", name.c_str(), static_cast<unsigned long long>(seed));
    return of;
  }

  auto run_all() -> bool {
    auto holds = true;
    examples::for_each_algorithm<space>([&]<class Node>(examples::catalogue_row<Node> const& row) {
      if (row.where != examples::ends::at_optimum || (!asked.empty() && !asked.contains(row.name))) return;
      auto const rounds_values = row.name == "byte_grad" || row.name == "qadam" || row.name == "r_fast_low_bits";
      auto const of = run<Node>(std::string{row.name}, rounds_values ? 1e-2 : 1e-5);
      holds = holds && of.arrived == scenarios && of.worst_residual == 0;
    });
    using plain = r_fast<space, step::sgd, weighting::constant, ledger::floating>;
    holds = run<plain>("control: r_fast, plain float32", 1e-5).worst_residual > 0 && holds;
    std::printf("%s", table.text().c_str());
    return holds;
  }
};

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const scenarios = argc > 1 ? std::stoul(argv[1]) : 1000UL;
    return bench_of_all{scenarios, {argv + std::min(argc, 2), argv + argc}}.run_all() ? 0 : 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_conservation: %s\n", e.what());
    return 2;
  }
}
