// SPDX-License-Identifier: MIT
// Limits of a node with its own driver: measurements that cost more than their interval, peers that send more than can
// be kept, peers that keep others waiting, and peers that die when the run has ended.
#include <rubato/driver/peer.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/synchrony/bounded_staleness.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "transport/peers.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

/// One node alone, which ends by itself.
auto run_alone(std::size_t dimension, until const& end, peer_options const& o) -> peer_result {
  auto a = assemble<r_fast<space>>(topology::ring(1), quadratic::random(1, dimension, 6), {.step = 0.1});
  auto const me = identity_of(a, node_id{0});
  transport::in_process alone{transport::in_process::room{1}, me};
  return run_peer(a, me, alone, end, o);
}

TEST_CASE("measurements that cost more than their interval delay each other, but neither gradients nor the end") {
  auto const r = run_alone(1000, {.time = 100ms}, {.look_every = 1ns});
  CHECK(r.result.stopped == stop_reason::time);
  CHECK(r.result.nodes[0].gradients > 0);
  REQUIRE(r.looks.size() > 2);
  CHECK(r.looks.front().at == 0ns);
  CHECK(r.looks.back().at == r.result.ended);
  for (std::size_t k = 1; k < r.looks.size(); ++k) CHECK(r.looks[k - 1].at < r.looks[k].at);
}

TEST_CASE("models kept for measurements stay within their memory limit, however long a run is") {
  constexpr std::size_t dimension = 2000;
  auto const r =
      run_alone(dimension, {.time = 300ms}, {.look_every = 1ms, .look_bytes = 10 * dimension * sizeof(double)});
  CHECK(r.looks.size() > 2);
  CHECK(r.looks.size() <= 10);  // fewer than ten, and the last one
  CHECK(r.looks.front().at == 0ns);
  CHECK(r.looks.back().at == r.result.ended);
}

TEST_CASE("a run that would end before it begins is refused") {
  CHECK(says(refusal([] { static_cast<void>(run_alone(3, {.time = -1ns}, {})); }), "cannot end at a time below 0"));
}

// --- more than is kept

using keen_node = gradient_tracking<space, order::r_fast, step::sgd, weighting::constant, synchrony::bounded_staleness>;

auto over_room(transport::in_process::room const& room) {
  return
      [room](std::size_t, transport::identity const& me) { return std::make_unique<transport::in_process>(room, me); };
}

/// Node 1 of a line of three, where node 2 never comes, floods node 0 with events before that has begun.
template<class Open>
auto flooded(Open open, quadratic const& p, peer_options const& o) -> fate {
  auto const make = [&](std::size_t) {
    return assemble<keen_node>(topology::line(3), p, {.step = 0.1, .synchrony = {.bound = 9}});
  };
  auto theirs = make(1);
  auto const them = identity_of(theirs, node_id{1}, &wire::xxh3_of);
  using end_type = typename decltype(open(1, them))::element_type;
  seat<end_type> middle{open(1, them)};
  std::vector<fate> fates;
  std::atomic<bool> over = false;
  auto const victim = std::jthread{[&] {
    fates = run_all(1, make, open, {rounds(20), o});
    over = true;
  }};
  buffer_pool pool;
  auto values = pool.allocate<double>(p.dimension());
  std::fill_n(values.data(), p.dimension(), 0.0);
  auto const event = std::move(values).publish();
  std::uint64_t number = 0;
  auto const more = [&](seat<end_type>& me) {
    for (auto k = 0; k < 16 && me.count(what::closed) == 0 && me.end->congested() == std::nullopt; ++k) {
      me.end->send(channel_kind::event, message(1, 0, channel_id::model, ++number, event));
    }
  };
  CHECK(poll_until<end_type>({&middle}, [&] { return over.load(); }, more));
  return fates.at(0);
}

template<class Open>
void check_flood(Open open) {
  auto const p = quadratic::random(3, 5, 4);
  auto const words = "it sent more than is kept for a node that has not begun";
  auto const ended = flooded(open(), p, {.linger = 10ms});
  CHECK(says(ended.sentence, "node 1 is at fault at node 0"));
  CHECK(says(ended.sentence, words));
  auto const went_on = flooded(open(), p, {.linger = 10ms, .lost = when_lost::goes_on});
  INFO(went_on.sentence);
  REQUIRE(went_on.sentence.empty());
  REQUIRE_FALSE(went_on.result.lost.empty());
  CHECK(says(went_on.result.lost[0], words));
}

