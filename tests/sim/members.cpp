// SPDX-License-Identifier: MIT
// Runs whose members come and go, change by change: the root dies, one leaves in order, another dies, two come back,
// one is new. After each change the present ones reach the optimum of their sum. Figure 41: how soon.
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/async_dgd_atc.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/dude_asgd.hpp>
#include <rubato/algorithm/extra.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/piag.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ringleader_asgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/members.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

using namespace std::chrono_literals;
using enum environment::member_event;

constexpr std::size_t most = 8;
/// Node 7 is new; the other changes are of those that began. Of a binary tree node 0 is the root, while it is there.
auto history(std::chrono::nanoseconds apart) -> environment::membership {
  return {.first = {node_id{0}, node_id{1}, node_id{2}, node_id{3}, node_id{4}, node_id{5}, node_id{6}},
          .changes = {{node_id{0}, dies, apart},
                      {node_id{3}, leaves, 2 * apart},
                      {node_id{5}, dies, 3 * apart},
                      {node_id{7}, joins, 4 * apart},
                      {node_id{0}, joins, 5 * apart},
                      {node_id{5}, joins, 6 * apart}},
          .suspicion = 200ms,
          .word = 50ms};
}

auto weather(std::chrono::nanoseconds apart) -> environment::scenario {
  return {.compute = environment::lognormal(10ms, 0.3),
          .link = {.latency = 1ms, .jitter = 1ms},
          .members = history(apart),
          .seed = 4,
          .measure_every = apart};
}

auto data(std::size_t values = 3) -> problem::quadratic {
  return problem::quadratic::random(most, values, 5, {.spread = 1, .condition = 3});
}

/// How long after each change all present models are and stay within 1e-5 of the optimum until the next change; and
/// the farthest of them at its end.
struct course {
  std::vector<double> seconds;
  double farthest = 0;
  double law = 0;
};
template<class Node>
auto course_of(topology::member_graphs const& graphs, std::chrono::nanoseconds apart,
               typename Node::options const& options) -> course {
  auto const q = data();
  auto run = simulator{assemble<Node>(graphs, q, options), weather(apart)};
  course c;
  for (std::size_t part = 0; part < 7; ++part) {
    auto const begin = part * apart;
    auto at = begin;
    auto far_at = begin;
    while (at < begin + apart - 1ms) {
      at = (std::min)(at + 100ms, begin + apart - 1ms);  // just before the next change
      auto const r = run.run({.time = at});
      c.law = std::max(c.law, r.history.back().tracking_residual);
      if (!(farthest_present(run, q) < 1e-5)) far_at = at;
    }
    c.seconds.push_back(to_seconds(far_at - begin));
    c.farthest = std::max(c.farthest, farthest_present(run, q));
  }
  return c;
}

void print(char const* what, course const& c) {
  std::printf("members, %s: to 1e-5 in s, at first and after each change:", what);
  for (auto const s : c.seconds) std::printf(" %.1f", s);
  std::printf("; farthest at last %.1e, law %.1e\n", c.farthest, c.law);
}

auto trees() -> topology::member_graphs { return {most, topology::binary_tree}; }
auto rings() -> topology::member_graphs { return {most, topology::ring}; }

TEST_CASE("after each change of members gradient tracking reaches the optimum of those who are present") {
  auto const exact = [](char const* what, course const& c) {
    print(what, c);
    CHECK(c.farthest < 1e-5);
    CHECK(c.law == 0.0);
  };
  auto const in_double = [](char const* what, course const& c) {
    print(what, c);
    CHECK(c.farthest < 1e-9);
    CHECK(c.law < 1e-10);
  };
  SECTION("R-FAST") {
    exact("r_fast on trees, float", course_of<r_fast<backend::host<float>>>(trees(), 15s, {.step = 0.2}));
    in_double("r_fast on rings, double", course_of<r_fast<backend::host<double>>>(rings(), 15s, {.step = 0.2}));
    in_double("r_fast on trees, double", course_of<r_fast<backend::host<double>>>(trees(), 15s, {.step = 0.2}));
  }
  SECTION("Push-Pull") {
    exact("push_pull on trees, float", course_of<push_pull<backend::host<float>>>(trees(), 15s, {.step = 0.2}));
    in_double("push_pull on rings, double", course_of<push_pull<backend::host<double>>>(rings(), 15s, {.step = 0.2}));
  }
}

