// SPDX-License-Identifier: MIT
// Processes that were killed and go on from their checkpoints, again and again: edges open in sessions that were never
// used, the tracking law holds again, exactly, and all end where a run ends that was never cut.
#include <rubato/driver/peer.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/async_model_average.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/non_blocking_allreduce.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/run/stop_token.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"
#include "support/short_runs.hpp"
#include "transport/in_rounds.hpp"
#include "transport/peers.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using runner = std::function<std::vector<fate>(std::filesystem::path const& folder, until const&, bool resume)>;

/// Three processes, one of them three times slower, so that nodes in rounds stand still most of the time.
template<class Node, class Transport, class Doors>
auto runs_of(problem::quadratic const& p) -> runner {
  return [&p](std::filesystem::path const& folder, until const& end, bool resume) {
    Doors doors{nodes};
    auto const open = [&](std::size_t i, transport::identity const& me) {
      return std::make_unique<Transport>(me, doors.options(i));
    };
    auto const make = [&](std::size_t) { return assemble<Node>(topology::complete(nodes), p, {.step = 0.1}); };
    peer_options o{.compute = environment::fixed(work).slow(1, 3)};
    o.checkpoint = {.folder = folder, .every = 2ms, .resume = resume};
    auto all = run_all(nodes, make, open, {end, o});
    std::string said;
    for (auto const& f : all) said += f.sentence.empty() ? "" : f.sentence + "; ";
    REQUIRE(said == "");
    return all;
  };
}

auto file_of(std::filesystem::path const& folder, std::size_t i) {
  return folder / ("node-" + std::to_string(i) + ".checkpoint");
}

/// Copies each node's checkpoint after it was written several times in this run, each at another moment: what a kill in
/// the middle leaves. The run goes on meanwhile.
void keep_what_a_kill_leaves(std::filesystem::path const& from, std::filesystem::path const& to,
                             std::atomic<bool> const& ended) {
  std::filesystem::create_directories(to);
  for (std::size_t i = 0; i < nodes; ++i) {
    auto last = std::filesystem::file_time_type{};
    for (std::size_t writes = 0; writes < 4 + 3 * i && !ended; std::this_thread::yield()) {
      auto error = std::error_code{};
      auto const at = std::filesystem::last_write_time(file_of(from, i), error);
      if (error || at == last) continue;
      last = at;
      ++writes;
    }
    // In one reading: a copy by size would mix two files where one replaces the other meanwhile.
    std::ofstream{file_of(to, i), std::ios::binary} << content_of(file_of(from, i));
  }
}

/// Runs, is killed in the middle, goes on, is killed again, and goes on to the end.
auto killed_twice(runner const& run, std::uint64_t enough) -> std::vector<fate> {
  scratch_folder folder{"resume"};
  for (int kill = 0; kill < 2; ++kill) {
    auto const before = folder.path() / ("kept-" + std::to_string(kill)),
               kept = folder.path() / ("kept-" + std::to_string(kill + 1));
    auto const live = folder.path() / ("live-" + std::to_string(kill));
    if (kill > 0) std::filesystem::copy(before, live);
    std::atomic<bool> ended{false};
    auto keeping = std::async(std::launch::async, [&] { keep_what_a_kill_leaves(live, kept, ended); });
    try {
      static_cast<void>(run(live, {.time = 1s}, kill > 0));
    } catch (...) {
      ended = true;  // or it would wait for ever
      throw;
    }
    ended = true;
    keeping.get();
  }
  return run(folder.path() / "kept-2", {.gradients = enough}, true);
}

template<class Transport, class Doors, class Scalar>
struct way {
  using transport = Transport;
  using doors = Doors;
  using scalar = Scalar;
};
using ways =
    std::tuple<way<transport::tcp, tcp_doors, float>, way<transport::shared_memory, shared_memory_doors, double>,
               way<transport::udp, udp_doors, float>, way<transport::udp, udp_doors, double>>;

