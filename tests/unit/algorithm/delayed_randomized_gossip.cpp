// SPDX-License-Identifier: MIT
#include <rubato/algorithm/delayed_randomized_gossip.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/for_all.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using node_type = delayed_randomized_gossip<space>;
using problem::quadratic;

auto four() -> quadratic { return {{{1}, {2}, {0.5}, {3}}, {{0}, {1}, {4}, {10}}}; }

/// Nodes with a first model each.
template<class Node>
auto started_at(mixing::plan const& plan, quadratic const& q, std::vector<double> const& x0,
                typename Node::options const& o = {}) -> assembly {
  auto a = assemble<Node>(plan, q, o);
  space b;
  for (std::size_t i = 0; i < x0.size(); ++i) {
    std::vector<double> const x(q.dimension(), x0[i]);
    a.nodes[i] = Node{b, plan, to_node(i), backend::copied(b, x.data(), x.size()).publish(), o};
  }
  return a;
}

/// Exchanges at listed times, in units of the link's delay.
struct listed {
  auto operator()(firing::exchange_key const& k) const -> double {
    static std::map<std::pair<node_id, node_id>, std::pair<double, std::vector<double>>> const begins{
        {{node_id{0}, node_id{1}}, {1, {0, 2.25}}},
        {{node_id{2}, node_id{3}}, {1, {0.5, 3}}},
        {{node_id{1}, node_id{2}}, {0.5, {1.5}}},
        {{node_id{0}, node_id{3}}, {2.5, {0.5}}}};
    auto const& [delay, times] = begins.at({k.low, k.high});
    if (k.number > times.size()) return 1e6;
    return (times[k.number - 1] - (k.number > 1 ? times[k.number - 2] : 0)) / delay;
  }
};

TEST_CASE("exchanges of the example end where they should: the old difference moves the present model (DR.S) (DR.A)") {
  using scripted = delayed_randomized_gossip<space, step::sgd, listed>;
  auto const link = [](unsigned i, unsigned j, double delay) {
    return mixing::exchange_times::link{{node_id{i}, node_id{j}}, delay, 0.25};
  };
  auto const plan =
      mixing::exchange_plan(topology::ring(4), {{link(0, 1, 1), link(0, 3, 2.5), link(1, 2, 0.5), link(2, 3, 1)}, 0});
  for (auto const latency : {0ms, 300ms, 500ms}) {  // at most the shortest delay
    auto const scenario = environment::scenario{.compute = environment::fixed(1h), .link = {.latency = latency}};
    auto const r = simulate(started_at<scripted>(plan, four(), {0, 1, 4, 10}), scenario, {.time = 10s});
    std::vector<double> const right{3.078125, 1.234375, 5.640625, 5.046875};
    for (std::size_t i = 0; i < 4; ++i) CHECK(r.models[i].view<double>()[0] == right[i]);
  }
}

/// Nodes on links that keep the order of each direction and take any time, beside plain numbers that know of an
/// exchange its two snapshots alone.
class beside_numbers {
 public:
  beside_numbers(mixing::plan plan, quadratic const& q, std::vector<double> const& x0, std::uint64_t seed, double step)
      : plan_{std::move(plan)},
        q_{q},
        a_{started_at<node_type>(plan_, q, x0, {.step = step})},
        draw_{0x6472ULL, seed},
        x_{x0},
        asked_(x0.size()),
        point_(x0.size()),
        step_{step} {
    for (std::size_t i = 0; i < x_.size(); ++i) at_node(i, [&](any_node& n) { n.start(now_, out_); });
  }

  /// The next event. `answers`: whether gradients come.
  void step(bool answers) {
    if (answers && draw_.below(4) == 0) {
      auto const i = draw_.below(x_.size());
      auto const g = q_.curvature(i, 0) * (point_[i] - q_.centre(i, 0));
      auto const before = x_[i];
      x_[i] = before - step_ * g;
      gone_ += x_[i] - before;
      at_node(i, [&](any_node& n) { n.on_gradient(now_, a_.oracle.evaluate(*std::exchange(asked_[i], {})), out_); });
      return;
    }
    auto const e = events_.top();
    events_.pop();
    now_ = e.at;
    if (e.arrives) arrive(*e.arrives);
    else at_node(e.node, [&](any_node& n) { n.on_wakeup(now_, {0, now_}, out_); });
  }
  /// The largest difference between nodes and numbers.
  [[nodiscard]] auto off() const -> double {
    auto worst = 0.0;
    for (std::size_t i = 0; i < x_.size(); ++i)
      worst = std::max(worst, std::abs(a_.nodes[i].estimate().view<double>()[0] - x_[i]));
    return worst;
  }
  /// Models, and what one end alone has applied, minus what gradients did.
  [[nodiscard]] auto sum() const -> double {
    auto all = -gone_;
    for (std::size_t i = 0; i < x_.size(); ++i) all += a_.nodes[i].estimate().view<double>()[0];
    for (auto const& [which, e] : exchanges_) all += e.due();
    return all;
  }
  [[nodiscard]] auto ended() const -> int { return ended_; }
  [[nodiscard]] auto late() const -> int { return late_; }
  [[nodiscard]] auto failure() const -> std::string const& { return failure_; }