TEST_CASE("after each change of members a server that keeps the newest gradient of each finds the same optimum") {
  auto const workers = topology::member_graphs{most, topology::star};
  auto const q = data();
  auto const farthest = [&]<class Node>(Node*, double step) {
    auto run = simulator{assemble<Node>(workers, q, {.step = step}), weather(15s)};
    auto worst = 0.0;
    for (int part = 1; part <= 7; ++part) {
      auto const r = run.run({.time = part * 15s - 1ms});
      auto const best = optimum_of(q, present_in(run, most));
      std::vector<double> x;
      rubato::detail::widen(r.models.back(), x);  // the server's
      for (std::size_t k = 0; k < x.size(); ++k) worst = std::max(worst, std::abs(x[k] - best[k]));
    }
    return worst;
  };
  CHECK(farthest(static_cast<dude_asgd<backend::host<double>>*>(nullptr), 0.3) < 1e-9);
  CHECK(farthest(static_cast<dude_asgd<backend::host<float>>*>(nullptr), 0.3) < 1e-5);
  CHECK(farthest(static_cast<piag<backend::host<double>>*>(nullptr), 0.5) < 1e-9);
}

TEST_CASE("D-PSGD goes on with those who are present: their mean reaches the optimum where curvatures are alike") {
  auto centres = problem::quadratic::rows{};
  for (std::size_t i = 0; i < most; ++i) centres.push_back({double(i), 1.0 / double(1 + i)});
  auto const q = problem::quadratic{problem::quadratic::rows(most, {1.0, 0.5}), centres};
  auto run = simulator{assemble<d_psgd<backend::host<double>>>(rings(), q, {.step = 0.1}), weather(10s)};
  for (int part = 1; part <= 7; ++part) {
    static_cast<void>(run.run({.time = part * 10s - 1ms}));
    auto const present = present_in(run, most);
    auto mean = std::vector<double>(2, 0.0);
    std::vector<double> x;
    for (auto const id : present) {
      rubato::detail::widen(run.nodes()[to_index(id)].estimate(), x);
      for (std::size_t k = 0; k < 2; ++k) mean[k] += x[k] / static_cast<double>(present.size());
    }
    auto const best = optimum_of(q, present);
    // Nodes may differ by a round, so each model is of one round or the next: at rest these are equal.
    for (std::size_t k = 0; k < 2; ++k) CHECK(std::abs(mean[k] - best[k]) < 1e-9);
  }
}

TEST_CASE("who joins begins with the model that a neighbour had when it was asked") {
  auto const q = data();
  auto run =
      simulator{assemble<r_fast<backend::host<double>>>(trees(), q, {.step = 0.2}),
                {.compute = environment::fixed(10ms),
                 .link = {.latency = 3ms},
                 .members = {.first = {node_id{0}, node_id{1}, node_id{2}}, .changes = {{node_id{5}, joins, 1s}}}}};
  static_cast<void>(run.run({.time = 1s - 1ns}));
  std::vector<double> given, taken;
  rubato::detail::widen(run.nodes()[1].estimate(), given);  // at place 3 of four members, below node 1
  CHECK_FALSE(run.is_there(node_id{5}));
  static_cast<void>(run.run({.time = 1s + 3ms}));
  CHECK(run.is_there(node_id{5}));
  rubato::detail::widen(run.nodes()[5].estimate(), taken);
  CHECK(taken == given);
  CHECK(taken[0] != 0.0);
}

TEST_CASE("the model that a newcomer is sent is counted on its edge") {
  auto run =
      simulator{assemble<r_fast<backend::host<double>>>(trees(), data(), {.step = 0.2}),
                {.compute = environment::fixed(10ms),
                 .link = {.latency = 3ms},
                 .members = {.first = {node_id{0}, node_id{1}, node_id{2}}, .changes = {{node_id{5}, joins, 1s}}}}};
  auto const sent = [&](std::chrono::nanoseconds until) {
    std::uint64_t bytes = 0;
    for (auto const& e : run.run({.time = until}).edges)
      if (e.from == node_id{1} && e.to == node_id{5}) bytes += e.bytes_sent;
    return bytes;
  };
  CHECK(sent(1s - 1ns) == 0);
  CHECK(sent(1s + 1ms) == wire::header_bytes + 3 * sizeof(double));
}

