// SPDX-License-Identifier: MIT
// The compositions of server_sgd that have a name, each against the plainest loop over jobs that does the same, and at
// its fixed point. Golden values: four workers that disagree, times 1, 2, 4, 8; the optimum of the mean is 68/13.
#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/async_diloco.hpp>
#include <rubato/algorithm/clipped_asgd.hpp>
#include <rubato/algorithm/dc_asgd.hpp>
#include <rubato/algorithm/delay_adaptive_asgd.hpp>
#include <rubato/algorithm/dude_asgd.hpp>
#include <rubato/algorithm/fedasync.hpp>
#include <rubato/algorithm/fedbuff.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/malenia_sgd.hpp>
#include <rubato/algorithm/naive_optimal_asgd.hpp>
#include <rubato/algorithm/piag.hpp>
#include <rubato/algorithm/rennala_sgd.hpp>
#include <rubato/algorithm/ringleader_asgd.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/prox.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/report/limit_weights.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/server_scenes.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using host = backend::host<double>;
using vec = std::vector<double>;

/// Node's x after `time` against the loop's after as many versions.
template<class Node>
void agrees(typename Node::options const& o, plain_loop loop,
            std::function<std::function<bool(std::size_t, plain_loop::job const&)>(plain_loop&)> const& rule,
            std::chrono::nanoseconds time = 60s, std::uint64_t at_least = 20) {
  auto const seen = watched<Node>(loop.p, loop.times, o, time);
  CHECK(seen.versions >= at_least);
  loop.run(seen.versions, rule(loop));
  for (std::size_t c = 0; c < seen.x.size(); ++c) CHECK(seen.x[c] == Approx(loop.x[c]).epsilon(1e-12).margin(1e-13));
}
auto five() -> plain_loop { return {problem_of_five(), uneven()}; }

/// Where Node is after `time` with four workers.
template<class Node>
auto ends_at(typename Node::options const& o, std::chrono::nanoseconds time) -> double {
  return watched<Node>(four_workers(), four_times(), o, time).x[0];
}
constexpr auto best = 68.0 / 13;

TEST_CASE("(Da.I) (Da.T) late gradients make smaller steps, by either form, and none of equal workers is late") {
  using node = delay_adaptive_asgd<host>;
  auto o = with_step<node>(0.05);
  agrees<node>(o, five(), [](plain_loop& l) {
    return [&](std::size_t i, auto const& job) {
      l.move(0.05 * 5 / std::max(5.0, static_cast<double>(l.version - job.version)), l.gradient(i, job.at));
      return true;
    };
  });
  for (auto const share : {0.0, 1.0, 4.5}) {
    o.weight = {.form = server::adaptive_form::threshold, .threshold = 4, .share = share};
    agrees<node>(o, five(), [share](plain_loop& l) {
      return [&l, share](std::size_t i, auto const& job) {
        auto const delay = static_cast<double>(l.version - job.version);
        l.move(0.05 * (delay <= 4 ? 1 : std::min(1.0, share / delay)), l.gradient(i, job.at));
        return true;
      };
    });
  }
  auto const plain = watched<asgd<host>>(problem_of_five(), vec(5, 1.0), with_step<asgd<host>>(0.05), 20s);
  CHECK(watched<node>(problem_of_five(), vec(5, 1.0), with_step<node>(0.05), 20s).x == plain.x);
  auto const seen = watched<node>(four_workers(), four_times(), with_step<node>(0.002), 16000s, tuned::by_id, 15000);
  CHECK(seen.late_mean() == Approx(1.0899).margin(1.5e-3));
}

