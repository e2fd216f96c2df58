// SPDX-License-Identifier: MIT
#include <rubato/algorithm/bipartite_ad_psgd.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/alone.hpp"
#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using node_type = bipartite_ad_psgd<space>;
using problem::quadratic;

auto active_of(topology::pair const& network) -> std::vector<std::size_t> {
  std::vector<std::size_t> all;
  for (auto const& n : node_type::make_plan(network).nodes)
    if (n.part != mixing::role::passive) all.push_back(to_index(n.self));
  return all;
}

TEST_CASE("the larger side of a bipartite graph is active, and of two equal ones that of node 0") {
  CHECK(active_of(topology::ring(6)) == std::vector<std::size_t>{0, 2, 4});
  CHECK(active_of(topology::star(4)) == std::vector<std::size_t>{1, 2, 3});
  CHECK(active_of(topology::line(5)) == std::vector<std::size_t>{0, 2, 4});
  CHECK(active_of(topology::binary_tree(7)) == std::vector<std::size_t>{0, 3, 4, 5, 6});
  CHECK(active_of(topology::line(1)) == std::vector<std::size_t>{0});
}

TEST_CASE("a graph that is not bipartite is refused with an odd cycle, and a plan without sides with two neighbours") {
  auto const q = quadratic::random(5, 1, 1);
  auto const why = refusal([&] { static_cast<void>(assemble<node_type>(topology::ring(5), q, {})); });
  CHECK(says(why, "a cycle of odd length: 2 - 1 - 0 - 4 - 3. ad_psgd takes any graph"));
  auto const complete = refusal([&] { static_cast<void>(node_type::make_plan(topology::complete(4))); });
  CHECK(says(complete, "a cycle of odd length: 1 - 0 - 2"));
  auto const plain = mixing::gossip_plan(topology::line(5));
  CHECK(says(refusal([&] { static_cast<void>(assemble<node_type>(plain, q, {})); }),
             "nodes 0 and 1 are neighbours and both active: make the plan with mixing::with_sides"));
  CHECK(assemble<node_type>(mixing::with_sides(plain), q, {}).nodes.size() == 5);
}

/// Any packet that is first on its edge or any gradient may be next; beside it the same events on plain matrices, which
/// know of an answer under way only by how much it will move who asked.
class beside_matrices {
 public:
  beside_matrices(topology::pair const& network, std::uint64_t seed)
      : q_{quadratic::random(network.nodes(), 4, 5)},
        a_{assemble<node_type>(network, q_, {.step = 0.1, .seed = seed})},
        draw_{0x6270ULL, seed},
        requests_(network.nodes()) {
    x_ = at_request_ = matrix::Zero(index_of(q_.nodes()), 4);
    gone_ = x_.colwise().sum();
    for (std::size_t i = 0; i < a_.nodes.size(); ++i) a_.nodes[i].start({}, out_), drain(i);
  }
  void step() {
    auto const which = draw_.below(edges_.size() + 1 + requests_.size());
    if (which >= edges_.size()) return compute(draw_.below(requests_.size()));
    auto& edge = std::next(edges_.begin(), static_cast<std::ptrdiff_t>(which))->second;
    if (edge.empty()) return;
    auto const p = edge.front();
    edge.pop_front();
    auto const to = index_of(p.to);
    if (p.based_on == iteration{}) {
      Eigen::RowVectorXd const mean = 0.5 * (asked_.at(p.from) + x_.row(to));
      under_way_[p.from] = mean - asked_.at(p.from);
      x_.row(to) = mean;
    } else {
      x_.row(to) += under_way_.at(p.to);
      under_way_.erase(p.to);
      ++ended_;
    }
    hand_over(a_.nodes[to_index(p.to)], p, 1, out_);
    drain(to_index(p.to));
  }
  [[nodiscard]] auto off() const -> double {
    auto worst = 0.0;
    for (std::size_t i = 0; i < a_.nodes.size(); ++i) worst = std::max(worst, distance(model(i), row(x_, i)));
    return worst;
  }
  /// Models + what is under way - what gradients made of the start.
  [[nodiscard]] auto law() const -> double {
    Eigen::RowVectorXd sum = -gone_;
    for (std::size_t i = 0; i < a_.nodes.size(); ++i)
      for (Eigen::Index k = 0; k < 4; ++k) sum(k) += model(i)[static_cast<std::size_t>(k)];
    for (auto const& [asker, move] : under_way_) sum += move;
    return sum.cwiseAbs().maxCoeff();
  }
  [[nodiscard]] auto ended() const -> int { return ended_; }
  [[nodiscard]] auto spread() const -> double { return (x_.rowwise() - x_.colwise().mean()).cwiseAbs().maxCoeff(); }