TEMPLATE_LIST_TEST_CASE("processes that are killed and go on conserve the tracked gradient and end at the optimum", "",
                        ways) {
  using scalar = typename TestType::scalar;
  using node = r_fast<backend::host<scalar>>;
  if (short_runs() && std::is_same_v<TestType, way<transport::udp, udp_doors, double>>) return;
  auto const p = problem::quadratic::random(nodes, 50, 4);
  auto const all = killed_twice(runs_of<node, typename TestType::transport, typename TestType::doors>(p), 3000);
  for (auto const& f : all) {
    if constexpr (std::is_same_v<scalar, float>) CHECK(f.result.looks.back().residual == 0);
    else CHECK(f.result.looks.back().residual < 1e-9);
    CHECK(f.result.returned.empty());
    CHECK(f.result.unwritten.empty());
    auto const& mine = f.result.result.nodes[0];
    CHECK(mine.iterations_before > 0);
    CHECK(mine.iterations - mine.iterations_before <= 3000);  // those of this run alone
    auto const x = f.result.result.models[0].template view<scalar>();
    for (std::size_t k = 0; k < x.size(); ++k) {
      REQUIRE(std::abs(static_cast<double>(x[k]) - p.optimum()[k]) < (std::is_same_v<scalar, float> ? 1e-5 : 1e-9));
    }
  }
}

using rounds_of = std::tuple<push_pull<space>, s_ab<space>, d_psgd<space>>;

TEMPLATE_LIST_TEST_CASE("methods in rounds that are killed and go on end where a run ends that was never cut", "",
                        rounds_of) {
  if (short_runs() && !std::is_same_v<TestType, push_pull<space>>) return;
  auto const p = problem::quadratic::random(nodes, 50, 4);
  auto const run = runs_of<TestType, transport::tcp, tcp_doors>(p);
  constexpr std::uint64_t enough = 3500;
  auto const last = killed_twice(run, enough);
  scratch_folder whole{"whole"};
  auto const uncut = run(whole.path(), {.gradients = enough}, false);
  for (std::size_t i = 0; i < nodes; ++i) {
    CHECK(last[i].result.looks.back().residual < 1e-9);
    auto const x = last[i].result.result.models[0].template view<double>();
    auto const never_cut = uncut[i].result.result.models[0].template view<double>();
    for (std::size_t k = 0; k < x.size(); ++k) REQUIRE(std::abs(x[k] - never_cut[k]) < 1e-5);
  }
}

TEMPLATE_LIST_TEST_CASE("who has no checkpoint yet begins anew beside others that go on from theirs", "", ways) {
  using scalar = typename TestType::scalar;
  using node = r_fast<backend::host<scalar>>;
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder folder{"resume"};
  static_cast<void>(runs_of<node, typename TestType::transport, typename TestType::doors>(p)(
      folder.path(), {.gradients = 300}, false));
  std::filesystem::remove(file_of(folder.path(), 1));
  typename TestType::doors doors{nodes};
  std::vector<fate> fates(nodes);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < nodes; ++i) {
      threads.emplace_back([&, i] {
        try {
          peer_options o{.compute = environment::fixed(work)};
          o.checkpoint.folder = folder.path();
          o.checkpoint.resume = has_checkpoint(o.checkpoint, to_node(i));
          auto a = assemble<node>(topology::complete(nodes), p, {.step = 0.1});
          auto me = identity_of(a, to_node(i), &wire::xxh3_of);
          me.opened_before = sessions_before(o.checkpoint, me.self);
          typename TestType::transport wires{me, doors.options(i)};
          fates[i].result = run_peer(a, me, wires, {.gradients = 3000}, o);
        } catch (std::exception const& e) {
          fates[i].sentence = e.what();
        }
      });
    }
  }
  for (std::size_t i = 0; i < nodes; ++i) {
    REQUIRE(fates[i].sentence == "");
    CHECK((fates[i].result.result.nodes[0].iterations_before == 0) == (i == 1));
    CHECK(fates[i].result.looks.back().residual <= (std::is_same_v<scalar, float> ? 0 : 1e-9));
    auto const x = fates[i].result.result.models[0].template view<scalar>();
    for (std::size_t k = 0; k < x.size(); ++k) {
      REQUIRE(std::abs(static_cast<double>(x[k]) - p.optimum()[k]) < (std::is_same_v<scalar, float> ? 1e-5 : 1e-9));
    }
  }
}

// --- nodes that go on together

/// Runs them all in one process of its own and ends it with SIGKILL, once each has been saved several times.
template<class Node>
void kill_in_the_middle(problem::quadratic const& p, std::filesystem::path const& folder,
                        std::optional<std::uint64_t> from = {}) {
  auto const n = assemble<Node>(ring_for<Node>(), p, {.step = 0.1}).nodes.size();
  auto const child = ::fork();  // no other thread runs
  REQUIRE(child >= 0);
  if (child == 0) {
    static_cast<void>(together<Node>(p, folder, {.time = 1min}, from));
    ::_exit(1);
  }
  auto const latest = std::chrono::steady_clock::now() + 50s;
  for (auto saved = false; !saved && std::chrono::steady_clock::now() < latest; std::this_thread::yield()) {
    saved = true;
    for (auto const node : everyone(n)) {
      auto const rounds = saved_rounds({.folder = folder}, node);
      saved = saved && !rounds.empty() && rounds.back() >= from.value_or(0) + 60;
    }
  }
  ::kill(child, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));  // it was in the middle
}