TEST_CASE(
    "(Rn.X) a round of rennala_sgd takes the first S gradients at its model, and its limit weighs by their counts") {
  using node = rennala_sgd<host>;
  for (auto const late : {server::late_jobs::finish, server::late_jobs::stop}) {
    auto o = with_step<node>(0.1);
    o.acceptance.late = late;
    o.aggregation.size = 4;
    auto loop = five();
    loop.stops = late == server::late_jobs::stop;
    agrees<node>(o, loop, [](plain_loop& l) {
      return [&l, sum = vec(3, 0.0), n = 0](std::size_t i, auto const& job) mutable {
        if (job.version != l.version) return false;
        auto const g = l.gradient(i, job.at);
        for (std::size_t c = 0; c < 3; ++c) sum[c] += g[c];
        if (++n < 4) return false;
        l.move(0.1 / 4, std::exchange(sum, vec(3, 0.0)));
        n = 0;
        return true;
      };
    });
  }
  auto o = with_step<node>(0.5);
  o.acceptance.late = server::late_jobs::stop;
  o.aggregation.size = 15;
  CHECK(ends_at<node>(o, 800s) == Approx(2.1).epsilon(1e-9));
  o.aggregation.size = 4;
  CHECK(ends_at<node>(o, 400s) == Approx(0.4).epsilon(1e-9));
}

TEST_CASE("(Ml.S) (Ml.X) a round of malenia_sgd ends with the harmonic mean of counts, and its limit is the optimum") {
  using node = malenia_sgd<host>;
  for (std::size_t const size : {std::size_t{0}, std::size_t{9}}) {
    auto o = with_step<node>(0.1);
    o.aggregation.size = size;
    auto const needed = size == 0 ? 1.0 : 9.0 / 5;
    agrees<node>(
        o, five(),
        [needed](plain_loop& l) {
          return [&l, needed, sums = std::vector<vec>(5, vec(3, 0.0)), counts = vec(5, 0.0)](std::size_t i,
                                                                                             auto const& job) mutable {
            if (job.version != l.version) return false;
            auto const g = l.gradient(i, job.at);
            for (std::size_t c = 0; c < 3; ++c) sums[i][c] += g[c];
            ++counts[i];
            double inverse = 0;
            for (auto const b : counts) inverse += 1 / b;
            if (5 / inverse < needed) return false;
            auto const x = l.x;
            for (std::size_t j = 0; j < 5; ++j) l.move(0.1 / 5 / counts[j], sums[j]);
            sums.assign(5, vec(3, 0.0));
            counts.assign(5, 0);
            return true;
          };
        },
        300s);
  }
  auto o = with_step<node>(0.5);
  CHECK(ends_at<node>(o, 800s) == Approx(best).epsilon(1e-12));
  auto const seen = watched<node>(four_workers(), four_times(), o, 80s);
  CHECK(report::measured_weights(seen.result).empty());  // workers count the same, however often they arrive
}

/// Ringleader ASGD with its tables spelled out, and what its theory speaks of.
struct ringleader_loop {
  explicit ringleader_loop(plain_loop& l) : loop{&l}, now(l.times.size()), next(l.times.size()), served(now.size()) {}
  struct entry {
    std::vector<vec> gradients{};
    std::vector<std::uint64_t> versions{};
  };
  plain_loop* loop;
  std::vector<entry> now, next;
  std::vector<bool> served;
  std::size_t left = 0;
  double gamma = 0.05;
  std::uint64_t* longest = nullptr;
  double* least_mean = nullptr;

  auto operator()(std::size_t i, plain_loop::job const& job) -> bool {
    auto& its = (left > 0 && served[i] ? next : now)[i];
    its.gradients.push_back(loop->gradient(i, job.at));
    its.versions.push_back(job.version);
    if (left > 0 && served[i]) return false;
    if (left == 0) {
      for (auto const& e : now)
        if (e.gradients.empty()) return false;
      left = now.size();
    }
    served[i] = true;
    step();
    if (--left == 0) {
      now = std::exchange(next, std::vector<entry>(now.size()));
      served.assign(served.size(), false);
    }
    return true;
  }
  void step() {
    auto const n = static_cast<double>(now.size());
    double inverse = 0;
    auto const x = loop->x;
    for (auto const& e : now) {
      auto const b = static_cast<double>(e.gradients.size());
      inverse += 1 / b;
      for (auto const& g : e.gradients) loop->move(gamma / n / b, g);
      for (auto const v : e.versions) *longest = std::max(*longest, loop->version - v);
    }
    *least_mean = std::min(*least_mean, n / inverse);
  }
};

