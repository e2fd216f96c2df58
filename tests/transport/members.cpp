// SPDX-License-Identifier: MIT
// Members that come and go between processes: who joins begins with a neighbour's model, who leaves takes its gradient
// along, whose run ends does not, a link that cannot be made is told by all, and what cannot be is refused before
// anybody is waited for. (Deaths: examples/17_tcp_members.cpp.)
#include <rubato/driver/peer.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/algorithm/async_dgd_atc.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/dude_asgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/referenced_bits.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/pace.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/topology/members.hpp>

#include "support/catch.hpp"
#include "support/members.hpp"
#include "support/refusal.hpp"
#include "transport/member_world.hpp"
#include "transport/worlds.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using fast = r_fast<backend::host<double>>;

/// Node 0 is at its own optimum when node 1 joins; node 1 ends once it is at that of both. Node 0 goes on until `done`
/// of its model, and of the looks since node 1 has ended.
struct two_lives : member_world {
  std::vector<double> alone = optimum_of(q, {node_id{0}});
  std::atomic<int> stage{0};  // 1: node 0 is at its own optimum; 2: node 1 has ended

  two_lives() : member_world{2} {}
  template<class Done>
  void run(farewell how, std::chrono::nanoseconds linger, Done const& done) {
    auto after = 0;
    auto const first = [&](look const& l) {
      if (stage == 0 && is_near(l, alone)) reach(1);
      return stage == 2 && done(l.models[0], after++) ? verdict::stop : verdict::go_on;
    };
    auto const second = [&](look const& l) { return is_near(l, q.optimum()) ? verdict::stop : verdict::go_on; };
    auto const who = std::vector{node_id{0}};
    std::vector<std::jthread> both;
    both.emplace_back([&] {
      live(0, {.linger = linger, .first = who, .watching = {first}});
      reach(1);
    });
    stage.wait(0);
    both.emplace_back([&] {
      live(1, {.linger = 1s, .first = who, .entry = entry::later, .farewell = how, .watching = {second}});
      reach(2);
    });
  }

 private:
  void reach(int what) {
    stage = std::max<int>(stage, what);
    stage.notify_all();
  }
};

TEST_CASE("who joins over TCP begins with the model of a neighbour, and who leaves in order is not counted any more") {
  two_lives two;
  two.run(farewell::leaves, 1s, [&](shared_buffer const& model, int) { return distance(model, two.alone) < 1e-9; });
  auto const& parts = two.parts;
  for (auto const& s : two.sentences) CHECK(s.empty());
  REQUIRE(parts[1].looks.size() > 1);
  REQUIRE(distance(parts[0].looks.front().model, two.alone) > 0.01);  // the common first model is another one
  CHECK(distance(parts[1].looks.front().model, two.alone) < 1e-3);
  CHECK(distance(parts[1].result.models[0], two.q.optimum()) < 1e-9);
  CHECK(distance(parts[0].result.models[0], two.alone) < 1e-9);
  CHECK(parts[0].result.stopped == stop_reason::observer);
  CHECK(parts[0].looks.back().residual < 1e-9);
  CHECK(parts[0].cut_off.empty());
  CHECK(parts[0].result.absent == std::vector{node_id{1}});
  REQUIRE(parts[0].returned.size() == 1);
  CHECK(says(parts[0].returned[0], "node 1 has come after"));
  CHECK(parts[0].result.warnings.empty());
}

TEST_CASE("a member whose run has ended long before the others is not counted any more either") {
  two_lives two;
  two.run(farewell::run_has_ended, 1s,
          [&](shared_buffer const& model, int) { return distance(model, two.alone) < 1e-9; });
  for (auto const& s : two.sentences) CHECK(s.empty());
  CHECK(two.parts[0].result.stopped == stop_reason::observer);
  CHECK(distance(two.parts[0].result.models[0], two.alone) < 1e-9);
  CHECK(two.parts[0].result.absent == std::vector{node_id{1}});
  CHECK(two.parts[0].result.warnings.empty());
}

TEST_CASE("who is to end within the linger of a member's end stays at the optimum of all, and warns") {
  two_lives two;
  two.run(farewell::run_has_ended, 2min, [](shared_buffer const&, int looks) { return looks == 20; });
  for (auto const& s : two.sentences) CHECK(s.empty());
  CHECK(distance(two.parts[0].result.models[0], two.q.optimum()) < 1e-3);
  REQUIRE(distance(shared_buffer{two.parts[1].result.models[0]}, two.alone) > 0.01);  // the two optima differ
  REQUIRE(two.parts[0].result.warnings.size() == 1);
  CHECK(says(two.parts[0].result.warnings[0], "node 1 ended its run"));
}

/// Three nodes, of which 0 and 2 do not reach each other; node 1 reaches both. Each runs for that time.
struct broken_link {
  std::vector<peer_result> parts{3};
  std::vector<std::string> sentences{3};