TEMPLATE_LIST_TEST_CASE("synchronous replicas that are killed all, twice, and go on end with the bits of an uncut run",
                        "", in_lock_step) {
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder cut{"cut"}, whole{"whole"};
  kill_in_the_middle<TestType>(p, cut.path());
  auto const first = newest_in(cut.path(), nodes);
  kill_in_the_middle<TestType>(p, cut.path(), first);
  auto const second = newest_in(cut.path(), nodes);
  CHECK(second > first);
  for (auto const node : everyone(nodes)) CHECK(saved_rounds({.folder = cut.path()}, node).size() <= 3);
  auto const last = together<TestType>(p, cut.path(), {.gradients = 30}, second);
  auto const uncut = together<TestType>(p, whole.path(), {.gradients = second + 30});
  require_good(last);
  require_good(uncut);
  for (std::size_t i = 0; i < nodes; ++i) {
    auto const& mine = last[i].result.result.nodes[0];
    CHECK(mine.iterations_before == second);
    CHECK(mine.iterations == second + 30);
    auto const x = last[i].result.result.models[0].template view<double>();
    auto const never_cut = uncut[i].result.result.models[0].template view<double>();
    for (std::size_t k = 0; k < x.size(); ++k) REQUIRE(x[k] == never_cut[k]);
  }
}

/// Three nodes like those above, of which these are interrupted once all were saved several times.
template<class Node>
auto interrupted(problem::quadratic const& p, std::filesystem::path const& folder, std::vector<std::size_t> const& whom)
    -> std::vector<fate> {
  auto const make = [&] { return assemble<Node>(ring_for<Node>(), p, {.step = 0.1}); };
  auto const n = make().nodes.size();
  tcp_doors doors{n};
  stop_source source;
  std::vector<fate> all(n);
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < n; ++i) {
    threads.emplace_back([&, i] {
      try {
        peer_options o{.compute = environment::fixed(work).slow(1, 3)};
        o.checkpoint = {.folder = folder, .every_rounds = 20};
        if (std::ranges::count(whom, i) > 0) o.stop = source.get_token();
        auto a = make();
        auto const me = identity_of(a, to_node(i), &wire::xxh3_of, o.checkpoint);
        auto const wires = over_tcp(doors)(i, me);
        all[i].result = run_peer(a, me, *wires, {.time = 1min}, o);
      } catch (std::exception const& e) {
        all[i].sentence = e.what();
      }
    });
  }
  auto const latest = std::chrono::steady_clock::now() + 50s;
  for (auto saved = false; !saved && std::chrono::steady_clock::now() < latest; std::this_thread::yield()) {
    saved =
        std::ranges::all_of(everyone(n), [&](auto node) { return saved_rounds({.folder = folder}, node).size() > 2; });
  }
  source.request_stop();
  for (auto& t : threads) t.join();
  return all;
}

TEMPLATE_LIST_TEST_CASE("where one node or all are interrupted all meet at the next round and are saved there", "",
                        who_can_meet) {
  auto const p = problem::quadratic::random(nodes, 50, 4);
  for (auto const& whom : {std::vector<std::size_t>{1}, std::vector<std::size_t>{0, 1, 2, 3}}) {
    scratch_folder folder{"met"};
    auto const all = interrupted<TestType>(p, folder.path(), whom);
    require_good(all);
    auto const met = newest_in(folder.path(), all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      CHECK(all[i].result.result.stopped == stop_reason::interrupted);
      CHECK(all[i].result.result.warnings.empty());
      CHECK(saved_rounds({.folder = folder.path()}, to_node(i)).back() == met);
      if (all[i].result.result.nodes.empty()) continue;
      auto const saved = read_checkpoint(checkpoint_options{.folder = folder.path()}.file_of(to_node(i), met));
      auto const iterations = all[i].result.result.nodes[0].iterations;  // one may have been under way
      CHECK((saved.progress == iterations || saved.progress + 1 == iterations));
    }
    require_good(together<TestType>(p, folder.path(), a_little<TestType>, met));
  }
}

