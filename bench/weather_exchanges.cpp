// SPDX-License-Identifier: MIT
// What real peers needed under bad links, beside simulated lock-step: from the reports of all peers of one run on
// quadratics (peer --report, --measure-every), when all models had come within 1e-5 of the optimum for good, and how
// many local iterations that took; then the rounds of the same method in lock-step, over links without delay.
//   bench_weather_exchanges WITHIN REPORT...
//   bench_weather_exchanges WITHIN              the rounds of lock-step alone, by step, and r_fast under loss
// Prints "seconds mean-iterations largest-iterations"; seconds are "-" where it never came so near. Wrong if looks are
// far apart: nothing is known between two of them.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/report/nlohmann_json.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/pace.hpp>
#include <rubato/synchrony/rounds.hpp>
#include <rubato/topology/builders.hpp>

namespace {

using namespace rubato;

constexpr std::size_t nodes = 8;
constexpr std::size_t dimension = 256;

auto problem_of_run() -> problem::quadratic { return problem::quadratic::random(nodes, dimension, 1); }

auto farthest(shared_buffer const& model, std::vector<double> const& optimum) -> double {
  std::vector<double> x;
  detail::widen(model, x);
  auto worst = 0.0;
  for (std::size_t k = 0; k < x.size(); ++k) worst = std::fmax(worst, std::abs(x[k] - optimum[k]));
  return worst;
}

/// The last look that a peer took by then.
auto look_at(peer_result const& p, std::chrono::nanoseconds t) -> peer_look const& {
  auto const later =
      std::upper_bound(p.looks.begin(), p.looks.end(), t, [](auto at, auto const& l) { return at < l.at; });
  return later == p.looks.begin() ? *later : *std::prev(later);
}

/// Of all nodes, at the look after which none was ever farther away than `within`.
void tell_peers(std::vector<peer_result> const& peers, double within) {
  auto const optimum = problem_of_run().optimum();
  auto const worst_at = [&](std::chrono::nanoseconds t) {
    auto worst = 0.0;
    for (auto const& p : peers) worst = std::fmax(worst, farthest(look_at(p, t).model, optimum));
    return worst;
  };
  auto const& looks = peers.front().looks;
  auto first = looks.size();
  while (first > 0 && worst_at(looks[first - 1].at) <= within) --first;
  if (first == looks.size()) {
    std::printf("- - - (%.2g away at the end)\n", worst_at(looks.back().at));
    return;
  }
  auto sum = 0.0, most = 0.0;
  for (auto const& p : peers) {
    auto const used = static_cast<double>(look_at(p, looks[first].at).gradients);
    sum += used;
    most = std::max(most, used);
  }
  std::printf("%.1f %.0f %.0f\n", to_seconds(looks[first].at), sum / static_cast<double>(peers.size()), most);
}

struct distance_watch : simulation_trace {
  explicit distance_watch(double limit) : within{limit} {}
  void after_event(instant, node_id, std::span<any_node const> all) override {
    if (rounds > 0 || all.front().statistics().iterations == looked) return;
    looked = all.front().statistics().iterations;
    for (auto const& n : all) {
      if (farthest(n.estimate(), optimum) > within) return;
    }
    for (auto const& n : all) rounds = std::max(rounds, n.statistics().iterations);
  }
  std::vector<double> optimum = problem_of_run().optimum();
  double within;
  std::uint64_t looked = 0;
  std::uint64_t rounds = 0;
};

/// The same update order in rounds, at a raw step gamma.
void tell_lock_step(double within) {
  using space = backend::eigen<float>;
  using node = gradient_tracking<space, order::r_fast, step::sgd, weighting::constant, synchrony::rounds>;
  for (auto const gamma : {0.533, 0.8, 1.0, 1.2, 1.6, 1.867, 2.133}) {
    node::options o;
    o.step = gamma;
    o.scale = step_scale::raw;
    environment::scenario s;
    s.compute = environment::fixed(std::chrono::milliseconds{1});
    s.measure_every = std::chrono::hours{1};
    auto watching = distance_watch{within};
    auto a = assemble<node>(topology::ring(nodes), problem_of_run(), o);
    simulate(std::move(a), s, {.time = std::chrono::seconds{2}}, {.trace = &watching});
    std::printf("raw step %.3f: %llu rounds\n", gamma, static_cast<unsigned long long>(watching.rounds));
  }
}

/// The mean of the nodes' local iterations when some model was too far away for the last time.
struct departure_watch : simulation_trace {
  explicit departure_watch(double limit) : within{limit} {}
  void after_event(instant, node_id, std::span<any_node const> all) override {
    auto const is_near = [&](any_node const& n) { return farthest(n.estimate(), optimum) <= within; };
    if (std::all_of(all.begin(), all.end(), is_near)) return;
    iterations = 0;
    for (auto const& n : all) iterations += n.statistics().iterations;
    iterations /= all.size();
  }
  std::vector<double> optimum = problem_of_run().optimum();
  double within;
  std::uint64_t iterations = 0;
};

/// What the simulator needs where 60 % of all messages are lost, on machines that are never busy: five seeds a pace.
void tell_lossy(double within) {
  for (auto const ahead : {0U, 1U, 2U, 4U, 8U}) {
    std::printf("60 %% lost, pace %u:", ahead);
    for (auto seed = std::uint64_t{1}; seed <= 5; ++seed) {
      environment::scenario s;
      s.compute = environment::lognormal(std::chrono::milliseconds{1}, 0.1);
      s.link = {.latency = std::chrono::microseconds{100}, .loss = 0.6};
      s.measure_every = std::chrono::hours{1};
      s.seed = seed;
      auto watching = departure_watch{within};
      auto a = assemble<r_fast<backend::eigen<float>>>(topology::ring(nodes), problem_of_run(), {.step = 0.7});
      if (ahead > 0) pace(a, {ahead});
      simulate(std::move(a), s, {.gradients = nodes * 1000}, {.trace = &watching});
      std::printf(" %llu", static_cast<unsigned long long>(watching.iterations));
    }
    std::printf(" iterations\n");
  }
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    if (argc < 2) {
      std::fprintf(stderr, "usage: bench_weather_exchanges WITHIN [REPORT...]\n");
      return 2;
    }
    auto const within = std::strtod(argv[1], nullptr);
    if (argc < 3) {
      tell_lock_step(within);
      tell_lossy(within);
      return 0;
    }
    std::vector<peer_result> peers;
    for (auto k = 2; k < argc; ++k) peers.push_back(report::read_peer_result(argv[k]));
    tell_peers(peers, within);
    return 0;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_weather_exchanges: %s\n", e.what());
    return 1;
  }
}