 private:
  struct event {
    instant at;
    std::uint64_t order;
    std::size_t node;
    std::shared_ptr<packet> arrives;
    friend auto operator<(event const& a, event const& b) -> bool {
      return std::pair{a.at, a.order} > std::pair{b.at, b.order};
    }
  };
  /// One exchange: what each end saw, when its delay is over there, and whether it has applied its part.
  struct exchange {
    double weight;
    double snapshot[2];
    bool has[2], heard[2], applied[2];
    instant over[2];
    [[nodiscard]] auto move(int end) const -> double { return weight * (snapshot[1 - end] - snapshot[end]); }
    [[nodiscard]] auto due() const -> double { return applied[0] == applied[1] ? 0 : move(applied[0] ? 1 : 0); }
  };
  using exchange_name = std::pair<std::pair<node_id, node_id>, std::uint64_t>;

  static auto name_of(packet const& p) -> exchange_name {
    return {{std::min(p.from, p.to), std::max(p.from, p.to)}, to_count(p.number)};
  }
  void arrive(packet const& p) {
    auto const end = p.to < p.from ? 0 : 1;
    auto& e = exchanges_.at(name_of(p));
    e.heard[end] = true;
    if (e.has[end] && e.over[end] < now_) ++late_;
    at_node(to_index(p.to), [&](any_node& n) { n.on_patch(now_, patch_of(p, {0, 1}), out_); });
  }
  template<class Call>
  void at_node(std::size_t i, Call const& call) {
    call(a_.nodes[i]);
    if (out_.failure) failure_ = out_.failure->sentence;
    for (auto& p : out_.packets) post(i, std::move(p));
    if (!out_.request) apply(i);
    for (auto const& w : out_.wakeups) events_.push({std::max(w.at, now_), count_++, i, nullptr});
    if (out_.request) {
      asked_[i] = std::move(out_.request);
      point_[i] = asked_[i]->point.view<double>()[0];
    }
    out_.clear();
  }
  /// In the order of links, and of each link's exchanges.
  void apply(std::size_t i) {
    for (auto& [which, e] : exchanges_) {
      auto const end = which.first.first == to_node(i) ? 0 : 1;
      if ((end == 1 && which.first.second != to_node(i)) || !e.heard[end] || !e.has[end] || e.applied[end]) continue;
      if (e.over[end] > now_) continue;
      x_[i] += e.move(end);
      e.applied[end] = true;
      if (e.applied[1 - end]) ++ended_;
    }
  }
  void post(std::size_t i, packet p) {
    auto const& link = plan_.exchanges->between(p.from, p.to);
    auto const end = p.from < p.to ? 0 : 1;
    auto& e = exchanges_[name_of(p)];
    e.weight = link.weight;
    e.snapshot[end] = x_[i];
    e.has[end] = true;
    e.over[end] = now_ + std::chrono::nanoseconds{std::llround(link.delay * 1e9)};
    if (p.body.view<double>()[0] != x_[i]) failure_ = "a snapshot is not the model at its time";
    auto& last = last_arrival_[{p.from, p.to}];  // links keep the order
    auto const under_way = std::chrono::nanoseconds{std::llround(link.delay * 2e9 * draw_.uniform())};
    last = std::max(last, now_ + under_way);
    auto const to = to_index(p.to);
    events_.push({last, count_++, to, std::make_shared<packet>(std::move(p))});
  }

  mixing::plan plan_;
  quadratic q_;
  assembly a_;
  random_stream draw_;
  std::vector<double> x_;
  std::vector<std::optional<gradient_request>> asked_;
  std::vector<double> point_;
  double step_;
  std::map<exchange_name, exchange> exchanges_;
  std::map<std::pair<node_id, node_id>, instant> last_arrival_;
  std::priority_queue<event> events_;
  std::uint64_t count_ = 0;
  double gone_ = 0;
  int ended_ = 0, late_ = 0;
  instant now_{};
  outbox out_;
  std::string failure_;
};

