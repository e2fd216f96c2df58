// SPDX-License-Identifier: MIT
// What every transport must do, whatever carries it. Built once for those that one process can be all ends of, and once
// (tests/mpi) for MPI, where each rank takes one seat and makes the same calls.
#include <rubato/transport/concepts.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"

#if RUBATO_TEST_OVER_MPI
#include "mpi/worlds.hpp"
#else
#include "transport/worlds.hpp"
#endif

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using transport::cause;
using transport::peer_status;
using transport::send_status;
using phase = peer_status::phase;

/// What came on the channel of models, as one vector.
template<class T>
auto values_at(seat<T> const& me) -> std::vector<float> {
  std::vector<float> values(test_values, -1);
  for (auto const& n : me.messages(channel_id::model)) {
    auto const here = n.p.body.template view<float>();
    std::copy(here.begin(), here.end(), values.begin() + static_cast<std::ptrdiff_t>(n.blocks.begin * 64));
  }
  return values;
}
auto all_blocks(std::uint64_t number) -> std::vector<std::uint64_t> {
  return std::vector<std::uint64_t>(test_blocks, number);
}

TEMPLATE_LIST_TEST_CASE("a message arrives with all its fields", "", carriers_of_messages) {
  table<TestType> t{2};
  REQUIRE(t.meets());
  t.at(0, [&](auto& me) { CHECK(me.newest(what::opened)->outgoing == session_id{}); });
  buffer_pool pool;
  auto p = message(1, 0, channel_id::model, 7, counting(pool, 0.5F));
  p.based_on = iteration{3};
  p.extra.set(scalar_slot::push_sum_weight, 0.25);
  t.at(1, [&](auto& me) { CHECK(me.end->send(channel_kind::state, packet{p}) == send_status::accepted); });
  REQUIRE(t.until(0, [](auto& me) { return me.newest_blocks() == all_blocks(7); }));
  t.at(0, [&](auto& me) {
    for (auto const& got : me.messages(channel_id::model)) {
      CHECK(got.peer == node_id{1});
      CHECK(got.p.from == node_id{1});
      CHECK(got.p.to == node_id{0});
      CHECK(got.p.based_on == iteration{3});
      CHECK(got.p.session == session_id{});
      CHECK(got.p.extra == p.extra);
    }
    auto const sent = p.body.template view<float>();
    CHECK(values_at(me) == std::vector<float>(sent.begin(), sent.end()));
  });
}

TEMPLATE_LIST_TEST_CASE(
    "events all arrive once and in order, both ways at a time, and bodies may be of any size up to a vector", "",
    carriers_of_events) {
  constexpr std::uint64_t many = 500;
  table<TestType> t{2, {.event_bound = 1000}};
  REQUIRE(t.meets());
  buffer_pool pool;
  for (std::size_t i = 0; i < 2; ++i) {
    t.at(i, [&](auto& me) {
      for (std::uint64_t k = 1; k <= many; ++k) {
        auto p = message(i, 1 - i, channel_id::chunk, k, counting(pool, static_cast<float>(k), k % test_values));
        REQUIRE(me.end->send(channel_kind::event, std::move(p)) == send_status::accepted);
      }
    });
  }
  REQUIRE(t.until_all([](auto& me) { return me.count(what::message) == many; }));
  for (std::size_t i = 0; i < 2; ++i) {
    t.at(i, [&](auto& me) {
      auto const all = me.messages(channel_id::chunk);
      for (std::uint64_t k = 1; k <= many; ++k) {
        REQUIRE(all[k - 1].p.number == iteration{k});
        REQUIRE(all[k - 1].p.body.size() == k % test_values);
      }
    });
  }
}

TEMPLATE_LIST_TEST_CASE("codes of a codec arrive on a channel that declares them, fewer or more than there are values",
                        "", carriers_of_events) {
  auto const sizes = std::array<std::size_t, 5>{1, test_values / 2, test_values, 2 * test_values, 16 * test_values};
  table<TestType> t{2};
  REQUIRE(t.meets());
  buffer_pool pool;
  t.at(0, [&](auto& me) {
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      auto p = message(0, 1, channel_id::gradient, k + 1, counting(pool, 1, sizes[k]));
      REQUIRE(me.end->send(channel_kind::event, std::move(p)) == send_status::accepted);
    }
  });
  REQUIRE(t.until(1, [&](auto& me) { return me.count(what::message) == sizes.size(); }));
  t.at(1, [&](auto& me) {
    auto const all = me.messages(channel_id::gradient);
    for (std::size_t k = 0; k < sizes.size(); ++k) CHECK(all[k].p.body.size() == sizes[k]);
  });
}

