// SPDX-License-Identifier: MIT
#include <rubato/driver/simulator.hpp>

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using fast = r_fast<backend::host<float>>;
using in_rounds = push_pull<backend::host<double>>;

auto rough() -> environment::scenario {
  environment::scenario s;
  s.compute = environment::lognormal(10ms, 0.4).slow(1, 5.0);
  s.link = {.latency = 5ms, .jitter = 5ms, .bits_per_second = 1e6, .loss = 0.3, .duplication = 0.2, .overtaking = 0.2};
  s.seed = 4;
  return s;
}

template<class Node>
auto made(topology::pair const& network, double step = 0.05, std::size_t dimension = 150) -> assembly {
  typename Node::options options{};
  options.step = step;
  options.block_values = 64;
  auto const q = problem::quadratic::random(network.nodes(), dimension, 3, {.spread = 1, .condition = 5, .noise = 0.1});
  return assemble<Node>(network, q, options);
}

void check_same(run_result const& a, run_result const& b) {
  CHECK(a.events == b.events);
  CHECK(a.ended == b.ended);
  REQUIRE(a.history.size() == b.history.size());
  for (std::size_t k = 0; k < a.history.size(); ++k) {
    REQUIRE(a.history[k].loss == b.history[k].loss);
    REQUIRE(a.history[k].consensus_distance == b.history[k].consensus_distance);
    REQUIRE(a.history[k].gradients == b.history[k].gradients);
  }
  REQUIRE(a.edges.size() == b.edges.size());
  for (std::size_t k = 0; k < a.edges.size(); ++k) {
    REQUIRE(a.edges[k].lost == b.edges[k].lost);
    REQUIRE(a.edges[k].delivered == b.edges[k].delivered);
    REQUIRE(a.edges[k].bytes_sent == b.edges[k].bytes_sent);
    REQUIRE(a.edges[k].age.total_ns == b.edges[k].age.total_ns);
  }
}

TEST_CASE("the same seed gives the same bits, again and with any number of threads") {
  for (auto const split : {environment::delivery::whole, environment::delivery::blocks}) {
    auto weather = rough();
    weather.split = split;
    auto const once = simulate(made<fast>(topology::ring(6)), weather, {.time = 2s});
    CHECK(once.events > 1000);
    check_same(once, simulate(made<fast>(topology::ring(6)), weather, {.time = 2s}));
    weather.threads = 2;
    check_same(once, simulate(made<fast>(topology::ring(6)), weather, {.time = 2s}));
    weather.threads = 1;
    weather.seed = 5;
    CHECK(once.history.back().loss !=
          simulate(made<fast>(topology::ring(6)), weather, {.time = 2s}).history.back().loss);
  }
}

TEST_CASE("packets encoded into fresh memory give the same results as shared ones") {
  for (auto const split : {environment::delivery::whole, environment::delivery::blocks}) {
    auto weather = rough();
    weather.split = split;
    auto const shared = simulate(made<fast>(topology::binary_tree(6)), weather, {.time = 2s});
    weather.carried = environment::frames::encoded;
    check_same(shared, simulate(made<fast>(topology::binary_tree(6)), weather, {.time = 2s}));
  }
  auto calm = rough();
  calm.carried = environment::frames::encoded;
  auto const encoded = simulate(made<in_rounds>(topology::ring(4)), calm, {.time = 2s});
  calm.carried = environment::frames::by_reference;
  check_same(encoded, simulate(made<in_rounds>(topology::ring(4)), calm, {.time = 2s}));
}

TEST_CASE("with one datagram per block single blocks are lost, not vectors") {
  auto weather = rough();
  weather.link = {.latency = 1ms, .loss = 0.3};
  weather.split = environment::delivery::blocks;
  auto const r = simulate(made<fast>(topology::ring(4)), weather, {.time = 2s});
  for (auto const& e : r.edges) {
    CHECK(e.packets_sent % 3 == 0);  // 150 values are three blocks
    CHECK(e.lost > e.packets_sent / 5);
    CHECK(e.values_sent == e.packets_sent / 3 * 150);
  }
}

