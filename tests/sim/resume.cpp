// SPDX-License-Identifier: MIT
// A simulation that is cut between any two events and goes on elsewhere is the one that was never cut, to the bit: for
// all algorithms, at random moments, in weather with loss, restarts and stragglers. So a part of a node's state that
// its list leaves out is found here.
#include <rubato/driver/simulator.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/codec/adaptive_bits.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/codec/measured_bits.hpp>
#include <rubato/codec/qsgd.hpp>
#include <rubato/codec/referenced_bits.hpp>
#include <rubato/codec/sign_scale.hpp>
#include <rubato/codec/top_k.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/snapshot.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/checkpoint.hpp>
#include <rubato/run/pace.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/weighting/polynomial.hpp>

#include "support/catch.hpp"
#include "support/every_algorithm.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using maker = std::function<assembly()>;

/// Saves the run at the first moment between two events by which so many were counted.
struct cutter : simulation_trace {
  explicit cutter(std::uint64_t events) : at{events} {}
  void between_events(simulator& s) override {
    if (!kept && s.events() >= at) kept = s.state();
  }
  std::uint64_t at;
  std::optional<snapshot> kept;
};

/// All that a result says.
auto account_of(run_result const& r) -> std::string {
  digest d;
  for (auto m : r.history) d.add(digest_of_state(m));
  for (auto const& n : r.nodes) d.add(n.iterations).add(n.gradients).add(n.dropped);
  for (auto const& e : r.edges) {
    d.add(to_index(e.from))
        .add(to_index(e.to))
        .add(static_cast<std::uint64_t>(e.channel))
        .add(e.packets_sent)
        .add(e.bytes_sent);
    d.add(e.lost).add(e.duplicated).add(e.conflated).add(e.delivered).add(e.overtaken).add(e.age.uses);
  }
  for (auto const& m : r.models) d.add(m.bytes());
  return std::to_string(r.events) + " events, " + std::to_string(r.history.size()) + " looks, result " +
         std::to_string(d.value());
}
/// The same, and a digest of all that the simulation holds at its end.
auto account_of(run_result const& r, simulator& s) -> std::string {
  return account_of(r) + ", state " + std::to_string(digest_of_state(s));
}

constexpr auto end = until{.time = 250ms};

/// The digests of an uncut run, and of one that was cut after so many events and resumed
/// elsewhere, with another number of threads.
auto both_accounts(maker const& make, environment::scenario const& weather, std::uint64_t cut_after)
    -> std::pair<std::string, std::string> {
  simulator whole{make(), weather};
  auto const result = whole.run(end);
  cutter cut{cut_after % (result.events + 1)};
  {
    simulator first{make(), weather};
    first.trace(cut);
    static_cast<void>(first.run(end));
  }
  REQUIRE(cut.kept);
  auto elsewhere = weather;
  elsewhere.threads = 3 - weather.threads;
  simulator second{make(), elsewhere};
  second.resume(*cut.kept);
  auto const resumed = second.run(end);
  return {account_of(result, whole), account_of(resumed, second)};
}

auto weather_of(random_stream& draw) -> environment::scenario {
  environment::scenario s;
  s.seed = draw.bits();
  s.threads = 1 + static_cast<unsigned>(draw.below(2));
  s.compute = environment::lognormal(4ms, 0.4).slow(1, 4);
  s.link = {.latency = 1ms, .jitter = 3ms, .loss = 0.2, .duplication = 0.1, .overtaking = 0.1};
  if (draw.chance(0.5)) s.link.bits_per_second = 2e5;
  if (draw.chance(0.5)) s.link.bursts = {.begin = 0.05, .end = 0.3, .loss = 0.9};
  if (draw.chance(0.3)) s.carried = environment::frames::encoded;
  return s;
}
auto all_state(assembly const& a) -> bool {
  auto const specs = a.nodes[0].channels();
  return std::all_of(specs.begin(), specs.end(), [](auto const& c) { return c.kind == channel_kind::state; });
}
/// Whether every node can go on without another.
auto edges_may_close(assembly a) -> bool {
  for (std::size_t i = 0; i < a.nodes.size(); ++i) {
    if (a.nodes[i].common_round()) return false;
  }
  outbox out;
  a.nodes.back().start({}, out);
  a.nodes.back().on_neighbours({}, {node_id{1}, neighbour_change::edge::closes, {1, 1}, {1, 1}}, out);
  return !out.failure;
}
auto const problem_of_runs = problem::quadratic::random(5, 150, 3);