auto links_with(double weight, topology::digraph const& graph) -> mixing::plan {
  std::vector<mixing::exchange_times::link> links;
  for (auto const& e : graph.edges()) {
    if (e.from < e.to) links.push_back({e, 0.01 * static_cast<double>(1 + to_index(e.to)), weight});
  }
  return mixing::exchange_plan(graph, {std::move(links), 5});
}

TEST_CASE("models and what one end alone has applied keep their sum exactly, also if messages come late (DR.A)") {
  for_all(10, [](random_stream&, std::uint64_t seed) {  // few exchanges of a node: sums of multiples of 2^-50 are exact
    auto run =
        beside_numbers{links_with(0.25, topology::ring(5)), quadratic::random(5, 1, 1), {8, 1, 4, 10, 2}, seed, 0.1};
    for (int k = 0; k < 60; ++k) {
      run.step(false);
      REQUIRE(run.off() == 0);
      REQUIRE(run.sum() == 25);
    }
    CHECK(run.failure().empty());
    CHECK(run.ended() > 3);
  });
}

TEST_CASE("nodes are the numbers of their snapshots, with gradients, in any order of events (DR.S) (DR.A) (DR.G)") {
  for (auto const& graph : {topology::ring(5), topology::complete(4), topology::star(5)}) {
    auto const n = graph.nodes();
    auto const q = quadratic::random(n, 1, 3, {.spread = 1, .condition = 3});
    auto run = beside_numbers{mixing::exchange_plan(graph, mixing::link_delays(n, std::vector<double>(n, 0.01)), 2), q,
                              std::vector<double>(n, 1.0), n, 0.05};
    auto worst = 0.0, law = 0.0;
    for (int k = 0; k < 3000; ++k) {
      run.step(true);
      worst = std::max(worst, run.off());
      law = std::max(law, std::abs(run.sum() - static_cast<double>(n)));
    }
    INFO(graph.name());
    CHECK(run.failure().empty());
    CHECK(worst < 1e-12);
    CHECK(law < 1e-11);
    CHECK((run.ended() > 100 && run.late() > 50));
  }
}

/// Decades by which the distance from consensus has fallen, a second.
auto pace(topology::digraph const& graph, mixing::link_delays const& delays, double seconds) -> double {
  auto const n = graph.nodes();
  environment::scenario s;
  s.compute = environment::fixed(24h);
  s.measure_every = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>{seconds / 2});
  for (auto const& e : graph.edges()) {
    auto const ns = std::llround(
        0.9e9 * std::max(delays[to_index(e.from)][to_index(e.to)], delays[to_index(e.to)][to_index(e.from)]));
    s.special.push_back({e.from, e.to, {.latency = std::chrono::nanoseconds{ns}}});
  }
  std::vector<double> x0;
  for (std::size_t i = 0; i < n; ++i) x0.push_back(static_cast<double>(i));
  std::vector<double> paces;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    auto const r =
        simulate(started_at<node_type>(mixing::exchange_plan(graph, delays, seed), quadratic::random(n, 1, 1), x0), s,
                 {.time = s.measure_every * 2});
    auto const half = r.history[1].consensus_distance, whole = r.history.back().consensus_distance;
    paces.push_back(std::log10(half / whole) / (seconds / 2));
  }
  std::sort(paces.begin(), paces.end());
  return paces[2];
}

TEST_CASE("a slow link slows only itself: a ring with one is nearly as fast as the path without it (DR.S)") {
  auto const all = [](double delay) { return mixing::link_delays(6, std::vector<double>(6, delay)); };
  auto one_slow = all(1);
  one_slow[0][5] = 50;
  auto const with = pace(topology::ring(6), one_slow, 400), without = pace(topology::line(6), all(1), 400);
  auto const all_slow = pace(topology::ring(6), all(50), 4000);
  std::printf("decades a second: slow link %.5f, without it %.5f, tuned for the slowest %.6f\n", with, without,
              all_slow);
  CHECK(with > 0.9 * without);
  CHECK(with > 8 * all_slow);
}

TEST_CASE("links that are far slower than the nodes were told stay stable, with three unanswered exchanges at most") {
  environment::scenario s;
  s.compute = environment::fixed(24h);
  s.link.latency = 300ms;
  for (auto const& graph : {topology::line(2), topology::ring(6), topology::complete(5)}) {
    std::vector<double> x0(graph.nodes(), 1.0);
    x0[0] = 0;
    auto const r =
        simulate(started_at<node_type>(node_type::make_plan(graph), quadratic::random(graph.nodes(), 1, 1), x0), s,
                 {.time = 120s});
    INFO(graph.name());
    CHECK(r.history.back().consensus_distance < 1e-3);
    for (auto const& e : r.edges) CHECK(e.packets_sent <= 3 * 400 + 3);
  }
}

