// SPDX-License-Identifier: MIT
#include <rubato/run/options_by_node.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/weighting/polynomial.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using gossiping = d_psgd<space, step::momentum>;
using tracking = r_fast<backend::host<float>, step::momentum, weighting::polynomial>;
auto const data = problem::quadratic::random(4, 5, 42);

template<class Node, class O>
auto made(O const& options) -> assembly {
  return assemble<Node>(topology::ring(4), data, options);
}
template<class Node, class O>
auto refused(O const& options) -> std::string {
  return refusal([&] { static_cast<void>(made<Node>(options)); });
}
/// What node 2 is told by one whose run has the first of these options, if it has the second.
template<class Node, class Mine, class Theirs>
auto difference(Mine const& mine, Theirs const& theirs) -> std::string {
  return wire::difference(made<Node>(mine).agreed.text(), made<Node>(theirs).agreed.text(), "node 2");
}

TEST_CASE("a function and a table give each node its own options, and d_psgd follows x+ = W x - diag(gamma) g(x)") {
  using node_type = d_psgd<space>;
  auto const step_of = [](node_id i) { return 0.02 * (1.0 + static_cast<double>(to_index(i))); };
  auto const by_function = [&](node_id i) { return node_type::options{.step = step_of(i)}; };
  std::vector<node_type::options> table(4);
  for (std::size_t i = 0; i < 4; ++i) table[i] = by_function(to_node(i));
  auto a = made<node_type>(by_function), b = made<node_type>(table);
  CHECK(a.agreed.text() == b.agreed.text());
  CHECK(a.step == 0.08);
  auto nodes = lockstep{std::move(a)};
  auto const dense = dense_network{node_type::make_plan(topology::ring(4))};
  Eigen::VectorXd gamma(4);
  for (std::size_t i = 0; i < 4; ++i) gamma(index_of(i)) = step_of(to_node(i));
  matrix x = matrix::Zero(4, 5);
  auto worst = 0.0;
  for (int k = 0; k < 200; ++k) {
    for (std::size_t i = 0; i < 4; ++i) worst = std::max(worst, distance(nodes.point(i), row(x, i)));
    nodes.round();
    x = dense.w * x - gamma.asDiagonal() * gradients(data, x);
  }
  CHECK(worst < 1e-12);
  // In weather, to the same end, and a node that is made once more has its own options again.
  auto const end = gossip_fixed_point(data, dense.w, 1, matrix(gamma.asDiagonal()));
  auto const result = simulate(std::move(b),
                               {.compute = environment::lognormal(10ms, 0.5),
                                .link = {.latency = 3ms, .loss = 0.2},
                                .restarts = {{node_id{3}, 500ms, 50ms}}},
                               {.time = 60s});
  for (std::size_t i = 0; i < 4; ++i) {
    std::vector<double> model;
    rubato::detail::widen(result.models[i], model);
    CHECK(distance(model, row(end, i)) < 1e-9);
  }
}

TEST_CASE("r_fast ends at the optimum of the sum even if every node has its own step, momentum and weighting") {
  using node_type = r_fast<space, step::momentum, weighting::polynomial>;
  auto const options = [](node_id i) {
    auto const k = static_cast<double>(to_index(i));
    return node_type::options{
        .step = 0.004 * (1 + k), .step_rule = step::momentum{0.2 * k}, .weighting = weighting::polynomial{0.1 * k}};
  };
  auto const scenario =
      environment::scenario{.compute = environment::lognormal(10ms, 0.5), .link = {.latency = 3ms, .loss = 0.2}};
  auto const result = simulate(assemble<node_type>(topology::ring(4), data, options), scenario, {.time = 400s});
  for (auto const& body : result.models) {
    std::vector<double> model;
    rubato::detail::widen(body, model);
    CHECK(distance(model, data.optimum()) < 1e-8);
  }
}

TEST_CASE("a table of equal options is the same as one set of options: equal text, equal bits") {
  auto const same = [](node_id) { return tracking::options{.step = 0.01, .seed = 3}; };
  auto one = assemble<tracking>(topology::ring(4), data, {.step = 0.01, .seed = 3});
  auto many = made<tracking>(same);
  CHECK(one.agreed.text() == many.agreed.text());
  CHECK(one.options == many.options);
  auto const scenario =
      environment::scenario{.compute = environment::lognormal(10ms, 0.5), .link = {.latency = 3ms, .loss = 0.2}};
  auto const a = simulate(std::move(one), scenario, {.time = 2s}),
             b = simulate(std::move(many), scenario, {.time = 2s});
  for (std::size_t i = 0; i < 4; ++i) {
    auto const left = a.models[i].view<float>(), right = b.models[i].view<float>();
    CHECK(std::equal(left.begin(), left.end(), right.begin(), right.end()));
  }
}

