// SPDX-License-Identifier: MIT
// Processes that were killed and go on from their checkpoints, again and again: edges open in sessions that were never
// used, the tracking law holds again, exactly, and all end where a run ends that was never cut.
#include <rubato/driver/peer.hpp>

#include <unistd.h>

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
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/algorithm/s_ab.hpp>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"
#include "transport/peers.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

constexpr std::size_t nodes = 3;
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
using ways = std::tuple<way<transport::tcp, tcp_doors, float>, way<transport::tcp, tcp_doors, double>,
                        way<transport::udp, udp_doors, float>, way<transport::udp, udp_doors, double>>;

TEMPLATE_LIST_TEST_CASE("processes that are killed and go on conserve the tracked gradient and end at the optimum", "",
                        ways) {
  using scalar = typename TestType::scalar;
  using node = r_fast<backend::host<scalar>>;
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
          auto me = identity_of(a, to_node(i), &wire::crc32_of);
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

TEST_CASE("what cannot be saved, or gone on from, is said in one sentence before anybody waits") {
  scratch_folder folder{"resume"};
  auto const p = problem::quadratic::random(nodes, 10, 4);
  auto const ring = [&](std::size_t) {
    return assemble<ring_allreduce_sgd<space>>(topology::ring(nodes), p, {.step = 0.1});
  };
  for (auto const& s : sentences(ring, {.folder = folder.path()}))
    CHECK(s.find("cannot go on from a checkpoint") != std::string::npos);
  auto const line = line_of(nodes, p);
  for (auto const& s : sentences(line, {.folder = folder.path(), .resume = true}))
    CHECK(s.find("cannot be read") != std::string::npos);
  for (auto const& s : sentences(line, {.resume = true}))
    CHECK(s.find("no folder to resume from") != std::string::npos);
  for (auto const& s : sentences(line, {.folder = folder.path(), .every = 0s}))
    CHECK(s.find("must be above 0") != std::string::npos);

  REQUIRE(sentences(line, {.folder = folder.path()})[0].empty());
  for (auto const& s : sentences(line, {.folder = folder.path()}))
    CHECK(s.find("already: go on from it, or give another folder") != std::string::npos);
  for (auto const& s : sentences(line, {.folder = folder.path(), .resume = true, .subject = "data=other\n"})) {
    CHECK(s.find("says nothing of data, which is other here: it is of another run") != std::string::npos);
  }
}

TEST_CASE("a checkpoint that cannot be written is said at once, and the run goes on") {
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
    REQUIRE(f.result.result.warnings.size() == 1);
    CHECK(f.result.result.warnings[0].find("cannot be written") != std::string::npos);
    CHECK(f.result.unwritten.find("cannot be written") != std::string::npos);  // the last one was not either
  }
  CHECK(said == static_cast<int>(nodes));
}

}  // namespace
}  // namespace rubato::test
