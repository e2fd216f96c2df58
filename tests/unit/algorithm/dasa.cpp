// SPDX-License-Identifier: MIT
// DASA against the plainest loop over jobs, and at roots of functions that are no gradients.
#include <rubato/algorithm/dasa.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/asgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/policy_evaluation.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/refusal.hpp"
#include "support/server_scenes.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using host = backend::host<double>;
using node = dasa<host>;
using vec = std::vector<double>;

/// The newest direction of each worker and where it was made; moves x after every `arrivals`-th.
struct plain_half {
  plain_loop& loop;
  std::size_t arrivals;
  std::size_t smallest = 99, largest = 0;  // M
  std::vector<vec> made = std::vector<vec>(5), at = std::vector<vec>(5);
  std::size_t arrived = 0;

  auto operator()(std::size_t i, plain_loop::job const& job) -> bool {
    made[i] = loop.gradient(i, job.at);
    at[i] = job.at;
    if (++arrived < arrivals) return false;
    arrived = 0;
    vec e(5, std::numeric_limits<double>::infinity()), known;
    for (std::size_t j = 0; j < 5; ++j) {
      if (made[j].empty()) continue;
      e[j] = std::hypot(loop.x[0] - at[j][0], loop.x[1] - at[j][1], loop.x[2] - at[j][2]);
      known.push_back(e[j]);
    }
    std::sort(known.begin(), known.end());
    vec sum(3, 0.0);
    std::size_t count = 0;
    for (std::size_t j = 0; j < 5; ++j) {
      if (!(e[j] <= known[(known.size() - 1) / 2] * (1 + 1e-12))) continue;
      ++count;
      for (std::size_t c = 0; c < 3; ++c) sum[c] += made[j][c];
    }
    smallest = std::min(smallest, count), largest = std::max(largest, count);
    loop.move(0.05 / static_cast<double>(count), sum);
    return true;
  }
};

TEST_CASE("(Ds.H) (Ds.E) (Ds.M) (Ds.X) dasa moves along the mean of the fresher half, as a plain loop does") {
  for (std::size_t const arrivals : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
    auto o = with_step<node>(0.05);
    o.aggregation.arrivals = arrivals;
    auto loop = plain_loop{problem_of_five(), uneven()};
    auto const seen = watched<node>(loop.p, loop.times, o, 90s);
    CHECK(seen.versions >= 20);
    auto half = plain_half{loop, arrivals == 0 ? 5 : arrivals};
    loop.run(seen.versions, [&](std::size_t i, auto const& job) { return half(i, job); });
    for (std::size_t c = 0; c < 3; ++c) CHECK(seen.x[c] == Approx(loop.x[c]).epsilon(1e-12).margin(1e-13));
    CHECK(half.smallest <= 3);
    if (arrivals != 1) CHECK(half.largest > 3);  // models that several were given count alike
  }
}

/// h(x) = b - A x + 0.1 s with A = (2, 1; -1, 1), b = (1, 0) and s = +-1, which changes its sign after a sample with
/// chance 0.2. The root is (1/3, 1/3). s is redrawn with chance 0.4, so it is that of the last sample that drew it.
struct signed_root {
  [[nodiscard]] static auto dimension() -> std::size_t { return 2; }
  template<class Backend>
  auto gradient(Backend&, std::span<double const> x, sample_key key, std::span<double> g) const -> double {
    auto draw = random_stream{key};
    while (!draw.chance(0.4) && key.draw > 0) {
      --key.draw;
      draw = random_stream{key};
    }
    auto const s = draw.chance(0.5) ? 0.1 : -0.1;
    g[0] = 2 * x[0] + x[1] - 1 - s;
    g[1] = x[1] - x[0] - s;
    return 0;
  }
};

/// The mean square distance from the root over many steps, with n agents of mean times 1 to 4.
auto mean_square(std::size_t n, std::uint64_t steps) -> double {
  struct onlooker : simulation_trace {
    std::uint64_t from = 0, seen = 0, versions = 0;
    double sum = 0;
    void after_event(instant, node_id who, std::span<any_node const> nodes) override {
      if (to_index(who) + 1 != nodes.size() || nodes.back().statistics().iterations == versions) return;
      if (++versions <= from) return;
      auto const x = nodes.back().estimate().view<double>();
      ++seen;
      sum += (x[0] - 1.0 / 3) * (x[0] - 1.0 / 3) + (x[1] - 1.0 / 3) * (x[1] - 1.0 / 3);
    }
  };
  auto s = environment::scenario{.compute = environment::lognormal(1s, 0.5), .measure_every = 1h};
  for (std::uint32_t i = 0; i < n; ++i) s.compute = s.compute.slow(i, 1.0 + i % 4);
  onlooker look;
  look.from = 400;
  auto const end = until{.time = std::chrono::seconds{2 * (steps + 400)}};  // a step takes about two
  simulate(assemble<node>(topology::star(n), signed_root{}, with_step<node>(0.02)), s, end, {.trace = &look});
  REQUIRE(look.seen > steps / 2);
  return look.sum / static_cast<double>(look.seen);
}

TEST_CASE("dasa gains linearly in the number of agents, though samples are correlated and directions are late") {
  for (auto const& [n, steps] : {std::pair{4U, 3000U}, {12U, 2000U}, {36U, 1200U}}) {
    CAPTURE(n);
    CHECK(n * mean_square(n, steps) == Approx(7.6e-4).epsilon(0.35));
  }
}

TEST_CASE("dasa finds what states are worth, by temporal differences of chains that each agent follows") {
  auto const p = problem::policy_evaluation::random(12, 4, 3, {.discount = 0.8, .restart = 0.1});
  auto const s = environment::scenario{.compute = environment::lognormal(1s, 1.0).slow(2, 5.0)};
  auto const r = simulate(assemble<node>(topology::star(8), p, with_step<node>(0.02)), s, {.time = 6000s});
  host b;
  auto const zero = p.loss(b, std::span<double const>{vec(4, 0.0)});
  double late = 0;
  for (std::size_t k = 150; k < r.history.size(); ++k)
    late += r.history[k].loss / static_cast<double>(r.history.size() - 150);
  CHECK(late < zero / 20);
  CHECK(distance({r.models[0].view<double>().begin(), r.models[0].view<double>().end()}, p.root()) <
        distance(vec(4, 0.0), p.root()) / 4);
}

TEST_CASE("an agent that dies counts no more, however many do, and one that returns takes part again") {
  auto const p = problem::quadratic{std::vector<vec>(4, {1, 2}), {{4, -3}, {4, -3}, {4, -3}, {4, -3}}};
  auto const weather = environment::scenario{.compute = environment::fixed(10ms),
                                             .link = {.latency = 1ms},
                                             .restarts = {{node_id{1}, 1s, 1s}, {node_id{2}, 500ms, 1h}}};
  auto const r = simulate(assemble<node>(topology::star(4), p, with_step<node>(0.05)), weather, {.time = 8s});
  CHECK(distance({r.models[0].view<double>().begin(), r.models[0].view<double>().end()}, {4, -3}) < 1e-6);
  CHECK(r.nodes[1].gradients > 400);
  auto most = weather;
  most.restarts = {{node_id{1}, 50ms, 1h}, {node_id{2}, 70ms, 1h}, {node_id{3}, 90ms, 1h}};
  auto const alone = simulate(assemble<node>(topology::star(4), p, with_step<node>(0.05)), most, {.time = 30s});
  CHECK(distance({alone.models[0].view<double>().begin(), alone.models[0].view<double>().end()}, {4, -3}) < 1e-6);
}

}  // namespace
}  // namespace rubato::test
