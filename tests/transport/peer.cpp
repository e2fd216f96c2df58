// SPDX-License-Identifier: MIT
// One node per driver, over real transports: the nodes of the simulator, with their failures.
#include <rubato/driver/peer.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/stop_token.hpp>
#include <rubato/synchrony/bounded_staleness.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "transport/peers.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

auto worst_distance(std::vector<fate> const& fates, quadratic const& p) -> double {
  auto const best = p.optimum();
  auto worst = 0.0;
  for (auto const& f : fates) {
    for (auto const& m : f.result.result.models) {
      for (std::size_t k = 0; k < best.size(); ++k) worst = std::max(worst, std::abs(m.view<double>()[k] - best[k]));
    }
  }
  return worst;
}

TEST_CASE(
    "R-FAST over TCP ends at the optimum of the sum at every node, and the merged result counts both ends of an edge") {
  auto const p = quadratic::random(4, 12, 1);
  tcp_doors doors{4};
  auto const make = [&](std::size_t) { return assemble<r_fast<space>>(topology::binary_tree(4), p, {.step = 0.1}); };
  auto const fates =
      run_all(4, make, over_tcp(doors), {rounds(2500), {.look_every = 1ms, .compute = environment::fixed(work)}});
  for (auto const& f : fates) {
    INFO(f.sentence);
    REQUIRE(f.sentence.empty());
    CHECK(f.result.lost.empty());
    CHECK(f.result.rejected.total() == 0);
  }
  CHECK(worst_distance(fates, p) < 1e-5);
  std::vector<peer_result> parts;
  for (auto const& f : fates) parts.insert(parts.begin(), f.result);  // in any order
  auto const all = merged(parts, {space{}, p});
  REQUIRE(all.nodes.size() == 4);
  CHECK(all.nodes[3].id == node_id{3});
  CHECK(all.nodes[3].gradients >= 2500);
  CHECK(all.models.size() == 4);
  REQUIRE(all.history.size() > 1);
  CHECK(all.history.front().loss > p.minimum() + 0.01);
  CHECK(all.history.back().loss == Approx(p.minimum()).epsilon(1e-9));
  CHECK(all.history.back().consensus_distance < 1e-4);
  for (auto const& e : all.edges) {
    INFO("edge " << to_index(e.from) << " -> " << to_index(e.to));
    CHECK(e.packets_sent > 0);
    CHECK(e.delivered > 0);
    CHECK(e.delivered <= e.packets_sent);
  }
}

TEST_CASE("a ring all-reduce and a server with workers, which need every message, run over TCP in step") {
  auto const p = quadratic::random(3, 7, 2);
  tcp_doors doors{3};
  auto const ring =
      run_all(3, [&](std::size_t) { return assemble<ring_allreduce_sgd<space>>(topology::ring(3), p, {.step = 0.5}); },
              over_tcp(doors), {rounds(200), {}});
  for (auto const& f : ring) {
    REQUIRE(f.sentence == "");
    CHECK(f.result.result.nodes.at(0).iterations == 200);  // the last round too
    CHECK(std::ranges::equal(f.result.result.models[0].view<double>(), ring[0].result.result.models[0].view<double>()));
  }
  CHECK(worst_distance(ring, p) < 1e-5);
  tcp_doors more{4};
  auto const server =
      run_all(4, [&](std::size_t) { return assemble<m_synchronous_sgd<space>>(topology::star(3), p, {.step = 0.5}); },
              over_tcp(more), {{.time = 2s, .gradients = 300}, {}});  // the server, which computes none, ends by time
  for (auto const& f : server) CHECK(f.sentence == "");
  CHECK(worst_distance(server, p) < 1e-5);
}

