// SPDX-License-Identifier: MIT
// Joining the results of the processes of a run.
#include <rubato/run/peer_result.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;

auto model_of(double value) -> shared_buffer {
  buffer_pool pool;
  auto body = pool.allocate<double>(2);
  body.data()[0] = body.data()[1] = value;
  return std::move(body).publish();
}

/// Two looks, at 0 and at `value`, and one edge to the next node.
auto part(std::size_t id, std::size_t of, double value) -> peer_result {
  peer_result r;
  r.id = to_node(id);
  r.of = of;
  r.looks = {{0ms, model_of(0), 0, 0}, {10ms, model_of(value), 0.5, 7, 300}};
  r.result.models = {model_of(value)};
  r.result.ended = 10ms;
  r.result.events = 7;
  r.result.nodes = {{to_node(id), 7, 7, 0}};
  edge_report out{to_node(id), to_node((id + 1) % of), channel_id::model};
  out.packets_sent = 3;
  edge_report in{to_node((id + of - 1) % of), to_node(id), channel_id::model};
  in.delivered = 2;
  r.result.edges = {out, in};
  return r;
}

TEST_CASE("the parts of all nodes are joined in any order: edges by their two ends, measurements of the mean model") {
  auto const p = problem::quadratic::random(3, 2, 1);
  auto const all = merged({part(2, 3, 3), part(0, 3, 1), part(1, 3, 2)}, {space{}, p});
  REQUIRE(all.edges.size() == 3);
  for (auto const& e : all.edges) {
    CHECK(e.packets_sent == 3);
    CHECK(e.delivered == 2);
  }
  CHECK(all.events == 21);
  REQUIRE(all.nodes.size() == 3);
  CHECK(all.nodes[2].id == node_id{2});
  REQUIRE(all.history.size() == 2);
  CHECK(all.history[1].gradients == 21);
  CHECK(all.history[1].bytes_sent == 900);
  CHECK(all.history[1].tracking_residual == 0.5);
  auto const mean = merged({part(0, 1, 2)}, {space{}, p});  // of 1, 2 and 3
  CHECK(all.history[1].loss == Approx(mean.history[1].loss));
  CHECK(all.history[1].consensus_distance > mean.history[1].consensus_distance);
}

TEST_CASE("a joined result has the name of the algorithm, and what the parts warn of, each sentence once") {
  auto const p = problem::quadratic::random(2, 2, 1);
  auto one = part(0, 2, 1), other = part(1, 2, 1);
  one.result.algorithm = other.result.algorithm = "r_fast";
  one.result.warnings = {"all: old", "node 0: early"};
  other.result.warnings = {"all: old", "node 1: late"};
  auto const all = merged({one, other}, {space{}, p});
  CHECK(all.algorithm == "r_fast");
  CHECK(all.warnings == std::vector<std::string>{"all: old", "node 0: early", "node 1: late"});
}

TEST_CASE("whose models others refused is said once of a joined result, with the counts of all") {
  auto const p = problem::quadratic::random(3, 2, 1);
  std::vector<peer_result> parts;
  for (std::size_t i = 0; i < 3; ++i) {
    parts.push_back(part(i, 3, 1));
    auto& r = parts.back().result;
    edge_report e;
    e.to = to_node(i);
    e.channel = channel_id::model;
    e.delivered = e.refused = 10 * i;
    r.edges = {e};
    detail::warn_of_refusals(r);
    CHECK(r.warnings.size() == (i == 0 ? 0 : 1));
  }
  auto const all = merged(parts, {space{}, p}).warnings;
  REQUIRE(all.size() == 1);
  CHECK(all[0].starts_with("30 models of node 0 did not pass the rule of admission of 2 nodes, which"));
}