  broken_link(std::chrono::nanoseconds time, std::chrono::nanoseconds linger) {
    auto doors = tcp_doors{4};  // behind the last one nobody answers
    std::vector<std::jthread> all;
    for (std::size_t i = 0; i < 3; ++i)
      all.emplace_back([this, &doors, time, linger, i] { live(i, doors, time, linger); });
  }

 private:
  void live(std::size_t i, tcp_doors& doors, std::chrono::nanoseconds time, std::chrono::nanoseconds linger) {
    try {
      auto a = assemble<fast>(topology::member_graphs{3, topology::binary_tree}, problem::quadratic::random(3, 5, 3),
                              {.step = 0.1});
      auto const me = identity_of(a, to_node(i), &wire::xxh3_of);
      auto its = doors.options(i);
      its.arrival = 1s;
      if (i == 2) its.addresses[0] = its.addresses[3];
      its.addresses.resize(3);
      transport::tcp wires{me, std::move(its)};
      parts[i] = run_peer(a, me, wires, {.time = time},
                          {.linger = linger, .lost = when_lost::goes_on, .compute = environment::fixed(5ms)});
    } catch (std::exception const& e) {
      sentences[i] = e.what();
    }
  }
};

TEST_CASE("where one link between members cannot be made, no process ends without saying so") {
  auto const run = broken_link{300ms, 2s};
  for (auto const& s : run.sentences) CHECK(s.empty());
  CHECK(run.parts[0].cut_off == std::vector{node_id{2}});
  CHECK(run.parts[2].cut_off == std::vector{node_id{0}});
  CHECK(run.parts[1].cut_off.empty());
  CHECK(run.parts[1].parted == 1);
}

TEST_CASE("members that see others for long say so, and the law of tracking holds meanwhile") {
  auto const run = broken_link{8s, 2s};
  for (auto const& s : run.sentences) CHECK(s.empty());
  CHECK(run.parts[0].other_views == std::vector{node_id{1}});
  CHECK(run.parts[1].other_views == std::vector{node_id{0}, node_id{2}});
  CHECK(run.parts[2].other_views == std::vector{node_id{1}});
  auto const warned = [&](std::size_t of, char const* whom) {
    auto const& all = run.parts[of].result.warnings;
    return std::count_if(all.begin(), all.end(), [&](auto const& w) {
      return says(w, "have seen different members for 2 s") && says(w, whom);
    });
  };
  CHECK((warned(0, "node 1") == 1 && warned(1, "node 0") == 1 && warned(1, "node 2") == 1 && warned(2, "node 1") == 1));
  for (auto const& part : run.parts) CHECK(part.looks.back().residual < 1e-9);
}

TEST_CASE("views that differ are told once, when they have for long, and again once they have agreed") {
  auto const at = [](std::chrono::nanoseconds t) { return instant{t}; };
  rubato::detail::other_views others;
  others.sees(7, at(0s));
  others.hears(node_id{1}, 7, at(0s));
  others.hears(node_id{2}, 8, at(1s));
  others.hears(node_id{3}, 0, at(0s));  // has not begun
  CHECK(others.newly_differing(at(9s), 10s).empty());
  CHECK(others.newly_differing(at(12s), 10s) == std::vector{node_id{2}});
  CHECK(others.newly_differing(at(13s), 10s).empty());
  CHECK(others.differing(at(13s), 10s) == std::vector{node_id{2}});
  others.sees(9, at(14s));
  CHECK(others.differing(at(20s), 10s) == std::vector{node_id{2}});  // which it has agreed with at no time
  CHECK(others.newly_differing(at(25s), 10s) == std::vector{node_id{1}});
  others.hears(node_id{2}, 9, at(26s));
  others.hears(node_id{2}, 8, at(27s));
  CHECK(others.differing(at(36s), 10s) == std::vector{node_id{1}});
  CHECK(others.newly_differing(at(38s), 10s) == std::vector{node_id{2}});
  others.ends(node_id{1}, at(38s), 10s);
  others.sees(7, at(39s));
  CHECK(others.differing(at(39s), 10s) == std::vector{node_id{1}, node_id{2}});  // node 1 sees the same for good
  others.forget(node_id{1});
  others.hears(node_id{2}, 7, at(40s));
  others.hears(node_id{2}, 8, at(41s));
  others.ends(node_id{2}, at(42s), 10s);  // it had not differed for long
  CHECK(others.differing(at(99s), 10s).empty());
}