TEST_CASE("replicas that were interrupted and go on end with the bits of an uncut run") {
  using node = ring_allreduce_sgd<space>;
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder cut{"interrupted"}, whole{"whole"};
  require_good(interrupted<node>(p, cut.path(), {2}));
  auto const met = newest_in(cut.path(), nodes);
  auto const last = together<node>(p, cut.path(), {.gradients = 30}, met);
  auto const uncut = together<node>(p, whole.path(), {.gradients = met + 30});
  require_good(last);
  for (std::size_t i = 0; i < nodes; ++i) {
    auto const x = last[i].result.result.models[0].view<double>(), y = uncut[i].result.result.models[0].view<double>();
    CHECK(std::equal(x.begin(), x.end(), y.begin(), y.end()));
  }
}

TEST_CASE("a server and its workers that need each other are killed and go on to the optimum") {
  using node = m_synchronous_sgd<space>;
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder folder{"served"};
  kill_in_the_middle<node>(p, folder.path());
  auto const from = newest_in(folder.path(), nodes + 1);
  // The server ends with its workers.
  auto const all = together<node>(p, folder.path(), {.time = 1min, .gradients = 1500}, from);
  require_good(all);
  CHECK(all.back().result.result.nodes[0].iterations_before == from);
  for (std::size_t i = 0; i < nodes; ++i) {
    auto const x = all[i].result.result.models.at(0).template view<double>();
    for (std::size_t k = 0; k < x.size(); ++k) REQUIRE(std::abs(x[k] - p.optimum()[k]) < 1e-6);
  }
}

// Where nodes disagree, the end of push-sum with overlap depends on how old messages are, and so on the machine. So
// they agree here. That no mass is lost or counted twice is shown to 1e-9 in tests/unit/algorithm/common_round.cpp.
TEST_CASE("push-sum that is killed and goes on ends at the optimum that its nodes agree on") {
  using node = osgp<space>;
  auto const p = problem::quadratic::random(nodes, 50, 4, {.spread = 0, .noise = 0});
  scratch_folder cut{"cut"};
  kill_in_the_middle<node>(p, cut.path());
  auto const from = newest_in(cut.path(), nodes);
  auto const last = together<node>(p, cut.path(), {.gradients = 1500}, from);
  require_good(last);
  for (std::size_t i = 0; i < nodes; ++i) {
    CHECK(last[i].result.result.nodes[0].iterations_before == from);
    auto const x = last[i].result.result.models.at(0).view<double>();
    for (std::size_t k = 0; k < x.size(); ++k) CHECK(std::abs(x[k] - p.optimum()[k]) < 1e-4);
  }
}

using by_their_own_time = std::tuple<async_model_average<space>, non_blocking_allreduce<space>>;

TEMPLATE_LIST_TEST_CASE("nodes that meet only to be saved are killed and go on", "", by_their_own_time) {
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder cut{"cut"};
  kill_in_the_middle<TestType>(p, cut.path());
  auto const from = newest_in(cut.path(), nodes);
  kill_in_the_middle<TestType>(p, cut.path(), from);  // it comes 60 rounds further
  auto const last = together<TestType>(p, cut.path(), {.time = 300ms}, newest_in(cut.path(), nodes));
  require_good(last);
  for (auto const& f : last) {
    auto const& mine = f.result.result.nodes[0];
    CHECK(mine.iterations_before >= from + 20);
    CHECK(mine.iterations > mine.iterations_before);
  }
}

