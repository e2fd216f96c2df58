// SPDX-License-Identifier: MIT
// Nodes in rounds whose edges close and open in the middle of a run, at either end at a time of its own and whatever
// round the ends are in: the law holds exactly, nobody stands still, and all end where an undisturbed run ends.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/dsgt.hpp>
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/synchrony/bounded_staleness.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/conservation_checker.hpp"
#include "support/dense.hpp"
#include "support/every_algorithm.hpp"
#include "support/for_all.hpp"
#include "support/short_runs.hpp"
#include "support/shuffled.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using enum neighbour_change::edge;
using exact = backend::host<float>;
using reference = backend::host<double>;

template<class Order>
using in_rounds = gradient_tracking<exact, Order, step::sgd, weighting::constant, synchrony::rounds>;

struct edge_ends {
  std::size_t a;
  std::size_t b;
  std::uint32_t told_a = 0;
  std::uint32_t told_b = 0;
};

auto edges_of(topology::pair const& network) -> std::vector<edge_ends> {
  std::vector<edge_ends> edges;
  auto const add = [&](topology::digraph const& g) {
    for (auto const e : g.edges()) {
      auto const a = std::min(to_index(e.from), to_index(e.to)), b = std::max(to_index(e.from), to_index(e.to));
      if (std::none_of(edges.begin(), edges.end(), [&](auto const& k) { return k.a == a && k.b == b; }))
        edges.push_back({a, b});
    }
  };
  add(network.pull());
  add(network.push());
  return edges;
}

/// Both ends are told as often; `number` odd: the edge is closed then.
void tell_both(test::shuffled& run, edge_ends& e, std::uint32_t number) {
  for (; e.told_a < number; ++e.told_a) run.change(e.a, e.b, e.told_a % 2 == 0 ? closes : opens, e.told_a + 1);
  for (; e.told_b < number; ++e.told_b) run.change(e.b, e.a, e.told_b % 2 == 0 ? closes : opens, e.told_b + 1);
}

struct limits {
  double within;
  double spread = 1;  // of the centres of the nodes: 0 where a model in the middle of a round is not the one at its end
};

/// Edges close and open forty times; afterwards all are open and everyone goes on. Returns what is left of the law.
template<class Node>
void disturbed(topology::pair const& network, random_stream& gen, std::uint64_t seed, typename Node::options const& o,
               limits const& l) {
  auto const n = network.nodes();
  auto const q = problem::quadratic::random(n, 3, seed, {.spread = l.spread, .condition = 3, .noise = 0});
  auto const law_is_kept = [&](test::shuffled& run, double modulus) {
    for (auto const v : test::law_of(run)) REQUIRE((modulus > 0 ? std::remainder(v, modulus) : v) == 0.0);
  };
  auto run = test::shuffled{assemble<Node>(network, q, o), seed, 0};
  auto edges = edges_of(network);
  run.steps(static_cast<int>(gen.below(200)));
  for (int k = 0; k < 40; ++k) {
    run.steps(static_cast<int>(gen.below(60)));
    auto& e = edges[gen.below(edges.size())];
    auto const first = gen.chance(0.5);
    auto& told = first ? e.told_a : e.told_b;
    if (told > (first ? e.told_b : e.told_a)) continue;  // a session ends at both ends before the next begins
    ++told;
    run.change(first ? e.a : e.b, first ? e.b : e.a, told % 2 == 1 ? closes : opens, told);
    law_is_kept(run, 0x1p32);
  }
  for (auto& e : edges) tell_both(run, e, (std::max(e.told_a, e.told_b) + 1) / 2 * 2);
  law_is_kept(run, 0);
  auto const calm = static_cast<int>(n) * 30'000;
  std::vector<std::uint64_t> before;
  for (auto const& node : run.nodes()) before.push_back(node.statistics().iterations);
  run.steps(calm);
  INFO(network.name() << ", " << n << " nodes");
  REQUIRE(run.failure() == "");
  law_is_kept(run, 0);
  auto undisturbed = test::shuffled{assemble<Node>(network, q, o), seed, 0};
  undisturbed.steps(calm);
  // Debts and late rounds cost time: a disturbed run may need some more to come as near.
  auto const is_there = [&] {
    for (std::size_t i = 0; i < n; ++i) {
      if (!(test::distance(run.model(i), undisturbed.model(i)) < l.within)) return false;
    }
    return true;
  };
  if (!is_there()) run.steps(calm);
  for (std::size_t i = 0; i < n; ++i) {
    REQUIRE(run.nodes()[i].statistics().iterations > before[i] + 500);
    REQUIRE(test::distance(run.model(i), undisturbed.model(i)) < l.within);
  }
}

auto draw_network(random_stream& gen, bool directed) -> topology::pair {
  auto const n = 3 + gen.below(4);
  switch (gen.below(directed ? 5 : 3)) {
    case 0:
      return topology::both(topology::ring(n));
    case 1:
      return topology::both(topology::complete(n));
    case 2:
      return topology::both(topology::line(n));
    case 3:
      return topology::both(topology::directed_ring(n));
    default:
      return topology::binary_tree(n);
  }
}