TEST_CASE("a change of which some have not heard when the run ends is warned of, and no other") {
  auto const warnings = [](std::chrono::nanoseconds suspicion, std::chrono::nanoseconds end) {
    auto s = weather(1s);
    s.members = {.changes = {{node_id{2}, dies, 1s}, {node_id{3}, leaves, 2s}}, .suspicion = suspicion, .word = 10ms};
    auto all =
        simulate(assemble<r_fast<backend::host<float>>>(trees(), data(), {.step = 0.2}), s, {.time = end}).warnings;
    std::erase_if(all, [](auto const& w) { return !says(w, "did not know"); });
    return all;
  };
  CHECK(warnings(200ms, 900ms).empty());
  CHECK(warnings(200ms, 4s).empty());
  auto const late = warnings(10s, 4s);
  REQUIRE(late.size() == 1);
  CHECK(says(late[0], "6 of those who were there did not know that node 2 had died"));
  CHECK(warnings(std::chrono::nanoseconds::max(), 4s).size() == 1);  // nobody ever hears of it
}

template<class Node>
struct repeats {
  topology::member_graphs graphs;
  environment::scenario where;
  typename Node::options options;
  std::size_t values = 3;

  auto assembled() const { return assemble<Node>(graphs, data(values), options); }
  static auto bits(run_result const& r) {
    std::vector<std::byte> all;
    for (auto const& m : r.models) all.insert(all.end(), m.bytes().begin(), m.bytes().end());
    return all;
  }
  /// Of a whole run, after which runs on two threads and runs that are cut have been compared with it.
  auto check() const {
    INFO(name_of_type<Node>());
    auto once = simulator{assembled(), where};
    auto const expected = bits(once.run({.time = 6s}));
    auto shared = where;
    shared.threads = 2;
    auto twice = simulator{assembled(), shared};
    CHECK(bits(twice.run({.time = 6s})) == expected);
    for (auto const cut : {1s, 3s}) {
      auto first = simulator{assembled(), where};
      static_cast<void>(first.run({.time = cut + 1ms}));
      auto second = simulator{assembled(), where};
      second.resume(first.state());
      CHECK(bits(second.run({.time = 6s})) == expected);
    }
    return expected;
  }
};

TEST_CASE("runs whose members come and go repeat bit by bit, on several threads and if they are cut") {
  using fast = r_fast<backend::host<float>>;
  auto const expected = repeats<fast>{trees(), weather(700ms), {.step = 0.2}}.check();
  auto other = weather(700ms);
  other.seed = 5;  // others hear of changes at other times
  auto differs = simulator{assemble<fast>(trees(), data(), {.step = 0.2}), other};
  CHECK(repeats<fast>::bits(differs.run({.time = 6s})) != expected);
}

TEST_CASE("so do gossip, rounds and servers, blocks that arrive by themselves, and frames that are encoded") {
  using host = backend::host<float>;
  auto encoded = weather(700ms);
  encoded.carried = environment::frames::encoded;
  auto in_blocks = encoded;
  in_blocks.split = environment::delivery::blocks;
  in_blocks.link.loss = 0.2;
  repeats<r_fast<host>>{trees(), in_blocks, {.step = 0.2, .block_values = 64}, 130}.check();
  repeats<async_dgd_atc<host>>{rings(), in_blocks, {.step = 0.1, .block_values = 64}, 130}.check();
  repeats<d_psgd<host>>{rings(), encoded, {.step = 0.1}}.check();
  repeats<push_pull<host>>{trees(), encoded, {.step = 0.2}}.check();
  repeats<dude_asgd<host>>{rings(), encoded, {.step = 0.3}}.check();
  repeats<dude_asgd<host>>{rings(), encoded, {.step = 0.3, .block_values = 64, .servers = 2}, 130}.check();
}