TEST_CASE("views that differ are told also where members come and go all the time") {
  rubato::detail::other_views others;
  others.sees(1, instant{0s});
  others.hears(node_id{1}, 2, instant{0s});
  auto told = 0;
  for (auto k = 1; k <= 10; ++k) {
    auto const now = instant{k * 3s};
    others.hears(node_id{1}, k % 2 != 0 ? 3 : 2, now);
    others.sees(k % 2 != 0 ? 4 : 1, now);
    told += others.newly_differing(now, 10s).empty() ? 0 : 1;
  }
  CHECK(told == 1);
}

TEST_CASE("a set of members has one hash, which others rarely have") {
  auto const of = [](std::vector<node_id> const& ids) { return rubato::detail::view_of(ids); };
  CHECK(of({node_id{0}, node_id{1}}) == of({node_id{0}, node_id{1}}));
  CHECK(of({node_id{0}, node_id{1}}) != of({node_id{0}, node_id{2}}));
  CHECK(of({node_id{0}, node_id{1}}) != of({node_id{0}}));
  CHECK(of({node_id{1}, node_id{2}}) != of({node_id{12}}));
  CHECK(of({node_id{0}}) >= 1);
  CHECK(of({node_id{0}}) <= transport::peer_status::most_views);
}

TEST_CASE("those that begin wait for nobody else, and miss nobody who never joins; who is told to stop leaves") {
  member_world w{3};
  auto const alone = optimum_of(w.q, {node_id{0}}), both = optimum_of(w.q, {node_id{0}, node_id{1}});
  auto const first = std::vector{node_id{0}, node_id{1}};
  stop_source asked;
  std::atomic<bool> miss[2]{};  // node 2, which has not come within its time
  w.hears = [&](std::size_t i, transport::incoming const& n) {
    if (n.kind == transport::incoming::what::closed && n.peer == node_id{2}) miss[i] = true;
  };
  auto const of_0 = [&](look const& l) { return miss[0] && is_near(l, alone) ? verdict::stop : verdict::go_on; };
  auto const of_1 = [&](look const& l) {
    if (miss[0] && miss[1] && is_near(l, both)) asked.request_stop();
    return verdict::go_on;
  };
  {
    std::vector<std::jthread> all;
    all.emplace_back([&] { w.live(0, {.linger = 1s, .first = first, .watching = {of_0}}, 1s); });
    all.emplace_back(
        [&] { w.live(1, {.linger = 1s, .first = first, .watching = {of_1}, .stop = asked.get_token()}, 1s); });
  }
  auto const& parts = w.parts;
  for (auto const& s : w.sentences) CHECK(s.empty());
  CHECK(parts[1].result.stopped == stop_reason::interrupted);
  CHECK(distance(parts[1].result.models[0], both) < 1e-9);
  CHECK(parts[0].result.stopped == stop_reason::observer);
  CHECK(parts[0].result.absent == std::vector{node_id{1}, node_id{2}});
  for (auto const& part : parts) {
    CHECK(part.lost.empty());  // though node 2 has not come within its time
    CHECK(part.cut_off.empty());
    CHECK(part.parted == 0);
  }
}

TEST_CASE("workers join a server and leave it: its model is at the optimum of those who are there") {
  using dude = dude_asgd<backend::host<double>>;
  auto const q = problem::quadratic::random(2, 5, 3, {.spread = 1, .condition = 2});
  auto const alone = optimum_of(q, {node_id{0}});
  auto doors = tcp_doors{3};  // the last one is the server's
  std::vector<peer_result> parts(3);
  std::vector<std::string> sentences(3);
  std::atomic<int> stage{0};  // of the server's model: 1: at that of worker 0; 2: at that of both; 3: at the former
  auto const live = [&](std::size_t i, peer_options o) {
    try {
      auto a = assemble<dude>(topology::member_graphs{2, topology::star}, q, {.step = 0.3});
      auto const me = identity_of(a, to_node(i), &wire::xxh3_of);
      transport::tcp wires{me, doors.options(i)};
      o.look_every = 10ms;
      o.linger = 1s;
      o.lost = when_lost::goes_on;
      o.first = {node_id{0}};
      o.compute = environment::fixed(1ms);
      parts[i] = run_peer(a, me, wires, {.time = 60s}, o);
    } catch (std::exception const& e) {
      sentences[i] = e.what();
    }
    if (i == 2) stage = 3, stage.notify_all();
  };
  auto const judge = [&](look const& l) {
    auto const at = stage == 1 ? q.optimum() : alone;
    if (distance(l.models[0], at) < 1e-9) ++stage, stage.notify_all();
    return stage == 3 ? verdict::stop : verdict::go_on;
  };
  auto const second = [&](look const&) { return stage >= 2 ? verdict::stop : verdict::go_on; };
  {
    std::vector<std::jthread> all;
    all.emplace_back([&] { live(2, {.watching = {judge}}); });
    all.emplace_back([&] { live(0, {}); });
    stage.wait(0);
    all.emplace_back([&] { live(1, {.entry = entry::later, .farewell = farewell::leaves, .watching = {second}}); });
  }
  for (auto const& s : sentences) CHECK(s.empty());
  CHECK(parts[2].result.stopped == stop_reason::observer);
  CHECK(distance(parts[2].result.models[0], alone) < 1e-9);
  CHECK(parts[2].result.absent == std::vector{node_id{1}});
  CHECK(parts[1].result.nodes[0].gradients > 0);
  CHECK(parts[0].result.stopped == stop_reason::neighbour);
  for (auto const& part : parts) CHECK(part.cut_off.empty());
}

