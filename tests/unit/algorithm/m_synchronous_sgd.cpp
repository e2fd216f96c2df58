// SPDX-License-Identifier: MIT
#include <rubato/algorithm/m_synchronous_sgd.hpp>

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include <rubato/algorithm/local_sgd.hpp>
#include <rubato/algorithm/quorum_diloco.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"
#include "support/server_scenes.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node_type = m_synchronous_sgd<backend::host<double>>;
using problem::quadratic;

auto run(quadratic const& p, std::size_t m, environment::scenario const& s, until const& end) -> run_result {
  return simulate(assemble<node_type>(topology::star(p.nodes()), p, {.step = 0.3, .m = m}), s, end);
}

/// x after so many steps along the mean gradient of the first `m` nodes.
auto plain_sgd(quadratic const& p, std::size_t m, std::uint64_t steps) -> std::vector<double> {
  std::vector<double> x(p.dimension(), 0.0);
  for (std::uint64_t k = 0; k < steps; ++k) {
    for (std::size_t c = 0; c < x.size(); ++c) {
      double sum = 0;
      for (std::size_t i = 0; i < m; ++i) sum += p.curvature(i, c) * (x[c] - p.centre(i, c));
      x[c] -= 0.3 * sum / static_cast<double>(m);
    }
  }
  return x;
}

auto values_of(shared_buffer const& b) -> std::vector<double> {
  return {b.view<double>().begin(), b.view<double>().end()};
}

/// A worker and its server, driven by hand.
struct by_hand {
  assembly a = assemble<node_type>(topology::star(3), quadratic::random(3, 4, 5), {.step = 0.3, .m = 2});
  outbox out{};

  auto server() -> any_node& { return a.nodes[3]; }
  /// Starts worker i and returns what it asks.
  auto ask(std::size_t i) -> gradient_request {
    out.clear();
    a.nodes[i].start({}, out);
    return *out.request;
  }
  /// The packet in which worker i sends this gradient.
  auto answer(std::size_t i, gradient_request const& asked) -> packet {
    out.clear();
    a.nodes[i].on_gradient({}, a.oracle.evaluate(asked), out);
    return out.packets.at(0);
  }
  void hand(any_node& to, packet const& p) {
    out.clear();
    hand_over(to, p, a.blocks.blocks(), out);
  }
};

TEST_CASE("(M.X) with m = n the server takes steps along the mean gradient, whatever the speeds") {
  auto const p = quadratic::random(4, 6, 1);
  auto const end = until{.time = 1h, .gradients = 4 * 10};
  auto const even = run(p, 0, {.compute = environment::fixed(10ms), .link = {.latency = 1ms}}, end);
  auto const weather = environment::scenario{.compute = environment::lognormal(10ms, 0.8).slow(2, 7.0),
                                             .link = {.latency = 1ms, .loss = 0.2}};
  auto const uneven = run(p, 4, weather, end);
  auto const expected = plain_sgd(p, 4, 10);
  for (std::size_t i = 0; i < 4; ++i) {
    auto const x = values_of(even.models[i]);
    for (std::size_t c = 0; c < x.size(); ++c) CHECK(x[c] == Approx(expected[c]).epsilon(1e-12));
    CHECK(values_of(uneven.models[i]) == x);  // bit for bit: sums go by id
  }
}

TEST_CASE("(M.G) a gradient travels with the version at which it was computed, and its loss") {
  by_hand h;
  auto const asked = h.ask(1);
  auto const p = h.answer(1, asked);
  CHECK(p.channel == channel_id::gradient);
  CHECK(p.to == node_id{3});
  CHECK(p.based_on == iteration{0});
  CHECK(values_of(p.body) == values_of(h.a.oracle.evaluate(asked).value));
  CHECK(p.extra.real(scalar_slot::loss) == h.a.oracle.evaluate(asked).loss);
  REQUIRE(h.out.wait);
  CHECK(h.out.wait->peer == node_id{3});
  CHECK(h.out.wait->channel == channel_id::model);
  CHECK(h.out.wait->number == iteration{1});
}

