// SPDX-License-Identifier: MIT
#include <rubato/algorithm/detail/incoming.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/gossip.hpp>
#include <rubato/algorithm/non_blocking_d_psgd.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/synchrony/rounds.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;

struct numbered {
  iteration number{};
  patch p{};
  numbered(std::uint64_t n, std::chrono::nanoseconds posted = {}, session_id session = {}) : number{n} {
    p.from = node_id{2};
    p.session = session;
    p.posted_at = {posted};
    p.blocks = {0, 1};
    p.numbers = {&number, 1};
  }
  numbered(numbered const&) = delete;
  auto operator=(numbered const&) -> numbered& = delete;
};

auto said(std::optional<fault> const& f) -> std::string { return f ? f->sentence : ""; }

TEST_CASE("on event channels numbers go on by one, from 1 or, in a later session, from any number") {
  detail::message_order first, later;
  CHECK(said(first.follow(numbered{1}.p)).empty());
  CHECK(said(first.follow(numbered{2}.p)).empty());
  CHECK(says(said(first.follow(numbered{2}.p)), "model message 2 of node 2 came where message 3 was next"));
  CHECK(says(said(first.follow(numbered{4}.p)), "message 4 of node 2 came where message 3 was next"));
  CHECK(says(said(detail::message_order{}.follow(numbered{2}.p)), "where message 1 was next"));
  CHECK(said(later.follow(numbered{70, {}, {1, 0}}.p)).empty());
  CHECK(said(later.follow(numbered{71, {}, {1, 0}}.p)).empty());
  CHECK_FALSE(said(later.follow(numbered{70, {}, {1, 0}}.p)).empty());
}

TEST_CASE(
    "where the newest wins, lost, doubled and overtaken messages are in order, and numbers against their times are "
    "not") {
  detail::message_order o;
  for (auto const n : {3, 9, 9, 4, 12}) CHECK(said(o.rise(numbered{static_cast<std::uint64_t>(n), n * 1ms}.p)).empty());
  auto far = o;
  CHECK(said(far.rise(numbered{std::uint64_t{1} << 40, 13ms}.p)).empty());  // it may have been away
  CHECK(says(said(far.rise(numbered{13, 14ms}.p)),
             "model message 13 of node 2 came after message 1099511627776, which was posted earlier"));
  CHECK(says(said(o.rise(numbered{std::uint64_t{1} << 40, 2ms}.p)), "which was posted later"));
  auto forged = o;  // with a time to match
  CHECK(said(forged.rise(numbered{std::uint64_t{1} << 40, 1h}.p)).empty());
  CHECK(says(said(forged.rise(numbered{13, 14ms}.p)), "far too late"));
}

/// One of two nodes, started, and messages of the other with a body of zeros.
template<class Node>
struct hand_made {
  assembly a;
  std::size_t self;
  outbox out;
  gradient_request asked;  // first
  explicit hand_made(std::size_t which, typename Node::options const& o = {})
      : a{assemble<Node>(topology::line(2), problem::quadratic::random(2, 4, 1), o)}, self{which} {
    a.nodes[self].start({}, out);
    if (out.request) asked = std::move(*out.request);
    out.clear();
  }
  auto receive(std::uint64_t number, std::chrono::nanoseconds posted = {}, std::uint64_t round = 0) -> std::string {
    packet p;
    p.from = to_node(1 - self);
    p.channel = Node::channels()[0].channel;
    p.number = iteration{number};
    p.posted_at = {posted};
    p.based_on = iteration{round};
    p.extra.set(scalar_slot::push_sum_weight, 0.01);
    auto body = a.pool.template allocate<double>(p.channel == channel_id::chunk ? 2 : 4);
    std::fill_n(body.data(), body.size(), 0.0);
    p.body = std::move(body).publish();
    p.extra.set(scalar_slot::sample_count, std::uint64_t{1});
    hand_over(a.nodes[self], p, 1, out);
    return said(out.failure);
  }
};

TEST_CASE("a neighbour that runs further ahead than rounds allow ends the run, before it fills the memory") {
  hand_made<d_psgd<space>> d{0};
  CHECK(d.receive(1).empty());
  CHECK(d.receive(2).empty());
  CHECK(says(d.receive(3), "model message 3 of node 1 came while 2 of it wait at node 0"));
  hand_made<non_blocking_d_psgd<space>> hurried{0};
  CHECK(says(hurried.receive(~std::uint64_t{0}), "node 1 numbered a message"));
  hand_made<ring_allreduce_sgd<space>> ring{0};
  for (std::uint64_t k = 1; k <= 1000 && !ring.out.failure; ++k) static_cast<void>(ring.receive(k));
  CHECK(says(said(ring.out.failure), "chunk message 3 of node 1 is more than a round ahead of node 0"));
}

/// Rounds that messages of the first session name, as those of a neighbour do that went over to another one's round.
template<class Node>
void goes_over_to_rounds() {
  constexpr auto last = detail::most_taken_over;
  for (auto const round : {last + 1, std::uint64_t{1} << 48}) {
    hand_made<Node> n{0};
    CAPTURE(round);
    CHECK(says(n.receive(1, {}, round),
               ("model message 1 of node 1 is for round " + std::to_string(round) + ", which no run reaches").c_str()));
    for (auto const& p : n.out.packets) CHECK(p.based_on == iteration{});
  }
  hand_made<Node> n{0};
  CHECK(n.receive(1, {}, last).empty());  // it may be right: all go on from there, and nobody is accused
  n.a.nodes[0].on_gradient({}, n.a.oracle.evaluate(n.asked), n.out);
  CHECK(n.receive(2, {}, last + 1).empty());
  CHECK(n.receive(3, {}, last + 2).empty());
  auto const& posted = n.out.packets;
  CHECK(std::any_of(posted.begin(), posted.end(), [](auto const& p) { return to_count(p.based_on) >= last; }));
}

TEST_CASE("no message moves a node to a round near the end of counts, and up to there all go on") {
  goes_over_to_rounds<d_psgd<space>>();
  goes_over_to_rounds<d_psgd_atc<space>>();
  goes_over_to_rounds<non_blocking_d_psgd<space>>();
  goes_over_to_rounds<gossip<space, order::adapt_then_combine, step::sgd, weighting::constant, synchrony::rounds>>();
}

TEST_CASE("if messages name no rounds, one that does is refused") {
  hand_made<push_pull<space>> n{1};
  CHECK(n.receive(1, {}, 7) == "model message 1 of node 0 is for round 7, and here no message names a round");
}

TEST_CASE("a state with a number from the far future does not silence its sender: the next message contradicts it") {
  hand_made<r_fast<space>> n{1};
  CHECK(n.receive(1, 1ms).empty());
  CHECK(n.receive((std::uint64_t{1} << 40) + 1, 2ms).empty());
  CHECK(says(n.receive(2, 3ms), "model message 2 of node 0 came after message"));
}

TEST_CASE("waiting mass is summed in order, so a sender far ahead fills no memory and loses no mass") {
  hand_made<osgp<space>> n{0, {.overlap = std::uint64_t{1} << 40}};
  for (std::uint64_t k = 1; k <= 2000; ++k) REQUIRE(n.receive(k).empty());
  CHECK(n.a.nodes[0].statistics().edges.at(0).accepted == 2000);
  CHECK(n.a.pool.held_bytes() < 2000 * 4 * sizeof(double));
}

}  // namespace
}  // namespace rubato::test