TEST_CASE("(Rl.G) (Rl.U) (Rl.N) ringleader_asgd keeps two tables, and delays, counts and rounds stay in their bounds") {
  using node = ringleader_asgd<host>;
  struct profile {
    vec times;
    std::uint64_t delay;
    double least_mean, round;
  };
  vec ladder(10), one_slow(10, 1.0);
  for (std::size_t i = 0; i < 10; ++i) ladder[i] = static_cast<double>(i + 1);
  one_slow[9] = 50;
  for (auto const& f :
       {profile{{1, 2, 4, 8}, 6, 1.615, 8}, profile{ladder, 18, 0, 19}, profile{one_slow, 18, 8.45, 50}}) {
    auto const n = f.times.size();
    std::uint64_t delay = 0;
    auto least_mean = 1e9;
    auto const loop = plain_loop{problem::quadratic::random(n, 3, 9), f.times};
    auto const rule = [&](plain_loop& l) {
      auto r = ringleader_loop{l};
      r.longest = &delay;
      r.least_mean = &least_mean;
      return r;
    };
    agrees<node>(with_step<node>(0.05), loop, rule, 500s);
    CHECK(delay == f.delay);
    CHECK(delay == 2 * n - 2);
    if (f.least_mean > 0) CHECK(least_mean == Approx(f.least_mean).margin(5e-3));
    double longest = 0;
    auto const seen = watched<node>(loop.p, f.times, with_step<node>(0.05), 500s);
    for (auto k = 2 * n; k < seen.versions; k += n)
      longest = std::max(longest, to_seconds(seen.stepped_at[k] - seen.stepped_at[k - n]));
    CHECK(longest == Approx(f.round).epsilon(1e-6));
  }
  CHECK(ends_at<node>(with_step<node>(0.1), 2000s) == Approx(best).epsilon(1e-10));
}

auto table_rule(plain_loop& l, double gamma, std::function<double(std::uint64_t)> factor) {
  auto const n = l.times.size();
  return [&l, gamma, factor = std::move(factor), n, table = std::vector<vec>(n),
          versions = std::vector<std::uint64_t>(n, 0)](std::size_t i, plain_loop::job const& job) mutable {
    table[i] = l.gradient(i, job.at);
    versions[i] = job.version;
    vec mean(l.x.size(), 0.0);
    for (auto const& g : table) {
      if (g.empty()) return false;
      for (std::size_t c = 0; c < mean.size(); ++c) mean[c] += g[c] / static_cast<double>(n);
    }
    l.move(gamma * factor(l.version - *std::min_element(versions.begin(), versions.end())), mean);
    return true;
  };
}

TEST_CASE("(Du.M) (Du.X) dude_asgd steps along the mean of its table, without drift, to the optimum") {
  using node = dude_asgd<host>;
  auto const rule = [](plain_loop& l) { return table_rule(l, 0.02, [](auto) { return 1.0; }); };
  agrees<node>(with_step<node>(0.02), five(), rule, 60s);
  agrees<node>(with_step<node>(0.02), five(), rule, 6000s, 15000);
  CHECK(ends_at<node>(with_step<node>(0.05), 2000s) == Approx(5.230769230769234).epsilon(1e-13));
}

TEST_CASE("(Pi.W) the steps that a gradient overlaps sum to at most gamma, by both rules, with their golden values") {
  vec const ages{0, 1, 2, 3, 1, 0, 1, 2, 2, 0};
  vec const remaining{0.9, 0.09, 0.009, 0.0009, 0.89919, 0.9, 0.09, 0.009, 0.8109, 0.9},
      equal{1, 0, 0, 0, 0.5, 1, 0, 0, 1.0 / 3, 1};
  for (auto const by : {server::step_window::remaining, server::step_window::equal}) {
    server::detail::window_rule rule;
    for (std::size_t k = 0; k < ages.size(); ++k)
      CHECK(rule.next(by, 0.9, static_cast<std::uint64_t>(ages[k])) ==
            Approx((by == server::step_window::equal ? equal : remaining)[k]).epsilon(1e-12));
    server::detail::window_rule any;
    vec steps;
    std::uint64_t age = 0;
    for (std::uint64_t k = 0; k < 500; ++k) {
      age = std::min(age + 1, random_stream{{5, k}}.below(40));
      steps.push_back(any.next(by, 0.7, age));
      double sum = 0;
      for (auto j = k - std::min(k, age); j <= k; ++j) sum += steps[j];
      REQUIRE(sum <= 1 + 1e-9);
    }
  }
}

