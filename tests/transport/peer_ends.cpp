// SPDX-License-Identifier: MIT
// Nodes that end before their neighbours: who is left says so in its result, and nobody waits for who has ended.
#include <rubato/driver/peer.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <rubato/algorithm/bipartite_ad_psgd.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "transport/peers.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

/// What one node is told beside what all are.
using told = std::function<void(std::size_t node, until& end, peer_options& o)>;

template<class Node>
auto run_line(std::size_t nodes, until const& end, peer_options const& all, told const& each) -> std::vector<fate> {
  auto const p = quadratic::random(nodes, 5, 4);
  auto const room = transport::in_process::room{nodes};
  std::vector<fate> fates(nodes);
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < nodes; ++i) {
    threads.emplace_back([&, i] {
      try {
        auto a = assemble<Node>(topology::line(nodes), p, {.step = 0.1});
        auto const me = identity_of(a, to_node(i));
        transport::in_process wires{room, me};
        auto its_end = end;
        auto o = all;
        each(i, its_end, o);
        fates[i].result = run_peer(a, me, wires, its_end, o);
      } catch (std::exception const& e) {
        fates[i].sentence = e.what();
      }
    });
  }
  threads.clear();
  return fates;
}

auto stops_after(std::uint64_t gradients) {
  return [gradients](look const& l) { return l.seen.gradients < gradients ? verdict::go_on : verdict::stop; };
}

/// Node 1 of a line of four had ended before: its neighbours say so, and node 3, which has none that did, does not.
void check_who_says_so(std::vector<fate> const& fates) {
  for (std::size_t i = 0; i < fates.size(); ++i) {
    INFO("node " << i << ": " << fates[i].sentence);
    REQUIRE(fates[i].sentence.empty());
    CHECK(fates[i].result.cut_off.empty());  // it had ended in order
    CHECK(fates[i].result.parted == 0);
    auto const& said = fates[i].result.result.warnings;
    auto const about = std::count_if(said.begin(), said.end(),
                                     [](auto const& w) { return w.find("ended its run") != std::string::npos; });
    CHECK(about == (i == 0 || i == 2 ? 1 : 0));
    if (about > 0) CHECK(says(said[0], "node 1 "));
  }
}

TEST_CASE("if an observer stops one node, the results of its neighbours say so, and no others") {
  auto const all = peer_options{.linger = 50ms, .look_every = 1ms, .compute = environment::fixed(work)};
  for (auto const lost : {when_lost::ends, when_lost::goes_on}) {
    auto const fates = run_line<r_fast<space>>(4, {.time = 1s}, all, [&](std::size_t i, until&, peer_options& o) {
      o.lost = lost;
      o.linger = 3s;
      if (i == 1) o.watching = {stops_after(50)};
    });
    check_who_says_so(fates);
    CHECK(fates[1].result.result.stopped == stop_reason::observer);
    CHECK(fates[0].result.result.stopped == stop_reason::time);
  }
}

TEST_CASE(
    "if one node has fewer gradients to compute, or less time and all go on, the results of its neighbours say so") {
  auto const all = peer_options{.linger = 3s, .lost = when_lost::goes_on, .compute = environment::fixed(work)};
  check_who_says_so(run_line<r_fast<space>>(4, {.gradients = 1000}, all, [](std::size_t i, until& end, peer_options&) {
    if (i == 1) end.gradients = 20;
  }));
  check_who_says_so(run_line<r_fast<space>>(4, {.time = 1s}, all, [](std::size_t i, until& end, peer_options&) {
    if (i == 1) end.time = 100ms;
  }));
}

TEST_CASE("a node that averages in pairs is told that a neighbour has ended, and asks only the others from then on") {
  auto const all = peer_options{.linger = 3s, .compute = environment::fixed(work)};
  auto const fates =
      run_line<bipartite_ad_psgd<space>>(4, {.gradients = 500}, all, [](std::size_t i, until& end, peer_options&) {
        if (i == 3) end.gradients = 20;  // a question to it after that has no answer
      });
  for (auto const& f : fates) CHECK(f.sentence.empty());
  std::size_t asked = 0;
  for (auto const& e : fates[2].result.result.edges) {
    if (e.to != node_id{2}) continue;
    ++asked;
    CHECK((e.delivered > 100) == (e.from == node_id{1}));
  }
  CHECK(asked == 2);
}

TEST_CASE("in rounds, nodes that go on do so at once when a neighbour has ended, and do not count it as lost") {
  auto const all = peer_options{
      .patience = 1h, .linger = 3s, .look_every = 1ms, .lost = when_lost::goes_on, .compute = environment::fixed(work)};
  auto const fates = run_line<push_pull<space>>(4, {.time = 1s}, all, [](std::size_t i, until&, peer_options& o) {
    if (i == 1) o.watching = {stops_after(30)};
  });
  check_who_says_so(fates);
  auto const few = 2 * fates[1].result.result.nodes.at(0).gradients + 10;
  for (auto const i : {0, 2, 3}) CHECK(fates[static_cast<std::size_t>(i)].result.result.nodes.at(0).gradients > few);
}

}  // namespace
}  // namespace rubato::test