TEST_CASE("a link too slow for its sender carries the newest state and conflates the rest") {
  auto weather = rough();
  weather.compute = environment::fixed(1ms);
  weather.link = {.latency = 1ms, .bits_per_second = 1e5};  // a packet of 696 bytes takes 56 ms
  auto const r = simulate(made<fast>(topology::ring(4)), weather, {.time = 2s});
  for (auto const& e : r.edges) {
    CHECK(e.conflated > 10 * e.packets_sent);
    CHECK(e.packets_sent > 10);
    CHECK(e.age.largest < 200ms);  // what waits is replaced, so nothing grows old in a queue
  }
}

TEST_CASE("an event channel conflates and loses nothing") {
  auto weather = rough();
  auto const r = simulate(made<in_rounds>(topology::ring(4)), weather, {.time = 5s});
  auto lost = std::uint64_t{0};
  for (auto const& e : r.edges) {
    CHECK(e.conflated == 0);
    CHECK(e.delivered + 2 >= e.packets_sent);
    lost += e.lost;
  }
  CHECK(lost > 0);
  for (auto const& n : r.nodes) CHECK(n.iterations + 2 >= r.nodes[0].iterations);
}

TEST_CASE("a node that waits longer than the patience ends the run, which names it and the message") {
  auto weather = rough();
  weather.patience = 1s;
  weather.special.push_back({node_id{2}, node_id{1}, {.latency = 24h}});
  auto const words =
      rubato::test::failure([&] { simulate(made<in_rounds>(topology::directed_ring(3)), weather, {.time = 1h}); });
  weather.special = {{node_id{1}, node_id{2}, {.latency = 24h}}};
  auto const sentence =
      rubato::test::failure([&] { simulate(made<in_rounds>(topology::directed_ring(3)), weather, {.time = 1h}); });
  CHECK(words == "");  // no edge 2 -> 1 in this ring
  CHECK(sentence.find("node 2 has waited for model message 1 of node 1 since ") != std::string::npos);
  CHECK(sentence.find("patience") != std::string::npos);
}

/// Asks for nothing, posts nothing, waits for a message that nobody sends.
struct forlorn {
  void start(instant, outbox& out) { out.wait = waiting{node_id{7}, channel_id::control, iteration{3}}; }
  void on_patch(instant, patch const&, outbox&) {}
  void on_gradient(instant, gradient, outbox&) {}
  void on_wakeup(instant, wakeup, outbox&) {}
  void on_neighbours(instant, neighbour_change const&, outbox&) {}
  [[nodiscard]] auto estimate() const -> shared_buffer { return x; }
  [[nodiscard]] auto statistics() const -> node_statistics { return {}; }
  void audit(tracking_audit& a) const { a = {}; }
  static auto channels() -> std::span<channel_spec const> { return {}; }
  shared_buffer x;
};

/// A run of hand-made nodes on a problem of one dimension.
auto stage(std::vector<any_node> nodes) -> assembly {
  assembly a;
  a.peers = nodes.size();
  a.oracle = problem::any_oracle{backend::host<double>{}, problem::quadratic::random(a.peers, 1, 1)};
  a.blocks = block_partition{1};
  a.nodes = std::move(nodes);
  return a;
}
auto model_of_one() -> shared_buffer {
  backend::host<double> b;
  auto x = b.allocate<double>(1);
  x.data()[0] = 0;
  return std::move(x).publish();
}

TEST_CASE("a run with nothing under way ends at once, naming the waiting node and its message") {
  std::vector<any_node> nodes;
  nodes.emplace_back(forlorn{model_of_one()});
  auto run = simulator{stage(std::move(nodes)), {}};
  auto const words = rubato::test::failure([&] { run.run({.time = 1000h}); });
  CHECK(words.find("node 0 has waited for control message 3 of node 7") != std::string::npos);
  CHECK(words.find("nothing is under way") != std::string::npos);
}

/// Cancels its first request for a second one, and wakes itself up in between.
struct fickle : forlorn {
  void start(instant now, outbox& out) {
    out.request = gradient_request{ticket{1}, x, {}};
    out.wakeups.push_back({5, now + 3ms});
  }
  void on_wakeup(instant now, wakeup w, outbox& out) {
    CHECK((w.id == 5 && now.since_start == 3ms));
    out.cancel = ticket{1};
    out.request = gradient_request{ticket{2}, x, {}};
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    CHECK(g.id == ticket{2});
    CHECK(now.since_start == 13ms);
    CHECK(g.duration == 10ms);
    out.wait = waiting{};
  }
};

