// SPDX-License-Identifier: MIT
// What every transport must do, whatever carries it.
#include <rubato/transport/concepts.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "transport/worlds.hpp"

namespace rubato::test {
namespace {

using transport::send_status;
using phase = transport::standing::phase;

template<class T>
auto both(std::vector<seat<T>>& s) -> std::vector<seat<T>*> {
  return {&s[0], &s[1]};
}

TEMPLATE_TEST_CASE("a message arrives with everything that it was posted with", "", transport::in_process, transport::tcp) {
  world<TestType> w{2};
  auto s = meeting(w, 2);
  REQUIRE(s.size() == 2);
  CHECK(s[0].newest(what::opened)->outgoing == session{});
  buffer_pool pool;
  auto p = message(1, 0, channel::model, 7, counting(pool, 0.5F));
  p.based_on = iteration{3};
  p.extra.set(scalar_slot::push_sum_weight, 0.25);
  auto const sent = p;
  CHECK(s[1].end->send(channel_kind::state, std::move(p)) == send_status::accepted);
  REQUIRE(poll_until<TestType>(both(s), [&] { return s[0].count(what::message) == 1; }));
  auto const& got = *s[0].newest(what::message);
  CHECK(got.peer == node_id{1});
  CHECK(got.p.from == node_id{1});
  CHECK(got.p.to == node_id{0});
  CHECK(got.p.number == iteration{7});
  CHECK(got.p.based_on == iteration{3});
  CHECK(got.p.life == session{});
  CHECK(got.p.extra == sent.extra);
  CHECK(got.blocks == range{0, 5});
  auto const there = sent.body.template view<float>();
  auto const here = got.p.body.template view<float>();
  REQUIRE(here.size() == test_values);
  CHECK(std::equal(here.begin(), here.end(), there.begin()));
}

TEMPLATE_TEST_CASE("events all arrive once and in order, both ways at a time, and bodies may be of any size up to a vector", "",
                   transport::in_process, transport::tcp) {
  constexpr std::uint64_t many = 500;
  world<TestType> w{2, 1000};
  auto s = meeting(w, 2);
  REQUIRE(s.size() == 2);
  buffer_pool pool;
  for (std::uint64_t k = 1; k <= many; ++k) {
    for (std::size_t i = 0; i < 2; ++i) {
      auto const status = s[i].end->send(
          channel_kind::event, message(i, 1 - i, channel::chunk, k, counting(pool, static_cast<float>(k), k % test_values)));
      REQUIRE(status == send_status::accepted);
    }
  }
  REQUIRE(poll_until<TestType>(both(s), [&] { return s[0].count(what::message) == many && s[1].count(what::message) == many; }));
  for (auto const& seat : s) {
    auto const all = seat.messages(channel::chunk);
    for (std::uint64_t k = 1; k <= many; ++k) {
      REQUIRE(all[k - 1].p.number == iteration{k});
      REQUIRE(all[k - 1].p.body.size() == k % test_values);
    }
  }
}

TEMPLATE_TEST_CASE("of a state channel the newest message always comes, and what it replaced is counted", "",
                   transport::in_process, transport::tcp) {
  constexpr std::uint64_t many = 2000;
  world<TestType> w{2};
  auto s = meeting(w, 2);
  REQUIRE(s.size() == 2);
  buffer_pool pool;
  // Nobody polls meanwhile, so the link fills, and sending still does not wait.
  for (std::uint64_t k = 1; k <= many; ++k) {
    s[1].end->send(channel_kind::state, message(1, 0, channel::model, k, counting(pool, static_cast<float>(k))));
  }
  REQUIRE(poll_until<TestType>(both(s), [&] {
    auto const* n = s[0].newest(what::message);
    return n != nullptr && n->p.number == iteration{many};
  }));
  auto last = iteration{0};
  for (auto const& n : s[0].messages(channel::model)) {
    CHECK(n.p.number > last);
    last = n.p.number;
    CHECK(n.p.body.template view<float>()[0] == static_cast<float>(to_count(n.p.number)));
  }
  auto const sent = s[1].end->traffic_of();
  auto const received = s[0].end->traffic_of();
  REQUIRE(sent.size() == 1);
  REQUIRE(received.size() == 1);
  CHECK(sent[0].replaced > 0);
  CHECK(sent[0].packets == received[0].delivered + received[0].skipped);
  CHECK(sent[0].packets + sent[0].replaced == many);
}

TEMPLATE_TEST_CASE("channels do not replace each other, and neither do senders", "", transport::in_process, transport::tcp) {
  world<TestType> w{3};
  auto s = meeting(w, 3);
  REQUIRE(s.size() == 3);
  buffer_pool pool;
  auto sums = pool.allocate<std::int32_t>(test_values);
  std::fill_n(sums.data(), test_values, -5);
  auto const body = std::move(sums).publish();
  for (std::size_t from = 1; from < 3; ++from) {
    s[from].end->send(channel_kind::state, message(from, 0, channel::model, 1, counting(pool, 1)));
    s[from].end->send(channel_kind::state, message(from, 0, channel::tracker, 1, body));
    s[from].end->send(channel_kind::event, message(from, 0, channel::chunk, 1, counting(pool, 1, 10)));
  }
  REQUIRE(poll_until<TestType>({&s[0], &s[1], &s[2]}, [&] { return s[0].count(what::message) == 6; }));
  CHECK(s[0].messages(channel::tracker).size() == 2);
  CHECK(s[0].messages(channel::tracker)[0].p.body.template view<std::int32_t>()[17] == -5);
}

TEMPLATE_TEST_CASE("events that wait beyond their bound are said to be too many, and none of them is lost", "",
                   transport::in_process, transport::tcp) {
  world<TestType> w{2, 4};
  auto s = meeting(w, 2);
  REQUIRE(s.size() == 2);
  buffer_pool pool;
  auto const body = counting(pool, 0);
  std::uint64_t sent = 0;
  auto full = 0;
  CHECK(s[0].end->congested() == std::nullopt);
  for (auto status = send_status::accepted; status != send_status::refused; ) {
    status = s[0].end->send(channel_kind::event, message(0, 1, channel::chunk, sent + 1, body));
    if (status != send_status::refused) ++sent;
    if (status == send_status::full) ++full;
    REQUIRE(sent < 10'000'000);
  }
  CHECK(full > 16);
  CHECK(s[0].end->congested() == node_id{1});
  REQUIRE(poll_until<TestType>(both(s), [&] { return s[1].count(what::message) == sent; }));
  CHECK(s[0].end->congested() == std::nullopt);
  CHECK(s[1].newest(what::message)->p.number == iteration{sent});
}

TEMPLATE_TEST_CASE("a peer that dies is reported by name, and comes back in a new life of its edge", "",
                   transport::in_process, transport::tcp) {
  world<TestType> w{2};
  auto s = meeting(w, 2);
  REQUIRE(s.size() == 2);
  s[1].end.reset();
  REQUIRE(poll_until<TestType>(both(s), [&] { return s[0].count(what::closed) == 1; }));
  CHECK(says(s[0].newest(what::closed)->why, "node 1"));
  buffer_pool pool;
  CHECK(s[0].end->send(channel_kind::state, message(0, 1, channel::model, 1, counting(pool, 1))) == send_status::closed);
  s[1] = {w.make(1)};
  REQUIRE(poll_until<TestType>(both(s), [&] { return s[0].count(what::opened) == 2 && s[1].count(what::opened) == 1; }));
  auto const& here = *s[0].newest(what::opened);
  auto const& there = *s[1].newest(what::opened);
  CHECK_FALSE(here.incoming == session{});
  CHECK(here.incoming == there.outgoing);
  CHECK(here.outgoing == there.incoming);
  auto p = message(1, 0, channel::model, 1, counting(pool, 1));
  p.life = there.outgoing;
  s[1].end->send(channel_kind::state, std::move(p));
  REQUIRE(poll_until<TestType>(both(s), [&] { return s[0].count(what::message) == 1; }));
  CHECK(s[0].newest(what::message)->p.life == here.incoming);
}

TEMPLATE_TEST_CASE("who leaves in order says so, after everything that it sent, and is not reported as lost", "",
                   transport::in_process, transport::tcp) {
  world<TestType> w{2};
  auto s = meeting(w, 2);
  REQUIRE(s.size() == 2);
  buffer_pool pool;
  auto const body = counting(pool, 0);
  for (std::uint64_t k = 1; k <= 50; ++k) s[0].end->send(channel_kind::event, message(0, 1, channel::chunk, k, body));
  s[0].end->announce({phase::left});
  CHECK_FALSE(s[0].end->everyone_left());
  REQUIRE(poll_until<TestType>(both(s), [&] { return s[1].count(what::left) == 1 && s[1].count(what::message) == 50; }));
  CHECK(s[0].end->send(channel_kind::event, message(0, 1, channel::chunk, 51, body)) == send_status::closed);
  s[1].end->announce({phase::left});
  REQUIRE(poll_until<TestType>(both(s), [&] { return s[0].end->everyone_left() && s[1].end->everyone_left(); }));
  s[0].end.reset();
  for (auto k = 0; k < 20; ++k) s[1].end->poll(transport::clock::now() + std::chrono::milliseconds{1}, s[1].got);
  CHECK(s[1].count(what::closed) == 0);
}

TEMPLATE_TEST_CASE("a poll ends when another thread wakes it", "", transport::in_process, transport::tcp) {
  world<TestType> w{2};
  auto s = meeting(w, 2);
  REQUIRE(s.size() == 2);
  // A wake-up that comes before its poll counts for it too, so nothing here depends on who is faster.
  auto const waker = std::jthread{[&] { s[0].end->wake(); }};
  auto const latest = transport::clock::now() + std::chrono::seconds{30};
  s[0].end->poll(latest, s[0].got);
  CHECK(transport::clock::now() < latest);
  CHECK(s[0].count(what::message) == 0);
}

}  // namespace
}  // namespace rubato::test