TEST_CASE("processes compare the table of all nodes, and the refusal names the option and the node") {
  auto const table = [](double of_node_1, double beta = 0.9) {
    return [=](node_id i) {
      return gossiping::options{.step = i == node_id{1} ? of_node_1 : 0.1,
                                .step_rule = step::momentum{i == node_id{3} ? beta : 0.9},
                                .contribution = {i == node_id{0} ? std::size_t{4} : 1}};
    };
  };
  CHECK(
      says(made<gossiping>(table(0.2)).agreed.text(), "step of node 0=0.1\nstep of node 1=0.2\nstep of node 2=0.1\n"));
  CHECK(says(made<gossiping>(table(0.2)).agreed.text(), "contribution mini-batches of node 0=4\n"));
  CHECK(made<gossiping>(table(0.2)).agreed.id() == made<gossiping>(table(0.2)).agreed.id());
  CHECK(difference<gossiping>(table(0.2), table(0.3)) == "node 2 has step of node 1 0.3, but this node has 0.2");
  CHECK(difference<gossiping>(table(0.2, 0.5), table(0.2, 0.7)) ==
        "node 2 has step rule beta of node 3 0.7, but this node has 0.5");
  CHECK(difference<gossiping>(table(0.2), table(0.1)) == "node 2 says nothing of step of node 0, which is 0.1 here");
  auto const a = made<gossiping>(table(0.2));
  CHECK(identity_of(a, node_id{0}).agreed.id() == identity_of(a, node_id{3}).agreed.id());
}

TEST_CASE("options that edges or the whole run depend on are refused if they differ") {
  auto const only_2 = [](auto const& change) {
    return [=](node_id i) {
      typename tracking::options o{};
      if (i == node_id{2}) change(o);
      return o;
    };
  };
  CHECK(refused<tracking>(only_2([](auto& o) { o.ledger.exponents = {9}; }))
            .find("node 2 has ledger exponents 9, but "
                  "node 0 has ") == 0);
  CHECK(refused<tracking>(only_2([](auto& o) { o.ledger.margin = 4; })) ==
        "node 2 has ledger margin 4, but node 0 has 8: R-FAST needs this option to be the same for all nodes");
  CHECK(says(refused<tracking>(only_2([](auto& o) { o.seed = 7; })), "node 2 has seed 7, but node 0 has 0"));
  CHECK(says(refused<tracking>(only_2([](auto& o) { o.block_values = 64; })), "node 2 has block values 64"));
  CHECK(refused<tracking>(only_2([](auto& o) { o.step = 0.05; })).empty());
  // Replicas are equal only if all make the same step.
  using ring = ring_allreduce_sgd<space>;
  CHECK(says(refused<ring>([](node_id i) { return ring::options{.step = i == node_id{1} ? 0.2 : 0.1}; }),
             "node 1 has step 0.2, but node 0 has 0.1: "));
  CHECK(refused<ring>(std::vector<ring::options>(4)).empty());
  CHECK(refused<ring>(std::vector<ring::options>(3)) == "the table of options is for 3 nodes, and the run has 4");
  CHECK(says(refused<gossiping>([](node_id i) { return gossiping::options{.step = i == node_id{1} ? -1.0 : 0.1}; }),
             "the step must be a positive number, not -1"));
}

TEST_CASE("the table of a thousand nodes is also compared, in a few lines that group neighbouring ids") {
  using node_type = ad_psgd<space>;
  auto const to_text = [](double of_node_777) {
    auto const options = [=](node_id i) {
      return node_type::options{.step = i == node_id{777} ? of_node_777 : 0.001 * static_cast<double>(to_index(i) + 1)};
    };
    return assemble<node_type>(topology::ring(1000), problem::quadratic::random(1000, 2, 1), options).agreed.text();
  };
  auto const mine = to_text(0.5), theirs = to_text(0.25);
  CHECK(mine.size() < 6000);
  auto const sentence = wire::difference(mine, theirs, "node 2");
  INFO(sentence);
  CHECK(says(sentence, "node 2 has step of nodes 768 to 783 hash "));
}

}  // namespace
}  // namespace rubato::test