TEST_CASE("a node may wake itself and cancel a gradient, whose result is then not delivered") {
  for (auto const threads : {1U, 2U}) {
    std::vector<any_node> nodes;
    nodes.emplace_back(fickle{{model_of_one()}});
    environment::scenario weather;
    weather.compute = environment::fixed(10ms);
    weather.threads = threads;
    auto run = simulator{stage(std::move(nodes)), weather};
    CHECK(run.run({.time = 1h, .gradients = 1}).ended == 13ms);
  }
}

TEST_CASE("runs end at their time, their target or their number of gradients") {
  auto const weather = rough();
  auto const by_time = simulate(made<fast>(topology::ring(4)), weather, {.time = 1234ms});
  CHECK(by_time.stopped == stop_reason::time);
  CHECK(by_time.ended == 1234ms);
  CHECK(by_time.history.back().at == 1234ms);
  auto const by_work = simulate(made<fast>(topology::ring(4)), weather, {.gradients = 77});
  CHECK(by_work.stopped == stop_reason::gradients);
  auto done = std::uint64_t{0};
  for (auto const& n : by_work.nodes) done += n.gradients;
  CHECK(done == 77);
  auto const target = by_time.history[20].loss;
  auto const by_target = simulate(made<fast>(topology::ring(4)), weather, {.time = 1234ms, .target_loss = target});
  CHECK(by_target.stopped == stop_reason::target_loss);
  REQUIRE(by_target.time_to_target);
  CHECK(*by_target.time_to_target <= by_time.history[20].at);
}

TEST_CASE("a run that diverges or leaves the ledger's range ends with a sentence that says so") {
  auto const calm = environment::scenario{};
  CHECK(rubato::test::failure([&] {
          simulate(made<d_psgd<backend::host<double>>>(topology::ring(3), 30.0), calm, {.time = 1h});
        }).find("diverges") != std::string::npos);
  auto const words = rubato::test::failure([&] { simulate(made<fast>(topology::ring(3), 30.0), calm, {.time = 1h}); });
  CHECK(words.find("the ledger's range is exceeded in block") != std::string::npos);
  CHECK(words.find("smaller step") != std::string::npos);
}

/// Writes down which mini-batches were asked for, by node.
struct keyed_problem {
  problem::quadratic inner = problem::quadratic::random(4, 8, 3);
  std::shared_ptr<std::vector<std::vector<sample_key>>> keys =
      std::make_shared<std::vector<std::vector<sample_key>>>(4);

  [[nodiscard]] auto dimension() const -> std::size_t { return inner.dimension(); }
  template<backend::array_backend Backend>
  auto gradient(Backend& b, std::span<typename Backend::scalar const> x, sample_key key,
                std::span<typename Backend::scalar> g) const -> double {
    (*keys)[to_index(key.node)].push_back(key);
    return inner.gradient(b, x, key, g);
  }
};

auto keys_of(std::vector<environment::restart> restarts) -> std::vector<std::vector<sample_key>> {
  keyed_problem const problem;
  fast::options options{};
  options.seed = 7;
  auto a = assemble<fast>(topology::both(topology::ring(4)), problem, options);
  for (auto& of : *problem.keys) of.clear();  // calibration drew the first samples
  environment::scenario s;
  s.restarts = std::move(restarts);
  static_cast<void>(simulate(std::move(a), s, {.time = 500ms}));
  return *problem.keys;
}

TEST_CASE("a restarted node draws mini-batches that it has never drawn before") {
  auto const calm = keys_of({});
  auto const keys = keys_of({{node_id{2}, 105ms, 20ms}, {node_id{2}, 255ms, 20ms}});
  REQUIRE(calm[2].size() >= 49);
  auto const& mine = keys[2];
  REQUIRE(mine.size() > 30);
  for (std::size_t i = 0; i < mine.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) REQUIRE(!(mine[i] == mine[j]));
  }
  for (std::size_t k = 0; k < 10; ++k) CHECK(mine[k] == calm[2][k]);  // those before it are as ever
  CHECK(mine[0] == sample_key{7, node_id{2}, 0});
  CHECK(mine[20].seed != 7);
  CHECK(keys[0].back().seed == 7);
}

}  // namespace