TEST_CASE("several servers share a model over TCP, and their parts are joined where results are merged") {
  auto const p = quadratic{std::vector<std::vector<double>>(3, std::vector<double>(200, 1.5)),
                           std::vector<std::vector<double>>(3, std::vector<double>(200, 2.0))};
  tcp_doors doors{5};
  auto const all =
      run_all(5, [&](std::size_t) { return assemble<asgd<space>>(topology::star(3), p, {.step = 0.1, .servers = 2}); },
              over_tcp(doors), {{.time = 1s, .gradients = 500}, {.look_every = 10ms}});
  std::vector<peer_result> parts;
  for (auto const& f : all) {
    REQUIRE(f.sentence == "");
    parts.push_back(f.result);
  }
  auto const together = merged(parts, {space{}, p});
  REQUIRE(together.models.size() == 2);
  CHECK(joined(together.models).size() == 200);
  CHECK(together.history.front().loss > p.minimum() + 1);
  CHECK(together.history.back().loss == Approx(p.minimum()).margin(1e-9));
  CHECK(std::isnan(all[3].result.result.history.back().loss));  // one server knows a part only
}

TEST_CASE("workers whose server is lost end soon and name it, though they may go on without a worker") {
  auto const p = quadratic::random(3, 7, 2);
  auto const make = [&](std::size_t) {
    return assemble<m_synchronous_sgd<space>>(topology::star(3), p, {.step = 0.5, .m = 2});
  };
  struct way {
    std::size_t who;
    std::chrono::nanoseconds time, come_back;
    char const* says;
  };
  for (auto const& w : {way{3, 1min, 200ms, "and has not come back within 0.2 s: it is the server, without which"},
                        way{3, 1500ms, 1min, "and had not come back when the run ended: it is the server"},
                        way{0, 1500ms, 1ms, nullptr}}) {
    tcp_doors doors{4};
    stop_source stop;
    auto at_work = std::atomic<int>{};
    auto const all = run_each(4, make, over_tcp(doors), [&](std::size_t i) {
      peer_options o{.lost = when_lost::goes_on, .come_back = w.come_back, .compute = environment::fixed(work)};
      if (i == w.who) o.stop = stop.get_token();
      o.look_every = 5ms;
      o.watching = {[&, is_counted = i == 3](look const& l) mutable {  // once all three workers are at work
        if (!is_counted && l.seen.gradients >= 5) is_counted = true, at_work += 1;
        if (at_work == 3) stop.request_stop();
      }};
      return std::pair{until{.time = w.time}, o};
    });
    for (std::size_t i = 0; i < 4; ++i) {
      if (i == w.who) CHECK(all[i].result.result.stopped == stop_reason::interrupted);
      else if (w.says == nullptr) CHECK(all[i].sentence.empty());
      else CHECK(says(all[i].sentence, w.says));
    }
  }
}

TEST_CASE("processes with different seeds do not run together, and the caller's sentence names the seed") {
  auto const p = quadratic::random(2, 5, 3);
  tcp_doors doors{2};
  auto const fates =
      run_all(2, [&](std::size_t i) { return assemble<r_fast<space>>(topology::ring(2), p, {.step = 0.1, .seed = i}); },
              over_tcp(doors, {.arrival = 300ms}), {rounds(10), {}});
  CHECK(says(fates[1].sentence, "node 0"));
  CHECK(says(fates[1].sentence, "has seed 0, but this node has 1"));
  CHECK(says(fates[0].sentence, "node 1"));
}

/// Node 2 throws in the middle of its run: its transport goes without goodbye.
struct dies {
  quadratic inner;
  [[nodiscard]] auto dimension() const -> std::size_t { return inner.dimension(); }
  auto gradient(space& b, std::span<double const> x, sample_key key, std::span<double> g) const -> double {
    if (key.node == node_id{2} && key.draw == 50) throw std::runtime_error{"no more"};
    return inner.gradient(b, x, key, g);
  }
};