TEST_CASE("if a peer sends more before a run than is kept, a node names it and ends, or goes on without it") {
  SECTION("in one process") {
    check_flood([] { return over_room(transport::in_process::room{3}); });
  }
  SECTION("over TCP") {
    std::vector<std::unique_ptr<tcp_doors>> doors;
    check_flood([&] { return over_tcp(*doors.emplace_back(std::make_unique<tcp_doors>(3)), {.arrival = 2s}); });
  }
  SECTION("over shared memory") {
    check_flood([] { return over_shared_memory(fresh_run_name(), {.arrival = 2s}); });
  }
}

TEST_CASE("one poll takes no more than its owner can keep") {
  transport::detail::polled_context polled;
  auto taken = 0;
  for (auto k = 0; k < 10; ++k) boost::asio::post(polled.context(), [&] { ++taken; });
  polled.run(transport::clock::now(), [] { return false; }, [&] { return taken == 3; });
  CHECK(taken == 3);
  polled.run(transport::clock::now(), [] { return false; }, [] { return false; });
  CHECK(taken == 10);
}

// --- patience

/// The last node of a line in lock-step is too slow for the others, which end when `end` says. The gradients of the one
/// beside it take that long.
auto with_a_slow_end(std::size_t nodes, until const& end, std::chrono::nanoseconds patience,
                     std::chrono::nanoseconds beside_it) -> std::vector<fate> {
  static std::atomic<std::size_t> running;
  running = nodes - 1;
  auto const p = quadratic::random(nodes, 5, 4);
  tcp_doors doors{nodes};
  std::vector<fate> fates(nodes);
  stop_source all_others_ended;
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < nodes; ++i) {
    threads.emplace_back([&, i] {
      auto const is_slow = i + 1 == nodes;
      try {
        auto a = assemble<d_psgd<space>>(topology::line(nodes), p, {.step = 0.1});
        auto const me = identity_of(a, to_node(i), &wire::xxh3_of);
        auto const wires = over_tcp(doors)(i, me);
        auto o = peer_options{.patience = is_slow ? 1h : patience, .linger = 100ms, .lost = when_lost::goes_on};
        o.compute = environment::fixed(is_slow ? 1h : i + 2 == nodes ? beside_it : 1ms);
        if (is_slow) o.stop = all_others_ended.get_token();
        fates[i].result = run_peer(a, me, *wires, is_slow ? until{.time = 1h} : end, o);
      } catch (std::exception const& e) {
        fates[i].sentence = e.what();
      }
      if (!is_slow && --running == 0) all_others_ended.request_stop();
    });
  }
  threads.clear();
  return fates;
}

TEST_CASE("a node that may go on gives up a peer that is too slow, and waits less for it each time") {
  auto const fates = with_a_slow_end(2, rounds(100), 400ms, 1ms);
  INFO(fates[0].sentence);
  REQUIRE(fates[0].sentence.empty());
  CHECK(fates[0].result.result.nodes[0].gradients >= 100);
  REQUIRE_FALSE(fates[0].result.lost.empty());
  CHECK(says(fates[0].result.lost[0], "node 1 at 127.0.0.1"));
  CHECK(says(fates[0].result.lost[0], "is gone: node 0 has waited for model message"));
  CHECK(fates[0].result.result.ended < 20s);
}

TEST_CASE("of nodes that wait in a chain only the one next to the faulty peer gives it up") {
  // What it sends next comes later still: its neighbour waits longer than its patience, but not for a node at fault.
  auto const fates = with_a_slow_end(4, rounds(5), 1s, 400ms);
  for (std::size_t i = 0; i < 3; ++i) {
    INFO("node " << i << ": " << fates[i].sentence);
    REQUIRE(fates[i].sentence.empty());
    CHECK(fates[i].result.lost.empty() == (i < 2));
    CHECK(fates[i].result.result.nodes[0].gradients >= 5);
  }
  CHECK(says(fates[2].result.lost.at(0), "node 3 at 127.0.0.1"));
}

// --- the end