TEST_CASE("the server answers all workers when m gradients are in, and drops the late one") {
  by_hand h;
  std::vector<packet> sent;
  for (std::size_t i = 0; i < 3; ++i) sent.push_back(h.answer(i, h.ask(i)));
  h.hand(h.server(), sent[2]);
  CHECK(h.out.packets.empty());
  h.hand(h.server(), sent[2]);  // twice from one worker counts once
  CHECK(h.out.packets.empty());
  h.hand(h.server(), sent[0]);
  CHECK(h.out.packets.size() == 3);
  h.hand(h.server(), sent[1]);
  CHECK(h.out.packets.empty());
  CHECK(h.server().statistics().iterations == 1);
  CHECK(h.server().statistics().dropped == 2);
}

TEST_CASE("(M.F) without stops a worker ends its computation first, and a round takes no longer") {
  auto const p = quadratic::random(3, 4, 5);
  auto const with = [&](server::late_jobs late) {
    return simulate(assemble<node_type>(topology::star(3), p, {.step = 0.3, .m = 2, .late = late}),
                    {.compute = environment::fixed(1s).slow(2, 3.5)}, {.time = 100s + 500ms});
  };
  auto const stops = with(server::late_jobs::stop), finishes = with(server::late_jobs::finish);
  CHECK(stops.nodes[3].iterations == 100);
  CHECK(finishes.nodes[3].iterations == 100);
  CHECK(stops.nodes[2].gradients == 0);
  CHECK(finishes.nodes[2].gradients == 28);  // in 100.5 s, of 3.5 s each; all come too late
  CHECK(finishes.nodes[3].dropped == 28);
  auto const expected = plain_sgd(p, 2, 100), x = values_of(finishes.models[0]);
  for (std::size_t c = 0; c < x.size(); ++c) CHECK(x[c] == Approx(expected[c]).epsilon(1e-12));
  CHECK(values_of(stops.models[0]) == x);
}

TEST_CASE("a new model cancels the computation at the old one") {
  by_hand h;
  auto const old = h.ask(1);
  for (auto i : {std::size_t{0}, std::size_t{2}}) h.hand(h.server(), h.answer(i, h.ask(i)));
  REQUIRE(h.out.packets.size() == 3);
  auto const model = h.out.packets[1];
  h.hand(h.a.nodes[1], model);
  CHECK(h.out.cancel == old.id);
  REQUIRE(h.out.request);
  CHECK(h.out.request->id != old.id);
  CHECK(h.out.request->point == model.body);  // by reference, no copy
  CHECK(h.out.request->sample.draw == old.sample.draw + 1);
  h.out.clear();
  h.a.nodes[1].on_gradient({}, h.a.oracle.evaluate(old), h.out);
  CHECK(h.out.packets.empty());
  CHECK(h.a.nodes[1].statistics().dropped == 1);
}

TEST_CASE("with m < n a node that is always last is cancelled in every round, and its data do not count") {
  auto const p = quadratic::random(4, 6, 1);
  auto const result = run(p, 3, {.compute = environment::fixed(10ms).slow(3, 5.0), .link = {.latency = 1ms}},
                          {.time = 1h, .gradients = 3 * 200});
  CHECK(result.nodes[3].gradients == 0);
  CHECK(result.nodes[0].gradients == 200);
  CHECK(result.nodes[4].iterations == 200);  // the server
  auto const expected = plain_sgd(p, 3, 200);
  auto const x = values_of(result.models[3]);
  for (std::size_t c = 0; c < x.size(); ++c) CHECK(x[c] == Approx(expected[c]).epsilon(1e-12));
}

TEST_CASE("with m < n and even speeds late gradients are counted as dropped") {
  auto const result =
      run(quadratic::random(4, 6, 1), 3, {.compute = environment::fixed(10ms), .link = {.latency = 1ms}},
          {.time = 1h, .gradients = 4 * 50});
  CHECK(result.nodes[4].iterations == 50);
  CHECK(result.nodes[4].dropped == 50);
}