 private:
  [[nodiscard]] auto model(std::size_t i) const -> std::vector<double> {
    auto const m = a_.nodes[i].estimate();
    return {m.view<double>().begin(), m.view<double>().end()};
  }
  void compute(std::size_t i) {
    auto const asked = std::exchange(requests_[i], {});
    Eigen::RowVectorXd const g = gradients(q_, at_request_).row(index_of(i));
    x_.row(index_of(i)) -= 0.1 * g;
    gone_ -= 0.1 * g;
    a_.nodes[i].on_gradient({}, a_.oracle.evaluate(asked), out_);
    drain(i);
  }
  void drain(std::size_t i) {
    CHECK_FALSE(out_.failure);
    if (out_.request) {
      requests_[i] = std::move(*out_.request);
      at_request_.row(index_of(i)) = x_.row(index_of(i));
    }
    for (auto& p : out_.packets) {
      if (p.based_on == iteration{}) asked_[p.from] = x_.row(index_of(p.from));
      edges_[{p.from, p.to}].push_back(std::move(p));
    }
    out_.clear();
  }

  quadratic q_;
  assembly a_;
  random_stream draw_;
  std::vector<gradient_request> requests_;
  outbox out_;
  std::map<std::pair<node_id, node_id>, std::deque<packet>> edges_;
  matrix x_, at_request_;
  Eigen::RowVectorXd gone_;
  std::map<node_id, Eigen::RowVectorXd> asked_, under_way_;  // by who asked
  int ended_ = 0;
};

TEST_CASE("in any order of events it is its dense form and conserves the sum (BP.G) (BP.Q) (BP.M) (BP.R)") {
  for (topology::pair const& network :
       std::vector<topology::pair>{topology::ring(6), topology::star(5), topology::line(4), topology::line(1)}) {
    auto run = beside_matrices{network, 9};
    auto off = 0.0, law = 0.0;
    for (int k = 0; k < 3000; ++k) {
      run.step();
      off = std::max(off, run.off());
      law = std::max(law, run.law());
    }
    INFO(network.name());
    CHECK(off < 1e-11);
    CHECK(law < 1e-11);
    CHECK((run.ended() > 100) == (network.nodes() > 1));
    CHECK(run.spread() < 4);
  }
}

/// Node 0 is active and asks node 1, which is passive.
struct couple {
  assembly a = assemble<node_type>(topology::line(2), quadratic::random(2, 9, 1), {.step = 0.37});
  outbox out{};
  gradient_request first{};
  packet question{}, answer{};
  void compute(std::size_t i, gradient_request const& r) { a.nodes[i].on_gradient({}, a.oracle.evaluate(r), out); }
  couple() {
    a.nodes[1].start({}, out);
    auto const others = *out.request;
    CHECK(out.packets.empty());
    out.clear();
    compute(1, others);  // now the models differ
    CHECK(out.packets.empty());
    out.clear();
    a.nodes[0].start({}, out);
    REQUIRE(out.packets.size() == 1);
    question = out.packets[0];
    first = *out.request;
    out.clear();
    hand_over(a.nodes[1], question, 1, out);
    REQUIRE(out.packets.size() == 1);
    answer = out.packets[0];
    out.clear();
  }
  auto model(std::size_t i) -> std::vector<double> {
    auto const m = a.nodes[i].estimate();
    return {m.view<double>().begin(), m.view<double>().end()};
  }
};

TEST_CASE("both ends have the same mean to the bit, and a gradient that comes between stays (BP.M) (BP.R)") {
  couple c;
  hand_over(c.a.nodes[0], c.answer, 1, c.out);
  CHECK(c.model(0) == c.model(1));
  CHECK(c.out.packets.empty());
  couple between;
  auto const before = between.model(0);
  between.compute(0, between.first);
  auto const after = between.model(0);
  CHECK(after != before);
  hand_over(between.a.nodes[0], between.answer, 1, between.out);
  for (std::size_t k = 0; k < 9; ++k)
    CHECK(std::abs(between.model(0)[k] - (between.model(1)[k] + after[k] - before[k])) < 1e-15);
}

TEST_CASE("a question to an active node ends the run with its sender, and an answer to none is ignored") {
  couple c;
  auto wrong = c.answer;
  wrong.based_on = {};
  hand_over(c.a.nodes[0], wrong, 1, c.out);
  REQUIRE(c.out.failure);
  CHECK(says(c.out.failure->sentence, "node 1 is a question to node 0, which is active and answers nobody"));
  couple twice;
  hand_over(twice.a.nodes[0], twice.answer, 1, twice.out);
  auto const once = twice.model(0);
  twice.answer.number = next(twice.answer.number);
  hand_over(twice.a.nodes[0], twice.answer, 1, twice.out);
  CHECK((twice.model(0) == once && !twice.out.failure));
  hand_over(twice.a.nodes[0], twice.answer, 1, twice.out);
  REQUIRE(twice.out.failure);
  CHECK(says(twice.out.failure->sentence, "model message 2 of node 1 came where message 3 was next"));
}

TEST_CASE("alone it is SGD to the bit (BP.G)") { is_sgd_alone<node_type>(); }

