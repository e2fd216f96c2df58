// SPDX-License-Identifier: MIT
// However the run of processes in rounds ends, all are saved at one more round: nothing is done again when it goes on.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/driver/peer.hpp>
#include <rubato/run/checkpoint.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/stop_token.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"
#include "transport/in_rounds.hpp"
#include "transport/peers.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

/// A run that no interruption and no round of --every-rounds but the first saves. Node 1 has the observer.
template<class Node>
auto ended(problem::quadratic const& p, std::filesystem::path const& folder, until const& end,
           observers const& watching) -> std::vector<fate> {
  auto const make = [&](std::size_t) { return assemble<Node>(ring_for<Node>(), p, {.step = 0.1}); };
  tcp_doors doors{make(0).nodes.size()};
  peer_options o{.compute = environment::fixed(work).slow(1, 3)};
  o.checkpoint = {.folder = folder, .every_rounds = 1'000'000};
  return run_each(doors.descriptors.size(), make, over_tcp(doors), [&](std::size_t i) {
    auto mine = o;
    if (i == 1 && !watching.empty()) mine.look_every = 5ms, mine.watching = watching;
    return std::pair{end, mine};
  });
}
/// What was said of how a run ended; how old messages were is another matter, on a machine that is slow.
auto words_of_ends(run_result const& r) -> std::vector<std::string> {
  std::vector<std::string> said;
  for (auto const& w : r.warnings)
    if (!says(w, "local iterations old")) said.push_back(w);
  return said;
}
/// The round that all were saved at, and nobody at a later one.
auto met_in(std::filesystem::path const& folder, std::size_t n) -> std::uint64_t {
  auto const met = newest_in(folder, n);
  for (auto const node : everyone(n))
    CHECK(saved_rounds({.folder = folder}, node) == std::vector<std::uint64_t>{0, met});
  return met;
}