TEST_CASE("(Pi.X) piag takes the steps of a plain table by both rules, and ends at the optimum of f + h") {
  for (auto const by : {server::step_window::remaining, server::step_window::equal}) {
    auto o = with_step<piag<host>>(0.3);
    o.aggregation.window = by;
    agrees<piag<host>>(o, five(), [by](plain_loop& l) {
      return table_rule(l, 0.3, [by, steps = vec{}](std::uint64_t age) mutable {
        double before = 0;
        for (auto k = steps.size() - std::min<std::size_t>(age, steps.size()); k < steps.size(); ++k)
          before += steps[k];
        auto const part = 1 / (1.0 + static_cast<double>(age));
        steps.push_back(by == server::step_window::remaining ? 0.9 * std::max(1 - before, 0.0)
                        : part <= 1 - before + 1e-9          ? part
                                                             : 0.0);
        return steps.back();
      });
    });
  }
  auto sparse = with_step<piag<host, prox::l1>>(0.3);
  sparse.step_rule.prox.lambda = 2.0;
  CHECK(ends_at<piag<host, prox::l1>>(sparse, 4000s) == Approx((8.5 - 2) / 1.625).epsilon(1e-9));  // of f + 2 |x|
  sparse.step_rule.prox.lambda = 9.0;
  CHECK(ends_at<piag<host, prox::l1>>(sparse, 4000s) == 0.0);
}

/// The sum s of (Fb.L).
auto local_sum(plain_loop const& l, std::size_t i, vec const& start, int steps, double eta, double mu) -> vec {
  vec y = start, s(start.size(), 0.0);
  for (int q = 0; q < steps; ++q) {
    auto const g = l.gradient(i, y);
    for (std::size_t c = 0; c < y.size(); ++c) {
      s[c] += g[c] + mu * (y[c] - start[c]);
      y[c] = start[c] - eta * s[c];
    }
  }
  return s;
}
/// Jobs of three local steps take three times as long.
auto three_steps() -> plain_loop {
  auto loop = five();
  for (auto& t : loop.times) t *= 3;
  return loop;
}
template<class Node>
auto seen_in_steps(typename Node::options const& o,
                   std::function<bool(std::size_t, plain_loop::job const&)> const& take, plain_loop& loop) {
  auto const seen = watched<Node>(problem_of_five(), uneven(), o, 90s);
  CHECK(seen.versions >= 20);
  loop.run(seen.versions, take);
  for (std::size_t c = 0; c < 3; ++c) CHECK(seen.x[c] == Approx(loop.x[c]).epsilon(1e-12));
}

TEST_CASE("(Fb.L) (Fb.X) fedbuff steps along the weighted mean of K sums of local gradients") {
  using node = fedbuff<host>;
  auto o = with_step<node>(0.05);
  o.aggregation.size = 3;
  o.assignment.count = 3, o.assignment.rate = 0.5, o.assignment.proximal = 0.2;
  auto loop = three_steps();
  seen_in_steps<node>(
      o,
      [&, total = vec(3, 0.0), n = 0](std::size_t i, auto const& job) mutable {
        auto const s = local_sum(loop, i, job.at, 3, 0.025, 0.2);
        auto const w = 1 / std::sqrt(1.0 + static_cast<double>(loop.version - job.version));
        for (std::size_t c = 0; c < 3; ++c) total[c] += w * s[c];
        if (++n < 3) return false;
        n = 0;
        loop.move(0.05 / 3, std::exchange(total, vec(3, 0.0)));
        return true;
      },
      loop);
  using plain = fedbuff<host, weighting::constant>;
  auto one = with_step<plain>(0.05);
  one.aggregation.size = 1;  // with Q = 1 and K = 1 it is asgd
  CHECK(watched<plain>(problem_of_five(), uneven(), one, 60s).x ==
        watched<asgd<host>>(problem_of_five(), uneven(), with_step<asgd<host>>(0.05), 60s).x);
}

