// SPDX-License-Identifier: MIT
#include <rubato/algorithm/low_precision_d_psgd.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include <rubato/algorithm/dcd_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/codec/natural.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/compressed.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using exact = low_precision_d_psgd<backend::host<double>, codec::identity>;
using bytes = low_precision_d_psgd<backend::host<float>>;
using problem::quadratic;

/// Nodes by their own type, so that their replicas can be examined; events in a random order that keeps links ordered.
template<class Node>
struct by_hand {
  by_hand(topology::pair const& network, quadratic const& p, std::uint64_t seed) : draw{seed} {
    typename Node::options o{};
    o.step = 0.2;
    auto const plan = Node::make_plan(network);
    auto shared = assemble<Node>(plan, p, o);
    oracle = shared.oracle;
    auto x0 = shared.nodes[0].estimate();
    for (std::size_t i = 0; i < p.nodes(); ++i) {
      nodes.push_back(Node{{}, plan, to_node(i), x0, o});
      history.push_back({x0});
    }
    asked.resize(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      nodes[i].start({}, out);
      drain(i);
    }
  }

  /// A gradient comes, or the oldest message of some link does.
  void event() {
    auto const pick = draw.below(nodes.size() + links.size());
    if (pick < nodes.size()) {
      if (!asked[pick].point) return;
      auto const g = oracle.evaluate(std::exchange(asked[pick], {}));
      nodes[pick].on_gradient({}, g, out);
      drain(pick);
      return;
    }
    auto const p = links[pick - nodes.size()];
    auto const older =
        std::find_if(links.begin(), links.end(), [&](auto const& q) { return q.from == p.from && q.to == p.to; });
    auto const first = *older;
    links.erase(older);
    patch arrived{first.from,      first.to, first.channel,      first.session, first.based_on,
                  first.posted_at, {0, 1},   {&first.number, 1}, first.body,    first.extra};
    nodes[to_index(first.to)].on_patch({}, arrived, out);
    drain(to_index(first.to));
  }

  void drain(std::size_t i) {
    if (out.request) {
      asked[i] = std::move(*out.request);
      if (nodes[i].statistics().iterations == history[i].size()) history[i].push_back(nodes[i].estimate());
    }
    for (auto& p : out.packets) links.push_back(std::move(p));
    out.clear();
  }

  problem::any_oracle oracle;
  std::vector<Node> nodes;
  std::vector<gradient_request> asked;
  std::vector<packet> links;
  std::vector<std::vector<shared_buffer>> history;  // the published model of each node, by round
  random_stream draw;
  outbox out;
};

template<class Node>
void replicas_stay_equal(topology::pair const& network) {
  using scalar = typename Node::scalar;
  auto const n = network.pull().nodes();
  by_hand<Node> h{network, quadratic::random(n, 133, 4, {.noise = 0.3}), 17};
  auto const plan = Node::make_plan(network);
  std::uint64_t compared = 0, moved = 0;
  for (int k = 0; k < 6000; ++k) {
    h.event();
    for (std::size_t i = 0; i < n; ++i) {
      for (auto const& e : plan.nodes[i].pull_from) {
        auto const [values, round] = h.nodes[i].replica_of(e.peer);
        auto const own = h.history[to_index(e.peer)].at(round).template view<scalar>();
        REQUIRE(std::equal(values.begin(), values.end(), own.begin(), own.end()));
        ++compared;
        moved += round > 20 ? 1U : 0U;
      }
    }
  }
  CHECK(compared > 6000);
  CHECK(moved > 1000);
}

TEST_CASE(
    "(D.W) a model and its replicas at all neighbours are equal bit for bit, round by round, in any order of events") {
  replicas_stay_equal<bytes>(topology::ring(4));
  replicas_stay_equal<bytes>(topology::star(5));
  replicas_stay_equal<exact>(topology::binary_tree(5));
}

TEST_CASE("(D.Z) without compression a round is x <- W x - gamma g(x)") {
  for (auto const& network : {topology::pair{topology::ring(5)}, topology::pair{topology::star(4)}}) {
    auto const p = quadratic::random(network.pull().nodes(), 6, 3);
    auto const w = dense_network{exact::make_plan(network)}.w;
    lockstep run{assemble<exact>(network, p, {.step = 0.2})};
    matrix x = matrix::Zero(w.rows(), 6);
    for (int k = 0; k < 30; ++k) {
      run.round();
      x = (w * x - 0.2 * gradients(p, x)).eval();
      for (std::size_t i = 0; i < p.nodes(); ++i) REQUIRE(distance(run.point(i), row(x, i)) < 1e-12);
    }
  }
}

TEST_CASE("(D.Q) in bytes it ends where D-PSGD ends: differences fade, and their rounding with them") {
  for (auto const& network : {topology::pair{topology::ring(8)}, topology::pair{topology::binary_tree(8)}}) {
    auto const p = quadratic::random(8, 70, 6, {.spread = 1, .condition = 4});
    lockstep run{assemble<bytes>(network, p, {.step = 0.2})};
    for (int k = 0; k < 400; ++k) run.round();
    auto const w = dense_network{bytes::make_plan(network)}.w;
    auto const expected = gossip_fixed_point(p, w, 0.2, matrix::Identity(8, 8));
    for (std::size_t i = 0; i < 8; ++i) {
      CHECK(distance(row(expected, i), p.optimum()) > 0.05);
      CHECK(distance(run.point(i), row(expected, i)) < 1e-4);
    }
  }
}