TEST_CASE("when a peer dies the others name it and end, or go on without it, as requested") {
  auto const p = quadratic::random(3, 5, 4);
  auto const make_dying = [&](std::size_t) {
    return assemble<r_fast<space>>(topology::complete(3), dies{p}, {.step = 0.1});
  };
  tcp_doors doors{3};
  auto const ended = run_all(3, make_dying, over_tcp(doors), {{.time = 1min}, {}});
  CHECK(says(ended[2].sentence, "the problem threw at node 2, gradient 51: no more"));
  for (auto const& sentence : {ended[0].sentence, ended[1].sentence}) {
    INFO(sentence);
    CHECK((says(sentence, "node 2 at 127.0.0.1") || says(sentence, "node 2 has failed")));
    CHECK(says(sentence, " has ended because "));
  }
  tcp_doors more{3};
  auto const went_on = run_all(3, make_dying, over_tcp(more),
                               {rounds(1000), {.lost = when_lost::goes_on, .compute = environment::fixed(work)}});
  CHECK(says(went_on[2].sentence, "no more"));
  for (std::size_t i = 0; i < 2; ++i) {
    INFO(went_on[i].sentence);
    REQUIRE(went_on[i].sentence.empty());
    REQUIRE(went_on[i].result.lost.size() == 1);
    CHECK(says(went_on[i].result.lost[0], "node 2 at 127.0.0.1"));
    CHECK(went_on[i].result.result.nodes[0].gradients >= 1000);
  }
}

TEST_CASE(
    "a node begins when all nodes have connected, however far away, and tells its neighbours how far it has got") {
  auto const p = quadratic::random(3, 4, 8);
  auto const make = line_of(3, p);
  tcp_doors doors{3};
  auto middle = by_hand(1, make(1), doors);
  fate first;
  auto const thread = std::jthread{[&] {
    auto a = make(0);
    auto const me = identity_of(a, node_id{0}, &wire::xxh3_of);
    auto const wires = over_tcp(doors)(0, me);
    first.result = run_peer(a, me, *wires, rounds(5), {.linger = 10ms, .lost = when_lost::goes_on});
  }};
  REQUIRE(middle.hears(phase::arriving, 1));  // its neighbour is there, but the one behind it?
  CHECK(middle.it.count(what::message) == 0);
  middle.it.end->announce({phase::arriving, 1});
  REQUIRE(poll_until<transport::tcp>({&middle.it}, [&] { return middle.it.count(what::message) > 0; }));
  auto const is = [](phase at) {
    return [at](incoming const& n) { return n.kind == what::stands && n.peer_status.at == at; };
  };
  auto const& got = middle.it.got;
  auto const began = std::find_if(got.begin(), got.end(), is(phase::running));
  auto const posted = std::find_if(got.begin(), got.end(), [](auto const& n) { return n.kind == what::message; });
  CHECK(began < posted);
  CHECK(std::find_if(got.begin(), got.end(), is(phase::arriving)) < began);
}

TEST_CASE("a node interrupted before all have connected ends without reporting that they have") {
  auto const p = quadratic::random(3, 4, 8);
  auto const make = line_of(3, p);
  auto const room = transport::in_process::room{3};
  auto const its = make(1);
  seat<transport::in_process> middle{std::make_unique<transport::in_process>(room, identity_of(its, node_id{1}))};
  auto a = make(0);
  auto const me = identity_of(a, node_id{0});
  transport::in_process wires{room, me};
  stop_source source;
  source.request_stop();
  auto const r = run_peer(a, me, wires, rounds(10), {.linger = 10ms, .stop = source.get_token()});
  CHECK(r.result.stopped == stop_reason::interrupted);
  CHECK(r.looks.empty());
  REQUIRE(r.result.nodes.size() == 1);
  CHECK(r.result.nodes[0].gradients == 0);
  REQUIRE(poll_until<transport::in_process>({&middle}, [&] { return middle.count(what::closed) == 1; }));
  CHECK(says(middle.newest(what::closed)->why, "node 0 has ended because it was interrupted"));
  CHECK(middle.count(what::stands) == 0);
  CHECK(middle.count(what::left) == 0);
}