TEST_CASE("blocks and encoded frames lose nothing of the law, and servers that share a model find the optimum") {
  auto in_blocks = weather(15s);
  in_blocks.carried = environment::frames::encoded;
  in_blocks.split = environment::delivery::blocks;
  in_blocks.link.loss = 0.2;
  auto const q = data(130);
  auto run =
      simulator{assemble<r_fast<backend::host<float>>>(trees(), q, {.step = 0.2, .block_values = 64}), in_blocks};
  using dude = dude_asgd<backend::host<double>>;
  auto sharing = simulator{assemble<dude>(rings(), q, {.step = 0.3, .block_values = 64, .servers = 2}), weather(15s)};
  for (int part = 1; part <= 7; ++part) {
    auto const r = run.run({.time = part * 15s - 1ms});
    CHECK(r.history.back().tracking_residual == 0.0);
    CHECK(farthest_present(run, q) < 1e-5);
    std::vector<double> x;
    rubato::detail::widen(joined(sharing.run({.time = part * 15s - 1ms}).models), x);
    auto const best = optimum_of(q, present_in(sharing, most));
    auto worst = 0.0;
    for (std::size_t k = 0; k < x.size(); ++k) worst = std::max(worst, std::abs(x[k] - best[k]));
    CHECK(worst < 1e-9);
  }
}

TEST_CASE("of those who are gone a result has the models with which they went") {
  auto const r =
      simulate(assemble<r_fast<backend::host<float>>>(trees(), data(), {.step = 0.2}), weather(1s), {.time = 3500ms});
  CHECK(r.absent == std::vector{node_id{0}, node_id{3}, node_id{5}, node_id{7}});
  CHECK(r.models.size() == most);
}

TEST_CASE("what members cannot do is refused before the run, in one sentence") {
  auto const told = [](environment::membership const& m) { return refusal([&] { m.check(3); }); };
  CHECK(says(told({.first = {node_id{1}, node_id{1}}}), "node 1 is twice in a set of members"));
  CHECK(says(told({.first = {node_id{2}, node_id{1}}}), "in rising order"));
  CHECK(says(told({.first = {node_id{3}}}), "node 3 cannot be a member: the network has room for nodes 0 to 2"));
  CHECK(says(told({.changes = {{node_id{4}, joins, 1s}}}), "node 4 cannot be a member"));
  CHECK(says(told({.changes = {{node_id{1}, joins, 1s}}}), "node 1 cannot join while it is there"));
  CHECK(says(told({.changes = {{node_id{1}, dies, 1s}, {node_id{1}, leaves, 2s}}}), "cannot go while it is not there"));
  CHECK(says(told({.changes = {{node_id{1}, dies, 2s}, {node_id{0}, dies, 1s}}}), "listed by time"));
  CHECK(says(told({.first = {node_id{1}}, .changes = {{node_id{1}, dies, 2s}}}), "no member is left"));
  CHECK(says(told({.suspicion = -1s}), "cannot be negative"));

  auto const q = data();
  using fast = r_fast<backend::host<double>>;
  auto const s = weather(1s);
  CHECK(says(refusal([&] { simulate(assemble<fast>(topology::binary_tree(most), q, {}), s, {.time = 1s}); }),
             "assemble with topology::member_graphs"));
  CHECK(says(refusal([&] { simulator(assemble<fast>({3, topology::star}, q, {}), s); }), "problem is split over 8"));
  auto both = s;
  both.restarts = {{node_id{1}, 1s, 1s}};
  CHECK(says(refusal([&] { simulator(assemble<fast>(trees(), q, {}), both); }), "restarts by dying and joining"));
  CHECK(says(refusal([&] { static_cast<void>(assemble<extra<backend::host<double>>>(rings(), q, {})); }),
             "if one went, the run would end with"));
  CHECK(says(refusal([&] { static_cast<void>(assemble<m_synchronous_sgd<backend::host<double>>>(rings(), q, {})); }),
             "members cannot come and go"));
  CHECK(says(refusal([&] { static_cast<void>(assemble<ringleader_asgd<backend::host<double>>>(rings(), q, {})); }),
             "members cannot come and go under"));
  CHECK(says(refusal([&] { static_cast<void>(topology::member_graphs(0, topology::ring)); }), "at least one"));
  CHECK(says(
      refusal([&] { static_cast<void>(topology::member_graphs(3, [](std::size_t) { return topology::ring(2); })); }),
      "the graph of 1 members"));
  CHECK(says(refusal([&] { run_threads(assemble<fast>(trees(), q, {}), {}, {.time = 1ms}); }), "simulator"));
}

}  // namespace
}  // namespace rubato::test
