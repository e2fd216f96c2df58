// SPDX-License-Identifier: MIT
// Where the server-and-worker family ends up: four workers that disagree, times 1, 2, 4, 8. Plain asynchronous SGD ends
// at the optimum weighted by frequency, 2.1; rescaled, at that of the mean, 68/13; weights by delay, still nearer to
// the fast workers' own. Each run is compared with what report::limit_weights says of it.
#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/rescaled_asgd.hpp>
#include <rubato/report/limit_weights.hpp>
#include <rubato/server/known_times.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <vector>

#include <rubato/backend/host.hpp>

#include "support/catch.hpp"
#include "support/server_scenes.hpp"

namespace {

using namespace rubato;
using namespace rubato::test;
using namespace std::chrono_literals;
using host = backend::host<double>;

constexpr double best = 68.0 / 13, by_frequency = 2.1;

/// A weight that is any function of the delay.
struct by_function {
  static constexpr bool can_cut = true;
  static constexpr bool depends_on_age = true;
  double (*of)(double) = [](double) { return 1.0; };
  auto operator()(std::uint64_t delay) const -> double { return of(static_cast<double>(delay)); }
};
using vanilla = asgd<host>;
using weighted = asgd<host, by_function>;
using known = rescaled_asgd<host, server::known_times>;
using own = rescaled_asgd<host>;

template<class Node>
auto raw(double gamma) -> typename Node::options {
  typename Node::options o;
  o.step = gamma;
  o.scale = step_scale::raw;
  return o;
}

/// The mean of the second half of 60 / gamma versions.
template<class Node>
auto run(typename Node::options const& o, std::vector<double> const& times = four_times()) -> server_view {
  auto const versions = std::llround(60 / o.step);
  auto const time = std::chrono::milliseconds{versions * 8000 / 15};  // 15 gradients in 8 s
  return watched<Node>(four_workers(), times, o, time, tuned::by_id, static_cast<std::uint64_t>(versions) / 2);
}

auto shares(std::vector<report::worker_weight> const& of) -> std::vector<double> {
  std::vector<double> all;
  for (auto const& w : of) all.push_back(w.limit);
  return all;
}

/// The optimum of sum p_i f_i.
auto optimum_for(std::vector<double> const& p) -> double {
  auto const q = four_workers();
  double top = 0, bottom = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    top += p[i] * q.curvature(i, 0) * q.centre(i, 0);
    bottom += p[i] * q.curvature(i, 0);
  }
  return top / bottom;
}

TEST_CASE("asgd ends near the frequency-weighted optimum, rescaled_asgd near that of the mean, off by O(step)") {
  struct golden {
    double gamma, plain, rescaled;
  };
  for (auto const& g :
       {golden{0.02, -0.02059, -0.18491}, golden{0.005, -0.00522, -0.04846}, golden{0.001, -0.00105, -0.00982}}) {
    CHECK(run<vanilla>(raw<vanilla>(g.gamma)).late_mean() - by_frequency == Approx(g.plain).margin(6e-6));
    auto o = raw<known>(g.gamma);
    o.weight.times = four_times();
    CHECK(run<known>(o).late_mean() - best == Approx(g.rescaled).margin(6e-6));
    // Durations find tau_H up to 1/k: the running mean is a little low whenever the slowest worker is about to come.
    CHECK(run<own>(raw<own>(g.gamma)).late_mean() - best == Approx(g.rescaled).epsilon(0.02));
  }
}

TEST_CASE("a wrong time gives a worker a weight that is wrong by the same factor") {
  auto o = raw<known>(0.001);
  o.weight.times = {1, 2, 4, 8.8};
  auto const p = report::predicted_weights(four_times(), o.weight.mean_weights());
  CHECK(p[3].limit / p[0].limit == Approx(1.1));
  CHECK(optimum_for(shares(p)) == Approx(5.441).margin(5e-4));
  CHECK(run<known>(o).late_mean() == Approx(5.430).margin(5e-4));
}

TEST_CASE("a weight that falls with the delay moves the limit towards the fast workers, as its mean weights say") {
  struct rule {
    double (*of)(double);
    double limit;
  };
  for (auto const& r :
       {rule{[](double d) { return 1 / (1 + d); }, 0.5851}, rule{[](double d) { return 1 / std::sqrt(1 + d); }, 1.1332},
        rule{[](double d) { return d <= 4 ? 1 : 4 / d; }, 1.0899},
        rule{[](double d) { return std::exp(-0.1 * d); }, 1.0582},
        rule{[](double d) { return d <= 4 ? 1 : 1 / (10 * (d - 4) + 1); }, 0.5263},
        rule{[](double d) { return d < 8 ? 1.0 : 0.0; }, 0.7059}}) {
    auto o = raw<weighted>(0.002);
    o.weight = by_function{.of = r.of};
    auto const seen = run<weighted>(o);
    CHECK(seen.late_mean() == Approx(r.limit).margin(1.5e-3));
    CHECK(optimum_for(shares(report::measured_weights(seen.result))) == Approx(r.limit).margin(1.5e-3));
  }
}