TEST_CASE("fast nodes count more at rest, and steps in proportion to the time of a gradient correct it (DR.G)") {
  auto const q = quadratic::random(4, 6, 2, {.spread = 1, .condition = 4});
  std::vector<double> const slower{1, 2, 3, 4};
  auto compute = environment::fixed(10ms);
  for (std::uint32_t i = 0; i < 4; ++i) compute = compute.slow(i, slower[i]);
  auto const scenario = environment::scenario{.compute = compute, .link = {.latency = 1ms, .loss = 0.2}, .seed = 2};
  auto const ends = [&](auto const& options) {
    auto const r = simulate(assemble<node_type>(topology::ring(4), q, options), scenario, {.time = 40s});
    std::vector<double> mean(q.dimension(), 0.0);
    for (auto const& m : r.models)
      for (std::size_t k = 0; k < mean.size(); ++k) mean[k] += m.template view<double>()[k] / 4;
    return mean;
  };
  auto const weighted = optimum_by_speed(q, slower);
  auto const miss = distance(weighted, q.optimum());
  CHECK(miss > 0.1);
  CHECK(distance(ends(node_type::options{.step = 0.005}), weighted) < 0.1 * miss);
  auto const fair = ends([&](node_id i) { return node_type::options{.step = 0.002 * slower[to_index(i)]}; });
  CHECK(distance(fair, q.optimum()) < 0.1 * miss);
}

TEST_CASE("a node alone is SGD to the bit (DR.G)") {
  auto const q = quadratic::random(1, 9, 5, {.spread = 3, .condition = 10, .noise = 0.3});
  auto nodes = lockstep{assemble<node_type>(topology::line(1), q, {.step = 0.37, .seed = 11})};
  std::vector<double> x(9, 0.0), g(9);
  space b;
  for (std::uint64_t k = 0; k < 200; ++k) {
    REQUIRE(nodes.point(0) == x);
    q.gradient(b, std::span<double const>{x}, {11, node_id{0}, k}, std::span<double>{g});
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] - 0.37 * g[i];
    nodes.round();
  }
}

/// Node 0 of a line of two, which has begun nothing, and messages of node 1.
struct receiver {
  assembly a = assemble<node_type>(topology::line(2), quadratic::random(2, 1, 1), {});
  outbox out{};
  receiver() { a.nodes[0].start({}, out), out.clear(); }
  auto hears(std::uint64_t number) -> std::string {
    packet p;
    p.from = node_id{1};
    p.number = iteration{number};
    p.body = a.nodes[1].estimate();
    hand_over(a.nodes[0], p, 1, out);
    return out.failure ? out.failure->sentence : "";
  }
};

TEST_CASE("an exchange of which a node hears before it is due there begins at once, and is answered (DR.S)") {
  receiver r;
  CHECK(r.hears(1).empty());
  REQUIRE(r.out.packets.size() == 1);
  CHECK(r.out.packets[0].number == iteration{1});
  CHECK(r.out.wakeups.size() == 2);
}

TEST_CASE("numbers out of turn, and exchanges that nobody could have begun so soon, end the run with their sender") {
  receiver r;
  CHECK(says(r.hears(2), "model message 2 of node 1 came where message 1 was next"));
  receiver flooded;
  std::uint64_t k = 0;
  auto said = std::string{};
  while (said.empty() && k < 1000) said = flooded.hears(++k);
  CHECK(k == 65);
  CHECK(says(said, "node 1 has begun exchange 65 while 64 are under way"));
  CHECK(flooded.out.packets.size() == 64);
}

TEST_CASE("a delay that is none, and a plan without delays, are refused") {
  auto const q = quadratic::random(4, 1, 1);
  CHECK(says(refusal([&] { static_cast<void>(assemble<node_type>(topology::ring(4), q, {.delay = 0ns})); }),
             "the delay of links must be positive, not 0 s"));
  CHECK(says(refusal([&] { static_cast<void>(assemble<node_type>(mixing::gossip_plan(topology::ring(4)), q, {})); }),
             "mixing::exchange_plan"));
  auto const agreed = [&](double delay) {
    auto const d = mixing::link_delays(4, std::vector<double>(4, delay));
    return assemble<node_type>(mixing::exchange_plan(topology::ring(4), d, 0), q, {}).agreed.text();
  };
  CHECK(agreed(1) != agreed(2));
}

}  // namespace
}  // namespace rubato::test