TEMPLATE_LIST_TEST_CASE("on a state channel the newest message always arrives, and those replaced are counted", "",
                        every_transport) {
  table<TestType> t{2};
  REQUIRE(t.meets());
  buffer_pool pool;
  std::uint64_t sent = 0;
  auto const post = [&](auto& me) {
    ++sent;
    me.end->send(channel_kind::state, message(1, 0, channel_id::model, sent, counting(pool, static_cast<float>(sent))));
  };
  // Nobody polls meanwhile, so the link fills, and sending still does not wait.
  t.at(1, [&](auto& me) {
    while (sent < 2000) post(me);
  });
  auto const go_on = [&](auto& me) {  // as any node does: over a link that loses some, the newest one may be lost
    auto const counts = me.end->traffic_of();
    if (!TestType::lossless && !counts.empty() && counts.front().packets > 0) post(me);
  };
  auto const is_fresh = [](auto& me) {
    auto const b = me.newest_blocks();
    return *std::min_element(b.begin(), b.end()) >= 2000;
  };
  REQUIRE(t.until(0, is_fresh, go_on));
  t.at(1, [&](auto& me) {
    auto const counts = me.end->traffic_of();
    REQUIRE(counts.size() == 1);
    CHECK(counts[0].packets > 0);
    if (!TestType::lossless) return;  // whether a datagram waits is a matter of the rate
    CHECK(counts[0].replaced > 0);
    CHECK(counts[0].packets + counts[0].replaced == 2000);
  });
  t.at(0, [&](auto& me) {
    std::vector<std::uint64_t> last(test_blocks);
    for (auto const& n : me.messages(channel_id::model)) {
      auto const first = static_cast<float>(to_count(n.p.number) + 64 * n.blocks.begin);
      CHECK(n.p.body.template view<float>()[0] == first);
      for (auto b = n.blocks.begin; b < n.blocks.end; ++b)
        CHECK(to_count(n.p.number) > std::exchange(last[b], to_count(n.p.number)));
    }
    auto const counts = me.end->traffic_of();
    REQUIRE(counts.size() == 1);
    CHECK(counts[0].delivered >= me.count(what::message));
    if (TestType::lossless) CHECK(counts[0].delivered == me.count(what::message));
  });
}

TEMPLATE_LIST_TEST_CASE("channels do not replace each other, and neither do senders", "", carriers_of_messages) {
  table<TestType> t{3};
  REQUIRE(t.meets());
  buffer_pool pool;
  auto sums = pool.allocate<std::int32_t>(test_values);
  std::fill_n(sums.data(), test_values, -5);
  auto const body = std::move(sums).publish();
  for (std::size_t from = 1; from < 3; ++from) {
    t.at(from, [&](auto& me) {
      me.end->send(channel_kind::state, message(from, 0, channel_id::model, 1, counting(pool, 1)));
      me.end->send(channel_kind::state, message(from, 0, channel_id::tracker, 1, body));
      if (TestType::lossless)
        me.end->send(channel_kind::event, message(from, 0, channel_id::chunk, 1, counting(pool, 1, 10)));
    });
  }
  auto const values_of = [](auto& me, std::size_t from, channel_id channel) {
    std::size_t all = 0;
    for (auto const& n : me.messages(channel)) all += n.peer == to_node(from) ? n.p.body.size() : 0;
    return all;
  };
  REQUIRE(t.until(0, [&](auto& me) {
    for (std::size_t from = 1; from < 3; ++from) {
      if (values_of(me, from, channel_id::model) < test_values ||
          values_of(me, from, channel_id::tracker) < test_values)
        return false;
      if (TestType::lossless && values_of(me, from, channel_id::chunk) < 10) return false;
    }
    return true;
  }));
  t.at(0, [&](auto& me) {
    for (auto const& n : me.messages(channel_id::tracker)) CHECK(n.p.body.template view<std::int32_t>()[17] == -5);
    CHECK(values_of(me, 1, channel_id::model) + values_of(me, 2, channel_id::model) == 2 * test_values);
  });
}