TEST_CASE("(Fa.X) fedasync mixes the model of a worker's local steps into the server's") {
  using node = fedasync<host>;
  auto o = with_step<node>(0.05);
  o.aggregation.alpha = 0.4;
  o.assignment.count = 3, o.assignment.proximal = 0.2;
  auto loop = three_steps();
  seen_in_steps<node>(
      o,
      [&](std::size_t i, auto const& job) {
        auto const s = local_sum(loop, i, job.at, 3, 0.05, 0.2);
        auto const a = 0.4 / std::sqrt(1.0 + static_cast<double>(loop.version - job.version));
        for (std::size_t c = 0; c < 3; ++c) loop.x[c] = (1 - a) * loop.x[c] + a * (job.at[c] - 0.05 * s[c]);
        return true;
      },
      loop);
}

TEST_CASE(
    "(Ad.M) (Ad.X) async_diloco moves by each result, and by its momentum at every N-th, with its golden values") {
  auto space = host{};
  auto const after = [&](server::delayed_nesterov const& its, vec const& results) {
    server::delayed_nesterov::state<host> state{its, 2};
    vec x{1};
    for (auto const d : results) {
      auto const along = state.take(space, backend::copied(space, &d, 1).publish(), 1, {});
      x.push_back(x.back() - along->share * along->values[0]);
    }
    return x;
  };
  auto const trace = after({}, {0.5, -0.2, 0.3, 0.1});
  auto const golden = vec{1, 0.825, 0.8005, 0.6955, 0.44945};
  for (std::size_t t = 0; t < 5; ++t) CHECK(trace[t] == Approx(golden[t]).epsilon(1e-14));
  CHECK(after({.size = 5}, vec(5, 1.0)).back() == Approx(1 - 0.7 * (1 + 0.9)).epsilon(1e-14));  // one Nesterov step
  CHECK(after({.size = 5, .early = 0.2}, vec(5, 1.0))[1] == Approx(1 - 0.7 / 5).epsilon(1e-14));  // no momentum yet
  CHECK(after({.size = 2, .early = 0.25}, {1, 1, 1, 1}).back() ==
        Approx(1 - 0.7 * (2 + 0.75 * 0.9 + 0.25 * 0.9 + 0.75 * 0.9 * 1.9)).epsilon(1e-14));
  using node = async_diloco<host>;
  auto o = with_step<node>(0.05);
  o.aggregation = {.size = 3, .rate = 0.6, .beta = 0.8};
  o.assignment.count = 3;
  auto loop = three_steps();
  seen_in_steps<node>(
      o,
      [&, sum = vec(3, 0.0), m = vec(3, 0.0), n = 0](std::size_t i, auto const& job) mutable {
        auto const s = local_sum(loop, i, job.at, 3, 0.05, 0);
        auto const renews = ++n % 3 == 0;
        for (std::size_t c = 0; c < 3; ++c) {
          sum[c] += s[c];
          if (renews) m[c] = 0.8 * m[c] + std::exchange(sum[c], 0.0) / 3;
          loop.x[c] -= 0.6 * 0.05 * (s[c] / 3 + (renews ? 0.8 * m[c] : 0.0));
        }
        return true;
      },
      loop);
  auto plain = with_step<node>(0.05);
  plain.aggregation = {.size = 1, .rate = 1, .beta = 0};  // with H = 1 it is asgd
  CHECK(watched<node>(problem_of_five(), uneven(), plain, 60s).x ==
        watched<asgd<host>>(problem_of_five(), uneven(), with_step<asgd<host>>(0.05), 60s).x);
  CHECK(ends_at<node>(with_step<node>(0.0005), 8000s) == Approx(2.1).margin(0.01));  // the mean by frequency
}

