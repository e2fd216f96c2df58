// SPDX-License-Identifier: MIT
// A model that several servers share, each a range of its values: what they do together is what one server does.
#include <rubato/algorithm/server_sgd.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/asgrad.hpp>
#include <rubato/algorithm/async_diloco.hpp>
#include <rubato/algorithm/clipped_asgd.hpp>
#include <rubato/algorithm/dasa.hpp>
#include <rubato/algorithm/dude_asgd.hpp>
#include <rubato/algorithm/fedbuff.hpp>
#include <rubato/algorithm/malenia_sgd.hpp>
#include <rubato/algorithm/rennala_sgd.hpp>
#include <rubato/algorithm/rescaled_asgd.hpp>
#include <rubato/algorithm/ringmaster_asgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/report/limit_weights.hpp>
#include <rubato/run/result.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/wire/frame.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/refusal.hpp"
#include "support/server_scenes.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using host = backend::host<double>;
using vec = std::vector<double>;

auto wide_problem() -> problem::quadratic { return problem::quadratic::random(5, 384, 9); }
auto values_of(shared_buffer const& b) -> vec { return {b.view<double>().begin(), b.view<double>().end()}; }

template<class Node>
auto run_with(std::size_t servers, typename Node::options o, environment::scenario const& s,
              std::chrono::nanoseconds time) -> run_result {
  o.servers = servers;
  o.scale = step_scale::raw;
  return simulate(assemble<Node>(topology::star(5), wide_problem(), o), s, {.time = time});
}

/// Without links several servers take the same gradients in the same order as one.
template<class Node>
void same_with_several(typename Node::options o, bool recomputes = false) {
  o.step = 0.02;
  auto const s = taking(uneven(), tuned::by_id);
  auto const one = run_with<Node>(1, o, s, 80s);
  REQUIRE(one.models.size() == 1);
  for (std::size_t const servers : {std::size_t{2}, std::size_t{4}}) {
    auto const several = run_with<Node>(servers, o, s, 80s);
    REQUIRE(several.models.size() == servers);
    CHECK(several.models[0].size() % 64 == 0);
    auto const x = values_of(joined(several.models)), right_x = values_of(one.models[0]);
    REQUIRE(x.size() == 384);
    auto differs = std::size_t{0}, far_off = std::size_t{0};
    for (std::size_t c = 0; c < 384; ++c) {
      differs += x[c] != right_x[c] ? 1U : 0U;
      far_off += std::abs(x[c] - right_x[c]) > 1e-13 ? 1U : 0U;
    }
    CHECK(far_off == 0);
    if (!recomputes) CHECK(differs == 0);  // bit for bit
    CHECK(several.history.back().loss == Approx(one.history.back().loss).epsilon(1e-12));
    for (std::size_t i = 5; i < 5 + servers; ++i) CHECK(several.nodes[i].iterations == one.nodes[5].iterations);
    auto const weights = report::measured_weights(several), right = report::measured_weights(one);
    REQUIRE(weights.size() == right.size());
    for (std::size_t i = 0; i < right.size(); ++i) CHECK(weights[i].limit == Approx(right[i].limit));
  }
}

TEST_CASE("(As.S) servers that share a model do together what one server does") {
  same_with_several<asgd<host>>({});
  same_with_several<rescaled_asgd<host>>({});
  same_with_several<dude_asgd<host>>({}, true);  // parts of its mean, against rounding: other parts at other times
  typename fedbuff<host>::options local;
  local.aggregation.size = 3;
  local.assignment.count = 2;
  same_with_several<fedbuff<host>>(local);
  same_with_several<ringmaster_asgd<host>>({.acceptance = {.limit = 4, .late = server::late_jobs::finish}});
}

TEST_CASE("what workers read of several servers is torn by a few versions, and the optimum is reached nevertheless") {
  auto const s =
      environment::scenario{.compute = environment::lognormal(10ms, 0.5), .link = {.latency = 5ms, .jitter = 5ms}};
  auto const r = run_with<dude_asgd<host>>(3, {.step = 0.05}, s, 40s);
  CHECK(distance(values_of(joined(r.models)), wide_problem().optimum()) < 1e-6);
  std::uint64_t torn = 0, largest = 0;
  for (auto const& e : r.edges) {
    if (e.channel != channel_id::model || to_index(e.to) >= 5) continue;
    CHECK(e.weights.uses > 1000);
    torn += e.weights.delay_total;
    largest = std::max(largest, e.weights.delay_largest);
  }
  CHECK(torn > 0);
  CHECK(largest <= 10);  // two rounds of five workers
}