TEST_CASE("more gradients a round than there are workers are refused with both numbers") {
  auto const sentence = refusal([] {
    static_cast<void>(assemble<node_type>(topology::star(4), quadratic::random(4, 2, 1), {.step = 0.1, .m = 5}));
  });
  CHECK(says(sentence, "cannot take 5 gradients from 4 workers"));
}

TEST_CASE("workers may leave, and a round waits until m are there, but none may leave where all are needed") {
  auto const leave = [](std::size_t m, std::size_t many) {
    auto a = assemble<node_type>(topology::star(3), quadratic::random(3, 4, 5), {.step = 0.3, .m = m});
    outbox out;
    for (std::size_t i = 1; i <= many; ++i)
      a.nodes[3].on_neighbours({}, {to_node(i), neighbour_change::edge::closes, {}, {}}, out);
    return out.failure ? out.failure->sentence : std::string{};
  };
  CHECK(leave(2, 1).empty());
  CHECK(leave(2, 2).empty());  // the round waits until one of them is back
  CHECK(says(leave(3, 1), "node 1 left"));
}

TEST_CASE("a worker that returns gets the current model and takes part in the next round") {
  by_hand h;
  auto const change = [&](any_node& at, node_id peer, neighbour_change::edge what, session_id outgoing,
                          session_id incoming) {
    h.out.clear();
    at.on_neighbours({}, {peer, what, outgoing, incoming}, h.out);
  };
  change(h.server(), node_id{1}, neighbour_change::edge::closes, {}, {});
  for (auto i : {std::size_t{0}, std::size_t{2}}) h.hand(h.server(), h.answer(i, h.ask(i)));
  CHECK(h.out.packets.size() == 2);  // nothing goes to who is away
  auto const late = h.answer(1, h.ask(1));
  h.hand(h.server(), late);
  CHECK((h.out.packets.empty() && !h.out.failure));
  change(h.server(), node_id{1}, neighbour_change::edge::opens, {1, 2}, {2, 1});
  REQUIRE(h.out.packets.size() == 1);
  auto const model = h.out.packets[0];
  CHECK((model.to == node_id{1} && model.number == iteration{1} && model.session == session_id{1, 2}));
  h.a.nodes[1] = std::move(by_hand{}.a.nodes[1]);
  h.ask(1);
  change(h.a.nodes[1], node_id{3}, neighbour_change::edge::opens, {2, 1}, {1, 2});
  h.hand(h.a.nodes[1], model);
  REQUIRE(h.out.request);
  CHECK(h.out.request->point == model.body);
  auto const first = h.answer(1, *h.out.request);
  CHECK((first.session == session_id{2, 1} && first.based_on == iteration{1}));
  h.hand(h.server(), first);
  CHECK(h.server().statistics().iterations == 1);
  h.hand(h.server(), first);  // once
  CHECK(h.out.packets.empty());
}

TEST_CASE("a worker whose server is gone waits, and begins at the first model when the server restarts") {
  auto a = assemble<node_type>(topology::star(3), quadratic::random(3, 4, 5), {.step = 0.3, .m = 2});
  auto& worker = a.nodes[0];
  outbox out;
  worker.start({}, out);
  auto const first = out.request->point;
  out.clear();
  worker.on_neighbours({}, {node_id{3}, neighbour_change::edge::closes}, out);
  CHECK((!out.failure && out.cancel && out.wait && out.wait->peer == node_id{3}));
  out.clear();
  session_id const session{2, 2};
  worker.on_neighbours({}, {node_id{3}, neighbour_change::edge::opens, session, session}, out);
  REQUIRE(out.request);
  CHECK(out.request->point.bytes().data() == first.bytes().data());
  auto const asked = *out.request;
  out.clear();
  worker.on_gradient({}, a.oracle.evaluate(asked), out);
  REQUIRE(out.packets.size() == 1);
  CHECK((out.packets[0].session == session && out.packets[0].based_on == iteration{0}));
}