TEST_CASE("a node interrupted in the middle has not ended normally: the others end and name it") {
  auto const p = quadratic::random(2, 4, 8);
  auto const make = line_of(2, p);
  auto const room = transport::in_process::room{2};
  std::string said;
  {
    std::jthread const other{[&] {
      auto a = make(1);
      auto const me = identity_of(a, node_id{1});
      transport::in_process wires{room, me};
      try {
        run_peer(a, me, wires, {.time = 30s});
      } catch (run_error const& e) {
        said = e.what();
      }
    }};
    auto a = make(0);
    auto const me = identity_of(a, node_id{0});
    transport::in_process wires{room, me};
    stop_source source;
    auto const at_the_fifth = [&, seen = 0](look const&) mutable {
      if (++seen == 5) source.request_stop();
    };
    auto const r = run_peer(a, me, wires, {.time = 30s},
                            {.look_every = 2ms, .watching = {at_the_fifth}, .stop = source.get_token()});
    CHECK(r.result.stopped == stop_reason::interrupted);
    CHECK(r.looks.size() > 5);
  }
  CHECK(says(said, "node 0 has ended because it was interrupted"));
}

TEST_CASE("if all nodes are interrupted, none reports that another has left it") {
  auto const p = quadratic::random(2, 4, 8);
  auto const make = [&] { return assemble<ring_allreduce_sgd<space>>(topology::ring(2), p, {.step = 0.1}); };
  auto const room = transport::in_process::room{2};
  auto theirs = make(), mine = make();
  transport::in_process second{room, identity_of(theirs, node_id{1})};
  second.announce({phase::running});
  auto const me = identity_of(mine, node_id{0});
  transport::in_process wires{room, me};
  // Whether this node hears of its own stop first or of the other one's end, it is asked to stop by then.
  stop_source source;
  auto const both_at_once = [&, seen = 0](look const&) mutable {
    if (++seen != 3) return;
    source.request_stop();
    second.announce({phase::ended, 0, {node_id{1}, transport::cause::how::interrupted}});
  };
  auto const r = run_peer(mine, me, wires, {.time = 30s},
                          {.linger = 10ms, .look_every = 2ms, .watching = {both_at_once}, .stop = source.get_token()});
  CHECK(r.result.stopped == stop_reason::interrupted);
  CHECK(r.lost.empty());
}

/// Says how many gradients all nodes computed.
struct counted {
  quadratic inner;
  std::atomic<int>* gradients;
  [[nodiscard]] auto dimension() const -> std::size_t { return inner.dimension(); }
  auto gradient(space& b, std::span<double const> x, sample_key key, std::span<double> g) const -> double {
    ++*gradients;
    return inner.gradient(b, x, key, g);
  }
};

TEST_CASE("if a node at the end of a line dies or never connects, all nodes name it") {
  auto const p = quadratic::random(4, 5, 4);
  tcp_doors doors{4};
  {
    std::vector<fate> fates(3);
    auto last = by_hand(3, line_of(4, p)(3), doors);
    auto others = std::jthread{[&] { fates = run_all(3, line_of(4, p), over_tcp(doors), {{.time = 1min}, {}}); }};
    last.it.end->announce({phase::running});
    REQUIRE(last.hears(phase::running, 0));
    last.it.end.reset();
    others.join();
    CHECK(says(fates[2].sentence, "node 3 at 127.0.0.1"));
    CHECK(says(fates[2].sentence, " is gone: "));
    CHECK(says(fates[1].sentence, "node 2 at 127.0.0.1"));
    CHECK(says(fates[1].sentence, " has ended because node 3 is gone"));
    CHECK(says(fates[0].sentence, "node 1 at 127.0.0.1"));
    CHECK(says(fates[0].sentence, " has ended because node 3 is gone"));
  }
  tcp_doors others{4};
  std::atomic<int> computed = 0;
  auto const make_counted = [&](std::size_t) {
    return assemble<line_node>(topology::line(4), counted{p, &computed}, {.step = 0.1});
  };
  auto const fates = run_all(3, make_counted, over_tcp(others, {.arrival = 300ms}), {{.time = 1min}, {}});
  CHECK(says(fates[2].sentence, "has not come within 0.3 s: it has not called"));
  CHECK(says(fates[1].sentence, " has ended because node 3 has not come"));
  CHECK(says(fates[0].sentence, " has ended because node 3 has not come"));
  CHECK(computed == 0);
  tcp_doors more{4};
  auto const without = run_all(3, line_of(4, p), over_tcp(more, {.arrival = 300ms}),
                               {rounds(20), {.lost = when_lost::goes_on, .compute = environment::fixed(work)}});
  for (auto const& f : without) {
    INFO(f.sentence);
    REQUIRE(f.sentence.empty());
    CHECK(f.result.result.nodes[0].gradients >= 20);
  }
}

