// SPDX-License-Identifier: MIT
// What the end of a member's run is for those who go on, for those who come later, and for itself if it comes back.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/driver/peer.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/stop_token.hpp>

#include "support/catch.hpp"
#include "support/members.hpp"
#include "support/refusal.hpp"
#include "transport/member_world.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

TEST_CASE("who comes after a member's run has ended sees the same members as those who saw that end") {
  member_world w{3};
  auto const both = optimum_of(w.q, {node_id{0}, node_id{1}});
  auto const rest = optimum_of(w.q, {node_id{0}, node_id{2}});
  auto const first = std::vector{node_id{0}, node_id{1}};
  std::atomic<bool> has_ended{false}, new_one_is_near{false};
  auto const of_0 = [&](look const& l) { return new_one_is_near && is_near(l, rest) ? verdict::stop : verdict::go_on; };
  auto const of_1 = [&](look const& l) { return is_near(l, both) ? verdict::stop : verdict::go_on; };
  auto const of_2 = [&](look const& l) {
    if (!is_near(l, rest)) return verdict::go_on;
    new_one_is_near = true;
    return verdict::stop;
  };
  {
    std::vector<std::jthread> all;
    all.emplace_back([&] { w.live(0, {.linger = 1s, .first = first, .watching = {of_0}}); });
    all.emplace_back([&] {
      w.live(1, {.linger = 1s, .first = first, .watching = {of_1}});
      has_ended = true;
      has_ended.notify_all();
    });
    has_ended.wait(false);
    all.emplace_back([&] { w.live(2, {.linger = 1s, .first = first, .entry = entry::later, .watching = {of_2}}, 1s); });
  }
  for (auto const& s : w.sentences) CHECK(s.empty());
  CHECK(w.parts[2].result.stopped == stop_reason::observer);
  CHECK(w.parts[0].result.absent.front() == node_id{1});
  for (auto const& part : w.parts) {
    CHECK(part.other_views.empty());
    CHECK(part.cut_off.empty());
  }
}

TEST_CASE("a member that leaves before the others begin is not counted") {
  member_world w{3};
  auto const rest = optimum_of(w.q, {node_id{0}, node_id{2}});
  stop_source asked;
  std::atomic<int> near{0};
  auto const look_of = [&] {
    return [&, is_counted = false](look const& l) mutable {
      if (is_near(l, rest) && !std::exchange(is_counted, true)) ++near;
      return near == 2 ? verdict::stop : verdict::go_on;
    };
  };
  auto const board = std::make_shared<status_board>();
  {
    std::vector<std::jthread> all;
    all.emplace_back([&] { w.live(0, {.linger = 1s, .watching = {look_of()}, .status = board}, 30s); });
    {
      auto leaver = std::jthread{[&] { w.live(1, {.linger = 1s, .stop = asked.get_token()}, 30s); }};
      auto const is_here = [&] {
        auto const all = board->newest()->neighbours;
        return std::any_of(all.begin(), all.end(),
                           [](auto const& n) { return n.peer == node_id{1} && n.is == standing::here; });
      };
      for (auto tries = 0; tries < 3000 && !is_here(); ++tries) std::this_thread::sleep_for(10ms);
      CHECK(is_here());
      asked.request_stop();
    }
    all.emplace_back([&] { w.live(2, {.linger = 1s, .watching = {look_of()}}, 30s); });
  }
  for (auto const& s : w.sentences) CHECK(s.empty());
  CHECK(w.parts[1].result.stopped == stop_reason::interrupted);
  CHECK(near == 2);
  CHECK(w.parts[0].result.absent == std::vector{node_id{1}});
  CHECK(w.parts[0].other_views.empty());
}

TEST_CASE("a member that comes back after the end of its run is called by those who went on") {
  member_world w{2};
  auto const rest = optimum_of(w.q, {node_id{1}});
  std::atomic<int> stage{
      0};  // 1: the run of node 0 has ended; 2: node 1 is at its own optimum; 3: node 0 has ended again
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

TEST_CASE("who is to join and meets nobody fails with one sentence") {
  member_world w{2};
  w.live(0, {.entry = entry::later}, 200ms);
  CHECK(says(w.sentences[0], "node 0 was to join the others, and met none of them"));
}

}  // namespace
}  // namespace rubato::test
