// SPDX-License-Identifier: MIT
// Orders in which a server gives jobs, on the four workers of server_scenes.hpp: times 1, 2, 4, 8, optimum of the mean
// 68/13.
#include <rubato/algorithm/asgrad.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <numeric>
#include <string>
#include <vector>

#include <rubato/algorithm/asgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>
#include <rubato/server/drawn_order.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"
#include "support/server_scenes.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using host = backend::host<double>;
using node_type = asgrad<host>;
using server::job_order;

auto with(job_order order, std::size_t wait = 1, double gamma = 0.02) -> node_type::options {
  node_type::options o;
  o.step = gamma;
  o.scale = step_scale::raw;
  o.seed = 7;
  o.assignment.order = order;
  o.assignment.wait = wait;
  return o;
}

/// Nanoseconds as the simulated workers take them, with what decides ties.
auto four_ticks() -> std::vector<std::int64_t> { return {1'000'000'000, 2'000'000'002, 4'000'000'008, 8'000'000'024}; }

/// The method with a queue of models a worker, whose first is being worked at.
struct plain_queues {
  struct job {
    double at;
    std::uint64_t version;
  };
  server::drawn_order::state order;
  std::size_t wait;
  double gamma;
  std::vector<std::deque<job>> queues = std::vector<std::deque<job>>(4, std::deque<job>{{0, 0}});
  std::vector<std::int64_t> ends = four_ticks();
  std::vector<std::uint64_t> counts = std::vector<std::uint64_t>(4, 0);
  double x = 0;

  void run(std::uint64_t versions) {
    auto const p = four_workers();
    for (std::uint64_t k = 0; k < versions; ++k) {
      auto i = queues.size();
      for (std::size_t j = 0; j < queues.size(); ++j)
        if (!queues[j].empty() && (i == queues.size() || ends[j] < ends[i])) i = j;
      auto const now = ends[i];
      x -= gamma * p.curvature(i, 0) * (queues[i].front().at - p.centre(i, 0));
      queues[i].pop_front();
      ++counts[i];
      if (!queues[i].empty()) ends[i] = now + four_ticks()[i];
      for (auto const to : order(i)) {
        if (queues[to].empty()) ends[to] = now + four_ticks()[to];
        queues[to].push_back({x, k + 1});
      }
      REQUIRE(jobs() + wait > 4);  // those that wait for others to arrive are not given yet
      REQUIRE(jobs() <= 4);
    }
  }
  [[nodiscard]] auto jobs() const -> std::size_t {
    return std::accumulate(queues.begin(), queues.end(), std::size_t{0},
                           [](std::size_t sum, auto const& q) { return sum + q.size(); });
  }
};

TEST_CASE("(Ag.R) (Ag.S) (Ag.B) (As.A) jobs go in a plain loop's order, queue at busy workers, and stay equally many") {
  for (auto const order : {job_order::pure, job_order::random, job_order::shuffled}) {
    for (std::size_t const wait : {1U, 3U}) {
      auto const o = with(order, wait);
      auto const seen = watched<node_type>(four_workers(), four_times(), o, 400s);
      plain_queues loop{{o.assignment, 4, o.seed}, wait, o.step};
      loop.run(seen.versions);
      INFO(name_of(order) << ", " << wait);
      CHECK(seen.versions > 100);
      CHECK(seen.x[0] == Approx(loop.x).epsilon(1e-12));
      for (std::size_t i = 0; i < 4; ++i) CHECK(seen.weights[i].uses == loop.counts[i]);
    }
  }
}

TEST_CASE("shuffled and random jobs end near the optimum of the mean at the slowest worker's rate, pure ones do not") {
  auto const late_mean = [](job_order order, double rate) {
    auto const seen =
        watched<node_type>(four_workers(), four_times(), with(order, 1, 0.005), 40000s, tuned::by_id, 6000);
    CHECK(static_cast<double>(seen.versions) / 40000 == Approx(rate).epsilon(0.02));
    return seen.late_mean();
  };
  auto const best = 68.0 / 13;
  CHECK(late_mean(job_order::shuffled, 0.5) == Approx(best).margin(0.02));
  CHECK(late_mean(job_order::random, 0.5) == Approx(best).margin(0.15));
  CHECK(late_mean(job_order::pure, 1.875) == Approx(2.1).margin(0.01));
}

TEST_CASE("in pure order asgrad is asgd, bit for bit") {
  asgd<host>::options o;
  o.step = 0.02;
  o.scale = step_scale::raw;
  o.seed = 7;
  CHECK(watched<node_type>(four_workers(), four_times(), with(job_order::pure), 200s).x ==
        watched<asgd<host>>(four_workers(), four_times(), o, 200s).x);
}