TEST_CASE(
    "a run interrupted anywhere and resumed elsewhere equals the uninterrupted run to the bit, for every algorithm") {
  auto draw = random_stream{{71, 0}};
  for_every_algorithm(topology::binary_tree(5), problem_of_runs, [&](std::string const& name, maker const& make) {
    for (int k = 0; k < 4; ++k) {
      auto weather = weather_of(draw);
      if (all_state(make()))
        weather.split = draw.chance(0.5) ? environment::delivery::blocks : environment::delivery::whole;
      if (edges_may_close(make())) {
        weather.restarts = {{node_id{2}, 60ms, 40ms}, {node_id{0}, 90ms, 30ms, environment::first_model::own}};
      }
      auto const cut_after = draw.bits();
      INFO(name << ", scenario " << k << ", cut after " << cut_after << ", threads " << weather.threads);
      auto const [whole, resumed] = both_accounts(make, weather, cut_after);
      REQUIRE(resumed == whole);
    }
  });
}

template<class Node>
auto made(typename Node::options o) -> maker {
  o.step = 0.01;
  return [o] { return assemble<Node>(topology::binary_tree(5), problem_of_runs, o); };
}
using space = backend::host<float>;
template<class SumCodec>
using coded_r_fast = r_fast<space, step::sgd, weighting::constant, ledger::fixed_point, SumCodec>;

TEST_CASE("resumed runs are also equal with steps that keep arrays, weightings, blocks and a pace") {
  auto draw = random_stream{{72, 0}};
  auto const same = [&](maker const& make) {
    for (int k = 0; k < 6; ++k) {
      auto const weather = weather_of(draw);
      auto const cut_after = draw.bits();
      INFO("scenario " << k << ", cut after " << cut_after);
      auto const [whole, resumed] = both_accounts(make, weather, cut_after);
      REQUIRE(resumed == whole);
    }
  };
  same(made<ring_allreduce_sgd<space, step::adam>>({}));  // a round's rule is made once and used for many chunks
  same(made<ad_psgd<space, step::momentum>>({}));
  same(made<ad_psgd<space, step::sgd, partner::round_robin>>({}));
  same(made<ad_psgd<space, step::sgd, partner::by_speed>>({}));
  same(made<r_fast<space, step::adam, weighting::polynomial>>({.block_values = 64}));
  same(made<rescaled_asgd<space>>({}));
  same(made<scatter_allreduce_sgd<space, codec::error_feedback<codec::top_k>>>({}));
  same(made<scatter_allreduce_sgd<space, codec::qsgd>>({}));
  same(made<async_model_average<space, codec::ef21<codec::sign_scale>>>({}));
  auto const plain = made<r_fast<space>>({});  // gradients far faster than links
  same([&] {
    auto a = plain();
    pace(a);
    return a;
  });
}

TEST_CASE("runs with codes of sums resume to the bit and conserve exactly, though both ends of an edge restart") {
  auto draw = random_stream{{74, 0}};
  auto const conserves = [&](maker const& make) {
    for (int k = 0; k < 4; ++k) {
      auto weather = weather_of(draw);
      weather.restarts = {{node_id{2}, 60ms, 40ms}, {node_id{0}, 90ms, 30ms, environment::first_model::own}};
      weather.measure_every = 5ms;
      auto const cut_after = draw.bits();
      INFO("scenario " << k << ", cut after " << cut_after);
      auto const [whole, resumed] = both_accounts(make, weather, cut_after);
      REQUIRE(resumed == whole);
      for (auto const& look : simulate(make(), weather, end).history) REQUIRE(look.tracking_residual == 0);
    }
  };
  conserves(made<coded_r_fast<codec::adaptive_bits<8>>>({}));
  conserves(made<coded_r_fast<codec::referenced_bits<>>>({}));
  conserves(made<coded_r_fast<codec::measured_bits>>({}));
}

/// Momentum whose list forgets its sum.
struct forgetful_momentum {
  template<class Backend>
  struct state : step::momentum::state<Backend> {
    state(forgetful_momentum const&, Backend& b, std::size_t n)
        : step::momentum::state<Backend>{step::momentum{0.9}, b, n} {}
    static void visit_state(auto&, auto&&) {}
  };
};
/// Round robin whose list forgets who was asked last.
struct forgetful_robin : partner::round_robin {
  struct state : partner::round_robin::state {
    state(forgetful_robin const& p, node_id self) : partner::round_robin::state{p, self} {}
    static void visit_state(auto&, auto&&) {}
  };
};
TEST_CASE("a state list that leaves out a member is found by comparing resumed runs") {
  auto draw = random_stream{{73, 0}};
  auto const [whole, resumed] = both_accounts(made<r_fast<space, forgetful_momentum>>({}), weather_of(draw), 200);
  CHECK(resumed != whole);
  auto const [asked, asked_on] =
      both_accounts(made<ad_psgd<space, step::sgd, forgetful_robin>>({}), weather_of(draw), 200);
  CHECK(asked_on != asked);
}

