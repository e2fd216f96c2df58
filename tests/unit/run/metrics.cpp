// SPDX-License-Identifier: MIT
#include <rubato/run/metrics.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/local_sgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"

namespace rubato::test {
namespace {

template<class T>
auto vector_of(std::vector<T> const& values) -> shared_buffer {
  auto b = backend::host<T>{}.template allocate<T>(values.size());
  std::copy(values.begin(), values.end(), b.data());
  return std::move(b).publish();
}

auto to(std::size_t peer, std::vector<double> total) -> tracking_audit::edge {
  return {to_node(peer), channel_id::tracker, std::move(total)};
}

TEST_CASE("the consensus distance is the root mean square over nodes of the distance from the mean model") {
  // Mean (2, 0); squared distances 1 + 4, 1 + 4, 0 + 16 / ... by hand: (1,2), (3,2), (2,-4).
  std::vector<shared_buffer> const models{vector_of<double>({1, 2}), vector_of<double>({3, 2}),
                                          vector_of<double>({2, -4})};
  CHECK(consensus_distance(models) == Approx(std::sqrt((5.0 + 5.0 + 16.0) / 3)).epsilon(1e-14));
}

TEST_CASE("nodes with equal models have a consensus distance of zero, as has no node at all") {
  std::vector<shared_buffer> const same{vector_of<float>({1, 2, 4}), vector_of<float>({1, 2, 4})};
  CHECK(consensus_distance(same) == 0);
  CHECK(consensus_distance({}) == 0);
}

TEST_CASE("the tracking residual is the imbalance of trackers, gradients and mass in flight") {
  // z - g: (1, 0) and (0, -2); node 0 pushed (4, 7), of which node 1 consumed (5, 5): in flight (-1, 2). Sum (0, 0).
  std::vector<tracking_audit> audits(2);
  audits[0] = {false, {3, 1}, {2, 1}, {to(1, {4, 7})}, {}};
  audits[1] = {false, {1, 0}, {1, 2}, {}, {to(0, {5, 5})}};
  CHECK(tracking_residual(audits) == 0);
  audits[1].tracker[1] += 0.25;
  CHECK(tracking_residual(audits) == 0.25);
  audits[0].tracker[0] -= 3;
  CHECK(tracking_residual(audits) == 3);
}

TEST_CASE("what one end of an edge still counts is known modulo 2^32, also where node 0 is absent") {
  // Node 1 had pushed 2^32 + 5 to node 2, and has closed the edge and taken all of it back; node 2 still counts 5.
  auto const fixed = [](std::vector<double> tracker) {
    tracking_audit a;
    a.fixed_point = true;
    a.tracker = std::move(tracker);
    a.gradient = {0};
    a.block_values = 1;
    a.quanta = {1.0};
    return a;
  };
  std::vector<tracking_audit> audits{fixed({0}), fixed({4294967301.0}), fixed({0})};
  audits[1].pushed = {to(2, {})};
  audits[2].consumed = {to(1, {5.0})};
  CHECK(tracking_residual(audits) == 0);
  audits[0] = {};
  CHECK(tracking_residual(audits) == 0);
  audits[1].tracker[0] += 1;
  CHECK(tracking_residual(audits) == 1);
}

TEST_CASE("mass on its way counts in full while the receiver has consumed nothing") {
  std::vector<tracking_audit> audits(2);
  audits[0] = {false, {-4}, {0}, {to(1, {4})}, {}};
  audits[1] = {false, {0}, {0}, {}, {to(0, {})}};  // an empty total stands for zeros
  CHECK(tracking_residual(audits) == 0);
  audits[0].pushed[0].total = {};
  CHECK(tracking_residual(audits) == 4);
}

TEST_CASE("totals of a fixed-point ledger that wrapped at 2^32 leave no residual") {
  std::vector<tracking_audit> audits(2);
  // Pushed 2^31 - 1 and 6 more, which is -2^31 + 5 as stored; consumed 2^31 - 1. Six units are in flight.
  audits[0] = {true, {-6}, {0}, {to(1, {-2147483643.0})}, {}};
  audits[1] = {true, {0}, {0}, {}, {to(0, {2147483647.0})}};
  CHECK(tracking_residual(audits) == 0);
  audits[0].fixed_point = false;
  CHECK(tracking_residual(audits) > 4e9);
}

TEST_CASE("what one end alone still counts of an edge, since the other has closed it, is on its way") {
  std::vector<tracking_audit> audits(2);
  // Node 0 has taken the 4 that it pushed back; node 1 has not given the 3 of them back that it consumed.
  audits[0] = {false, {5}, {5}, {to(1, {})}, {}};
  audits[1] = {false, {4}, {1}, {}, {to(0, {3})}};
  CHECK(tracking_residual(audits) == 0);
  audits[1].tracker[0] = 4.5;
  CHECK(tracking_residual(audits) == 0.5);
  // 2^31 + 1 units in all, as the total of 32 bits tells it; the tracker has them modulo 2^32.
  audits[0].fixed_point = audits[1].fixed_point = true;
  audits[1] = {true, {-2147483647.0}, {0}, {}, {to(0, {2147483649.0})}};
  CHECK(tracking_residual(audits) == 0);
  audits[1].tracker[0] += 1;
  CHECK(tracking_residual(audits) == 1);
}

TEST_CASE("one node's residual compares its tracker with all that it pushed and consumed") {
  // z - g + pushed - consumed = 2 - 5 + (4 + 1) - 2 = 0
  tracking_audit a{false, {2}, {5}, {to(1, {4}), to(2, {1})}, {to(1, {2}), to(2, {})}};
  CHECK(local_residual(a) == 0);
  a.tracker[0] = 2.5;
  CHECK(local_residual(a) == 0.5);
}

TEST_CASE("one node's residual is exact when its totals have wrapped, and finds a single unit") {
  tracking_audit a{true, {-6}, {0}, {to(1, {-2147483643.0})}, {to(2, {2147483647.0})}};
  CHECK(local_residual(a) == 0);
  a.tracker[0] = -5;
  CHECK(local_residual(a) == 1);
}

TEST_CASE("an audit and its residuals are also given in the model's units, block by block") {
  tracking_audit a{true, {-6, 8, 3}, {0, 0, 3}, {to(1, {6, -8, 0})}, {}, {0.5, 0.25}, 2};
  CHECK(a.in_model_units(a.tracker) == std::vector<double>{-3, 4, 0.75});
  CHECK(local_residual(a) == 0);
  a.tracker[2] = 5;
  CHECK(local_residual(a) == 2);
  CHECK(local_residual(a, residual_units::model) == 0.5);
  std::vector<tracking_audit> audits{a, {true, {0, 0, 0}, {0, 0, 0}, {}, {to(0, {0, 0, 0})}, {0.5, 0.25}, 2}};
  CHECK(tracking_residual(audits) == 2);
  CHECK(tracking_residual(audits, residual_units::model) == 0.5);
  tracking_audit const plain{false, {2}, {1}, {}, {}};
  CHECK(plain.in_model_units(plain.tracker) == plain.tracker);
  CHECK(local_residual(plain, residual_units::model) == 1);
}

TEST_CASE("a tracker begins with the first gradient, in the model's units, whatever the ledger's exponents") {
  using node_type = r_fast<backend::host<float>>;
  auto const q = problem::quadratic::random(2, 130, 3);
  for (auto const& exponents : {std::vector<int>{}, std::vector<int>{20}, std::vector<int>{12, 24, 18}}) {
    auto a = assemble<node_type>(topology::ring(2), q, {.block_values = 64, .ledger = {.exponents = exponents}});
    outbox out;
    a.nodes[0].start({}, out);
    auto const first = a.oracle.evaluate(*out.request);
    out.clear();
    a.nodes[0].on_gradient({}, first, out);
    tracking_audit audit;
    a.nodes[0].audit(audit);
    auto const g = audit.in_model_units(audit.gradient);
    REQUIRE(g.size() == 130);
    for (std::size_t i = 0; i < 130; ++i) {
      CHECK(std::abs(g[i] - static_cast<double>(first.value.view<float>()[i])) <= audit.quantum(i) / 2);
      CHECK(audit.quantum(i) < 1e-3);
    }
    if (exponents.size() == 3) CHECK((audit.quantum(63) == 0x1p-12 && audit.quantum(64) == 0x1p-24));
  }
}

TEST_CASE("the loss is that of the mean model, and measures that a problem does not have are NaN") {
  auto const problem = problem::quadratic{{{1}, {1}}, {{0}, {4}}};
  auto const looks = metrics{problem::any_oracle{backend::host<double>{}, problem}};
  std::vector<shared_buffer> const models{vector_of<double>({0}), vector_of<double>({2})};
  auto const m = looks.of_models(models, std::chrono::milliseconds{5});
  CHECK(m.loss == Approx((0.5 * 1 + 0.5 * 9) / 2).epsilon(1e-14));  // F at x = 1
  CHECK(m.consensus_distance == Approx(1).epsilon(1e-14));
  CHECK(std::isnan(m.accuracy));
  CHECK(m.at == std::chrono::milliseconds{5});
}

TEST_CASE("a report is found by sender, receiver and channel, whatever the order of the reports") {
  std::vector<edge_report> reports;
  for (std::size_t from = 5; from-- > 0;)
    for (std::size_t to = 0; to < 5; ++to)
      for (auto const channel : {channel_id::tracker, channel_id::model})
        if (from != to) reports.push_back({.from = to_node(from), .to = to_node(to), .channel = channel});
  auto const index = rubato::detail::edge_index{reports};
  for (auto& r : reports) CHECK(index.find(r.from, r.to, r.channel) == &r);
  CHECK(index.find(to_node(1), to_node(1), channel_id::model) == nullptr);
  CHECK(index.find(to_node(1), to_node(2), channel_id::chunk) == nullptr);
  CHECK(rubato::detail::edge_index{{}}.find(to_node(0), to_node(1), channel_id::model) == nullptr);
}

/// Says of itself what a test wants reported.
struct counting {
  node_statistics counted;
  shared_buffer model{};
  static auto channels() -> std::span<channel_spec const> { return {}; }
  void start(instant, outbox&) const {}
  void on_patch(instant, patch const&, outbox&) const {}
  void on_gradient(instant, gradient, outbox&) const {}
  void on_wakeup(instant, wakeup, outbox&) const {}
  void on_neighbours(instant, neighbour_change const&, outbox&) const {}
  [[nodiscard]] auto estimate() const -> shared_buffer { return model; }
  [[nodiscard]] auto statistics() const -> node_statistics { return counted; }
  void audit(tracking_audit&) const {}
};

TEST_CASE("counts of receivers are joined to the senders' edges, and leave the senders' counts unchanged") {
  run_result result;
  result.edges.push_back(
      {.from = to_node(1), .to = to_node(0), .channel = channel_id::model, .packets_sent = 9, .delivered = 8});
  result.edges.push_back(
      {.from = to_node(0), .to = to_node(1), .channel = channel_id::model, .packets_sent = 5, .delivered = 4});
  std::vector<any_node> nodes;
  nodes.emplace_back(
      counting{{7, 6, 1, {{to_node(1), channel_id::model, 5, 3, {}}, {to_node(1), channel_id::tracker, 2, 2, {}}}}});
  nodes.emplace_back(counting{{70, 60, 10, {}}});
  rubato::detail::collect_nodes(nodes, {0, 1}, result);
  CHECK(result.edges[0].overtaken == 3);
  CHECK(result.edges[0].delivered == 8);
  CHECK(result.edges[0].packets_sent == 9);
  CHECK(result.edges[1].overtaken == 0);
  REQUIRE(result.nodes.size() == 2);
  CHECK(result.nodes[0].iterations == 7);
  CHECK(result.nodes[1].gradients == 60);
  CHECK(result.nodes[1].dropped == 10);
  CHECK(result.models.size() == 1);  // of peers only
}

// 0.1 s where the edges are sorted once; sorted for each node they would take an hour, which the tests' limit ends.
TEST_CASE("collecting the counters of a hundred thousand nodes does not sort their edges for each of them") {
  constexpr std::size_t n = 100'000, degree = 4;
  run_result result;
  std::vector<any_node> nodes;
  for (std::size_t i = 0; i < n; ++i) {
    node_statistics s{i, 0, 0, {}};
    for (std::size_t k = 1; k <= degree; ++k) {
      auto const peer = to_node((i + k * 7919) % n);
      result.edges.push_back({.from = peer, .to = to_node(i), .channel = channel_id::model});
      s.edges.push_back({peer, channel_id::model, 0, i + k, {}});
    }
    nodes.emplace_back(counting{std::move(s)});
  }
  rubato::detail::collect_nodes(nodes, {0, 0}, result);
  REQUIRE(result.nodes.size() == n);
  auto right = std::size_t{0};
  for (std::size_t e = 0; e < result.edges.size(); ++e)
    right += result.edges[e].overtaken == e / degree + 1 + e % degree;
  CHECK(right == n * degree);
}

/// Two nodes that made 1,000 iterations in a second, and messages of node 0 that were so old where node 1 used them.
auto with_ages(std::chrono::nanoseconds age, channel_id channel) -> run_result {
  run_result r;
  r.ended = std::chrono::seconds{1};
  r.raw_step = 1.25;
  r.nodes = {{to_node(0), 1000, 1000, 0}, {to_node(1), 1000, 1000, 0}};
  r.edges.push_back({.from = to_node(1), .to = to_node(0), .channel = channel});
  r.edges.push_back({.from = to_node(0), .to = to_node(1), .channel = channel});
  for (auto k = 0; k < 3; ++k) r.edges[1].age.add(age);
  rubato::detail::warn_of_ages(r);
  return r;
}

TEST_CASE("a result warns of messages that are many local iterations old, with their age and the step") {
  auto const old = with_ages(std::chrono::milliseconds{200}, channel_id::tracker).warnings;
  REQUIRE(old.size() == 1);
  CHECK(old[0].find("messages were 200 local iterations old, on average, where node 1 used them") == 0);
  CHECK(old[0].find("1 / (200 L)") != std::string::npos);
  CHECK(old[0].find("this run took 1.25;") != std::string::npos);
  CHECK(with_ages(std::chrono::milliseconds{7}, channel_id::model).warnings.empty());
  CHECK(with_ages(std::chrono::milliseconds{200}, channel_id::gradient).warnings.empty());  // a server counts steps
  run_result nothing;
  rubato::detail::warn_of_ages(nothing);
  CHECK(nothing.warnings.empty());
}

TEST_CASE("a result says that nodes which worked exchanged nothing") {
  auto const warnings = [](std::uint64_t local_steps) {
    local_sgd<backend::host<double>>::options o;
    o.rhythm.local_steps = local_steps;
    auto const p = problem::quadratic::random(3, 4, 1);
    return simulate(assemble<local_sgd<backend::host<double>>>(topology::ring(3), p, o), {},
                    {.time = std::chrono::milliseconds{200}})
        .warnings;
  };
  CHECK(warnings(4).empty());
  auto const alone = warnings(1'000'000);
  REQUIRE(alone.size() == 1);
  CHECK(alone[0].starts_with("no message was sent, so each node's model"));
}

TEST_CASE("a result warns when all that is tracked has fallen to a few units of the ledger, and names its algorithm") {
  using namespace std::chrono_literals;
  auto const q = problem::quadratic::random(2, 3, 4);
  environment::scenario const calm{.compute = environment::fixed(10ms)};
  auto const after = [&]<class Node>(Node*, std::chrono::nanoseconds time) {
    auto const r = simulate<Node>(topology::both(topology::line(2)), q, {.step = 0.1}, calm, {.time = time});
    CHECK(r.algorithm == "R-FAST");
    return r.warnings;
  };
  r_fast<backend::host<float>>* coarse = nullptr;
  r_fast<backend::host<double>>* fine = nullptr;
  CHECK(after(coarse, 50ms).empty());
  auto const late = after(coarse, 60s);
  REQUIRE(late.size() == 1);
  CHECK(late[0].find("tracked gradients are at most 16 units of the ledger (a unit: ") == 0);
  CHECK(after(fine, 60s).empty());
}

TEST_CASE("a message that is used repeatedly because its sender is gone does not count as older") {
  using namespace std::chrono_literals;
  auto const q = problem::quadratic::random(3, 3, 4);
  environment::scenario const parted{.compute = environment::fixed(10ms),
                                     .link = {.latency = 1ms},
                                     .partitions = {environment::island({node_id{1}}, 3, 1s, 20s)}};
  auto r = simulate<r_fast<backend::host<double>>>(topology::both(topology::ring(3)), q, {.step = 0.05}, parted,
                                                   {.time = 20s});
  rubato::detail::warn_of_ages(r);
  CHECK(r.warnings.empty());
}

}  // namespace
}  // namespace rubato::test