/// A node that needs its neighbours once it has begun, as a server does of which too few workers are left.
struct needs_neighbours {
  any_node inner;
  void start(instant now, outbox& out) { inner.start(now, out); }
  void on_patch(instant now, patch const& p, outbox& out) { inner.on_patch(now, p, out); }
  void on_gradient(instant now, gradient g, outbox& out) { inner.on_gradient(now, std::move(g), out); }
  void on_wakeup(instant now, wakeup w, outbox& out) { inner.on_wakeup(now, w, out); }
  void on_neighbours(instant, neighbour_change const& c, outbox& out) {
    out.failure = fault{"node " + std::to_string(to_index(c.peer)) + " left a run that needs it"};
  }
  [[nodiscard]] auto estimate() const -> shared_buffer { return inner.estimate(); }
  [[nodiscard]] auto statistics() const -> node_statistics { return inner.statistics(); }
  void audit(tracking_audit& a) const { inner.audit(a); }
  [[nodiscard]] auto channels() const -> std::span<channel_spec const> { return inner.channels(); }
  static void visit_state(auto& self, auto&& visit) { visit("inner", self.inner); }
};

TEST_CASE("a node that cannot go on without a lost peer names, and tells the others, the node that died") {
  auto const p = quadratic::random(4, 5, 4);
  tcp_doors doors{4};
  auto before = by_hand(0, line_of(4, p)(0), doors), after = by_hand(2, line_of(4, p)(2), doors);
  std::string sentence;
  auto thread = std::jthread{[&] {
    auto a = line_of(4, p)(1);
    a.nodes[1] = needs_neighbours{std::move(a.nodes[1])};
    auto const me = identity_of(a, node_id{1}, &wire::xxh3_of);
    auto const wires = over_tcp(doors)(1, me);
    try {
      static_cast<void>(run_peer(a, me, *wires, {.time = 1min}, {.lost = when_lost::goes_on}));
    } catch (peer_error const& e) {
      sentence = e.what();
    }
  }};
  auto const both = [&](auto&& is) { return poll_until<transport::tcp>({&before.it, &after.it}, is); };
  for (auto* const other : {&before, &after}) other->it.end->announce({phase::running});
  REQUIRE(both([&] {
    auto const* const n = before.it.newest(what::stands);
    return n != nullptr && n->peer_status.at == phase::running;
  }));
  after.it.end->announce({phase::ended, 0, {node_id{3}, transport::cause::how::gone}});
  REQUIRE(both([&] { return before.it.newest(what::closed) != nullptr; }));
  CHECK(before.it.newest(what::closed)->because == transport::cause{node_id{3}, transport::cause::how::gone});
  before.it.end.reset(), after.it.end.reset();
  thread.join();
  CHECK(says(sentence, "node 2 at 127.0.0.1"));
  CHECK(says(sentence, " has ended because node 3 is gone, and node 2 left a run that needs it"));
}