TEST_CASE("limit weights are predicted from times before a run, and agree with what its server counted") {
  auto const compute = taking(four_times(), tuned::by_id).compute;
  std::vector<double> times;
  for (std::size_t i = 0; i < 4; ++i) times.push_back(to_seconds(compute.mean()) * compute.factor_of(to_node(i)));
  std::vector<double> const ones(4, 1.0);
  auto const seen = run<vanilla>(raw<vanilla>(0.01)).result;
  auto const before = report::predicted_weights(times, ones), after = report::measured_weights(seen);
  REQUIRE(after.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(after[i].limit == Approx(before[i].limit).margin(1e-3));
  CHECK(before[0].limit == Approx(8.0 / 15));
  CHECK(report::largest_bias(before) == Approx(4 * 8.0 / 15 - 1));
  CHECK(optimum_for(shares(before)) == Approx(by_frequency));
  auto const text = report::limit_weight_text(after);
  INFO(text);
  CHECK(text.find("     3        400       14.00       1.0000       0.0          0.0667  0.2500") != std::string::npos);
  CHECK(text.find("WARNING: 4 of 4 workers count more than 5 %") != std::string::npos);

  auto const rescaled = run<own>(raw<own>(0.01)).result;
  CHECK(report::largest_bias(report::predicted_weights(times, own::options{}.weight.mean_weights(times))) < 1e-12);
  CHECK(report::largest_bias(report::measured_weights(rescaled)) < 0.01);
  CHECK(report::limit_weight_text(report::measured_weights(rescaled)).find("within 5 %") != std::string::npos);
  CHECK(report::measured_weights(run_result{}).empty());
  CHECK(report::limit_weight_text({}) == "No server weighed gradients in this run.\n");
}

TEST_CASE(
    "every estimate of a worker's time leads to the mean's optimum, and those that forget follow changing speeds") {
  auto scenario = taking(four_times(), tuned::evenly);
  scenario.compute = environment::lognormal(1s, 1.0).slow(1, 2).slow(2, 4).slow(3, 8);
  auto const weights = [&](server::time_estimate by, environment::scenario const& s) {
    auto o = raw<own>(0.001);
    o.weight.cap = 1e9;
    o.weight.estimate = by;
    o.weight.factor = 0.05;
    return report::measured_weights(simulate(assemble<own>(topology::star(4), four_workers(), o), s, {.time = 20000s}));
  };
  using server::time_estimate;
  for (auto const by : {time_estimate::own, time_estimate::mean, time_estimate::moving})
    CHECK(report::largest_bias(weights(by, scenario)) < 0.03);

  auto const golden = [](time_estimate by, std::vector<double> const& times) {
    server::own_durations const its{.cap = 1e9, .estimate = by, .factor = 0.25};
    server::own_durations::state state{its, 1};
    std::vector<double> estimates;
    double total = 0;
    for (std::size_t k = 0; k < times.size(); ++k) {
      total += times[k];
      auto const ns = std::chrono::nanoseconds{static_cast<std::int64_t>(times[k] * 1e9)};
      estimates.push_back(state({.duration = ns}).factor * total / static_cast<double>(k + 1));
    }
    return estimates;
  };
  std::vector<double> const times{4, 8, 2, 6}, means{4, 6, 14.0 / 3, 5}, moving{4, 5, 4.25, 4.6875};
  for (std::size_t k = 0; k < 4; ++k) {
    CHECK(golden(time_estimate::own, times)[k] == Approx(times[k]));
    CHECK(golden(time_estimate::mean, times)[k] == Approx(means[k]));
    CHECK(golden(time_estimate::moving, times)[k] == Approx(moving[k]));
  }
  std::vector<double> slows_down(100, 1.0);
  slows_down.resize(200, 5.0);
  CHECK(golden(time_estimate::own, slows_down).back() == Approx(5));
  CHECK(golden(time_estimate::moving, slows_down).back() == Approx(5).epsilon(1e-9));
  CHECK(golden(time_estimate::mean, slows_down).back() == Approx(3));  // which has not noticed
}

TEST_CASE("with slow links, weights by computation time are unequal, and weights by round trip are equal") {
  auto scenario = taking(four_times(), tuned::evenly);
  scenario.link.latency = 250ms;
  auto const limits = [&](server::paid_time paid) {
    auto o = raw<own>(0.001);
    o.weight.paid = paid;
    return report::measured_weights(
        simulate(assemble<own>(topology::star(4), four_workers(), o), scenario, {.time = 20000s}));
  };
  auto const computation = limits(server::paid_time::computation), round_trip = limits(server::paid_time::round_trip);
  CHECK(computation[0].limit / computation[3].limit == Approx((1 / 1.5) / (8 / 8.5)).epsilon(0.01));
  CHECK(report::largest_bias(round_trip) < 0.005);
}

TEST_CASE("the measured limit weights show varying durations and a slow worker's cap") {
  auto scenario = taking(four_times(), tuned::evenly);
  scenario.compute = environment::lognormal(1s, 1.0).slow(1, 2).slow(2, 4).slow(3, 8);
  auto const bias = [&](own::options const& o, double& capped) {
    auto const r = simulate(assemble<own>(topology::star(4), four_workers(), o), scenario, {.time = 20000s});
    auto const w = report::measured_weights(r);
    capped = w[3].capped;
    return report::largest_bias(w);
  };
  auto capped = 0.0;
  auto o = raw<own>(0.001);
  o.weight.cap = 1e9;
  CHECK(bias(o, capped) < 0.02);
  CHECK(capped == 0);
  o.weight.cap = 2;
  CHECK(bias(o, capped) > 0.3);
  CHECK(capped > 0.3);
}

}  // namespace