TEST_CASE(
    "the queue of a worker that leaves goes to others, and more jobs at once than there are workers are refused") {
  auto a = assemble<node_type>(topology::star(2), problem::quadratic::random(2, 3, 1), with(job_order::shuffled));
  auto& server = a.nodes.back();
  outbox out;
  std::vector<packet> gradients;
  for (std::size_t i = 0; i < 2; ++i) {
    out.clear();
    a.nodes[i].start({}, out);
    auto const asked = *out.request;
    out.clear();
    a.nodes[i].on_gradient({}, a.oracle.evaluate(asked), out);
    gradients.push_back(out.packets.at(0));
  }
  out.clear();
  server.start({}, out);
  auto order = server::drawn_order::state{with(job_order::shuffled).assignment, 2, 7};
  auto const first = order(0)[0];  // the same draws as the server's
  auto const busy = first == 0 ? std::size_t{1} : std::size_t{0};
  out.clear();
  hand_over(server, gradients[busy], a.blocks.blocks(), out);  // its job goes to the other, which has one: it queues
  CHECK(out.packets.empty());
  out.clear();
  server.on_neighbours({}, {to_node(first), neighbour_change::edge::closes, {1, 1}, {1, 1}}, out);
  REQUIRE(out.packets.size() == 1);
  CHECK(out.packets[0].to == to_node(busy));
  CHECK(out.packets[0].based_on == iteration{1});
  out.clear();
  server.on_neighbours({}, {to_node(first), neighbour_change::edge::opens, {1, 2}, {1, 2}}, out);
  REQUIRE(out.packets.size() == 1);  // again two jobs for two workers
  CHECK((out.packets[0].to == to_node(first) && out.packets[0].based_on == iteration{1}));

  auto const refused = [](std::size_t wait) {
    return refusal([&] {
      static_cast<void>(assemble<node_type>(topology::star(4), four_workers(), with(job_order::pure, wait)));
    });
  };
  CHECK(refused(4).empty());
  CHECK(says(refused(5), "jobs cannot be given 5 at a time to 4 workers"));
  CHECK(says(refused(0), "jobs cannot be given 0 at a time"));
}

/// A server whose workers' gradients come, and whose workers leave and return, in any order.
struct unsteady_workers {
  assembly a;
  std::vector<packet> jobs{};  // of open workers, each the newest model that it was sent
  std::vector<std::uint32_t> session = std::vector<std::uint32_t>(4, 0);
  std::vector<bool> there = std::vector<bool>(4, true);
  std::uint64_t late = 0, arrived = 0;  // sum of delays
  outbox out{};

  explicit unsteady_workers(assembly made) : a{std::move(made)} {
    a.nodes.back().start({}, out);
    for (std::size_t i = 0; i < 4; ++i) jobs.emplace_back().to = to_node(i);
  }
  auto version() -> std::uint64_t { return a.nodes.back().statistics().iterations; }
  void take_jobs() {
    REQUIRE_FALSE(out.failure);
    for (auto const& p : out.packets) {
      REQUIRE(there[to_index(p.to)]);
      REQUIRE(std::ranges::none_of(jobs, [&](packet const& j) { return j.to == p.to; }));
      jobs.push_back(p);
    }
    out.clear();
  }
  void arrive(std::size_t which) {
    auto const job = jobs[which];
    jobs.erase(jobs.begin() + static_cast<std::ptrdiff_t>(which));
    late += version() - to_count(job.based_on);
    ++arrived;
    packet g;
    g.from = job.to, g.to = node_id{4}, g.channel = channel_id::gradient, g.number = iteration{arrived};
    g.session = {session[to_index(job.to)], session[to_index(job.to)]};
    g.based_on = job.based_on;
    g.body = a.nodes[0].estimate();
    g.extra.set(scalar_slot::duration_ns, std::uint64_t{1});
    hand_over(a.nodes.back(), g, a.blocks.blocks(), out);
    take_jobs();
  }
  void change(std::size_t worker) {
    std::erase_if(jobs, [&](packet const& j) { return to_index(j.to) == worker; });
    auto const what = there[worker] ? neighbour_change::edge::closes : neighbour_change::edge::opens;
    if (!there[worker]) ++session[worker];
    there[worker] = !there[worker];
    auto const at = session_id{session[worker], session[worker]};
    a.nodes.back().on_neighbours({}, {to_node(worker), what, at, at}, out);
    take_jobs();
  }
};

TEST_CASE("(Ag.B) the server waits for no more jobs than are under way, and has never more than workers") {
  for (auto const order : {job_order::pure, job_order::random, job_order::shuffled}) {
    for (std::size_t const wait : {1U, 3U, 4U}) {
      INFO(name_of(order) << ", " << wait);
      unsteady_workers w{assemble<node_type>(topology::star(4), four_workers(), with(order, wait))};
      random_stream draw{wait};
      for (int event = 0; event < 2000; ++event) {
        if (w.jobs.empty() || draw.below(4) == 0) w.change(draw.below(4));
        else w.arrive(draw.below(w.jobs.size()));
        REQUIRE(w.jobs.empty() == std::ranges::none_of(w.there, [](bool here) { return here; }));
      }
      for (std::size_t i = 0; i < 4; ++i)
        if (!w.there[i]) w.change(i);
      w.late = w.arrived = 0;
      for (int event = 0; event < 4000; ++event) w.arrive(draw.below(w.jobs.size()));
      if (wait == 1) CHECK(static_cast<double>(w.late) / 4000 == Approx(3).epsilon(0.01));  // n - 1: there are n jobs
    }
  }
}

}  // namespace
}  // namespace rubato::test