TEMPLATE_LIST_TEST_CASE(
    "events that wait beyond their limit are reported with their receiver, and none of them is lost", "",
    lossless_transports) {
  table<TestType> t{2, {.event_bound = 4}};
  REQUIRE(t.meets());
  buffer_pool pool;
  auto const body = counting(pool, 0);
  std::uint64_t sent = 0;
  t.at(0, [&](auto& me) {
    auto full = 0;
    CHECK(me.end->congested() == std::nullopt);
    while (full < 50) {  // with 64 that wait the edge would be closed
      auto const status = me.end->send(channel_kind::event, message(0, 1, channel_id::chunk, ++sent, body));
      REQUIRE(status != send_status::refused);
      if (status == send_status::full) ++full;
      REQUIRE(sent < 10'000'000);
    }
    CHECK(me.end->congested() == node_id{1});
    me.end->announce({phase::left});  // after all events: so the other seat knows how many there are
  });
  REQUIRE(t.until(1, [](auto& me) { return me.count(what::left) == 1; }));
  REQUIRE(t.until(0, [](auto& me) { return me.end->congested() == std::nullopt; }));
  t.at(1, [&](auto& me) {
    auto const all = me.messages(channel_id::chunk);
    CHECK(all.size() >= 50);
    for (std::size_t k = 0; k < all.size(); ++k) REQUIRE(all[k].p.number == iteration{k + 1});
  });
  t.at(0, [&](auto& me) { CHECK(me.end->traffic_of()[0].packets == sent); });
}

TEMPLATE_LIST_TEST_CASE("a peer for which far too many events wait can be given up, and both ends are told", "",
                        lossless_transports) {
  table<TestType> t{2, {.event_bound = 4, .silence = 300ms}};
  REQUIRE(t.meets());
  buffer_pool pool;
  auto const body = counting(pool, 0);
  t.at(0, [&](auto& me) {
    std::uint64_t sent = 0;
    while (me.end->send(channel_kind::event, message(0, 1, channel_id::chunk, ++sent, body)) != send_status::refused) {
      REQUIRE(sent < 10'000'000);
    }
    CHECK(me.end->congested() == node_id{1});
    CHECK(me.end->traffic_of()[0].lost == 1);
    me.end->give_up(node_id{1});
    CHECK(me.end->congested() == std::nullopt);
    CHECK(me.end->send(channel_kind::event, message(0, 1, channel_id::chunk, sent, body)) == send_status::closed);
  });
  REQUIRE(t.until(0, [](auto& me) { return me.count(what::closed) == 1; }));
  t.at(0, [](auto& me) { CHECK(says(me.newest(what::closed)->why, "reads too slowly, or not at all")); });
  REQUIRE(t.until(1, [](auto& me) { return me.count(what::closed) == 1; }));
}

TEMPLATE_LIST_TEST_CASE("a peer that disappears is reported by name, and nothing can be sent to it", "",
                        every_transport) {
  table<TestType> t{2, {.silence = 300ms}};
  REQUIRE(t.meets());
  t.vanish(1);
  REQUIRE(t.until(0, [](auto& me) { return me.count(what::closed) == 1; }));
  t.at(0, [](auto& me) {
    CHECK(says(me.newest(what::closed)->why, "node 1"));
    CHECK(me.newest(what::closed)->because == cause{node_id{1}, cause::how::gone});
    buffer_pool pool;
    CHECK(me.end->send(channel_kind::state, message(0, 1, channel_id::model, 1, counting(pool, 1))) ==
          send_status::closed);
    CHECK(me.end->everyone_left());
  });
}

/// Posts to the other end in the present session, again and again: either end may have been closed once more meanwhile.
struct posting_on {
  template<class Me>
  void operator()(Me& me) {
    if (me.count(what::opened) < 2) return;
    auto const& opened = *me.newest(what::opened);
    auto p = message(1 - to_index(opened.peer), to_index(opened.peer), channel_id::model, ++number, counting(pool, 1));
    p.session = opened.outgoing;
    me.end->send(channel_kind::state, std::move(p));
  }
  buffer_pool pool{};
  std::uint64_t number = 1;
};
/// Whether a message of the present session has come.
constexpr auto is_heard = [](auto& me) {
  auto const all = me.messages(channel_id::model);
  return std::any_of(all.begin(), all.end(),
                     [&](auto const& n) { return n.p.session == me.newest(what::opened)->incoming; });
};