TEMPLATE_LIST_TEST_CASE("at the end of their time, and where an observer ends one of them, all meet and lose nothing",
                        "", who_can_meet) {
  auto const p = problem::quadratic::random(nodes, 50, 4);
  auto const once = [](look const& l) { return l.seen.at >= 20ms ? verdict::stop : verdict::go_on; };
  for (auto const own : {stop_reason::time, stop_reason::observer}) {
    scratch_folder folder{"ended"};
    auto const all = own == stop_reason::time ? ended<TestType>(p, folder.path(), {.time = 50ms}, {})
                                              : ended<TestType>(p, folder.path(), {.time = 1min}, {once});
    require_good(all);
    auto const met = met_in(folder.path(), all.size());
    CHECK(met > 0);
    auto by_itself = 0;
    for (auto const& f : all) {
      by_itself += f.result.result.stopped == own ? 1 : 0;
      CHECK((f.result.result.stopped == own || f.result.result.stopped == stop_reason::neighbour));
      for (auto const& w : words_of_ends(f.result.result)) {  // at the end of a time too, if it began late
        CHECK(says(w, "before its own end: another node had come to its end, and all were saved at round"));
        CHECK(f.result.result.stopped == stop_reason::neighbour);
      }
    }
    CHECK((own == stop_reason::time ? by_itself > 0 : by_itself == 1));
    auto const again = together<TestType>(p, folder.path(), a_little<TestType>, met);
    require_good(again);
    for (auto const& f : again) {
      for (auto const& mine : f.result.result.nodes) CHECK(mine.iterations_before >= met);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("nodes that all compute a number of gradients end at one round", "", each_round_a_gradient) {
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder folder{"counted"};
  constexpr std::uint64_t few = 7;  // fewer than what lies between a meeting and the time at which it can be named
  auto const all = ended<TestType>(p, folder.path(), {.time = 1min, .gradients = few}, {});
  require_good(all);
  CHECK(met_in(folder.path(), all.size()) == few);
  for (std::size_t i = 0; i < nodes; ++i) {
    CHECK(all[i].result.result.stopped == stop_reason::gradients);
    CHECK(all[i].result.result.events >= few);
    CHECK(all[i].result.result.nodes.at(0).iterations == few);
    CHECK(words_of_ends(all[i].result.result).empty());
  }
}

TEST_CASE("nodes that compute different numbers of gradients end where the first of them does") {
  using node = low_precision_d_psgd<space>;
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder folder{"fewer"};
  tcp_doors doors{nodes};
  auto const make = [&](std::size_t) { return assemble<node>(topology::ring(nodes), p, {.step = 0.1}); };
  auto const all = run_each(nodes, make, over_tcp(doors), [&](std::size_t i) {
    peer_options o{.compute = environment::fixed(work)};
    o.checkpoint = {.folder = folder.path(), .every_rounds = 1'000'000};
    return std::pair{until{.time = 1min, .gradients = i == 2 ? 40U : 50U}, o};
  });
  require_good(all);
  CHECK(met_in(folder.path(), nodes) == 40);
  CHECK(all[2].result.result.stopped == stop_reason::gradients);
  CHECK(all[0].result.result.stopped == stop_reason::neighbour);
}

TEST_CASE("a node that has no other end than more gradients than the first has fails, and all are saved all the same") {
  using node = low_precision_d_psgd<space>;
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder folder{"no time"};
  tcp_doors doors{nodes};
  auto const make = [&](std::size_t) { return assemble<node>(topology::ring(nodes), p, {.step = 0.1}); };
  auto const all = run_each(nodes, make, over_tcp(doors), [&](std::size_t i) {
    peer_options o{.compute = environment::fixed(work)};
    o.checkpoint = {.folder = folder.path(), .every_rounds = 1'000'000};
    return std::pair{until{.gradients = i == 2 ? 40U : 50U}, o};
  });
  CHECK(met_in(folder.path(), nodes) == 40);
  for (std::size_t i = 0; i < nodes; ++i) {
    INFO("node " << i << ": " << all[i].sentence);
    if (i == 2) CHECK(all[i].sentence.empty());
    else CHECK(says(all[i].sentence, "ended after 40 of 50 gradients"));
  }
}

TEST_CASE("who waits for the last meeting waits for linger at most, and not for its patience") {
  using node = extra<space>;
  auto const p = problem::quadratic::random(nodes, 50, 4);
  auto const ends_waiting = [&](std::filesystem::path const& folder, std::chrono::nanoseconds time, peer_options o) {
    tcp_doors doors{nodes};
    auto const make = [&](std::size_t) { return assemble<node>(topology::ring(nodes), p, {.step = 0.1}); };
    o.checkpoint = {.folder = folder, .every_rounds = 1'000'000};
    auto all = run_all(nodes, make, over_tcp(doors), {{.time = time}, o});
    require_good(all);
    for (auto const& f : all) CHECK(f.result.result.stopped == stop_reason::time);
    return all;
  };
  scratch_folder long_enough{"long"}, too_short{"short"};
  auto const is_behind = [](auto const& w) { return says(w, " ended before it was saved at one more round"); };
  for (auto const& f :
       ends_waiting(long_enough.path(), 50ms,
                    {.patience = 150ms, .linger = 1min, .compute = environment::fixed(1ms).slow(1, 400)})) {
    // Messages are old where one is so slow, and it is said.
    CHECK(std::ranges::count_if(f.result.result.warnings, is_behind) == 0);
    CHECK(f.result.lost.empty());
  }
  CHECK(met_in(long_enough.path(), nodes) >= 2);
  for (auto const& f :
       ends_waiting(too_short.path(), 1s, {.linger = 300ms, .compute = environment::fixed(1ms).slow(1, 800)}))
    CHECK(std::ranges::count_if(f.result.result.warnings, is_behind) == 1);
}

TEST_CASE("who is interrupted after its own end waits for the others for a second more, and not for linger") {
  using node = extra<space>;
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder folder{"hurried"};
  tcp_doors doors{nodes};
  stop_source source;
  auto ended = std::atomic<std::size_t>{};
  auto const began = std::chrono::steady_clock::now();
  auto const make = [&](std::size_t) { return assemble<node>(topology::ring(nodes), p, {.step = 0.1}); };
  auto const all = run_each(nodes, make, over_tcp(doors), [&](std::size_t) {
    peer_options o{.linger = 2min, .look_every = 5ms, .compute = environment::fixed(1ms).slow(1, 200'000)};
    o.checkpoint = {.folder = folder.path(), .every_rounds = 1'000'000};
    o.stop = source.get_token();
    // At its second look after its time a node knows that it has ended, and waits for the last meeting.
    o.watching = {[&, looks = 0](look const& l) mutable {
      if (l.seen.at >= 100ms && ++looks == 2 && ++ended == nodes) source.request_stop();
    }};
    return std::pair{until{.time = 100ms}, o};
  });
  CHECK(std::chrono::steady_clock::now() - began < 1min);  // a gradient of node 1 takes 200 s
  require_good(all);
  for (auto const& f : all) {
    CHECK(f.result.result.stopped == stop_reason::time);
    CHECK(std::ranges::count_if(f.result.result.warnings, [](auto const& w) {
            return says(w, " ended before it was saved at one more round");
          }) == 1);
  }
}

// Its rounds take no number of gradients that is known, and a node that may compute no more cannot go on to one.
TEST_CASE("a node that ends without the others says from which round at the latest the run goes on") {
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder folder{"alone"};
  auto const all = ended<async_model_average<space>>(p, folder.path(), {.time = 1min, .gradients = 200}, {});
  require_good(all);
  for (auto const& f : all) {
    CHECK(f.result.result.stopped == stop_reason::gradients);
    CHECK(
        std::ranges::count_if(f.result.result.warnings, [&](auto const& w) {
          return says(w, " ended before it was saved at one more round together with the others: the run goes on") &&
                 says(w,
                      ("round " + std::to_string(saved_rounds({.folder = folder.path()}, f.result.id).back())).c_str());
        }) == 1);
  }
}

TEMPLATE_LIST_TEST_CASE("synchronous replicas that end at a time and go on end with the bits of an uncut run", "",
                        in_lock_step) {
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder cut{"timed"}, whole{"whole"};
  require_good(ended<TestType>(p, cut.path(), {.time = 30ms}, {}));
  auto const met = met_in(cut.path(), nodes);
  auto const last = together<TestType>(p, cut.path(), {.gradients = 10}, met);
  auto const uncut = together<TestType>(p, whole.path(), {.gradients = met + 10});
  require_good(last);
  for (std::size_t i = 0; i < nodes; ++i) {
    auto const x = last[i].result.result.models[0].template view<double>();
    auto const y = uncut[i].result.result.models[0].template view<double>();
    CHECK(std::equal(x.begin(), x.end(), y.begin(), y.end()));
  }
}

}  // namespace
}  // namespace rubato::test