TEST_CASE("(Ss.V) (Ss.H) async_diloco gives slow workers fewer local steps, by the speeds that its server measures") {
  using node = async_diloco<host, weighting::constant, step::sgd, server::steps_by_speed>;
  auto o = with_step<node>(0.02);
  o.aggregation = {.size = 3, .rate = 0.6, .beta = 0};
  o.assignment.count = 6;
  auto loop = five();
  auto const seconds = loop.times;
  auto steps = std::vector<int>(5, 6);
  for (std::size_t i = 0; i < 5; ++i) loop.times[i] = 6 * seconds[i] * (1 + 1e-9 * static_cast<double>(i));
  auto fastest = 0.0;
  seen_in_steps<node>(
      o,
      [&](std::size_t i, auto const& job) {
        loop.move(0.6 * 0.02 / 3, local_sum(loop, i, job.at, steps[i], 0.02, 0));
        auto const second = seconds[i] * (1 + 1e-9 * static_cast<double>(i));
        fastest = std::max(fastest, 1 / second);
        steps[i] = std::max(1, static_cast<int>(6 / second / fastest));
        loop.times[i] = steps[i] * second;
        return true;
      },
      loop);
  CHECK(steps == std::vector<int>{2, 6, 2, 5, 1});  // worker 3 is slower than worker 1 by 2e-9

  auto state = server::steps_by_speed::state{o.assignment, 2};
  CHECK(state.steps_of(0) == 6);
  state.measured(0, 6, 0ns);  // nothing was measured
  state.measured(1, 6, 6s);
  CHECK(state.steps_of(0) == 6);
  state.measured(0, 6, 12s);
  CHECK(state.steps_of(0) == 3);
  state.measured(0, 3, 1900ms);  // half of it counts: (0.5 + 1.58) / 2 steps a second
  CHECK(state.steps_of(0) == 6);
  CHECK(state.steps_of(1) == 5);
  state.leaves(0);  // who is gone slows nobody down, and is measured anew
  CHECK(state.steps_of(0) == 6);
  CHECK(state.steps_of(1) == 6);
}

/// What a worker says to its second job, of which its server tells it this number of local steps.
auto said_to(std::optional<std::uint64_t> steps) -> std::string {
  using node = async_diloco<host, weighting::constant, step::sgd, server::steps_by_speed>;
  auto o = with_step<node>(0.02);
  o.assignment.count = 2;
  auto a = assemble<node>(topology::star(2), problem::quadratic::random(2, 3, 9), o);
  outbox out, answer, seen;
  a.nodes[2].start({}, answer);
  a.nodes[0].start({}, out);
  for (auto k = 0; k < 2; ++k) {
    auto const asked = *std::exchange(out.request, std::nullopt);
    a.nodes[0].on_gradient({}, a.oracle.evaluate(asked), out);
  }
  REQUIRE(out.packets.size() == 1);
  a.nodes[2].on_patch({}, patch_of(out.packets[0], {0, 1}), answer);
  REQUIRE(answer.packets.size() == 1);
  auto model = answer.packets[0];
  CHECK(model.extra.count(scalar_slot::sample_count) == 2);
  model.extra = {};
  if (steps) model.extra.set(scalar_slot::sample_count, *steps);
  a.nodes[0].on_patch({}, patch_of(model, {0, 1}), seen);
  return seen.failure ? seen.failure->sentence : std::string{};
}

TEST_CASE("a worker refuses a job without a number of local steps, or with more than were agreed") {
  CHECK(said_to(1).empty());
  CHECK(says(said_to(std::nullopt), "node 2, gave a job of 0 local steps, where 1 to 2 are agreed"));
  CHECK(says(said_to(3), "gave a job of 3 local steps"));
}

TEST_CASE("(Dc.C) (Dc.A) dc_asgd corrects a late gradient by how far the model has moved, with its golden values") {
  auto space = host{};
  auto const one = [&](double v) { return backend::copied(space, &v, 1).publish(); };
  auto const x = one(1.5), given = one(1), g = one(3);
  auto const after = [&](server::delay_compensated const& its) {
    server::delay_compensated::state<host> state{its, 2};
    auto const along = state.take(space, g, 1, {.worker = 1, .model = &x, .given = &given});
    return 1.5 - 0.1 * along->share * along->values[0];
  };
  CHECK(after({}) == Approx(1.182).epsilon(1e-12));
  CHECK(after({.form = server::compensation::adaptive, .lambda = 2}) == Approx(-0.141640637428700).epsilon(1e-12));
  using node = dc_asgd<host>;
  for (auto const form : {server::compensation::constant, server::compensation::adaptive}) {
    auto o = with_step<node>(0.05);
    o.aggregation = {.form = form, .lambda = 0.1, .keep = 0.9};
    agrees<node>(o, five(), [form](plain_loop& l) {
      return [&l, form, q = std::vector<vec>(5, vec(3, 0.0))](std::size_t i, auto const& job) mutable {
        auto d = l.gradient(i, job.at);
        for (std::size_t c = 0; c < 3; ++c) {
          q[i][c] = 0.9 * q[i][c] + 0.1 * d[c] * d[c];
          auto const lambda = form == server::compensation::constant ? 0.1 : 0.1 / std::sqrt(q[i][c] + 1e-7);
          d[c] += lambda * d[c] * d[c] * (l.x[c] - job.at[c]);
        }
        l.move(0.05, d);
        return true;
      };
    });
    o.aggregation.lambda = 0;
    CHECK(watched<node>(problem_of_five(), uneven(), o, 60s).x ==
          watched<asgd<host>>(problem_of_five(), uneven(), with_step<asgd<host>>(0.05), 60s).x);
  }
}