TEST_CASE("a simulation is resumed from a file, and a file for another size is refused") {
  scratch_folder folder{"resume"};
  auto draw = random_stream{{74, 0}};
  auto const weather = weather_of(draw);
  auto const make = made<r_fast<space>>({});
  simulator whole{make(), weather};
  cutter cut{300};
  whole.trace(cut);
  auto const result = whole.run(end);
  auto const path = folder.path() / "simulation.checkpoint";
  write_checkpoint(path, {make().agreed.text(), {}, 300, 0, *cut.kept});
  simulator second{make(), weather};
  second.resume(read_checkpoint(path).state);
  auto const resumed = second.run(end);
  CHECK(account_of(resumed, second) == account_of(result, whole));

  simulator smaller{
      assemble<r_fast<space>>(topology::binary_tree(4), problem::quadratic::random(4, 150, 3), {.step = 0.01}),
      weather};
  CHECK(says(refusal([&] { smaller.resume(*cut.kept); }), "\"number of nodes\" does not fit"));
}

// after a run

/// Runs to `first_end`, and goes on to `end` elsewhere. Records why it ended, and gives the result without the
/// measurement at the cut.
struct continued {
  continued(maker const& make, environment::scenario const& weather, until const& first_end, until const& last_end,
            std::size_t looks = 0)  // so many are seen before somebody asks for a stop; 0: nobody does
      : before{make(), weather}, after{make(), weather} {
    stop_source source;
    before.watch({[&, seen = std::size_t{0}](look const&) mutable {
      if (++seen == looks) source.request_stop();
    }});
    before.stop_when(source.get_token());
    first = before.run(first_end);
    before.watch({});  // what it refers to ends here
    after.resume(before.state());
    last = after.run(last_end);
    auto const is_cut = [&](auto const& m) {
      return m.at == first.ended && m.at.count() % weather.measure_every.count() != 0;
    };
    extra_looks = std::erase_if(last.history, is_cut);
  }
  simulator before, after;
  run_result first, last;
  std::size_t extra_looks = 0;
};

auto uncut(maker const& make, environment::scenario const& weather, until const& last_end) -> run_result {
  simulator whole{make(), weather};
  return whole.run(last_end);
}
auto looked_at(environment::scenario weather) -> environment::scenario {
  weather.measure_every = 5ms;
  return weather;
}