TEST_CASE("a worker that loses its state is given the values of all servers, and the dead one is missed by none") {
  auto const s = environment::scenario{.compute = environment::lognormal(10ms, 0.5),
                                       .link = {.latency = 1ms, .jitter = 1ms},
                                       .restarts = {{node_id{1}, 2s, 1s}, {node_id{3}, 4s, 0s}, {node_id{4}, 10s, 1h}}};
  auto const p = problem::quadratic{std::vector<vec>(5, vec(300, 1.5)), std::vector<vec>(5, vec(300, 2.0))};
  auto const r = simulate(assemble<asgd<host>>(topology::star(5), p, {.step = 0.1, .servers = 3}), s, {.time = 20s});
  CHECK(distance(values_of(joined(r.models)), p.optimum()) < 1e-6);
  CHECK(r.nodes[1].gradients > 1000);
}

TEST_CASE("on threads, too, several servers share a model") {
  auto const p = problem::quadratic{std::vector<vec>(3, vec(200, 1.5)), std::vector<vec>(3, vec(200, 2.0))};
  auto const r = run_threads(assemble<asgd<host>>(topology::star(3), p, {.step = 0.1, .servers = 2}),
                             {.compute = environment::fixed(0ms)}, {.time = 1min, .gradients = 3000});
  CHECK(distance(values_of(joined(r.models)), p.optimum()) < 1e-6);
  CHECK(r.history.back().loss == Approx(p.minimum()).margin(1e-9));
}

/// Virtual gradients a second of workers that compute for 10 ms, through machines of 1 Mbit/s.
auto rate_with(std::size_t servers) -> double {
  auto s = environment::scenario{.compute = environment::fixed(10ms), .machine_bits_per_second = 1e6};
  auto const r = run_with<asgd<host>>(servers, {.step = 0.01}, s, 20s);
  return static_cast<double>(r.nodes[5].gradients) / 20;
}

TEST_CASE("where the machine of one server limits the rate of gradients, two servers take nearly twice as many") {
  auto const one = rate_with(1), two = rate_with(2);
  auto const bytes = 384 * 8 + wire::header_bytes;
  CHECK(one == Approx(1e6 / 8 / static_cast<double>(bytes)).epsilon(0.02));
  CHECK(two > 1.85 * one);  // twice the headers
  CHECK(two < 2 * one);
}

/// The sentence with which Node is refused with that many servers.
template<class Node>
auto refused(typename Node::options o, std::size_t servers = 2) -> std::string {
  o.servers = servers;
  return refusal([&] { static_cast<void>(assemble<Node>(topology::star(5), wide_problem(), o)); });
}

TEST_CASE("a method that is about whole gradients or one version is refused with several servers") {
  CHECK(refused<asgd<host>>({}).empty());
  CHECK(
      says(refused<rennala_sgd<host>>({}), "2 servers cannot share this method's model: its acceptance, current only"));
  CHECK(says(refused<malenia_sgd<host>>({}), "is about one version of the whole model; give 1 server"));
  CHECK(says(refused<dasa<host>>({}), "its aggregation, fresh half, decides about whole gradients"));
  CHECK(says(refused<asgrad<host>>({}), "each would draw another order of workers"));
  using paced = async_diloco<host, weighting::constant, step::sgd, server::steps_by_speed>;
  CHECK(says(refused<paced>({}), "each would give a worker another number of steps"));
  CHECK(says(refused<clipped_asgd<host>>({}), "needs the norm of the whole gradient"));
  CHECK(says(refused<ringmaster_asgd<host>>({.acceptance = {.late = server::late_jobs::stop}}),
             "one would stop jobs that others still accept"));
  CHECK(refused<asgd<host>>({}, 6).empty());
  CHECK(says(refused<asgd<host>>({}, 7), "has 6 blocks of 64 values, which 7 servers cannot share"));
  CHECK(says(refused<asgd<host>>({.block_values = 128}, 4), "has 3 blocks of 128 values"));
  CHECK(says(refused<asgd<host>>({}, 3'000'000), "at most 10000 servers, not 3000000"));
  CHECK(says(refused<asgd<host>>({}, 0), "at least 1 server, not 0"));
}

}  // namespace
}  // namespace rubato::test