TEST_CASE("(Cl.X) clipped_asgd shortens each gradient to its limit before it moves the model") {
  using node = clipped_asgd<host>;
  auto o = with_step<node>(0.05);
  o.step_rule = step::clipped_by_norm<>{step::sgd{}, 0.8};
  agrees<node>(o, five(), [](plain_loop& l) {
    return [&l](std::size_t i, auto const& job) {
      auto const g = l.gradient(i, job.at);
      auto const norm = std::sqrt(g[0] * g[0] + g[1] * g[1] + g[2] * g[2]);
      l.move(0.05 * std::min(1.0, 0.8 / norm), g);
      return true;
    };
  });
}

TEST_CASE("(No.M) naive_optimal_asgd computes on the m fastest workers, and the gradients of the others move nothing") {
  auto const chosen = [](vec const& times, double noise) {
    auto f = server::fastest_workers{.times = times, .noise = noise};
    f.resolve_options(times.size());
    std::vector<int> is_chosen;
    for (std::size_t i = 0; i < times.size(); ++i) is_chosen.push_back(f.takes(i));
    return is_chosen;
  };
  CHECK(chosen({1, 2, 4, 8}, 0) == std::vector<int>{1, 0, 0, 0});  // costs 1, 1.33, 1.71, 2.13
  CHECK(chosen({8, 2, 4, 1}, 3) == std::vector<int>{0, 1, 0, 1});  // costs 4, 3.33, 3.43, 3.73 with m = 1 to 4
  CHECK(chosen({1, 1, 1}, 0.5) == std::vector<int>{1, 1, 1});
  using node = naive_optimal_asgd<host>;
  auto o = with_step<node>(0.05);
  o.acceptance.times = uneven();
  o.acceptance.noise = 4;
  auto f = o.acceptance;
  f.resolve_options(5);
  agrees<node>(o, five(), [f](plain_loop& l) {
    return [&l, f](std::size_t i, auto const& job) {
      if (!f.takes(i)) return false;
      l.move(0.05, l.gradient(i, job.at));
      return true;
    };
  });
  auto const seen = watched<node>(problem_of_five(), uneven(), o, 60s);
  for (std::size_t i = 0; i < 5; ++i) CHECK((seen.weights[i].uses > 0) == f.takes(i));
  // who is not taken waits for nothing, so no patience ends the run for its sake
  auto made = assemble<node>(topology::star(5), problem_of_five(), o);
  for (std::size_t i = 0; i < 5; ++i) {
    outbox out;
    made.nodes[i].start({}, out);
    auto const g = made.oracle.evaluate(*out.request);
    out.clear();
    made.nodes[i].on_gradient({}, g, out);
    CHECK(out.packets.size() == 1);
    CHECK(out.wait.has_value() == f.takes(i));
  }
}