using quorum = quorum_diloco<backend::host<double>>;

/// x after so many rounds of diloco over the workers `who`: H local steps of 0.05, then Nesterov.
auto plain_diloco(quadratic const& p, std::vector<std::size_t> const& who, int local_steps, std::uint64_t rounds)
    -> std::vector<double> {
  std::vector<double> x(p.dimension(), 0.0), m = x;
  for (std::uint64_t k = 0; k < rounds; ++k) {
    for (std::size_t c = 0; c < x.size(); ++c) {
      auto work = 0.0;
      for (auto const i : who) {
        auto y = x[c];
        for (int t = 0; t < local_steps; ++t) y -= 0.05 * p.curvature(i, c) * (y - p.centre(i, c));
        work += (x[c] - y) / static_cast<double>(who.size());
      }
      m[c] = 0.9 * m[c] + work;
      x[c] -= 0.7 * (work + 0.9 * m[c]);
    }
  }
  return x;
}
void same(std::vector<double> const& x, std::vector<double> const& y) {
  REQUIRE(x.size() == y.size());
  for (std::size_t c = 0; c < x.size(); ++c) CHECK(x[c] == Approx(y[c]).epsilon(1e-12).margin(1e-12));
}

TEST_CASE("(Qu.X) quorum_diloco that waits for all is diloco, whatever the speeds and the grace period") {
  auto const p = problem_of_five();
  for (auto const grace : {0s, 2s, 100s}) {
    auto o = with_step<quorum>(0.05);
    o.work.count = 3, o.grace = grace;
    auto const seen = watched<quorum>(p, uneven(), o, 21s * 12);
    CHECK(seen.versions == 12);  // the slowest takes 3 times 7 s
    same(seen.x, plain_diloco(p, {0, 1, 2, 3, 4}, 3, 12));
  }
}

TEST_CASE("(Qu.W) a round ends a grace period after the m-th result, or with the last one if that is earlier") {
  auto const p = four_workers();
  auto const rounds_of = [&](std::chrono::nanoseconds grace, server::late_jobs late) {
    auto o = with_step<quorum>(0.05);
    o.m = 2, o.work.count = 2, o.grace = grace, o.late = late;
    return watched<quorum>(p, {0.5, 1, 2, 4}, o, 90s);
  };
  for (auto const late : {server::late_jobs::stop, server::late_jobs::finish}) {
    auto const two = rounds_of(0s, late), three = rounds_of(2500ms, late), four = rounds_of(30s, late);
    CHECK(rounds_of((std::chrono::nanoseconds::max)(), late).stepped_at == four.stepped_at);
    CHECK(two.versions == 45);
    same(two.x, plain_diloco(p, {0, 1}, 2, 45));
    CHECK(three.versions == 20);
    CHECK(three.stepped_at[4].count() == Approx(4.5e9 * 5).epsilon(1e-6));
    same(three.x, plain_diloco(p, {0, 1, 2}, 2, 20));
    CHECK(four.versions == 11);
    CHECK(four.stepped_at[10].count() == Approx(8e9 * 11).epsilon(1e-6));
    same(four.x, plain_diloco(p, {0, 1, 2, 3}, 2, 11));
  }
}

/// A quorum of 1 of three, driven by hand: the server waits for others for 2 s.
struct quorum_by_hand {
  assembly a = assemble<quorum>(topology::star(3), quadratic::random(3, 4, 5),
                                {.step = 0.3, .m = 1, .grace = 2s, .work = {.count = 1}});
  outbox out{};