TEST_CASE("a node that is blocked by a peer that does not read names it when its patience is over") {
  using patient_node =
      gradient_tracking<space, order::r_fast, step::sgd, weighting::constant, synchrony::bounded_staleness>;
  auto const p = quadratic::random(2, 4, 5);
  auto a = assemble<patient_node>(topology::ring(2), p, {.step = 0.1, .synchrony = {.bound = 1000}});
  auto const room = transport::in_process::room{2, 1};
  transport::in_process idle{room, identity_of(a, node_id{1})};
  idle.announce({phase::running});
  auto const me = identity_of(a, node_id{0});
  transport::in_process wires{room, me};
  std::string sentence;
  try {
    static_cast<void>(run_peer(a, me, wires, {.time = 1min}, {.patience = 100ms}));
  } catch (run_error const& e) {
    sentence = e.what();
  }
  INFO(sentence);
  CHECK(says(sentence, "node 0 has begun no gradient for 0.1"));
  CHECK(says(sentence, "wait for node 1"));
  std::vector<incoming> in;
  idle.poll(transport::clock::now(), in);
  REQUIRE(in.size() > 1);
  auto const last = std::find_if(in.begin(), in.end(), [](auto const& n) { return n.kind == what::closed; });
  REQUIRE(last != in.end());
  CHECK(last->because == transport::cause{node_id{1}, transport::cause::how::stalled});
}

TEST_CASE("a peer that died and is restarted is accepted, and all end at the optimum of the sum") {
  auto const p = quadratic::random(3, 5, 4);
  tcp_doors doors{3};
  auto const wires_of = over_tcp(doors);
  std::vector<fate> fates(3);
  auto const live = [&](std::size_t i, assembly a, std::uint64_t many) {
    auto const me = identity_of(a, to_node(i), &wire::xxh3_of);
    auto const wires = wires_of(i, me);
    try {
      fates[i].result =
          run_peer(a, me, *wires, rounds(many), {.lost = when_lost::goes_on, .compute = environment::fixed(work)});
    } catch (run_error const& e) {
      fates[i].sentence += e.what();
    }
  };
  auto const options = r_fast<space>::options{.step = 0.1};
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] { live(i, assemble<r_fast<space>>(topology::complete(3), p, options), 4000); });
    }
    threads.emplace_back([&] {
      live(2, assemble<r_fast<space>>(topology::complete(3), dies{p}, options), 4000);
      doors.descriptors[2] = transport::open_tcp_socket(doors.addresses[2]).descriptor;
      live(2, assemble<r_fast<space>>(topology::complete(3), p, options), 3000);
    });
  }
  CHECK(says(fates[2].sentence, "no more"));
  CHECK(fates[2].result.result.models.size() == 1);
  for (std::size_t i = 0; i < 2; ++i) {
    INFO(fates[i].sentence);
    REQUIRE(fates[i].result.lost.size() == 1);
    CHECK(says(fates[i].result.lost[0], "node 2"));
  }
  CHECK(worst_distance(fates, p) < 1e-3);
}

/// Says which nodes have computed something.
struct told {
  quadratic inner;
  std::atomic<unsigned>* begun;
  [[nodiscard]] auto dimension() const -> std::size_t { return inner.dimension(); }
  auto gradient(space& b, std::span<double const> x, sample_key key, std::span<double> g) const -> double {
    begun->fetch_or(1U << to_index(key.node));
    begun->notify_all();
    return inner.gradient(b, x, key, g);
  }
};

TEST_CASE("a peer that connects after the others have begun is accepted, and all end at the optimum of the sum") {
  auto const p = quadratic::random(3, 5, 4);
  tcp_doors doors{3};
  std::atomic<unsigned> begun = 0;
  std::vector<fate> fates(3);
  auto const live = [&](std::size_t i, std::uint64_t many, transport::tcp_options const& deadlines) {
    auto a = assemble<r_fast<space>>(topology::complete(3), told{p, &begun}, {.step = 0.1});
    auto const me = identity_of(a, to_node(i), &wire::xxh3_of);
    auto const wires = over_tcp(doors, deadlines)(i, me);
    try {
      fates[i].result =
          run_peer(a, me, *wires, rounds(many), {.lost = when_lost::goes_on, .compute = environment::fixed(work)});
    } catch (run_error const& e) {
      fates[i].sentence = e.what();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] { live(i, 4000, {.arrival = 100ms}); });
    }
    for (auto now = begun.load(); now != 3; now = begun.load()) begun.wait(now);
    live(2, 3000, {});
  }
  for (auto const& f : fates) {
    INFO(f.sentence);
    REQUIRE(f.sentence.empty());
    CHECK(f.result.looks.back().residual < 1e-9);
  }
  for (std::size_t i = 0; i < 2; ++i) {
    REQUIRE(fates[i].result.lost.size() == 1);
    CHECK(says(fates[i].result.lost[0], "has not come within 0.1 s"));
  }
  CHECK(worst_distance(fates, p) < 1e-3);
}