TEST_CASE("the policies of server methods refuse invalid settings, each in a sentence") {
  auto const refused = [](auto node, auto const& set) {
    using type = typename decltype(node)::type;
    return refusal([&] {
      auto o = with_step<type>(0.1);
      set(o);
      static_cast<void>(assemble<type>(topology::star(4), four_workers(), o));
    });
  };
  using std::type_identity;
  CHECK(says(refused(type_identity<delay_adaptive_asgd<host>>{}, [](auto& o) { o.weight.share = -1; }),
             "share of a late gradient"));
  CHECK(says(refused(type_identity<piag<host>>{}, [](auto& o) { o.aggregation.alpha = 1; }), "alpha of a step window"));
  CHECK(says(refused(type_identity<fedbuff<host>>{}, [](auto& o) { o.assignment.count = 0; }),
             "at least one local step"));
  CHECK(says(refused(type_identity<fedbuff<host>>{}, [](auto& o) { o.assignment.rate = -1; }), "rate of local steps"));
  CHECK(says(refused(type_identity<fedbuff<host>>{}, [](auto& o) { o.assignment.proximal = -1; }), "proximal term"));
  CHECK(says(refused(type_identity<fedasync<host>>{}, [](auto& o) { o.aggregation.alpha = 1.5; }), "alpha of mixed"));
  CHECK(says(refused(type_identity<fedasync<host>>{}, [](auto& o) { o.assignment.rate = 0.5; }), "rate 1, not 0.5"));
  using delayed = type_identity<async_diloco<host>>;
  CHECK(says(refused(delayed{}, [](auto& o) { o.aggregation.rate = 0; }), "rate of an outer step"));
  CHECK(says(refused(delayed{}, [](auto& o) { o.aggregation.beta = 1; }), "beta of momentum"));
  CHECK(says(refused(delayed{}, [](auto& o) { o.aggregation.early = 0.3; }), "must lie in 0 to 1/N"));
  CHECK(says(refused(delayed{}, [](auto& o) { o.assignment.rate = 2; }), "local steps of rate 1, not 2"));
  CHECK(says(refused(delayed{}, [](auto& o) { o.assignment.count = 0; }), "at least one local step"));
  CHECK(says(refused(delayed{}, [](auto& o) { o.assignment.grace = -1s; }), "a grace period lasts 0 or more, not -1s"));
  using paced = type_identity<async_diloco<host, weighting::constant, step::sgd, server::steps_by_speed>>;
  CHECK(says(refused(paced{}, [](auto& o) { o.assignment.count = 0; }), "at least one local step"));
  CHECK(says(refused(paced{}, [](auto& o) { o.assignment.factor = 0; }), "factor of a moving average"));
  CHECK(says(refused(type_identity<dc_asgd<host>>{}, [](auto& o) { o.aggregation.lambda = -1; }), "lambda of delay"));
  CHECK(says(refused(type_identity<dc_asgd<host>>{}, [](auto& o) { o.aggregation.keep = 1; }), "mean square"));
  CHECK(says(refused(type_identity<naive_optimal_asgd<host>>{}, [](auto& o) { o.acceptance.times = {1, 2, -1, 4}; }),
             "computation time of worker 2 must be above 0"));
  CHECK(says(refused(type_identity<naive_optimal_asgd<host>>{}, [](auto& o) { o.acceptance.noise = -1; }), "noise"));
  CHECK(refused(type_identity<malenia_sgd<host>>{}, [](auto& o) { o.aggregation.size = 40; }).empty());
}

/// The warnings of seven seconds, within which the first three of four workers end 7, 3 and 1 jobs.
template<class Node>
auto warned(std::size_t size = 0) -> std::string {
  auto o = with_step<Node>(0.1);
  if constexpr (requires { o.aggregation.size; }) {
    if (size > 0) o.aggregation.size = size;
  }
  std::string all;
  for (auto const& w : watched<Node>(four_workers(), four_times(), o, 7s).result.warnings) all += w;
  return all;
}

TEST_CASE("a server that got gradients and made no step says so, whatever it waited for") {
  auto const none = "the server took 11 gradients and made no step, so its model is still the first one";
  CHECK(says(warned<rennala_sgd<host>>(100), none));
  CHECK(says(warned<malenia_sgd<host>>(), none));
  CHECK(says(warned<ringleader_asgd<host>>(), none));
  CHECK(says(warned<dude_asgd<host>>(), none));
  CHECK(says(warned<m_synchronous_sgd<host>>(), "the server took 3 gradients and made no step"));
  CHECK(warned<rennala_sgd<host>>(11).empty());
  CHECK(warned<asgd<host>>().empty());
}

}  // namespace
}  // namespace rubato::test
