// SPDX-License-Identifier: MIT
// How the nodes of a run in one process stand, on a board each, while it goes on and after its end: in the simulator,
// and on threads.
#include <rubato/run/node_status.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

constexpr std::size_t nodes = 3;
using node_type = r_fast<backend::host<double>>;

auto assembled() -> assembly {
  return assemble<node_type>(topology::ring(nodes), problem::quadratic::random(nodes, 5, 1), {.step = 0.05});
}
auto boards_for(std::size_t n) -> status_boards {
  status_boards all;
  while (all.size() < n) all.push_back(std::make_shared<status_board>());
  return all;
}

/// The run that both drivers play, watched as a program would do it, and what a reader saw of node 1 meanwhile.
struct shown {
  status_boards boards = boards_for(nodes);
  std::optional<node_status> seen{};

  auto watching() -> observers {
    return {[this](look const&) {
      if (auto const s = boards[1]->newest(); s->of == nodes) seen = *s;
    }};
  }
  /// For check(), whenever that is.
  [[nodiscard]] auto shows_enough() const -> bool {
    return seen && std::all_of(boards.begin(), boards.end(), [](auto const& board) {
             auto const s = board->newest();
             auto const is_used = [](auto const& n) { return n.age.uses > 0; };
             return s->history.size() > 3 && newest_loss(*s) < s->history.front().loss && !s->neighbours.empty() &&
                    std::all_of(s->neighbours.begin(), s->neighbours.end(), is_used);
           });
  }
};

void check(shown const& run, run_result const& r) {
  REQUIRE(run.seen);
  CHECK(run.seen->at == node_status::phase::running);
  for (std::size_t i = 0; i < nodes; ++i) {
    auto const s = run.boards[i]->newest();
    CHECK(s->at == node_status::phase::ended);
    CHECK(s->id == to_node(i));
    CHECK(s->of == nodes);
    CHECK(s->algorithm == r.algorithm);
    CHECK(s->iterations == r.nodes[i].iterations);
    CHECK(s->gradients == r.nodes[i].gradients);
    CHECK(s->tracks);
    CHECK(newest_residual(*s) < 1e-9);
    CHECK(newest_loss(*s) < s->history.front().loss);
    CHECK(s->history.size() > 3);
    REQUIRE(s->neighbours.size() == 2);
    for (auto const& n : s->neighbours) {
      std::uint64_t sent = 0, bytes = 0, delivered = 0, uses = 0;
      for (auto const& e : r.edges) {
        if (e.from == s->id && e.to == n.peer) sent += e.packets_sent, bytes += e.bytes_sent;
        if (e.to == s->id && e.from == n.peer) delivered += e.delivered, uses += e.age.uses;
      }
      CHECK(n.is == standing::here);
      CHECK(n.packets_sent == sent);
      CHECK(n.bytes_sent == bytes);
      CHECK(n.delivered == delivered);
      CHECK(n.age.uses == uses);
      CHECK(uses > 0);
    }
  }
}

TEST_CASE("a simulated run shows how its nodes stand, in virtual time") {
  shown run;
  auto a = assembled();
  auto const watching = run.watching();
  environment::scenario s;
  s.compute = environment::fixed(10ms);
  s.link.latency = 1ms;
  auto const r = simulate(std::move(a), s, {.time = 60s}, {.watching = watching, .statuses = run.boards});
  check(run, r);
  CHECK(run.boards[0]->newest()->ran == 60s);
  CHECK(newest_loss(*run.boards[0]->newest()) == r.history.back().loss);
}

TEST_CASE("a run on threads shows how its nodes stand") {
  shown run;
  auto a = assembled();
  auto watching = run.watching();
  environment::scenario s;
  s.compute = environment::fixed(1ms);
  s.measure_every = 20ms;
  watching.push_back([&](look const&) { return run.shows_enough() ? verdict::stop : verdict::go_on; });
  auto const r = run_threads(std::move(a), s, {.time = 120s}, {.watching = watching, .statuses = run.boards});
  CHECK(r.stopped == stop_reason::observer);
  check(run, r);
}

TEST_CASE("who is down is lost for its neighbours, in their statuses") {
  auto a = assembled();
  auto const boards = boards_for(nodes);
  environment::scenario s;
  s.compute = environment::fixed(10ms);
  s.restarts = {{.node = node_id{2}, .at = 1s, .down = 10s}};
  static_cast<void>(simulate(std::move(a), s, {.time = 2s}, {.statuses = boards}));
  for (auto const& n : boards[0]->newest()->neighbours)
    CHECK(n.is == (n.peer == node_id{2} ? standing::lost : standing::here));
}

TEST_CASE("if a run fails, the boards of its nodes say that it has ended") {
  auto const fails = observers{[](look const& l) {
    if (l.seen.at > 10ms) throw run_error{"enough"};
  }};
  environment::scenario s;
  s.compute = environment::fixed(1ms);
  s.measure_every = 5ms;
  for (auto const on_threads : {false, true}) {
    auto const boards = boards_for(nodes);
    auto const sentence = failure([&] {
      if (on_threads) run_threads(assembled(), s, {.time = 60s}, {.watching = fails, .statuses = boards});
      else simulate(assembled(), s, {.time = 60s}, {.watching = fails, .statuses = boards});
    });
    CHECK(sentence == "enough");
    for (auto const& board : boards) CHECK(board->newest()->at == node_status::phase::ended);
  }
}

TEST_CASE("each node needs a board") {
  auto const boards = boards_for(nodes - 1);
  auto const sentence = "a run of 3 nodes shows each on a status board of its own, and there are 2";
  CHECK(says(refusal([&] { simulate(assembled(), {}, {.time = 1s}, {.statuses = boards}); }), sentence));
  CHECK(says(refusal([&] { run_threads(assembled(), {}, {.time = 1s}, {.statuses = boards}); }), sentence));
}

}  // namespace
}  // namespace rubato::test
