// SPDX-License-Identifier: MIT
#include <rubato/algorithm/a2cid2.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
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
using node_type = a2cid2<space>;
using problem::quadratic;

TEST_CASE("the constants are those of the graph (AC.M) (AC.A)") {
  auto const of = [](std::size_t n) { return mixing::momentum_of(mixing::gossip_plan(topology::ring(n)), 0.5); };
  CHECK(of(8).rate == Approx(0.289281483686467).epsilon(1e-12));  // each edge half an exchange: one a node
  CHECK(of(8).share == Approx(0.987668764945746).epsilon(1e-12));
  CHECK(of(16).rate == Approx(0.142473826825573).epsilon(1e-12));
  CHECK(of(16).share == Approx(1.871688804941968).epsilon(1e-12));
  auto const twice = mixing::momentum_of(mixing::gossip_plan(topology::ring(8)));  // twice as often
  CHECK(twice.rate == Approx(2 * 0.289281483686467).epsilon(1e-12));
  CHECK(twice.share == Approx(0.987668764945746).epsilon(1e-12));
  auto const made = node_type::make_plan(topology::ring(8)).momentum.value();  // half a unit late
  auto const chi1 = (2 + std::sqrt(2.0)) / 2, chi2 = 0.4375 + 0.5;
  CHECK(made.rate == Approx(1 / (2 * std::sqrt(chi1 * chi2))).epsilon(1e-12));
  CHECK(made.share == Approx(std::sqrt(chi1 / chi2) / 2).epsilon(1e-12));
  auto const pair = mixing::momentum_of(mixing::gossip_plan(topology::line(2)));
  CHECK(pair.rate == Approx(2));
  CHECK(pair.share == Approx(0.5));
}

TEST_CASE("a plan without constants, and a network that is too large for them, are refused") {
  auto const q = quadratic::random(4, 1, 1);
  CHECK(says(refusal([&] { static_cast<void>(assemble<node_type>(mixing::gossip_plan(topology::ring(4)), q, {})); }),
             "make the plan with mixing::accelerated"));
  CHECK(says(refusal([&] { static_cast<void>(node_type::make_plan(topology::star(513))); }),
             "takes up to 512 of them, not 513"));
  auto other = node_type::make_plan(topology::ring(4));
  auto const as_made = assemble<node_type>(other, q, {}).agreed.text();
  other.momentum->rate *= 2;
  CHECK(assemble<node_type>(other, q, {}).agreed.text() != as_made);
}

TEST_CASE("constants that cannot be are refused where they come in") {
  auto const q = quadratic::random(4, 1, 1);
  auto const ring = mixing::gossip_plan(topology::ring(4));
  auto const nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  for (auto const v : {nan, inf, -1.0}) {
    auto plan = ring;
    for (auto const& m : {mixing::pair_momentum{v, 0.5}, mixing::pair_momentum{1, v}}) {
      plan.momentum = m;
      CHECK(says(refusal([&] { static_cast<void>(assemble<node_type>(plan, q, {})); }),
                 ("must be finite and not negative, and one is " + shortest(v)).c_str()));
    }
    CHECK(says(refusal([&] { static_cast<void>(mixing::momentum_of(ring, v)); }), "needs questions above 0"));
    CHECK(says(refusal([&] { static_cast<void>(mixing::momentum_of(ring, 1, v)); }), "a delay that is not negative"));
  }
  CHECK(says(refusal([&] { static_cast<void>(mixing::momentum_of(ring, 0)); }), "not 0 and 0"));
}

auto at(std::chrono::nanoseconds t) -> instant { return {t}; }

