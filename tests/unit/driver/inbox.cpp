// SPDX-License-Identifier: MIT
#include <rubato/driver/inbox.hpp>

#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

auto at(std::int64_t ms) -> instant { return {std::chrono::milliseconds{ms}}; }

auto letter(std::uint32_t from, channel_id channel, std::uint64_t number, instant posted = {}) -> packet {
  packet p;
  p.from = node_id{from};
  p.to = node_id{9};
  p.channel = channel;
  p.number = iteration{number};
  p.posted_at = posted;
  return p;
}

auto numbers(std::vector<packet> const& packets) -> std::vector<std::uint64_t> {
  std::vector<std::uint64_t> all;
  for (auto const& p : packets) all.push_back(to_count(p.number));
  return all;
}

using list = std::vector<std::uint64_t>;

TEST_CASE("an inbox hands out packets in the order of their due times, whatever the order they were put in") {
  inbox box;
  CHECK(box.put(at(30), channel_kind::event, letter(0, channel_id::chunk, 3)) == 0);
  CHECK(box.put(at(10), channel_kind::event, letter(1, channel_id::chunk, 1)) == 0);
  CHECK(box.put(at(20), channel_kind::event, letter(2, channel_id::chunk, 2)) == 0);
  CHECK(numbers(box.take_due(at(25))) == list{1, 2});
  CHECK(numbers(box.take_due(at(25))).empty());
  CHECK(numbers(box.take_due(at(30))) == list{3});
}

TEST_CASE("packets due at the same time leave an inbox in the order in which they came") {
  inbox box;
  for (std::uint64_t k = 1; k <= 5; ++k) box.put(at(7), channel_kind::event, letter(0, channel_id::chunk, k));
  CHECK(numbers(box.take_due(at(7))) == list{1, 2, 3, 4, 5});
}

TEST_CASE("a packet is not due a nanosecond before its time") {
  inbox box;
  box.put(at(7), channel_kind::state, letter(0, channel_id::model, 1));
  CHECK(box.take_due({7ms - 1ns}).empty());
  CHECK(box.take_due({7ms}).size() == 1);
}

TEST_CASE("an inbox keeps only the newest due packet of each sender on a state channel") {
  inbox box;
  CHECK(box.put(at(1), channel_kind::state, letter(0, channel_id::model, 1, at(1))) == 0);
  CHECK(box.put(at(2), channel_kind::state, letter(0, channel_id::model, 2, at(2))) == 1);
  CHECK(box.put(at(3), channel_kind::state, letter(0, channel_id::model, 3, at(3))) == 1);
  CHECK(numbers(box.take_due(at(10))) == list{3});
}

TEST_CASE("a packet on a state channel replaces all older due packets of the same channel at once") {
  inbox box;
  CHECK(box.put(at(5), channel_kind::state, letter(0, channel_id::model, 1, at(1))) == 0);
  CHECK(box.put(at(6), channel_kind::state, letter(0, channel_id::model, 2, at(2))) ==
        0);  // the first is on its way still
  CHECK(box.put(at(9), channel_kind::state, letter(0, channel_id::model, 3, at(7))) == 2);
  CHECK(numbers(box.take_due(at(10))) == list{3});
}

TEST_CASE("an inbox conflates neither senders, nor channels, nor events") {
  inbox box;
  CHECK(box.put(at(1), channel_kind::state, letter(0, channel_id::model, 1, at(1))) == 0);
  CHECK(box.put(at(2), channel_kind::state, letter(1, channel_id::model, 2, at(2))) == 0);
  CHECK(box.put(at(3), channel_kind::state, letter(0, channel_id::tracker, 3, at(3))) == 0);
  CHECK(box.put(at(4), channel_kind::event, letter(0, channel_id::chunk, 4, at(4))) == 0);
  CHECK(box.put(at(5), channel_kind::event, letter(0, channel_id::chunk, 5, at(5))) == 0);
  CHECK(numbers(box.take_due(at(10))) == list{1, 2, 3, 4, 5});
}

TEST_CASE("a packet that is still on its way is not replaced, because the receiver may use it first") {
  inbox box;
  CHECK(box.put(at(10), channel_kind::state, letter(0, channel_id::model, 1, at(1))) == 0);
  CHECK(box.put(at(12), channel_kind::state, letter(0, channel_id::model, 2, at(3))) == 0);
  CHECK(numbers(box.take_due(at(20))) == list{1, 2});
}

TEST_CASE("a packet that was overtaken does not replace the newer one that overtook it") {
  inbox box;
  CHECK(box.put(at(1), channel_kind::state, letter(0, channel_id::model, 2, at(1))) == 0);
  CHECK(box.put(at(5), channel_kind::state, letter(0, channel_id::model, 1, at(2))) == 0);
  CHECK(numbers(box.take_due(at(9))) == list{2, 1});
}

TEST_CASE("an inbox accepts a limited number of due, unread events of one sender") {
  inbox box;
  for (std::size_t k = 0; k < inbox::most_unread; ++k)
    REQUIRE(box.put(at(1), channel_kind::event, letter(0, channel_id::chunk, 1, at(1))) == 0);
  CHECK(box.put(at(1), channel_kind::event, letter(0, channel_id::chunk, 1, at(1))) == std::nullopt);
  CHECK(box.put(at(1), channel_kind::event, letter(1, channel_id::chunk, 1, at(1))) == 0);
  CHECK(box.put(at(1), channel_kind::state, letter(0, channel_id::model, 1, at(1))) == 0);
  CHECK(box.take_due(at(1)).size() == inbox::most_unread + 2);
  for (std::size_t k = 0; k <= inbox::most_unread; ++k) {  // on their way: of the link, and not unread
    REQUIRE(box.put(at(9), channel_kind::event, letter(0, channel_id::chunk, 1, at(1))) == 0);
  }
}

TEST_CASE("waking ends the current wait on an inbox and every later one") {
  inbox box;
  auto const begin = std::chrono::steady_clock::now();
  auto const never = [&](instant) { return begin + 1h; };
  auto ended = 0;
  std::jthread sleeper{[&] {
    for (auto i = 0; i < 2; ++i) {
      box.wait_until(at(0), never);
      ++ended;
    }
  }};
  box.wake();
  sleeper.join();
  CHECK(ended == 2);
}

TEST_CASE("a wait on an inbox ends when something arrives, and packets put by other threads all come out") {
  constexpr std::uint64_t each = 500;
  inbox box;
  auto const begin = std::chrono::steady_clock::now();
  std::vector<std::jthread> senders;
  for (std::uint32_t s = 0; s < 2; ++s) {
    senders.emplace_back([&box, s] {
      for (std::uint64_t k = 1; k <= each; ++k) box.put(at(0), channel_kind::event, letter(s, channel_id::chunk, k));
    });
  }
  list got[2];
  while (true) {
    for (auto const& p : box.take_due(at(0))) got[to_index(p.from)].push_back(to_count(p.number));
    if (got[0].size() + got[1].size() == 2 * each) break;
    box.wait_until(at(1), [&](instant t) { return begin + t.since_start; });
  }
  list expected;
  for (std::uint64_t k = 1; k <= each; ++k) expected.push_back(k);
  CHECK(got[0] == expected);
  CHECK(got[1] == expected);
}

}  // namespace
}  // namespace rubato::test