TEMPLATE_LIST_TEST_CASE("a live peer that was silent for too long returns in a new session of both ends", "",
                        transports_with_silence) {
  table<TestType> t{2, {.silence = 1s}};
  REQUIRE(t.meets());
  buffer_pool pool;
  auto const post_first = [&](auto& me, std::size_t self) {
    me.end->send(channel_kind::state, message(self, 1 - self, channel_id::model, 1, counting(pool, 1)));
  };
  for (std::size_t i = 0; i < 2; ++i) t.at(i, [&](auto& me) { post_first(me, i); });
  REQUIRE(t.until_all([](auto& me) { return me.newest_blocks() == all_blocks(1); }));
  t.rest(1);  // as a process does that is stopped
  REQUIRE(t.until(0, [](auto& me) { return me.count(what::closed) == 1; }));
  t.at(0, [](auto& me) { CHECK(says(me.newest(what::closed)->why, "is gone: it has been silent for 1.0 s")); });
  t.go_on(1);
  REQUIRE(t.until_all([](auto& me) { return me.count(what::opened) >= 2 && me.count(what::closed) >= 1; }));
  t.at(1, [](auto& me) { CHECK(says(me.newest(what::closed)->why, "is gone: ")); });
  // Both ends are in the same session, and what was posted for the first one does not count in it.
  for (std::size_t i = 0; i < 2; ++i) {
    t.at(i, [&](auto& me) {
      CHECK_FALSE(me.newest(what::opened)->outgoing == session_id{});
      me.got.erase(std::remove_if(me.got.begin(), me.got.end(), [](auto const& n) { return n.kind == what::message; }),
                   me.got.end());
    });
  }
  REQUIRE(t.until_all(is_heard, posting_on{}));
  for (std::size_t i = 0; i < 2; ++i) {
    t.at(i, [](auto& me) {
      for (auto const& n : me.messages(channel_id::model)) CHECK_FALSE(n.p.session == session_id{});
    });
  }
}

TEMPLATE_LIST_TEST_CASE("two peers that each took the other for dead connect again", "", transports_with_silence) {
  table<TestType> t{2, {.silence = 1s}};
  REQUIRE(t.meets());
  for (std::size_t i = 0; i < 2; ++i) t.at(i, [&](auto& me) { me.end->give_up(to_node(1 - i)); });
  REQUIRE(t.until_all([](auto& me) { return me.count(what::closed) > 0 && me.count(what::opened) > 1; }));
  REQUIRE(t.until_all(is_heard, posting_on{}));
}

#if !RUBATO_TEST_OVER_MPI
TEMPLATE_LIST_TEST_CASE("a peer that died returns in a new session of its edge", "", every_transport) {
  table<TestType> t{2, {.silence = 300ms}};
  REQUIRE(t.meets());
  t.vanish(1);
  REQUIRE(t.until(0, [](auto& me) { return me.count(what::closed) == 1; }));
  t.sit(1);
  REQUIRE(t.until(0, [](auto& me) { return me.count(what::opened) == 2; }));
  REQUIRE(t.until(1, [](auto& me) { return me.count(what::opened) == 1; }));
  t.at(1, [](auto& me) {
    buffer_pool pool;
    auto p = message(1, 0, channel_id::model, 1, counting(pool, 1));
    p.session = me.newest(what::opened)->outgoing;
    me.end->send(channel_kind::state, std::move(p));
  });
  REQUIRE(t.until(0, [](auto& me) { return me.count(what::message) > 0; }));
  t.at(0, [](auto& me) {
    CHECK_FALSE(me.newest(what::opened)->incoming == session_id{});
    CHECK(me.newest(what::message)->p.session == me.newest(what::opened)->incoming);
  });
}

TEMPLATE_LIST_TEST_CASE("a peer that never connects is reported by name within the deadline", "", every_transport) {
  table<TestType> t{2, {.arrival = 60ms}};
  t.sit(0);
  REQUIRE(t.until(0, [](auto& me) { return me.count(what::closed) == 1; }));
  t.at(0, [](auto& me) {
    CHECK(says(me.newest(what::closed)->why, "node 1"));
    CHECK(says(me.newest(what::closed)->why, "has not come within 0.06 s"));
    CHECK(me.newest(what::closed)->because == cause{node_id{1}, cause::how::absent});
  });
}
#endif

TEMPLATE_LIST_TEST_CASE("a peer that leaves in order says so after all its messages, and is not reported as lost", "",
                        every_transport) {
  table<TestType> t{2};
  REQUIRE(t.meets());
  buffer_pool pool;
  auto const body = counting(pool, 0);
  constexpr auto kind = TestType::lossless ? channel_kind::event : channel_kind::state;
  constexpr auto channel = TestType::lossless ? channel_id::chunk : channel_id::model;
  t.at(0, [&](auto& me) {
    for (std::uint64_t k = 1; k <= 50; ++k) me.end->send(kind, message(0, 1, channel, k, body));
    me.end->announce({phase::left});
    CHECK_FALSE(me.end->everyone_left());
    CHECK(me.end->send(kind, message(0, 1, channel, 51, body)) == send_status::closed);
  });
  REQUIRE(t.until(1, [](auto& me) { return me.count(what::left) == 1; }));
  t.at(1, [&](auto& me) {
    if (TestType::lossless) CHECK(me.count(what::message) == 50);
    if (TestType::ordered) CHECK(me.got.back().kind == what::left);
    me.end->announce({phase::left});
  });
  REQUIRE(t.until_all([](auto& me) { return me.end->everyone_left(); }));
  t.vanish(0);
  auto const later = transport::clock::now() + 20ms;
  REQUIRE(t.until(1, [&](auto&) { return transport::clock::now() > later; }));
  t.at(1, [](auto& me) {
    CHECK(me.count(what::closed) == 0);
    CHECK(me.count(what::left) == 1);
  });
}