/// Node 1 of two, played by hand, sends one message; what it does when node 0 has ended is the test's.
auto after_the_end(until const& end, peer_options const& o, bool dies) -> fate {
  auto const p = quadratic::random(2, 4, 8);
  auto const make = line_of(2, p);
  tcp_doors doors{2};
  auto other = by_hand(1, make(1), doors);
  std::vector<fate> fates;
  std::atomic<bool> over = false;
  auto const first = std::jthread{[&] {
    fates = run_all(1, make, over_tcp(doors), {end, o});
    over = true;
  }};
  CHECK(other.hears(phase::running, 0));
  other.it.end->announce({phase::running});
  buffer_pool pool;
  auto body = pool.allocate<double>(4);
  std::fill_n(body.data(), 4, 0.0);
  other.it.end->send(channel_kind::state, message(1, 0, channel_id::model, 1, std::move(body).publish()));
  CHECK(poll_until<transport::tcp>({&other.it}, [&] { return other.it.count(what::left) == 1; }));
  if (dies) other.it.end.reset();
  CHECK(poll_until<transport::tcp>({&other.it}, [&] { return over.load(); }));
  return fates.at(0);
}

TEST_CASE("a peer that dies after a node has ended is an error for that node, unless it may go on without it") {
  auto const ended = after_the_end(rounds(5), {.linger = 20s}, true);
  CHECK(says(ended.sentence, "node 1 at 127.0.0.1"));
  CHECK(says(ended.sentence, " is gone: "));
  auto const went_on = after_the_end(rounds(5), {.linger = 20s, .lost = when_lost::goes_on}, true);
  INFO(went_on.sentence);
  CHECK(went_on.sentence.empty());
  CHECK(went_on.result.lost.size() == 1);
  CHECK(went_on.result.cut_off == std::vector{node_id{1}});
}

TEST_CASE("a node that has long been waiting when its run ends by time names the peer") {
  auto const fates = with_a_slow_end(2, {.time = 2s}, 1h, 1ms);
  INFO(fates[0].sentence);
  REQUIRE(fates[0].sentence.empty());
  auto const& said = fates[0].result.result.warnings;
  REQUIRE_FALSE(said.empty());
  CHECK(says(said[0], "node 0 stood still when the run ended: it had waited for model message"));
  CHECK(says(said[0], "of node 1 for"));
}

TEST_CASE("in rounds, when one node ends early, all others end in order, each with a sentence, and none waits") {
  constexpr std::size_t nodes = 3;
  static std::atomic<int> said;
  said = 0;
  auto const p = quadratic::random(nodes, 5, 4);
  tcp_doors doors{nodes};
  std::vector<fate> fates(nodes);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < nodes; ++i) {
      threads.emplace_back([&, i] {
        try {
          auto a = assemble<d_psgd<space>>(topology::line(nodes), p, {.step = 0.1});
          auto const me = identity_of(a, to_node(i), &wire::xxh3_of);
          auto const wires = over_tcp(doors)(i, me);
          auto o = peer_options{.patience = 1h, .look_every = 1ms};
          o.says = [](std::string_view) { ++said; };
          if (i == 0)
            o.watching = {[](look const& l) { return l.seen.gradients < 20 ? verdict::go_on : verdict::stop; }};
          fates[i].result = run_peer(a, me, *wires, {.time = 1h}, o);
        } catch (std::exception const& e) {
          fates[i].sentence = e.what();
        }
      });
    }
  }
  CHECK(said == 2);  // each warning once
  CHECK(fates[0].result.result.stopped == stop_reason::observer);
  for (std::size_t i = 1; i < nodes; ++i) {
    INFO("node " << i << ": " << fates[i].sentence);
    REQUIRE(fates[i].sentence.empty());
    auto const& r = fates[i].result.result;
    CHECK(r.stopped == stop_reason::neighbour);
    REQUIRE(r.warnings.size() == 1);
    CHECK(
        says(r.warnings[0], ("before its own end: node " + std::to_string(i - 1) + ", which had to send it").c_str()));
  }
}

TEST_CASE("a node reports a peer that does not end when all should") {
  CHECK(says(after_the_end({.time = 50ms}, {.linger = 50ms}, false).sentence,
             "node 1 has not ended within 0.05 s of the end of node 0"));
  auto const went_on = after_the_end({.time = 50ms}, {.linger = 50ms, .lost = when_lost::goes_on}, false);
  CHECK(went_on.sentence.empty());
  CHECK(went_on.result.cut_off.empty());  // it may have been started later
  CHECK(after_the_end(rounds(5), {.linger = 50ms}, false).sentence.empty());  // it may have more to do
}

}  // namespace
}  // namespace rubato::test
