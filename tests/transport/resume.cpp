// SPDX-License-Identifier: MIT
// Processes that were all killed and go on from their checkpoints: edges open in new sessions, the tracking law holds
// again, exactly, and all end at the optimum of the sum.
#include <rubato/run/peer.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"
#include "transport/peers.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

template<class Transport, class Doors, class Scalar>
struct way {
  using transport = Transport;
  using doors = Doors;
  using scalar = Scalar;
};
using ways = std::tuple<way<transport::tcp, tcp_doors, float>, way<transport::tcp, tcp_doors, double>,
                        way<transport::udp, udp_doors, float>, way<transport::udp, udp_doors, double>>;

TEMPLATE_LIST_TEST_CASE("processes that all go on from their checkpoints conserve the tracked gradient and end at the optimum", "", ways) {
  using scalar = typename TestType::scalar;
  using node = r_fast<backend::host<scalar>>;
  auto const p = problem::quadratic::random(3, 50, 4);
  scratch_folder folder{"checkpoint"};
  auto const run_once = [&](std::uint64_t gradients, bool resume) {
    typename TestType::doors doors{3};
    auto const open = [&](std::size_t i, transport::identity const& me) {
      return std::make_unique<typename TestType::transport>(me, doors.options(i));
    };
    auto const make = [&](std::size_t) { return assemble<node>(topology::complete(3), p, {.step = 0.1}); };
    peer_options o{.compute = sim::fixed(work)};
    o.checkpoint = {folder.path(), 10ms, resume};
    return run_all(3, make, open, {rounds(gradients), o});
  };
  // Each is saved at a moment of its own, in the middle: what it has posted since is lost with the process.
  auto const first = run_once(200, false);
  for (auto const& f : first) REQUIRE(f.sentence.empty());
  auto const second = run_once(3000, true);
  for (std::size_t i = 0; i < 3; ++i) {
    INFO("node " << i << ": " << second[i].sentence);
    REQUIRE(second[i].sentence.empty());
    auto const& looks = second[i].result.looks;
    CHECK(second[i].result.result.nodes[0].iterations >= 3000 + first[i].result.result.nodes[0].iterations - 1);
    if constexpr (std::is_same_v<scalar, float>) CHECK(looks.back().residual == 0);
    else CHECK(looks.back().residual < 1e-9);
    auto const x = second[i].result.result.models[0].template view<scalar>();
    for (std::size_t k = 0; k < x.size(); ++k) {
      REQUIRE(std::abs(static_cast<double>(x[k]) - p.optimum()[k]) < (std::is_same_v<scalar, float> ? 1e-5 : 1e-9));
    }
  }
}

template<class Node>
void rounds_go_on() {
  auto const p = problem::quadratic::random(3, 50, 4);
  auto const run_once = [&](std::uint64_t gradients, scratch_folder const& folder, bool resume) {
    tcp_doors doors{3};
    peer_options o;
    o.checkpoint = {folder.path(), 3ms, resume};
    auto const make = [&](std::size_t) { return assemble<Node>(topology::complete(3), p, {.step = 0.1}); };
    auto all = run_all(3, make, over_tcp(doors), {rounds(gradients), o});
    for (auto const& f : all) {
      INFO(f.sentence);
      REQUIRE(f.sentence.empty());
    }
    return all;
  };
  constexpr std::uint64_t enough = 6000;
  scratch_folder cut{"rounds"}, whole{"whole"};
  auto const file = cut.path() / "node-1.checkpoint";
  static_cast<void>(run_once(200, cut, false));
  std::filesystem::copy_file(file, cut.path() / "older");
  static_cast<void>(run_once(50, cut, true));
  std::filesystem::rename(cut.path() / "older", file);  // node 1 was killed 50 rounds before the others' last checkpoints
  auto const last = run_once(enough, cut, true);
  auto const uncut = run_once(enough, whole, false);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(last[i].result.looks.back().residual < 1e-9);
    auto const x = last[i].result.result.models[0].template view<double>();
    auto const never_cut = uncut[i].result.result.models[0].template view<double>();
    for (std::size_t k = 0; k < x.size(); ++k) REQUIRE(std::abs(x[k] - never_cut[k]) < 1e-9);
  }
}
TEST_CASE("methods in rounds go on from checkpoints of different rounds, and end where a run ends that was never cut") {
  rounds_go_on<push_pull<space>>();
  rounds_go_on<s_ab<space>>();
  rounds_go_on<d_psgd<space>>();
}

TEST_CASE("a node that cannot go on without its neighbours says so before it is saved") {
  scratch_folder folder{"checkpoint"};
  tcp_doors doors{3};
  auto const p = problem::quadratic::random(3, 10, 4);
  peer_options o;
  o.checkpoint = {folder.path(), 10ms, false};
  auto const fates = run_all(3, [&](std::size_t) { return assemble<ring_allreduce_sgd<space>>(topology::ring(3), p, {.step = 0.1}); },
                             over_tcp(doors), {rounds(10), o});
  for (auto const& f : fates) CHECK(f.sentence.find("cannot go on from a checkpoint") != std::string::npos);
}

TEST_CASE("there is a sentence where there is nothing to resume from") {
  scratch_folder folder{"checkpoint"};
  tcp_doors doors{3};
  auto const p = problem::quadratic::random(3, 10, 4);
  peer_options o;
  o.checkpoint = {folder.path(), 10ms, true};
  auto const fates = run_all(3, line_of(3, p), over_tcp(doors), {rounds(10), o});
  for (auto const& f : fates) CHECK(f.sentence.find("cannot be read") != std::string::npos);
}

}  // namespace
}  // namespace rubato::test