TEST_CASE("where a node's newest file is damaged or missing all go back to one that all have, and it is said") {
  using node = ring_allreduce_sgd<space>;
  auto const p = problem::quadratic::random(nodes, 50, 4);
  scratch_folder folder{"damaged"};
  require_good(together<node>(p, folder.path(), {.gradients = 70}));
  checkpoint_options const o{.folder = folder.path(), .resume = true, .every_rounds = 20};
  CHECK(saved_rounds(o, node_id{1}) == std::vector<std::uint64_t>{20, 40, 60, 70});  // the last one at its end
  CHECK(newest_common_round(o, everyone(nodes))->remark.empty());
  std::filesystem::remove(o.file_of(node_id{2}, 70));
  std::ofstream{o.file_of(node_id{1}, 60), std::ios::binary | std::ios::in}.seekp(300).put('x');
  auto const common = newest_common_round(o, everyone(nodes)).value();
  CHECK(common.done == 40);
  CHECK(says(common.remark, "of round 60 node 1 has none that is whole"));  // rather than that 70 is not everywhere
  CHECK(says(common.remark,
             "its digest is not that of what it holds): going on from round 40, which loses the 30 rounds"));

  // Who does not see the others' files offers the newest of its own, and both rounds are named where they differ.
  auto const differ = together<node>(p, folder.path(), {.gradients = 10}, std::nullopt);
  CHECK(differ[0].sentence.find("already: go on from it") != std::string::npos);
  tcp_doors doors{nodes};
  auto const make = [&](std::size_t) { return assemble<node>(topology::ring(nodes), p, {.step = 0.1}); };
  peer_options how;
  how.checkpoint = o;
  std::string said;
  for (auto const& f : run_all(nodes, make, over_tcp(doors, {.arrival = 2s}), {{.gradients = 10}, how}))
    said += f.sentence;
  CHECK(said.find("round to go on from 60, but this node has 70") != std::string::npos);

  std::filesystem::remove(o.file_of(node_id{1}, 70));
  auto const own = std::vector{node_id{1}};
  CHECK(newest_common_round(o, own)->remark.find("node-1.round-60.checkpoint' is damaged") != std::string::npos);
  require_good(together<node>(p, folder.path(), {.gradients = 30}, 40));
  CHECK(saved_rounds(o, node_id{0}) == std::vector<std::uint64_t>{20, 40, 60, 70});
  CHECK(newest_in(folder.path(), nodes) == 70);
  // What was newer is no longer of this run, and is kept until the run has saved more of its own.
  CHECK(detail::rounds_of_files(o, node_id{0}, ".aside") == std::vector<std::uint64_t>{60, 70});
  scratch_folder longer{"longer"};
  std::filesystem::copy(folder.path(), longer.path());
  require_good(together<node>(p, longer.path(), {.gradients = 100}, 70));
  CHECK(saved_rounds({.folder = longer.path()}, node_id{0}) == std::vector<std::uint64_t>{110, 130, 150, 170});
  CHECK(detail::rounds_of_files({.folder = longer.path()}, node_id{0}, ".aside").empty());
  for (auto const round : {40, 60, 70})
    std::filesystem::remove(o.file_of(node_id{1}, static_cast<std::uint64_t>(round)));
  std::filesystem::remove(o.file_of(node_id{0}, 20));
  CHECK(refusal([&] {
          static_cast<void>(newest_common_round(o, everyone(nodes)));
        }).find("there is no round of which every node has a whole checkpoint") != std::string::npos);
}

TEST_CASE("a node that another process saves after its identity was made is refused before it runs") {
  using node = ring_allreduce_sgd<space>;
  auto const p = problem::quadratic::random(nodes, 10, 4);
  scratch_folder folder{"meanwhile"};
  require_good(together<node>(p, folder.path(), {.gradients = 10}));
  peer_options o;
  o.checkpoint = {.folder = folder.path(), .resume = true};
  auto a = assemble<node>(topology::ring(nodes), p, {.step = 0.1});
  auto const me = identity_of(a, node_id{1}, &wire::xxh3_of, o.checkpoint);
  auto newer = read_checkpoint(o.checkpoint.file_of(node_id{1}, 10));
  write_checkpoint(o.checkpoint.file_of(node_id{1}, 15), newer);
  tcp_doors doors{nodes};
  auto const wires = over_tcp(doors)(1, me);
  CHECK(says(refusal([&] { static_cast<void>(run_peer(a, me, *wires, {.gradients = 10}, o)); }),
             "another process saved node 1 meanwhile: it was to go on from round 10, and its newest is round 15"));
  checkpoint_lock held;
  CHECK(held.take(o.checkpoint, {1, 2}));
  o.checkpoint.wait = 1ms;
  CHECK(says(refusal([&] { static_cast<void>(identity_of(a, node_id{1}, nullptr, o.checkpoint)); }),
             "another run saves into '"));
  stop_source source;
  source.request_stop();
  static_cast<void>(identity_of(a, node_id{1}, nullptr, o.checkpoint, source.get_token()));  // and does not wait
}

/// What three processes say that are to begin like this.
auto sentences(std::function<assembly(std::size_t)> const& make, checkpoint_options const& saved)
    -> std::vector<std::string> {
  tcp_doors doors{nodes};
  peer_options o;
  o.checkpoint = saved;
  std::vector<std::string> all;
  for (auto const& f : run_all(nodes, make, over_tcp(doors), {rounds(10), o})) all.push_back(f.sentence);
  return all;
}