  auto server() -> any_node& { return a.nodes[3]; }
  /// The worker's result at that model, or at the first one, comes to the server.
  void result_of(std::size_t i, packet const* model = nullptr) {
    out.clear();
    if (model == nullptr) a.nodes[i].start({}, out);
    else hand_over(a.nodes[i], *model, 1, out);
    auto const g = a.oracle.evaluate(*out.request);
    out.clear();
    a.nodes[i].on_gradient({}, g, out);
    auto const result = out.packets.at(0);
    out.clear();
    hand_over(server(), result, 1, out);
  }
  void edge(instant now, std::size_t i, neighbour_change::edge what) {
    out.clear();
    server().on_neighbours(now, {to_node(i), what, {1, 2}, {2, 1}}, out);
  }
  void wake(wakeup w) {
    out.clear();
    server().on_wakeup(w.at, w, out);
  }
};

TEST_CASE("a wake-up of an earlier round ends nothing, and an edge that opens in a grace period sets a new one") {
  quorum_by_hand q;
  q.result_of(0);
  REQUIRE(q.out.wakeups.size() == 1);
  auto const due = q.out.wakeups[0];
  CHECK(due.at == instant{} + 2s);
  q.edge(instant{} + 1s, 1, neighbour_change::edge::opens);
  REQUIRE(q.out.wakeups.size() == 1);
  auto const anew = q.out.wakeups[0];
  CHECK((anew.id == due.id && anew.at == instant{} + 3s));
  q.wake(due);
  REQUIRE(q.out.packets.size() == 3);
  auto const model = q.out.packets[0];
  q.result_of(0, &model);
  REQUIRE(q.out.wakeups.size() == 1);
  auto const next = q.out.wakeups[0];
  q.wake(anew);
  CHECK(q.out.empty());
  q.wake(next);
  CHECK(q.out.packets.size() == 3);
}

TEST_CASE("(Qu.W) a round whose last worker leaves in the grace period ends at once") {
  quorum_by_hand q;
  q.result_of(0);
  q.edge(instant{} + 1s, 1, neighbour_change::edge::closes);
  CHECK((q.out.packets.empty() && q.out.wakeups.size() == 1));  // node 2 may still come
  q.edge(instant{} + 1s, 2, neighbour_change::edge::closes);
  CHECK((q.out.packets.size() == 1 && q.out.wakeups.empty()));
  CHECK(q.server().statistics().iterations == 1);
}

/// A rule that is not linear, and that sees the size of what it is given.
struct adaptive_outer {
  double rate = 0.1;
  step::adam rule{{.epsilon = 0.5}};
};

TEST_CASE("(Qu.X) the rule of the outer step is applied to the work, as in local_sgd, also where it is not linear") {
  using merged = local_sgd<backend::host<double>, adaptive_outer>;
  auto const p = problem_of_five();
  auto in_rounds = with_step<merged>(0.05);
  in_rounds.rhythm.local_steps = 3;
  lockstep run{assemble<merged>(topology::ring(5), p, in_rounds)};
  for (int t = 0; t < 3 * 12; ++t) run.round();
  auto o = with_step<quorum_diloco<backend::host<double>, adaptive_outer>>(0.05);
  o.work.count = 3;
  same(watched<quorum_diloco<backend::host<double>, adaptive_outer>>(p, uneven(), o, 21s * 12).x, run.point(0));
}

TEST_CASE("bad options of a quorum are refused") {
  auto const refused = [](auto const& set) {
    auto o = with_step<quorum>(0.1);
    set(o);
    return refusal([&] { static_cast<void>(assemble<quorum>(topology::star(4), quadratic::random(4, 2, 1), o)); });
  };
  CHECK(refused([](auto&) {}).empty());
  CHECK(says(refused([](auto& o) { o.m = 5; }), "cannot take 5 gradients from 4 workers"));
  CHECK(says(refused([](auto& o) { o.grace = -1s; }), "a grace period lasts 0 or more, not -1s"));
  CHECK(says(refused([](auto& o) { o.work.count = 0; }), "at least one local step"));
  CHECK(says(refused([](auto& o) { o.work.rate = 0.5; }), "local steps of rate 1, not 0.5"));
  CHECK(says(refused([](auto& o) { o.rate = 0; }), "the rate of an outer step"));
}

}  // namespace
}  // namespace rubato::test