TEST_CASE("one process says of silence what it knows, its own; all together say that no message was sent") {
  auto const p = problem::quadratic::random(3, 2, 1);
  std::vector<peer_result> silent;
  for (std::size_t i = 0; i < 3; ++i) {
    silent.push_back(part(i, 3, 1));
    auto& r = silent.back().result;
    for (auto& e : r.edges) e.packets_sent = e.delivered = 0;
    auto lost = r;
    lost.edges[0].lost = 1;
    detail::warn_of_silence(3, lost);
    CHECK(lost.warnings.empty());
    detail::warn_of_silence(3, r);
    CHECK(r.warnings == std::vector{"node " + std::to_string(i) +
                                    " sent and received no message, so its model is what "
                                    "it made of its own data alone"});
  }
  auto const all = merged(silent, {space{}, p}).warnings;
  REQUIRE(all.size() == 1);
  CHECK(all[0].starts_with("no message was sent, so each node's model"));
  auto talking = silent;
  talking[2] = part(2, 3, 1);
  CHECK(merged(talking, {space{}, p}).warnings ==
        std::vector{silent[0].result.warnings[0], silent[1].result.warnings[0]});
  silent.pop_back();
  CHECK(merged(silent, {space{}, p}, gaps::left_out).warnings.size() == 2);
}

TEST_CASE("measurements at different times are joined at the times of the node with the fewest") {
  auto const p = problem::quadratic::random(2, 2, 1);
  auto often = part(0, 2, 4), rarely = part(1, 2, 4);
  often.looks = {{0ms, model_of(0), 0, 0},
                 {2ms, model_of(1), 0, 1},
                 {4ms, model_of(2), 0, 2},
                 {6ms, model_of(3), 0, 3},
                 {9ms, model_of(4), 0, 4}};
  rarely.looks = {{0ms, model_of(0), 0, 0}, {5ms, model_of(2), 0, 20}, {8ms, model_of(4), 0, 40}};
  auto const all = merged({often, rarely}, {space{}, p});
  REQUIRE(all.history.size() == 3);
  CHECK(all.history[1].at == 5ms);
  CHECK(all.history[1].gradients == 22);
  CHECK(all.history[1].consensus_distance == 0);
  CHECK(all.history[2].at == 9ms);
  CHECK(all.history[2].gradients == 44);
}

TEST_CASE("parts are not joined if one is missing, even the last, duplicated or of another run") {
  auto const p = problem::quadratic::random(3, 2, 1);
  auto const refused = [&](std::vector<peer_result> parts) {
    return refusal([&] { static_cast<void>(merged(std::move(parts), {space{}, p})); });
  };
  CHECK(says(refused({}), "no results"));
  CHECK(says(refused({part(1, 3, 1), part(2, 3, 1)}), "the result of node 0 is missing"));
  CHECK(says(refused({part(0, 3, 1), part(2, 3, 1)}), "the result of node 1 is missing"));
  CHECK(says(refused({part(0, 3, 1), part(1, 3, 1)}), "the result of node 2 is missing"));
  CHECK(says(refused({part(0, 3, 1), part(1, 3, 1), part(1, 3, 1)}), "two results of node 1"));
  CHECK(says(refused({part(0, 2, 1), part(1, 2, 1), part(1, 2, 1)}), "two results of node 1"));
  CHECK(says(refused({part(0, 3, 1), part(1, 3, 1), part(2, 4, 1)}),
             "the result of node 2 is of a run of 4 nodes, and that of node 0 of one of 3"));
  CHECK(says(refused({part(0, 2, 1), part(1, 2, 1), part(2, 2, 1)}),
             "there is a result of node 2, and the run has only 2 nodes"));
  auto const two = merged({part(2, 3, 1), part(0, 3, 3)}, {space{}, p}, gaps::left_out);
  CHECK((two.nodes.size() == 2 && two.models.size() == 2 && two.nodes[1].id == node_id{2}));
  CHECK(says(refusal([&] { static_cast<void>(merged({part(2, 3, 1), part(2, 3, 1)}, {space{}, p}, gaps::left_out)); }),
             "two results of node 2"));
  CHECK(says(refusal([&] { static_cast<void>(merged({part(0, 2, 1), part(2, 2, 1)}, {space{}, p}, gaps::left_out)); }),
             "there is a result of node 2, and the run has only 2 nodes"));
  auto others = std::vector{part(0, 3, 1), part(1, 3, 1), part(2, 3, 1)};
  for (auto& each : others) each.agreed = "problem=quadratic\nstep=0.1\n";
  CHECK(refused(others).empty());
  others[1].agreed = "problem=quadratic\nstep=0.2\n";
  CHECK(says(refused(others), "the result of node 1 has step 0.2, but that of node 0 has 0.1: it is of another run"));
}

}  // namespace
}  // namespace rubato::test