TEMPLATE_LIST_TEST_CASE("a node's status is sent to present peers, and to those that connect later", "",
                        every_transport) {
  table<TestType> t{3};
  t.sit(0);
  t.at(0, [](auto& me) { me.end->announce({phase::arriving, 2}); });
  t.sit(1);
  t.sit(2);
  auto const stands = [](auto& me, peer_status const& s) {
    auto const* const n = me.newest(what::stands);
    return n != nullptr && n->peer == node_id{0} && n->peer_status == s;
  };
  REQUIRE(t.until(1, [&](auto& me) { return stands(me, {phase::arriving, 2}); }));
  REQUIRE(t.until(2, [&](auto& me) { return stands(me, {phase::arriving, 2}); }));
  t.at(0, [](auto& me) {
    me.end->announce({phase::running});
    me.end->announce({phase::arriving, 3});  // too late, and never said
  });
  REQUIRE(t.until(1, [&](auto& me) { return stands(me, {phase::running}); }));
  REQUIRE(t.until(2, [&](auto& me) { return stands(me, {phase::running}); }));
  for (std::size_t i = 0; i < 3; ++i) t.at(i, [](auto& me) { CHECK(me.count(what::closed) == 0); });
}

TEMPLATE_LIST_TEST_CASE("a peer that connects after another has left still meets it, and learns that it has left", "",
                        every_transport) {
  table<TestType> t{2};
  t.sit(0);
  t.at(0, [](auto& me) { me.end->announce({phase::left}); });
  t.sit(1);
  REQUIRE(t.until(1, [](auto& me) { return me.count(what::left) == 1; }));
  t.at(1, [](auto& me) {
    CHECK(me.got.front().kind == what::opened);
    CHECK(me.count(what::closed) == 0);
    me.end->announce({phase::left});
  });
  REQUIRE(t.until(0, [](auto& me) { return me.count(what::left) == 1; }));
  REQUIRE(t.until_all([](auto& me) { return me.end->everyone_left(); }));
}

TEMPLATE_LIST_TEST_CASE("a peer that ends by an error names the cause before waiting events, and is gone", "",
                        every_transport) {
  table<TestType> t{3};
  REQUIRE(t.meets());
  auto const distant = cause{node_id{7}, cause::how::gone};
  t.at(1, [&](auto& me) { me.end->announce({phase::ended, 0, distant}); });
  REQUIRE(t.until(0, [](auto& me) { return me.count(what::closed) == 1; }));
  REQUIRE(t.until(2, [](auto& me) { return me.count(what::closed) == 1; }));
  t.at(0, [&](auto& me) {
    CHECK(says(me.newest(what::closed)->why, "node 1"));
    CHECK(says(me.newest(what::closed)->why, " has ended because node 7 is gone"));
    CHECK(me.newest(what::closed)->because == distant);
    me.end->announce({phase::ended, 0, {node_id{0}, cause::how::failed}});
  });
  t.at(2, [](auto& me) { me.end->announce({phase::left}); });
  REQUIRE(t.until(2, [](auto& me) { return me.count(what::closed) == 2; }));
  t.at(2, [](auto& me) {
    CHECK(says(me.newest(what::closed)->why, "node 0"));
    CHECK(says(me.newest(what::closed)->why, " has ended because it has failed"));
  });
  REQUIRE(t.until_all([](auto& me) { return me.end->everyone_left(); }));
}

TEMPLATE_LIST_TEST_CASE("a poll ends when another thread wakes it", "", every_transport) {
  table<TestType> t{2};
  REQUIRE(t.meets());
  t.at(0, [](auto& me) {
    // A wake-up that comes before its poll counts for it too, so nothing here depends on who is faster.
    auto const waker = std::jthread{[&] { me.end->wake(); }};
    auto const latest = transport::clock::now() + std::chrono::seconds{30};
    me.end->poll(latest, me.got);
    CHECK(transport::clock::now() < latest);
    CHECK(me.count(what::message) == 0);
  });
}

}  // namespace
}  // namespace rubato::test