template<class Node>
void survives(bool directed, limits const& l, typename Node::options o = {}) {
  INFO(Node::name());
  o.step = 0.1;
  test::for_all(test::short_runs() ? 3 : 10, [&](random_stream& gen, std::uint64_t seed) {
    disturbed<Node>(draw_network(gen, directed), gen, seed, o, l);
  });
}

TEST_CASE(
    "in rounds, edges that close and open at random times break no law, and nobody stands still (P.C) (P.W) (S.W) "
    "(S.C)") {
  survives<push_pull<exact>>(true, {1e-4});
  survives<s_ab<exact>>(true, {1e-4});
  survives<dsgt<exact>>(false, {1e-4});
  survives<in_rounds<order::r_fast>>(true, {1e-4});
  survives<in_rounds<order::late_post>>(true, {1e-4});
  survives<gradient_tracking<exact, order::r_fast, step::sgd, weighting::constant, synchrony::bounded_staleness>>(
      true, {1e-4});
}

TEST_CASE(
    "neighbours that average models in rounds go on when an edge opens again, and end where they would have ended "
    "(N.D)") {
  survives<d_psgd<reference>>(false, {1e-8});
  survives<d_psgd_atc<reference>>(false, {1e-8, 0});
  non_blocking_d_psgd<reference>::options o;
  o.contribution.minibatches = 2;
  survives<non_blocking_d_psgd<reference>>(false, {1e-8, 0}, o);
  d_psgd_atc<reference, step::sgd, contribution::finished>::options late;
  late.contribution.minibatches = 2;
  survives<d_psgd_atc<reference, step::sgd, contribution::finished>>(false, {1e-8, 0}, late);
}

/// On a line, node 1 loses its state while 0 and 2 go on for long, each by itself: rounds of 1, 5000 and 300 meet.
template<class Node>
void far_apart(limits const& l) {
  auto const q = problem::quadratic::random(3, 3, 5, {.spread = l.spread, .condition = 3, .noise = 0});
  auto const network = topology::both(topology::line(3));
  auto checker = test::conservation_checker{block_partition{3}};
  auto made = assemble<Node>(network, q, {.step = 0.1});
  auto const tracks = made.nodes[0].channels().size() > 1;
  environment::scenario const weather{
      .compute = environment::fixed(10ms).slow(2, 3.0), .link = {.latency = 1ms}, .restarts = {{node_id{1}, 2s, 20s}}};
  auto const r = simulate(std::move(made), weather, {.time = 60s}, {.trace = tracks ? &checker : nullptr});
  for (auto const& c : checker.complaints()) FAIL_CHECK(c);
  CHECK(checker.worst() == 0.0);
  CHECK(r.nodes[1].iterations < r.nodes[0].iterations - 1000);
  CHECK(r.nodes[1].iterations > 1000);  // 38 s at the pace of node 2
  auto const calm = simulate<Node>(network, q, {.step = 0.1},
                                   {.compute = environment::fixed(10ms), .link = {.latency = 1ms}}, {.time = 30s});
  for (std::size_t i = 0; i < 3; ++i) {
    std::vector<double> x, y;
    rubato::detail::widen(r.models[i], x);
    rubato::detail::widen(calm.models[i], y);
    CHECK(test::distance(x, y) < l.within);
  }
}

TEST_CASE("a node that restarts in round 1 goes on with neighbours that are in other rounds") {
  far_apart<push_pull<exact>>({1e-4});
  far_apart<s_ab<exact>>({1e-4});
  far_apart<dsgt<exact>>({1e-4});
  far_apart<d_psgd<reference>>({1e-8});
  far_apart<d_psgd_atc<reference>>({1e-8, 0});
}

TEST_CASE("Push-Pull and S-AB equal their arrays of actions to the bit where nodes restart") {
  auto const equal = [&]<class Written, class Actions>(std::type_identity<Written>, std::type_identity<Actions>) {
    auto const q = problem::quadratic::random(5, 7, 3, {.spread = 1, .condition = 3, .noise = 0.1});
    environment::scenario const weather{
        .compute = environment::lognormal(10ms, 0.5),
        .link = {.latency = 3ms},
        .restarts = {{node_id{1}, 300ms, 200ms}, {node_id{3}, 401ms, 0ms}, {node_id{1}, 900ms, 7ms}}};
    auto const a = simulate<Written>(topology::exponential(5), q, {.step = 0.02}, weather, {.time = 2s});
    auto const b = simulate<Actions>(topology::exponential(5), q, {.step = 0.02}, weather, {.time = 2s});
    CHECK(a.events == b.events);
    for (std::size_t i = 0; i < a.models.size(); ++i) {
      auto const mine = a.models[i].template view<float>(), theirs = b.models[i].template view<float>();
      CHECK(std::equal(mine.begin(), mine.end(), theirs.begin(), theirs.end()));
    }
  };
  equal(std::type_identity<push_pull<exact>>{}, std::type_identity<in_rounds<order::push_pull>>{});
  equal(std::type_identity<s_ab<exact>>{}, std::type_identity<in_rounds<order::ab>>{});
}

