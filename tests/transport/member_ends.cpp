// SPDX-License-Identifier: MIT
// What the end of a member's run is for those who go on, for those who come later, and for itself if it comes back.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/driver/peer.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/stop_token.hpp>
#include <rubato/transport/in_process.hpp>

#include "support/catch.hpp"
#include "support/members.hpp"
#include "support/refusal.hpp"
#include "transport/member_world.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

/// Two nodes that stop once both have come near.
struct both_near {
  std::vector<double> best;
  std::atomic<int> near{0};

  auto look() -> observer {
    return [this, is_counted = false](rubato::look const& l) mutable {
      if (is_near(l, best) && !std::exchange(is_counted, true)) ++near;
      return near == 2 ? verdict::stop : verdict::go_on;
    };
  }
};

auto misses(peer_result const& part, node_id whom) -> bool {
  auto const& absent = part.result.absent;
  return std::find(absent.begin(), absent.end(), whom) != absent.end();
}

TEST_CASE("who comes after a member's run has ended sees the same members as those who saw that end") {
  member_world w{3};
  auto const both = optimum_of(w.q, {node_id{0}, node_id{1}});
  both_near rest{optimum_of(w.q, {node_id{0}, node_id{2}})};
  auto const first = std::vector{node_id{0}, node_id{1}};
  std::atomic<bool> has_ended{false};
  auto const of_1 = [&](look const& l) { return is_near(l, both) ? verdict::stop : verdict::go_on; };
  {
    std::vector<std::jthread> all;
    all.emplace_back([&] { w.live(0, {.linger = 1s, .first = first, .watching = {rest.look()}}); });
    all.emplace_back([&] {
      w.live(1, {.linger = 1s, .first = first, .watching = {of_1}});
      has_ended = true;
      has_ended.notify_all();
    });
    has_ended.wait(false);
    all.emplace_back(
        [&] { w.live(2, {.linger = 1s, .first = first, .entry = entry::later, .watching = {rest.look()}}, 1s); });
  }
  for (auto const& s : w.sentences) CHECK(s.empty());
  CHECK(rest.near == 2);
  CHECK(misses(w.parts[0], node_id{1}));
  for (auto const& part : w.parts) {
    CHECK(part.other_views.empty());
    CHECK(part.cut_off.empty());
  }
}

TEST_CASE("a member that leaves before the others begin is not counted") {
  member_world w{3};
  both_near rest{optimum_of(w.q, {node_id{0}, node_id{2}})};
  stop_source asked;
  auto const board = std::make_shared<status_board>();
  std::counting_semaphore<64> opened{0};
  w.hears = [&](std::size_t i, transport::incoming const& n) {
    if (i == 0 && n.peer == node_id{1} && n.kind == transport::incoming::what::opened) opened.release();
  };
  {
    std::vector<std::jthread> all;
    all.emplace_back([&] { w.live(0, {.linger = 1s, .watching = {rest.look()}, .status = board}, 5s); });
    {
      auto leaver = std::jthread{[&] { w.live(1, {.linger = 1s, .stop = asked.get_token()}, 5s); }};
      CHECK(opened.try_acquire_for(30s));
      asked.request_stop();
    }
    all.emplace_back([&] { w.live(2, {.linger = 1s, .watching = {rest.look()}}, 5s); });
  }
  for (auto const& s : w.sentences) CHECK(s.empty());
  CHECK(w.parts[1].result.stopped == stop_reason::interrupted);
  CHECK(w.parts[1].left);
  CHECK_FALSE(w.parts[0].left);  // its run has ended
  CHECK(rest.near == 2);
  CHECK(misses(w.parts[0], node_id{1}));
  CHECK(w.parts[0].other_views.empty());
  auto const said = board->newest()->said;
  CHECK(std::count_if(said.begin(), said.end(), [](auto const& s) { return says(s, "node 1 has left"); }) == 1);
}

TEST_CASE("a member that comes back after the end of its run is called by those who went on") {
  member_world w{2};
  auto const rest = optimum_of(w.q, {node_id{1}});
  std::atomic<int> stage{0};  // 1: node 0 has ended; 2: node 1 is at its own optimum; 3: node 0 has ended again
  auto const of_1 = [&](look const& l) {
    if (stage == 1 && is_near(l, rest)) stage = 2, stage.notify_all();
    return stage == 3 ? verdict::stop : verdict::go_on;
  };
  auto const of_0 = [&](look const& l) { return is_near(l, w.q.optimum()) ? verdict::stop : verdict::go_on; };
  {
    std::vector<std::jthread> all;
    all.emplace_back([&] {
      w.live(1, {.linger = 1s, .watching = {of_1}});
      stage = 4, stage.notify_all();
    });
    w.live(0, {.linger = 1s, .watching = {of_0}});
    CHECK(w.sentences[0].empty());
    stage = std::max<int>(stage, 1);
    stage.wait(1);
    w.live(0, {.linger = 1s, .entry = entry::later, .restarts = 1, .watching = {of_0}});
    stage = std::max<int>(stage, 3);
  }
  for (auto const& s : w.sentences) CHECK(s.empty());
  CHECK(w.parts[0].result.stopped == stop_reason::observer);
  CHECK(w.parts[1].result.stopped == stop_reason::observer);
  REQUIRE(w.parts[1].returned.size() == 1);
  CHECK(says(w.parts[1].returned[0], "node 0 has come"));
}

/// Over a link that is slow at the end: it is busy with the last word while its owner asks so often.
struct slow_end : transport::in_process {
  static constexpr auto busy = 100;  // of 20 ms each, which is more than the second that a leaver waits
  mutable int asked = 0;
  using transport::in_process::in_process;
  [[nodiscard]] auto has_unsent() const -> bool { return ++asked < busy; }
};

TEST_CASE("who leaves in order waits until all that it said is written") {
  auto const q = problem::quadratic::random(2, 5, 3, {.spread = 1, .condition = 2});
  auto const room = transport::in_process::room{2};
  auto asked = 0;
  stop_source has_left;
  auto const live = [&](std::size_t i, peer_options o) {
    auto a =
        assemble<r_fast<backend::host<double>>>(topology::member_graphs{2, topology::binary_tree}, q, {.step = 0.1});
    auto const me = identity_of(a, to_node(i));
    auto wires = slow_end{room, me};
    o.linger = 1min;
    o.look_every = 10ms;
    o.lost = when_lost::goes_on;
    run_peer(a, me, wires, {.time = 1min}, o);
    if (i == 1) asked = wires.asked;
  };
  {
    auto const ends = [](look const&) { return verdict::stop; };
    auto const stays = std::jthread{[&] { live(0, {.stop = has_left.get_token()}); }};
    auto leaver = std::jthread{[&] { live(1, {.farewell = farewell::leaves, .watching = {ends}}); }};
    leaver.join();
    has_left.request_stop();
  }
  CHECK(asked >= slow_end::busy);
}

TEST_CASE("who is to join and meets nobody fails with one sentence") {
  member_world w{2};
  w.live(0, {.entry = entry::later}, 200ms);
  CHECK(says(w.sentences[0], "node 0 was to join the others, and met none of them"));
}

}  // namespace
}  // namespace rubato::test
