// SPDX-License-Identifier: MIT
// A server's grace period, by async_diloco: against a plain list of jobs, and where workers leave in it.
#include <rubato/server/with_grace.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <rubato/algorithm/async_diloco.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/server_scenes.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using host = backend::host<double>;
using vec = std::vector<double>;

/// asgd by a plain list of jobs, whose workers wait for the end of a window of `grace` seconds.
auto with_windows(plain_loop loop, double grace, std::uint64_t count) -> vec {
  constexpr auto never = 1e300;
  auto window = never;
  for (auto const t : loop.times) loop.jobs.push_back({t, loop.x, 0});
  auto const next = [&] {
    return std::ranges::min_element(loop.jobs, [](auto const& a, auto const& b) { return a.ends < b.ends; });
  };
  while (loop.version < count) {
    auto const first = next();
    auto now = first->ends;
    if (now < window) {
      auto const i = static_cast<std::size_t>(first - loop.jobs.begin());
      loop.move(0.05, loop.gradient(i, first->at));
      ++loop.version;
      first->ends = never;
      if (window == never) window = now + grace;
      if (next()->ends < never) continue;
    } else {
      now = window;
    }
    window = never;
    for (std::size_t i = 0; i < loop.times.size(); ++i)
      if (loop.jobs[i].ends == never) loop.jobs[i] = {now + loop.times[i], loop.x, loop.version};
  }
  return loop.x;
}

TEST_CASE("(Wg.O) (Wg.E) workers whose results come in one window go on at one model, as in a plain list of jobs") {
  using node = async_diloco<host>;
  auto loop = plain_loop{problem_of_five(), uneven()};
  for (std::size_t i = 0; i < 5; ++i) loop.times[i] *= 1 + 1e-9 * static_cast<double>(i);  // as tuned::by_id
  for (auto const grace : {0.31, 1.73, 100.0}) {
    auto o = with_step<node>(0.05);
    o.aggregation = {.size = 1, .rate = 1, .beta = 0};  // asgd
    o.assignment.grace = std::chrono::nanoseconds{std::llround(1e9 * grace)};
    auto const seen = watched<node>(problem_of_five(), uneven(), o, 60s);
    CHECK(seen.versions >= 20);
    auto const x = with_windows(loop, grace, seen.versions);
    for (std::size_t c = 0; c < 3; ++c) CHECK(seen.x[c] == Approx(x[c]).epsilon(1e-12));
    if (grace == 100) CHECK(seen.versions == 8 * 5 + 4);  // everybody waits for everybody, 7 s, and for no longer
  }
  using paced = async_diloco<host, weighting::constant, step::sgd, server::with_grace<server::steps_by_speed>>;
  auto o = with_step<paced>(0.02);
  o.assignment.count = 6, o.assignment.grace = 500ms;
  CHECK(watched<paced>(problem_of_five(), uneven(), o, 60s).versions >= 20);
}

TEST_CASE("a window of grace ends when its last worker leaves, and an edge that opens sets a new wake-up") {
  using node = async_diloco<host>;
  auto o = with_step<node>(0.05);
  o.assignment.grace = 2s;
  auto a = assemble<node>(topology::star(3), problem::quadratic::random(3, 3, 9), o);
  outbox out, seen;
  a.nodes[3].start({}, seen);
  a.nodes[0].start({}, out);
  a.nodes[0].on_gradient({}, a.oracle.evaluate(*out.request), out);
  a.nodes[3].on_patch({}, patch_of(out.packets[0], {0, 1}), seen);
  CHECK(seen.packets.empty());
  REQUIRE(seen.wakeups.size() == 1);
  auto const due = seen.wakeups[0];
  CHECK(due.at == instant{} + 2s);
  auto const change = [&](std::uint32_t i, neighbour_change::edge what) {
    seen.clear();
    a.nodes[3].on_neighbours(instant{} + 1s, {node_id{i}, what, {1, 2}, {2, 1}}, seen);
  };
  change(1, neighbour_change::edge::closes);
  CHECK((seen.packets.empty() && seen.wakeups.size() == 1));  // node 2 may still come
  change(1, neighbour_change::edge::opens);
  REQUIRE((seen.packets.size() == 1 && seen.wakeups.size() == 1));
  CHECK((seen.wakeups[0].id == due.id && seen.wakeups[0].at == instant{} + 3s));
  change(1, neighbour_change::edge::closes);
  change(2, neighbour_change::edge::closes);
  REQUIRE((seen.packets.size() == 1 && seen.wakeups.empty()));
  CHECK(seen.packets[0].to == node_id{0});
  seen.clear();
  a.nodes[3].on_wakeup(due.at, due, seen);  // of a window that has ended
  CHECK(seen.empty());
}

}  // namespace
}  // namespace rubato::test