/// A node that needs all others and has nothing to say of rounds.
struct of_a_user {
  any_node inner;
  void start(instant now, outbox& out) { inner.start(now, out); }
  void on_patch(instant now, patch const& p, outbox& out) { inner.on_patch(now, p, out); }
  void on_gradient(instant now, gradient g, outbox& out) { inner.on_gradient(now, std::move(g), out); }
  void on_wakeup(instant now, wakeup w, outbox& out) { inner.on_wakeup(now, w, out); }
  void on_neighbours(instant now, neighbour_change const& c, outbox& out) { inner.on_neighbours(now, c, out); }
  [[nodiscard]] auto estimate() const -> shared_buffer { return inner.estimate(); }
  [[nodiscard]] auto statistics() const -> node_statistics { return inner.statistics(); }
  void audit(tracking_audit& a) const { inner.audit(a); }
  [[nodiscard]] auto channels() const -> std::span<channel_spec const> { return inner.channels(); }
  static void visit_state(auto& self, auto&& visit) { visit("inner", self.inner); }
};

TEST_CASE("a run that cannot be saved or resumed is refused in one sentence before any node waits") {
  scratch_folder folder{"resume"};
  auto const p = problem::quadratic::random(nodes, 10, 4);
  auto const without_rounds = [&](std::size_t) {
    auto a = assemble<ring_allreduce_sgd<space>>(topology::ring(nodes), p, {.step = 0.1});
    for (auto& n : a.nodes) n = any_node{of_a_user{std::move(n)}};
    return a;
  };
  for (auto const& s : sentences(without_rounds, {.folder = folder.path()}))
    CHECK(s.find("cannot go on from a checkpoint") != std::string::npos);
  auto const line = line_of(nodes, p);
  for (auto const& s : sentences(line, {.folder = folder.path(), .resume = true}))
    CHECK(s.find("cannot be read") != std::string::npos);
  for (auto const& s : sentences(line, {.resume = true}))
    CHECK(s.find("no folder to resume from") != std::string::npos);
  for (auto const& s : sentences(line, {.folder = folder.path(), .round = 3}))
    CHECK(s.find("a round to go on from was given, 3, and the nodes of this algorithm are not saved at rounds") == 0);
  for (auto const& s : sentences(line, {.folder = folder.path(), .every = 0s}))
    CHECK(s.find("must be above 0") != std::string::npos);

  REQUIRE(sentences(line, {.folder = folder.path()})[0].empty());
  for (auto const& s : sentences(line, {.folder = folder.path()}))
    CHECK(s.find("already: go on from it, or give another folder") != std::string::npos);
  for (auto const& s : sentences(line, {.folder = folder.path(), .resume = true, .subject = "data=other\n"})) {
    CHECK(s.find("says nothing of data, which is other here: it is of another run") != std::string::npos);
  }
}

TEST_CASE("a checkpoint that cannot be written is reported at once, and the run goes on") {
  scratch_folder folder{"resume"};
  auto const p = problem::quadratic::random(nodes, 10, 4);
  tcp_doors doors{nodes};
  static std::atomic<int> said{0};
  said = 0;
  peer_options o{.compute = environment::fixed(work)};
  o.checkpoint = {.folder = folder.path(), .every = 1ms};
  o.says = [](std::string_view sentence) { said += sentence.find("a checkpoint failed: ") != sentence.npos ? 1 : 0; };
  for (std::size_t i = 0; i < nodes; ++i) {
    auto const aside = file_of(folder.path(), i).string() + ".partial." + std::to_string(::getpid());
    std::filesystem::create_directories(std::filesystem::path{aside} / "in the way");
  }
  for (auto const& f : run_all(nodes, line_of(nodes, p), over_tcp(doors), {rounds(300), o})) {
    CHECK(f.sentence.empty());
    auto const& w = f.result.result.warnings;  // a slow machine may add that messages were old
    CHECK(std::ranges::count_if(w, [](auto const& s) { return s.find("cannot be written") != s.npos; }) == 1);
    CHECK(std::ranges::count_if(w, [](auto const& s) { return s.find(" could not write ") != s.npos; }) == 1);
    CHECK(f.result.unwritten.find("cannot be written") != std::string::npos);  // the last one was not either
  }
  CHECK(said == static_cast<int>(nodes));
}

}  // namespace
}  // namespace rubato::test