TEST_CASE("an ended run resumed to a later end equals the uninterrupted run but for the measurement at the cut") {
  auto draw = random_stream{{75, 0}};
  for_every_algorithm(topology::binary_tree(5), problem_of_runs, [&](std::string const& name, maker const& make) {
    auto const weather = looked_at(weather_of(draw));
    auto const whole = uncut(make, weather, end);
    INFO(name);
    auto const by_time = continued{make, weather, {.time = 122'500us}, end};
    CHECK(by_time.first.stopped == stop_reason::time);
    CHECK(by_time.extra_looks == 1);
    CHECK(account_of(by_time.last) == account_of(whole));

    auto const loss = whole.history[whole.history.size() / 2].loss;
    auto const by_target = continued{make, weather, {.target_loss = loss}, end};
    CHECK(by_target.first.stopped == stop_reason::target_loss);
    CHECK(by_target.last.stopped == stop_reason::time);
    CHECK(account_of(by_target.last) == account_of(whole));
  });
}

TEST_CASE("a run interrupted during a measurement goes on measuring after it is resumed") {
  auto draw = random_stream{{76, 0}};
  auto const weather = looked_at(weather_of(draw));
  auto const make = made<r_fast<space>>({});
  auto const run = continued{make, weather, end, end, 12};
  CHECK(run.first.stopped == stop_reason::interrupted);
  CHECK(run.first.ended > 0ms);
  CHECK(run.first.ended % 5ms == 0ms);
  CHECK(account_of(run.last) == account_of(uncut(make, weather, end)));
}

TEST_CASE("a run ended by an observer says so and can be resumed, with its earlier measurements") {
  auto draw = random_stream{{76, 1}};
  auto const weather = looked_at(weather_of(draw));
  auto const make = made<r_fast<space>>({});
  auto const whole = uncut(make, weather, end);
  simulator before{make(), weather}, after{make(), weather};
  before.watch({[seen = 0](look const& l) mutable {
    CHECK(l.models.size() == 5);
    return ++seen == 7 ? verdict::stop : verdict::go_on;
  }});
  auto const first = before.run(end);
  CHECK(first.stopped == stop_reason::observer);
  CHECK(first.history.size() == 7);
  after.resume(before.state());
  CHECK(account_of(after.run(end)) == account_of(whole));
}

TEST_CASE("a target is judged by the whole history, whatever the target of the earlier run") {
  auto draw = random_stream{{77, 0}};
  auto const weather = looked_at(weather_of(draw));
  auto const make = made<r_fast<space>>({});
  auto const whole = uncut(make, weather, end);
  auto const early = whole.history[5].loss, late = whole.history[40].loss;
  REQUIRE(late < early);
  auto const on = continued{make, weather, {.target_loss = early}, {.target_loss = late}};
  CHECK(account_of(on.last) == account_of(uncut(make, weather, {.target_loss = late})));
  CHECK(on.last.time_to_target > on.first.time_to_target);
  auto const back = continued{make, weather, {.target_loss = late}, {.target_loss = early}};
  CHECK(back.last.stopped == stop_reason::target_loss);
  CHECK(back.last.time_to_target == on.first.time_to_target);
  CHECK(back.last.events == back.first.events);
}

TEST_CASE("a run that ended by gradients can be resumed with a higher limit") {
  auto steady = looked_at({});
  steady.compute = environment::fixed(10ms);
  steady.link = {.latency = 1ms};
  auto const rounds = made<d_psgd<space>>({});  // no gradient is ready while the last packets are waited for
  auto const few = until{.gradients = 50}, many = until{.gradients = 100};
  auto const on = continued{rounds, steady, few, many};
  CHECK(on.first.stopped == stop_reason::gradients);
  CHECK(on.last.history.back().gradients == 100);
  CHECK(account_of(on.last) == account_of(uncut(rounds, steady, many)));
  auto const no_more = continued{rounds, steady, many, few};
  CHECK(no_more.last.stopped == stop_reason::gradients);
  CHECK(no_more.last.events == no_more.first.events);

  auto draw = random_stream{{78, 0}};
  for_every_algorithm(topology::binary_tree(5), problem_of_runs, [&](std::string const& name, maker const& make) {
    auto const weather = looked_at(weather_of(draw));
    INFO(name);
    auto further = continued{make, weather, few, many};  // those that were ready are handed over late, and none is lost
    CHECK(further.last.stopped == stop_reason::gradients);
    CHECK(further.last.history.back().gradients == 100);
    CHECK(further.last.ended > further.first.ended);
    static_cast<void>(further.before.run(many));  // the same without a file
    CHECK(digest_of_state(further.before) == digest_of_state(further.after));
  });
}

TEST_CASE("measurements go on at the interval of the original run, and the clock never goes back") {
  auto draw = random_stream{{79, 0}};
  auto weather = weather_of(draw);
  auto const make = made<r_fast<space>>({});
  simulator run{make(), weather};
  static_cast<void>(run.run({.time = 100ms}));
  auto const on = run.run(end);
  CHECK(on.history.size() == 501);
  weather.measure_every = 500us;
  CHECK(account_of(on) == account_of(uncut(make, weather, end)));
  auto const passed = run.run({.time = 50ms});
  CHECK(passed.ended == 250ms);
  CHECK(account_of(passed) == account_of(on));
}

TEST_CASE("a state can be resumed only in its own scenario, run and blocks, and each refusal says what differs") {
  auto draw = random_stream{{80, 0}};
  auto const weather = weather_of(draw);
  auto const make = made<r_fast<space>>({.block_values = 64});
  cutter cut{200};
  simulator whole{make(), weather};
  whole.trace(cut);
  static_cast<void>(whole.run(end));
  auto const why = [&](assembly who, environment::scenario const& s) {
    simulator other{std::move(who), s};
    return refusal([&] { other.resume(*cut.kept); });
  };
  CHECK(why(make(), weather).empty());
  auto const changed = [&](auto const& how) {
    auto other = weather;
    how(other);
    return why(make(), other);
  };
  CHECK(changed([](auto& s) { s.threads = 3 - s.threads; }).empty());
  CHECK(says(changed([](auto& s) { s.link.loss += 0.01; }), "\"scenario\" does not fit"));
  CHECK(says(changed([](auto& s) { s.link.bursts.loss = 0.5; }), "\"scenario\" does not fit"));
  CHECK(says(changed([](auto& s) { s.compute = s.compute.slow(2, 2); }), "\"scenario\" does not fit"));
  CHECK(says(changed([](auto& s) { s.compute = s.compute.outage(2, 1ms, 2ms); }), "\"scenario\" does not fit"));
  CHECK(says(changed([](auto& s) { s.partitions = {{1ms, 2ms, {{node_id{0}, node_id{1}}}}}; }),
             "\"scenario\" does not fit"));
  CHECK(says(changed([](auto& s) { s.special = {{node_id{0}, node_id{1}, {}}}; }), "\"scenario\" does not fit"));
  CHECK(says(changed([](auto& s) { s.restarts = {{node_id{2}, 60ms, 40ms}}; }), "\"scenario\" does not fit"));
  CHECK(says(changed([](auto& s) { ++s.seed; }), "\"scenario\" does not fit"));
  CHECK(says(why(assemble<r_fast<space>>(topology::binary_tree(5), problem_of_runs, {.step = 0.02, .block_values = 64}),
                 weather),
             "\"subject\" does not fit"));
  auto other_blocks = made<r_fast<space>>({.block_values = 128})();
  other_blocks.agreed = make().agreed;
  CHECK(says(why(std::move(other_blocks), weather), "\"block values\" does not fit"));
}

TEST_CASE("a node refuses a vector of another type or size, and a list of other blocks") {
  auto const state_of = [](assembly a) { return take_snapshot(a.nodes[1]); };
  auto const why = [](assembly a, snapshot const& s) { return refusal([&] { restore(a.nodes[1], s, a.pool); }); };
  auto const d_psgd_of_floats = state_of(made<d_psgd<space>>({})());
  CHECK(says(why(made<d_psgd<backend::host<double>>>({})(), d_psgd_of_floats), "\"x\" does not fit"));
  auto const momentum = state_of(made<d_psgd<space, step::momentum>>({})());
  CHECK(says(why(made<d_psgd<backend::host<double>, step::momentum>>({})(), momentum), "\"sum\" does not fit"));
  auto const blocks_of_64 = state_of(made<r_fast<space>>({.block_values = 64})());
  CHECK(says(why(made<r_fast<space>>({.block_values = 128})(), blocks_of_64), "\"block values\" does not fit"));

  backend::host<float> b;
  auto const of_size = [&](std::size_t n) { return backend::zeros<float>(b, n); };
  auto short_one = of_size(3), long_one = of_size(4);
  CHECK(says(refusal([&] { restore(long_one, take_snapshot(short_one), b.pool()); }), "\"state\" does not fit"));
  auto published_short = of_size(3).publish(), published_long = of_size(4).publish();
  CHECK(says(refusal([&] { restore(published_long, take_snapshot(published_short), b.pool()); }),
             "\"state\" does not fit"));
}

// digests

/// Steps that grow shorter by a count which it does not list: it runs, can be recorded, and cannot be saved.
struct fading {
  template<class Backend>
  class state {
   public:
    using rule = typename step::sgd::state<Backend>::rule;
    state(fading const&, Backend& b, std::size_t n) : plain_{step::sgd{}, b, n} {}
    auto next(double gamma) -> rule { return plain_.next(gamma / static_cast<double>(++count_)); }

   private:
    typename step::sgd::state<Backend> plain_;
    std::uint64_t count_ = 0;
  };
};
/// Digests every node after each of its events, as a recording does.
struct digester : simulation_trace {
  void between_events(simulator& s) override { digests += digest_of_state(s); }
  std::uint64_t digests = 0;
};
TEST_CASE("a run is the same with digests and without, whatever its step lists") {
  auto draw = random_stream{{81, 0}};
  auto const weather = weather_of(draw);
  auto const make = made<ring_allreduce_sgd<space, fading>>({});
  auto const alone = uncut(make, weather, end);
  digester by;
  simulator watched{make(), weather};
  watched.trace(by);
  CHECK(account_of(watched.run(end)) == account_of(alone));
  CHECK(by.digests != 0);
  CHECK(says(refusal([&] { static_cast<void>(watched.state()); }), "\"step\" has a type that lists no state"));
}

}  // namespace
}  // namespace rubato::test