TEST_CASE(
    "the example ends where it should: mixing before a model is posted, and the same difference at both ends "
    "(AC.M) (AC.G) (AC.P) (AC.I)") {
  auto plan = mixing::gossip_plan(topology::line(2));
  plan.momentum = mixing::pair_momentum{0.289281483686467, 0.987668764945746};
  auto const q = quadratic{{{1}, {1}}, {{0}, {0}}};
  auto source = assemble<node_type>(plan, q, {});
  space b;
  auto const node_at = [&](std::size_t i, double x) {
    return node_type{b, plan, to_node(i), backend::copied(b, &x, 1).publish(), {.step = 0.1}};
  };
  auto const slope = [&](outbox& out, double value) {
    auto g = source.oracle.evaluate(*std::exchange(out.request, {}));
    g.value = backend::copied(b, &value, 1).publish();
    return g;
  };
  auto one = node_at(0, 1), other = node_at(1, 3);
  outbox out, others;
  one.start(at(0s), out);  // a question that is never answered
  one.on_neighbours(at(0s), {node_id{1}, neighbour_change::edge::opens, {}, {}}, out);
  one.on_gradient(at(1s), slope(out, 2), out);  // from question to question it is one second
  CHECK(one.estimate().view<double>()[0] == Approx(0.8));
  CHECK(out.packets.size() == 2);
  out.packets.clear();
  other.start(at(1500ms), others);
  REQUIRE(others.packets.size() == 1);
  auto const question = others.packets[0];
  others.packets.clear();
  one.on_patch(at(1500ms), patch_of(question, {0, 1}), out);
  REQUIRE(out.packets.size() == 1);
  auto answer = out.packets[0];
  answer.number = iteration{1};  // what went before it never comes
  out.packets.clear();
  other.on_patch(at(1500ms), patch_of(answer, {0, 1}), others);
  auto const check = [](node_type const& n, double x, double y) {
    CHECK(n.estimate().view<double>()[0] == Approx(x).epsilon(1e-12));
    CHECK(n.second().view()[0] == Approx(y).epsilon(1e-12));
  };
  check(one, 1.9, 2.972871282880642);
  check(other, 1.9, 0.827128717119358);
  one.on_gradient(at(2500ms), slope(out, 0), out);
  check(one, 2.135654279817642, 2.737217003063001);
}

/// Any packet that is first on its edge or any gradient may be next; beside it the same events on plain numbers, which
/// know of an answer under way only the difference that it will bring.
class beside_numbers {
 public:
  beside_numbers(topology::pair const& network, std::uint64_t seed)
      : plan_{node_type::make_plan(network)},
        q_{quadratic::random(network.nodes(), 1, 5, {.spread = 2, .condition = 3})},
        a_{assemble<node_type>(plan_, q_, {})},
        draw_{0x6163ULL, seed} {
    space b;
    for (std::size_t i = 0; i < network.nodes(); ++i) {
      auto const x0 = static_cast<double>(i) - 1;
      all_.push_back({x0, x0});
      start_ += x0;
      nodes_.emplace_back(b, plan_, to_node(i), backend::copied(b, &x0, 1).publish(), node_type::options{.step = 0.05});
      nodes_[i].start(now_, out_);
      drain(i);
    }
  }
  void step() {
    now_.since_start += std::chrono::milliseconds{draw_.below(5)};
    auto const which = draw_.below(edges_.size() + all_.size());
    if (which >= edges_.size()) return compute(which - edges_.size());
    auto& edge = std::next(edges_.begin(), static_cast<std::ptrdiff_t>(which))->second;
    if (edge.empty()) return;
    auto const p = edge.front();
    edge.pop_front();
    auto const to = to_index(p.to);
    mix(to);
    auto& n = all_[to];
    if (p.based_on == iteration{}) {
      auto const difference = asked_.at(p.from) - n.x;
      under_way_[p.from] = -difference;
      n.x += difference / 2, n.y += plan_.momentum->share * difference;
    } else {
      auto const difference = under_way_.at(p.to);
      under_way_.erase(p.to);
      n.x += difference / 2, n.y += plan_.momentum->share * difference;
      ++ended_;
    }
    nodes_[to].on_patch(now_, patch_of(p, {0, 1}), out_);
    drain(to);
  }
  [[nodiscard]] auto off() const -> double {
    auto worst = 0.0;
    for (std::size_t i = 0; i < all_.size(); ++i) {
      worst = std::max(worst, std::abs(nodes_[i].estimate().view<double>()[0] - all_[i].x));
      worst = std::max(worst, std::abs(nodes_[i].second().view()[0] - all_[i].y));
    }
    return worst;
  }
  /// Both models of all nodes and what is under way, less the start and twice all steps.
  [[nodiscard]] auto law() const -> double {
    auto sum = 2 * (gone_ - start_);
    for (auto const& n : nodes_) sum += n.estimate().view<double>()[0] + n.second().view()[0];
    for (auto const& [asker, difference] : under_way_) sum += (0.5 + plan_.momentum->share) * difference;
    return std::abs(sum);
  }
  [[nodiscard]] auto ended() const -> int { return ended_; }
  [[nodiscard]] auto failure() const -> std::string const& { return failure_; }