TEST_CASE("a node that joins waits for a model if somebody is there, and names who sent one that is not finite") {
  auto a = assemble<fast>(topology::member_graphs{4, topology::binary_tree}, problem::quadratic::random(4, 1, 3), {});
  rubato::detail::peer_members members{a, node_id{3}};
  auto const sent = [](std::uint32_t from, double value) {
    auto b = backend::host<double>{}.allocate<double>(1);
    b.data()[0] = value;
    transport::incoming n;
    n.kind = transport::incoming::what::message;
    n.peer = node_id{from};
    n.p.from = node_id{from};
    n.p.to = node_id{3};
    n.p.channel = channel_id::model;
    n.p.body = std::move(b).publish();
    return n;
  };
  auto const arrived = [&] {
    transport::incoming n;
    n.kind = transport::incoming::what::opened;
    n.peer = node_id{2};
    return n;
  };
  CHECK_FALSE(members.may_begin(entry::later, true, true));  // nobody is there
  CHECK(members.meets_nobody(entry::later, true, false));
  CHECK(members.meets_nobody(entry::later, false, true));
  CHECK_FALSE(members.meets_nobody(entry::later, false, false));
  CHECK_FALSE(members.meets_nobody(entry::first, true, true));
  CHECK(members.hears(arrived()).empty());
  CHECK_FALSE(members.may_begin(entry::later, true, false));  // its model is on its way
  CHECK_FALSE(members.meets_nobody(entry::later, true, true));
  CHECK(members.may_begin(entry::later, true, true));
  CHECK(members.hears(sent(2, 1)).empty());
  CHECK(members.may_begin(entry::later, false, false));
  CHECK(says(members.hears(sent(1, std::nan(""))), "a model that node 1 sent to node 3 is not finite"));
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
  auto const goes_on = when_lost::goes_on;
  CHECK(says(told(static_cast<async_dgd_atc<backend::host<double>>*>(nullptr), trees, {.lost = goes_on}), "tracking"));
  using coded =
      r_fast<backend::host<float>, step::sgd, weighting::constant, ledger::fixed_point, codec::referenced_bits<8>>;
  CHECK(says(told(static_cast<coded*>(nullptr), trees, {.lost = goes_on}), "send differences"));
  CHECK(says(told(r, trees, {.lost = goes_on, .pace = {.ahead = 2}}), "no pace"));
  CHECK(says(told(r, trees, {.lost = goes_on, .restarts = 1}), "entry::later"));
  CHECK(says(told(r, topology::pair{topology::line(2)}, {.first = {node_id{0}}}), "only where members come and go"));
  CHECK(says(told(r, trees, {.lost = goes_on, .first = {node_id{1}}}), "node 0 is none of those that begin"));
  CHECK(says(told(r, trees, {.lost = goes_on, .first = {node_id{0}, node_id{2}}}), "node 2 cannot be a member"));
  CHECK(says(told(r, topology::pair{topology::line(2)}, {.farewell = farewell::leaves}), "only where members"));
  using dude = dude_asgd<backend::host<double>>;
  auto const served = [&](dude::options const& of, std::size_t self, peer_options const& o) {
    auto a = assemble<dude>(trees, problem::quadratic::random(2, 128, 3), of);
    auto const me = identity_of(a, to_node(self));
    return refusal([&] { rubato::detail::refuse_members(a, me, o, true); });
  };
  CHECK(says(served({.block_values = 64, .servers = 2}, 0, {.lost = goes_on}), "2 share the model"));
  CHECK(says(served({}, 2, {.lost = goes_on, .entry = entry::later}), "is the server, which is there"));
  CHECK(served({}, 2, {.lost = goes_on, .first = {node_id{0}}}).empty());
  auto a = assemble<fast>(trees, q, {});
  auto const me = identity_of(a, node_id{0});
  auto paced = assemble<fast>(trees, q, {});
  pace(paced);
  CHECK(says(refusal([&] { rubato::detail::refuse_members(paced, me, {.lost = goes_on}, true); }), "without pace"));
  transport::udp datagrams{me, udp_doors{2}.options(0)};
  CHECK(says(refusal([&] { run_peer(a, me, datagrams, {.time = 1s}, {.lost = when_lost::goes_on}); }), "lossless"));
}

}  // namespace
}  // namespace rubato::test