TEST_CASE("at unequal speeds it ends where sum r_i grad f_i = 0, whoever is asked (BP.G)") {
  auto const q = quadratic::random(4, 3, 11, {.spread = 1, .condition = 4});
  std::vector<double> const slower{1, 2, 1, 8};
  auto compute = environment::fixed(10ms);
  for (std::uint32_t i = 0; i < 4; ++i) compute = compute.slow(i, slower[i]);
  auto const scenario = environment::scenario{.compute = compute, .link = {.latency = 1ms, .loss = 0.2}, .seed = 2};
  auto const weighted = optimum_by_speed(q, slower);
  auto const miss = distance(weighted, q.optimum());
  CHECK(miss > 0.1);
  auto const end_of = [&](assembly a) {
    auto const r = simulate(std::move(a), scenario, {.time = 60s});
    std::vector<double> mean(3, 0.0);
    for (auto const& m : r.models)
      for (std::size_t k = 0; k < 3; ++k) mean[k] += m.view<double>()[k] / 4;
    return mean;
  };
  auto const ring = topology::ring(4);
  CHECK(distance(end_of(assemble<node_type>(ring, q, {.step = 0.002})), weighted) < 0.1 * miss);
  using in_turn = bipartite_ad_psgd<space, step::sgd, partner::round_robin>;
  CHECK(distance(end_of(assemble<in_turn>(ring, q, {.step = 0.002})), weighted) < 0.1 * miss);
  using by_speed = bipartite_ad_psgd<space, step::sgd, partner::by_speed>;
  CHECK(distance(end_of(assemble<by_speed>(ring, q, {.step = 0.002})), weighted) < 0.1 * miss);
}

TEST_CASE("fixed partners are refused where their pairs do not join all nodes") {
  using always = bipartite_ad_psgd<space, step::sgd, partner::fixed>;
  auto const on = [](auto type, topology::pair const& network) {
    using node = typename decltype(type)::type;
    return refusal([&] { static_cast<void>(assemble<node>(network, quadratic::random(network.nodes(), 1, 1), {})); });
  };
  CHECK(on(std::type_identity<always>{}, topology::star(5)).empty());
  CHECK(says(on(std::type_identity<always>{}, topology::ring(6)),
             "with fixed partners no exchange leads from node 3 to node 0, not even through others"));
  using any_graph = ad_psgd<space, step::sgd, partner::fixed>;
  CHECK(on(std::type_identity<any_graph>{}, topology::binary_tree(7)).empty());
  CHECK(on(std::type_identity<any_graph>{}, topology::ring(5)).empty());
  auto const id = [](std::size_t i) { return to_node(i); };
  auto const path = topology::from_edges(4, {{id(0), id(2)}, {id(2), id(3)}, {id(3), id(1)}}, "path");
  CHECK(
      says(on(std::type_identity<any_graph>{}, topology::both(path.with_both_directions())), "from node 1 to node 0"));
}

TEST_CASE("by speed, a neighbour is drawn in proportion to the speed of its answers, and none is forgotten") {
  std::vector const open{node_id{1}, node_id{4}, node_id{5}};
  partner::by_speed::state s{{.floor = 0.1, .newest = 0.5}, node_id{0}};
  for (std::size_t k = 0; k < 3; ++k) CHECK(s.chances(open)[k] == Approx(1.0 / 3));
  s.answered(node_id{4}, 1s);
  s.answered(node_id{4}, 3s);  // mean 2
  s.answered(node_id{5}, 1s);
  // speeds 1 (not heard: as the fastest), 1/2, 1
  CHECK(s.chances(open)[0] == Approx(0.1 / 3 + 0.9 * 0.4));
  CHECK(s.chances(open)[1] == Approx(0.1 / 3 + 0.9 * 0.2));
  std::vector const fewer{node_id{1}, node_id{4}};  // node 5, which is the fastest, has left
  CHECK(s.chances(fewer)[1] == Approx(0.1 / 2 + 0.9 / 3));
  s.answered(node_id{1}, 1000000s);
  CHECK(s.chances(open)[0] > 0.1 / 3);
  std::map<std::size_t, int> drawn;
  for (std::uint64_t k = 0; k < 3000; ++k) {
    auto draw = random_stream{{7, k}};
    ++drawn[s(open, draw)];
  }
  CHECK(std::abs(drawn[0] - 100) < 50);  // five standard deviations
  CHECK(std::abs(drawn[1] - 1000) < 130);
  CHECK(std::abs(drawn[2] - 1900) < 130);
  auto const q = quadratic::random(3, 1, 1);
  using node = ad_psgd<space, step::sgd, partner::by_speed>;
  CHECK(says(refusal([&] { static_cast<void>(assemble<node>(topology::ring(3), q, {.partner = {.floor = 0}})); }),
             "must lie above 0 and not above 1, and one is 0"));
}

}  // namespace
}  // namespace rubato::test