TEST_CASE("with a third of packets lost and uneven speeds every difference still counts once") {
  auto const p = quadratic::random(6, 10, 8, {.spread = 1, .condition = 4});
  auto const network = topology::pair{topology::ring(6)};
  auto const result = simulate(
      assemble<bytes>(network, p, {.step = 0.2}),
      {.compute = environment::lognormal(10ms, 0.5).slow(2, 4.0), .link = {.latency = 2ms, .loss = 0.3}, .seed = 2},
      {.time = 40s});
  auto const w = dense_network{bytes::make_plan(network)}.w;
  auto const expected = gossip_fixed_point(p, w, 0.2, matrix::Identity(6, 6));
  for (std::size_t i = 0; i < 6; ++i) {
    std::vector<double> x;
    rubato::detail::widen(result.models[i], x);
    CHECK(distance(x, row(expected, i)) < 1e-4);
  }
  for (auto const& e : result.edges) CHECK(e.values_sent == e.packets_sent * (10 + 8));
}

TEST_CASE("a node names the neighbour whose difference it waits for, and a changed edge ends the run with a sentence") {
  auto a = assemble<exact>(topology::ring(3), quadratic::random(3, 4, 1), {.step = 0.1});
  outbox out;
  a.nodes[0].start({}, out);
  for (int k = 0; k < 2; ++k) {
    auto const asked = std::exchange(out.request, {});
    out.clear();
    REQUIRE(asked);
    a.nodes[0].on_gradient({}, a.oracle.evaluate(*asked), out);
  }
  REQUIRE(out.wait);
  CHECK(*out.wait == waiting{node_id{1}, channel_id::model, iteration{1}});
  neighbour_change change;
  change.peer = node_id{2};
  a.nodes[0].on_neighbours({}, change, out);
  REQUIRE(out.failure);
  CHECK(says(out.failure->sentence, "node 2 left a run on compressed differences"));
}

TEST_CASE("a difference of the wrong size, or out of order, ends the run, naming its sender") {
  auto const said_of = [](std::uint64_t number, std::size_t values) {
    auto a = assemble<exact>(topology::ring(3), quadratic::random(3, 4, 1), {.step = 0.1});
    return complaint_of_size<double>(a, node_id{1}, channel_id::model, number, values);
  };
  CHECK(said_of(1, 4).empty());
  CHECK(said_of(1, 3) == "node 1 sent 3 values in one message, where 4 are right");
  CHECK(says(said_of(2, 4), "message 2 of node 1 came where message 1 was next"));
}

TEST_CASE("DCD-PSGD: golden values of two rounds, and it ends where D-PSGD ends") {
  using node = dcd_sgd<backend::host<double>, fifteen_levels>;
  lockstep run{assemble<node>(topology::ring(4), golden_problem{}, {.step = 0.05, .scale = step_scale::raw})};
  run.round();
  run.round();
  CHECK(distance(run.point(0), {-0.231292517006803, 0.089455782312925, 0.154761904761905}) < 1e-12);
  auto const p = quadratic::random(5, 20, 6, {.spread = 1, .condition = 4});
  using halves = dcd_sgd<backend::host<double>>;
  lockstep fine{assemble<halves>(topology::ring(5), p, {.step = 0.2})};
  for (int k = 0; k < 600; ++k) fine.round();
  auto const expected =
      gossip_fixed_point(p, dense_network{halves::make_plan(topology::ring(5))}.w, 0.2, matrix::Identity(5, 5));
  for (std::size_t i = 0; i < 5; ++i) CHECK(distance(fine.point(i), row(expected, i)) < 1e-12);
}

TEST_CASE("DCD-PSGD refuses a codec that is too coarse for the graph, and low_precision_d_psgd tries it") {
  auto const sentence = [](topology::digraph const& network) {
    using node = dcd_sgd<backend::host<double>, codec::natural>;
    return refusal([&] {
      static_cast<void>(assemble<node>(topology::pair{network}, quadratic::random(network.nodes(), 9, 1), {}));
    });
  };
  CHECK(sentence(topology::complete(8)).empty());  // rho = 0, mu = 1: less than 1/2
  CHECK(says(sentence(topology::ring(4)),
             "leaves out up to 0.35355 of a difference of 9 values, where DCD-PSGD on this "
             "graph bears less than 0.25"));  // (1 - 1/3) / (2 4/3)
  CHECK(says(sentence(topology::ring(20)), "use a finer codec, a graph that mixes faster, or choco_sgd"));
  CHECK(rubato::detail::most_relative_error(exact::make_plan(topology::ring(1))) > 1e300);
}

TEST_CASE("weights that are not symmetric are refused with the two nodes") {
  auto plan = exact::make_plan(topology::ring(4));
  plan.nodes[1].pull_to = {node_id{2}};
  auto const sentence =
      refusal([&] { static_cast<void>(assemble<exact>(plan, quadratic::random(4, 4, 1), {.step = 0.1})); });
  CHECK(says(sentence, "node 1 averages the model of node 0, which does not average its"));
}

}  // namespace
}  // namespace rubato::test