 private:
  struct numbers {
    double x = 0, y = 0, point = 0, unit = 0;
    instant mixed{};
    std::optional<instant> asked{};
    std::optional<gradient_request> request{};
  };
  void mix(std::size_t i) {
    auto& n = all_[i];
    auto const since = std::chrono::duration<double>{now_ - n.mixed}.count();
    auto const mean = (n.x + n.y) / 2;
    auto const half = (n.x - n.y) / 2 * (n.unit > 0 ? std::exp(-2 * plan_.momentum->rate * since / n.unit) : 1);
    n.x = mean + half, n.y = mean - half;
    n.mixed = now_;
  }
  void compute(std::size_t i) {
    auto& n = all_[i];
    mix(i);
    auto const g = q_.curvature(i, 0) * (n.point - q_.centre(i, 0));
    n.x -= 0.05 * g, n.y -= 0.05 * g;
    gone_ += 0.05 * g;
    nodes_[i].on_gradient(now_, a_.oracle.evaluate(*std::exchange(n.request, {})), out_);
    drain(i);
  }
  void drain(std::size_t i) {
    if (out_.failure) failure_ = out_.failure->sentence;
    if (out_.request) {
      all_[i].request = std::move(out_.request);
      all_[i].point = all_[i].x;
    }
    for (auto& p : out_.packets) {
      if (p.based_on == iteration{}) {
        asked_[p.from] = all_[i].x;
        auto& n = all_[i];
        if (auto const last = std::exchange(n.asked, now_); last && *last < now_) {
          auto const took = std::chrono::duration<double>{now_ - *last}.count();
          n.unit = n.unit > 0 ? 0.9 * n.unit + 0.1 * took : took;
        }
      }
      edges_[{p.from, p.to}].push_back(std::move(p));
    }
    out_.clear();
  }

  mixing::plan plan_;
  quadratic q_;
  assembly a_;
  random_stream draw_;
  std::vector<numbers> all_;
  std::vector<node_type> nodes_;
  std::map<std::pair<node_id, node_id>, std::deque<packet>> edges_;
  std::map<node_id, double> asked_, under_way_;  // by who asked
  double gone_ = 0, start_ = 0;
  int ended_ = 0;
  instant now_{};
  outbox out_;
  std::string failure_;
};

TEST_CASE("in any order of events it is its numbers and conserves both sums (AC.M) (AC.G) (AC.A) (AC.P) (AC.I)") {
  for (topology::pair const& network :
       std::vector<topology::pair>{topology::ring(6), topology::star(5), topology::complete(4), topology::line(1)}) {
    auto run = beside_numbers{network, 9};
    auto off = 0.0, law = 0.0;
    for (int k = 0; k < 4000; ++k) {
      run.step();
      off = std::max(off, run.off());
      law = std::max(law, run.law());
    }
    INFO(network.name() << run.failure());
    CHECK(run.failure().empty());
    CHECK(off < 1e-11);
    CHECK(law < 1e-11);
    CHECK((run.ended() > 100) == (network.nodes() > 1));
  }
}