/// Node 2 of a directed ring, which node 0 waits for, is gone for good: 0 runs ahead of 1 as fast as it can.
TEST_CASE("a node whose sender no longer waits uses the newest messages, and nothing piles up") {
  auto const q = problem::quadratic::random(3, 3, 4, {.spread = 1, .condition = 3, .noise = 0});
  auto const run = [&]<class Node>(std::type_identity<Node>) {
    environment::scenario const weather{.compute = environment::fixed(1ms).slow(1, 20.0),
                                        .link = {.latency = 1ms},
                                        .restarts = {{node_id{2}, 1s, 20s}}};
    auto const r = simulate<Node>(topology::both(topology::directed_ring(3)), q, {.step = 0.1}, weather, {.time = 40s});
    CHECK(r.nodes[0].iterations > 2 * r.nodes[1].iterations);
    for (auto const& m : r.models) {
      std::vector<double> x;
      rubato::detail::widen(m, x);
      CHECK(test::distance(x, q.optimum()) < 1e-3);
    }
  };
  run(std::type_identity<push_pull<exact>>{});
  run(std::type_identity<s_ab<exact>>{});
}

/// Workers lose their state, twice while one computes.
template<class Node>
void with_a_server(typename Node::options const& o) {
  auto const q = problem::quadratic::random(3, 3, 4, {.spread = 0, .condition = 2, .noise = 0});
  environment::scenario const weather{.compute = environment::lognormal(10ms, 0.2),
                                      .link = {.latency = 1ms},
                                      .restarts = {{node_id{1}, 2s, 1s}, {node_id{2}, 4s, 0s}, {node_id{1}, 7s, 0s}}};
  auto const r = simulate<Node>(topology::both(topology::ring(3)), q, o, weather, {.time = 20s});
  for (auto const& n : r.nodes) CHECK(n.iterations > 300);
  for (auto const& m : r.models)
    CHECK(test::distance({m.template view<double>().begin(), m.template view<double>().end()}, q.optimum()) < 1e-6);
}

TEST_CASE("restarted workers are accepted by their server (M.X) (As.X)") {
  with_a_server<asgd<reference>>({.step = 0.02});
  with_a_server<ringmaster_asgd<reference>>(
      {.step = 0.02, .acceptance = {.limit = 6, .late = server::late_jobs::stop}});
  with_a_server<m_synchronous_sgd<reference>>({.step = 0.1, .m = 2});
  with_a_server<async_diloco<reference>>({.step = 0.01, .assignment = {{.count = 2}, 5ms}});
  with_a_server<quorum_diloco<reference>>({.step = 0.02, .m = 2, .grace = 5ms, .work = {.count = 2}});
}

TEST_CASE("in every algorithm a restarted node is accepted, or the run ends with a sentence that names it") {
  auto const q = problem::quadratic::random(3, 3, 4, {.spread = 0, .condition = 2, .noise = 0});
  environment::scenario const weather{
      .compute = environment::fixed(10ms), .link = {.latency = 1ms}, .restarts = {{node_id{1}, 2s, 1s}}};
  std::vector<std::string> ended;
  test::for_every_algorithm(topology::both(topology::ring(3)), q, [&](std::string const& name, auto const& make) {
    INFO(name);
    try {
      auto const r = simulate(make(), weather, {.time = 20s});
      for (auto const& n : r.nodes) CHECK(n.iterations > 200);
      for (auto const& m : r.models) {
        std::vector<double> x;
        rubato::detail::widen(m, x);
        CHECK(test::distance(x, q.optimum()) < 2e-3);
      }
    } catch (run_error const& e) {
      CHECK(std::string{e.what()}.find("node 1") != std::string::npos);
      ended.push_back(name);
    }
  });
  std::sort(ended.begin(), ended.end());
  CHECK(ended == std::vector<std::string>{"async_model_average",
                                          "beer",
                                          "bucketed_allreduce_sgd",
                                          "byte_grad",
                                          "c_gt",
                                          "choco_sgd",
                                          "dcd_sgd",
                                          "deepsqueeze",
                                          "diloco",
                                          "extra",
                                          "lead",
                                          "local_sgd",
                                          "low_precision_d_psgd",
                                          "m_synchronous_sgd",
                                          "non_blocking_allreduce",
                                          "osgp",
                                          "post_local_sgd",
                                          "power_sgd",
                                          "push_diging",
                                          "qadam",
                                          "quorum_diloco",
                                          "rasgp",
                                          "ring_allreduce_sgd",
                                          "scatter_allreduce_sgd",
                                          "sgp",
                                          "slowmo",
                                          "sparse_loco",
                                          "streaming_diloco"});
}

}  // namespace
