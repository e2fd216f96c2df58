// SPDX-License-Identifier: MIT
// What a node keeps of the messages that arrive before it starts.
#include <rubato/driver/detail/start_barrier.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/peer_options.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/topology/members.hpp>

#include "support/catch.hpp"

namespace rubato::test {
namespace {

using transport::incoming;

auto message(std::uint64_t number, range blocks, std::uint32_t peer = 1, session_id session = {}) -> incoming {
  packet p;
  p.from = node_id{peer};
  p.channel = channel_id::model;
  p.number = iteration{number};
  p.session = session;
  return {incoming::what::message, p.from, std::move(p), blocks, {}, {}, {}};
}

auto numbers(std::vector<incoming> const& in) -> std::vector<std::uint64_t> {
  std::vector<std::uint64_t> all;
  for (auto const& n : in) all.push_back(to_count(n.p.number));
  return all;
}

TEST_CASE(
    "of states that came early the newest of each block is kept, whatever order they came in and however they are "
    "cut") {
  detail::early_messages early;
  auto const keep = [&](incoming n) { CHECK(early.keep(std::move(n), channel_kind::state)); };
  keep(message(5, {0, 4}));
  keep(message(4, {0, 4}));  // late
  keep(message(6, {1, 2}));
  keep(message(2, {3, 9}));  // late in one block, the first of the others
  keep(message(3, {0, 4}, 2));             // another peer's
  keep(message(1, {0, 4}, 1, {0, 1}));     // of a new session, which counts anew
  keep(message(7, {4, 9}));                // the last of what 2 was the newest of
  keep(message(8, {0, 9}, 2));
  keep(message(8, {0, 9}, 2));
  CHECK(numbers(early.take()) == std::vector<std::uint64_t>{1, 7, 8});
  CHECK(early.take().empty());
}

TEST_CASE("the last status of each peer is kept among early messages, since it is not sent again") {
  detail::early_messages early;
  auto const keep = [&](incoming n) { CHECK(early.keep(std::move(n), {})); };
  auto const stands = [](std::uint32_t peer, std::uint64_t level, std::uint64_t parted) {
    incoming n{incoming::what::stands, node_id{peer}, {}, {}, {}, {}, {}};
    n.peer_status = {transport::peer_status::phase::running, level, {}, parted};
    return n;
  };
  keep(stands(1, 0, 3));
  keep({incoming::what::closed, node_id{1}, {}, {}, {}, {}, {}});  // of a former session
  keep({incoming::what::opened, node_id{1}, {}, {}, {}, {}, {}});
  keep(stands(2, 1, 0));
  for (std::uint64_t level = 0; level < 10'000; ++level) keep(stands(1, level, 1));
  auto const in = early.take();
  REQUIRE(in.size() == 4);
  CHECK(in[1].kind == incoming::what::opened);
  CHECK(in[2].peer_status.level == 1);
  CHECK((in[3].peer == node_id{1} && in[3].peer_status.level == 9999 && in[3].peer_status.parted == 1));
}

TEST_CASE("where members come and go a node waits for those that begin, and for no other") {
  assembly a = assemble<r_fast<backend::host<double>>>(topology::member_graphs{4, topology::ring},
                                                       problem::quadratic::random(4, 1, 1), {});
  auto const me = identity_of(a, node_id{1});
  auto const comes = [](std::uint32_t peer) {
    return incoming{incoming::what::opened, node_id{peer}, {}, {}, {}, {}, {}};
  };
  auto const first = std::vector{node_id{0}, node_id{1}};
  auto some = detail::start_barrier{a, me, first};
  some.hears(comes(3));
  CHECK_FALSE(some.is_complete());
  some.hears(comes(0));
  CHECK(some.is_complete());
  auto all = detail::start_barrier{a, me};
  all.hears(comes(0));
  all.hears(comes(3));
  CHECK_FALSE(all.is_complete());
  all.hears(comes(2));
  CHECK(all.is_complete());
}

TEST_CASE("a status carries how near the network is parted and whom its node sees, each up to its limit") {
  using transport::peer_status;
  auto const read = [](peer_status const& s) {
    wire::frame_view f;
    f.head = transport::detail::frame_of(s, node_id{0}, node_id{1});
    return transport::detail::status_in(f);
  };
  for (auto const at : {peer_status::phase::running, peer_status::phase::left}) {
    for (auto const parted : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32}) {
      for (auto const view : {std::uint64_t{0}, std::uint64_t{1}, peer_status::most_views}) {
        auto const said = peer_status{at, 1, {}, parted, view};
        CHECK(read(said) == said);
      }
    }
    CHECK_FALSE(read({at, 1, {}, (std::uint64_t{1} << 32) + 1, 0}));
  }
  for (auto const at : {peer_status::phase::arriving, peer_status::phase::meeting, peer_status::phase::ended})
    CHECK_FALSE(read({at, 4, {}, 0, 1}));
}

TEST_CASE("a meeting is at a round that there can be, and the earlier of two is the later status") {
  using transport::peer_status;
  auto const read = [](std::uint64_t level) {
    auto const p = transport::detail::frame_of({peer_status::phase::meeting, level}, node_id{0}, node_id{1});
    wire::frame_view f;
    f.head = p;
    return transport::detail::status_in(f);
  };
  for (auto const level : {std::uint64_t{0}, std::uint64_t{1}, peer_status::most_rounds * 2 + 2})
    CHECK_FALSE(read(level));
  CHECK(read(2)->meeting() == peer_status::most_rounds - 1);
  CHECK(read(peer_status::most_rounds * 2 + 1)->meeting() == 0);
  for (auto const interrupted : {false, true}) {
    for (auto const round : {std::uint64_t{0}, std::uint64_t{7}, peer_status::most_rounds - 1}) {
      auto const heard = read(peer_status::meets_at(round, interrupted, 0).level);
      CHECK(heard->meeting() == round);
      CHECK(heard->is_interrupted() == interrupted);
    }
  }
  CHECK(peer_status::meets_at(7, false, 0) > peer_status::meets_at(8, true, 0));
  CHECK(peer_status::meets_at(8, true, 0) > peer_status::meets_at(8, false, 0));
  CHECK(peer_status::meets_at(8, false, 0) > peer_status{peer_status::phase::running, 1000});
  CHECK_FALSE(peer_status{peer_status::phase::running, 5}.meeting());
}

TEST_CASE("early states are bounded by their blocks, and every early event is kept") {
  detail::early_messages early;
  constexpr std::size_t blocks = 16;
  std::uint64_t number = 0;
  for (auto round = 0; round < 20; ++round) {
    for (std::size_t b = 0; b < blocks; ++b) {
      for (auto e = b + 1; e <= blocks; ++e) CHECK(early.keep(message(++number, {b, e}), channel_kind::state));
    }
  }
  CHECK(early.take().size() <= blocks);
  for (auto k = 0; k < 20; ++k) CHECK(early.keep(message(1, {0, 1}), channel_kind::event));
  CHECK(early.take().size() == 20);
}

TEST_CASE("early events of each peer are kept up to a number and a size, until the peer is gone") {
  detail::early_messages early{8};
  auto const event = [&](std::uint32_t peer, shared_buffer body = {}) {
    auto n = message(1, {0, 1}, peer);
    n.p.body = std::move(body);
    return early.keep(std::move(n), channel_kind::event);
  };
  auto const gone = [&](std::uint32_t peer) {
    return early.keep({incoming::what::closed, node_id{peer}, {}, {}, {}, {}, {}}, {});
  };
  for (std::size_t k = 0; k < detail::early_messages::most_events; ++k) REQUIRE(event(1));
  CHECK_FALSE(event(1));
  CHECK(event(2));
  REQUIRE(gone(1));
  CHECK(event(1));
  CHECK(early.take().size() == 3);
  auto const large = buffer_pool{}.allocate<double>(detail::early_messages::least_most_bytes / 16).publish();
  CHECK(event(3, large));
  CHECK(event(3, large));
  CHECK_FALSE(event(3, large));
  CHECK_FALSE(event(3, buffer_pool{}.allocate<double>(1).publish()));
  CHECK(event(4, large));
  for (auto k = 0; k < 10; ++k) REQUIRE(gone(3));
  CHECK(early.take().size() == 2);
}

}  // namespace
}  // namespace rubato::test