TEST_CASE("without mixing, and with half a difference for both models, it is ad_psgd to the bit (AC.P) (AC.I)") {
  auto const q = quadratic::random(5, 3, 2, {.noise = 0.1});
  auto plan = mixing::gossip_plan(topology::ring(5));
  auto const scenario = environment::scenario{.compute = environment::lognormal(10ms, 0.3), .link = {.latency = 2ms}};
  auto const plain = simulate(assemble<ad_psgd<space>>(plan, q, {.step = 0.05}), scenario, {.time = 5s});
  plan.momentum = mixing::pair_momentum{0, 0.5};
  auto const mixed = simulate(assemble<node_type>(plan, q, {.step = 0.05}), scenario, {.time = 5s});
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t k = 0; k < 3; ++k) CHECK(mixed.models[i].view<double>()[k] == plain.models[i].view<double>()[k]);
}

TEST_CASE("alone it is SGD (AC.G)") { is_sgd_alone<node_type>(); }

TEST_CASE("at unequal speeds it ends where sum r_i grad f_i = 0 (AC.G)") {
  auto const q = quadratic::random(4, 3, 11, {.spread = 1, .condition = 4});
  std::vector<double> const slower{1, 2, 1, 8};
  auto compute = environment::fixed(10ms);
  for (std::uint32_t i = 0; i < 4; ++i) compute = compute.slow(i, slower[i]);
  auto const scenario = environment::scenario{.compute = compute, .link = {.latency = 1ms, .loss = 0.2}, .seed = 2};
  auto const r = simulate<node_type>(topology::ring(4), q, {.step = 0.002}, scenario, {.time = 80s});
  std::vector<double> mean(3, 0.0);
  for (auto const& m : r.models)
    for (std::size_t k = 0; k < 3; ++k) mean[k] += m.view<double>()[k] / 4;
  auto const weighted = optimum_by_speed(q, slower);
  auto const miss = distance(weighted, q.optimum());
  CHECK(miss > 0.1);
  CHECK(distance(mean, weighted) < 0.1 * miss);
}

/// The distance of models that differ at the start, on a ring of 24, without slopes to speak of.
template<class Node>
auto apart(std::chrono::nanoseconds latency, std::chrono::nanoseconds time) -> double {
  auto const n = std::size_t{24};
  auto const q = quadratic{std::vector<std::vector<double>>(n, {1e-9}), std::vector<std::vector<double>>(n, {0})};
  auto const plan = Node::make_plan(topology::ring(n));
  auto a = assemble<Node>(plan, q, {});
  space b;
  for (std::size_t i = 0; i < n; ++i) {
    auto const x = std::cos(2 * std::acos(-1.0) * static_cast<double>(i) / static_cast<double>(n));
    a.nodes[i] = Node{b, plan, to_node(i), backend::copied(b, &x, 1).publish(), {.step = 1e-9}};
  }
  auto const scenario =
      environment::scenario{.compute = environment::lognormal(10ms, 0.2), .link = {.latency = latency}};
  return simulate(std::move(a), scenario, {.time = time}).history.back().consensus_distance;
}

TEST_CASE("on a large ring models come together sooner than by plain averages in pairs (AC.M)") {
  auto const plain = apart<ad_psgd<space>>(100us, 1s), fast = apart<node_type>(100us, 1s);
  std::printf("apart after a second on a ring of 24: ad_psgd %.2e, a2cid2 %.2e\n", plain, fast);
  CHECK(fast < 0.1 * plain);
  auto const slow = apart<node_type>(30ms, 10s), slow_plain = apart<ad_psgd<space>>(30ms, 10s);
  std::printf("over links of three gradients, after ten: ad_psgd %.2e, a2cid2 %.2e\n", slow_plain, slow);
  CHECK(slow < 0.1 * slow_plain);
}

}  // namespace
}  // namespace rubato::test