TEST_CASE("a node that needs a peer which has ended early for its number of gradients reports it at once") {
  auto const p = quadratic::random(2, 4, 5);
  tcp_doors doors{2};
  auto const patient = peer_options{.patience = 1h, .linger = 10ms};
  // Both rings end after the same number of rounds, but node 0 of this run wants more of them.
  auto const make = [&](std::size_t) {
    return assemble<ring_allreduce_sgd<space>>(topology::ring(2), p, {.step = 0.1});
  };
  std::string sentence;
  {
    auto const live = [&](std::size_t i, std::uint64_t many) {
      auto a = make(i);
      auto const me = identity_of(a, to_node(i));
      auto const wires = over_tcp(doors)(i, me);
      try {
        static_cast<void>(run_peer(a, me, *wires, rounds(many), patient));
      } catch (run_error const& e) {
        if (i == 0) sentence = e.what();
      }
    };
    auto const other = std::jthread{[&] { live(1, 5); }};
    live(0, 1000);
  }
  CHECK(says(sentence, "node 0 has waited for chunk message"));
  CHECK(says(sentence, "of node 1"));
  CHECK(says(sentence, "that node has ended its run"));
}

TEST_CASE(
    "processes that differ in step, network, dimension, first gradients or blocks have different run ids, and say "
    "why") {
  using fixed = r_fast<backend::host<float>>;
  using options = fixed::options;
  auto const text = [](topology::digraph const& g, std::size_t dimension, options const& o, std::uint64_t seed) {
    return assemble<fixed>(g, quadratic::random(4, dimension, seed), o).agreed.text();
  };
  auto const first = text(topology::ring(4), 100, {.step = 0.1}, 1);
  CHECK(text(topology::ring(4), 100, {.step = 0.1}, 1) == first);
  auto const differs = [&](std::string const& other) { return wire::difference(first, other, "node 2"); };
  CHECK(says(differs(text(topology::ring(4), 100, {.step = 0.2}, 1)), "step 0.2, but this node has 0.1"));
  CHECK(says(differs(text(topology::binary_tree(4), 100, {.step = 0.1}, 1)), "network"));
  CHECK(says(differs(text(topology::ring(4), 99, {.step = 0.1}, 1)), "dimension 99, but this node has 100"));
  CHECK(says(differs(text(topology::ring(4), 100, {.step = 0.1, .block_values = 64}, 1)), "block values 64"));
  auto steeper = options{.step = 0.1};
  steeper.ledger.exponents = {9};
  CHECK(says(differs(text(topology::ring(4), 100, steeper, 1)), "ledger exponents 9, but"));
}

TEST_CASE("a run of one process without an end, or with a target loss that it cannot measure, is refused") {
  auto const p = quadratic::random(1, 4, 6);
  auto a = assemble<r_fast<space>>(topology::ring(1), p, {.step = 0.1});
  auto const me = identity_of(a, node_id{0});
  transport::in_process alone{transport::in_process::room{1}, me};
  CHECK(says(refusal([&] { static_cast<void>(run_peer(a, me, alone, {})); }), "nothing ends this run"));
  CHECK(says(refusal([&] { static_cast<void>(run_peer(a, me, alone, {.target_loss = 1})); }), "mean model"));
  CHECK(says(refusal([&] { static_cast<void>(identity_of(a, node_id{1})); }), "no node 1"));
  auto const r = run_peer(a, me, alone, rounds(3000));
  CHECK(r.result.stopped == stop_reason::gradients);
  CHECK(r.looks.size() == 2);
  CHECK(std::abs(r.result.models[0].view<double>()[0] - p.optimum()[0]) < 1e-5);
}

}  // namespace
}  // namespace rubato::test
