// SPDX-License-Identifier: MIT
// Members that come and go between processes: who joins begins with a neighbour's model, who leaves in order takes its
// gradient along, and what cannot be is refused before anybody is waited for. (Deaths: examples/17_tcp_members.cpp.)
#include <rubato/driver/peer.hpp>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/topology/members.hpp>

#include "support/catch.hpp"
#include "support/members.hpp"
#include "support/refusal.hpp"
#include "transport/worlds.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using fast = r_fast<backend::host<double>>;

auto distance(shared_buffer const& model, std::vector<double> const& best) -> double {
  auto worst = 0.0;
  for (std::size_t k = 0; k < best.size(); ++k) worst = std::max(worst, std::abs(model.view<double>()[k] - best[k]));
  return worst;
}

TEST_CASE("who joins over TCP begins with the model of a neighbour, and who leaves in order is not counted any more") {
  auto const q = problem::quadratic::random(2, 5, 3, {.spread = 1, .condition = 2});
  auto const alone = optimum_of(q, {node_id{0}});
  auto doors = tcp_doors{2};
  std::atomic<int> stage{0};  // 1: node 0 is at its own optimum; 2: node 1 has left
  std::vector<peer_result> parts(2);
  std::vector<std::string> sentences(2);
  auto const live = [&](std::size_t i, peer_options o) {
    try {
      auto a = assemble<fast>(topology::member_graphs{2, topology::binary_tree}, q, {.step = 0.1});
      auto const me = identity_of(a, to_node(i), &wire::xxh3_of);
      auto its = doors.options(i);
      its.arrival = i == 0 ? 200ms : 10s;
      transport::tcp wires{me, std::move(its)};
      o.look_every = 10ms;
      o.lost = when_lost::goes_on;
      o.compute = environment::fixed(500us);
      parts[i] = run_peer(a, me, wires, {.time = 60s}, o);
    } catch (std::exception const& e) {
      sentences[i] = e.what();
    }
    stage = std::max<int>(stage, i == 0 ? 1 : 2);
    stage.notify_all();
  };
  {
    auto const first = [&](look const& l) {
      auto const far = distance(l.models[0], alone);
      if (stage == 0 && far < 1e-9) {
        stage = 1;
        stage.notify_all();
      }
      return stage == 2 && far < 1e-9 ? verdict::stop : verdict::go_on;  // also if the other one failed
    };
    auto const second = [&](look const& l) {
      return distance(l.models[0], q.optimum()) < 1e-9 ? verdict::stop : verdict::go_on;
    };
    std::vector<std::jthread> both;
    both.emplace_back([&] { live(0, {.watching = {first}}); });
    stage.wait(0);
    both.emplace_back([&] { live(1, {.entry = entry::later, .watching = {second}}); });
  }
  for (auto const& s : sentences) CHECK(s.empty());
  REQUIRE(parts[1].looks.size() > 1);
  REQUIRE(distance(parts[0].looks.front().model, alone) > 0.01);  // the common first model is another one
  CHECK(distance(parts[1].looks.front().model, alone) < 1e-3);
  CHECK(distance(parts[1].result.models[0], q.optimum()) < 1e-9);
  CHECK(distance(parts[0].result.models[0], alone) < 1e-9);
  CHECK(parts[0].result.stopped == stop_reason::observer);
  CHECK(parts[0].looks.back().residual < 1e-9);
  CHECK(parts[0].cut_off.empty());
  CHECK(parts[0].result.absent == std::vector{node_id{1}});
}

TEST_CASE("what members cannot do between processes is refused in one sentence") {
  auto const q = problem::quadratic::random(2, 5, 3);
  auto const told = [&]<class Node>(Node*, auto const& network, peer_options const& o) {
    auto a = assemble<Node>(network, q, {});
    auto const me = identity_of(a, node_id{0});
    auto wires = transport::tcp{me, tcp_doors{2}.options(0)};
    return refusal([&] { run_peer(a, me, wires, {.time = 1s}, o); });
  };
  auto const trees = topology::member_graphs{2, topology::binary_tree};
  auto* const r = static_cast<fast*>(nullptr);
  CHECK(says(told(r, trees, {}), "when_lost::goes_on"));
  CHECK(says(told(r, topology::pair{topology::line(2)}, {.entry = entry::later}), "only where members come and go"));
  CHECK(says(told(static_cast<d_psgd<backend::host<double>>*>(nullptr), trees, {.lost = when_lost::goes_on}),
             "needs every one"));
  CHECK(says(told(r, trees, {.lost = when_lost::goes_on, .checkpoint = {.folder = "nowhere"}}), "no checkpoints"));
  auto a = assemble<fast>(trees, q, {});
  auto const me = identity_of(a, node_id{0});
  transport::udp datagrams{me, udp_doors{2}.options(0)};
  CHECK(says(refusal([&] { run_peer(a, me, datagrams, {.time = 1s}, {.lost = when_lost::goes_on}); }), "lossless"));
}

}  // namespace
}  // namespace rubato::test
