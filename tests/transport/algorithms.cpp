// SPDX-License-Identifier: MIT
#include "transport/algorithms.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rubato/transport/in_process.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "transport/peers.hpp"

namespace rubato::test {
namespace {

void reach_the_goal(std::string const& name, std::vector<fate> const& fates) {
  CAPTURE(name);
  auto near = 0;
  for (auto const& f : fates) {
    INFO(f.sentence);
    REQUIRE(f.sentence.empty());
    if (are_near_the_goal(f.result.result.models)) ++near;
  }
  CHECK(near > 0);
}

TEST_CASE("every algorithm runs over TCP, and those that need no lossless links over UDP that loses a fifth") {
  auto const p = one_goal();
  auto over_udp = 0;
  for_every_algorithm(topology::ring(3), p, [&](std::string const& name, std::function<assembly()> const& make) {
    auto const one = make();
    auto const n = one.nodes.size();
    auto const mine = [&](std::size_t) { return make(); };
    auto const how = until_near(work);
    tcp_doors doors{n};
    reach_the_goal(name + " over TCP", run_all(n, mine, over_tcp(doors), how));
    if (needs_every_message(one)) return;
    ++over_udp;
    udp_doors lossy{n};
    auto const open = [&](std::size_t self, transport::identity const& me) {
      return std::make_unique<transport::udp>(me, lossy.options(self, {.loss = 0.2, .loss_seed = self}));
    };
    reach_the_goal(name + " over UDP", run_all(n, mine, open, how));
  });
  CHECK(over_udp == 8);
}

TEST_CASE("going on without lost peers is refused before the start where an algorithm needs every node, only there") {
  auto const p = one_goal();
  auto refusals = std::string{};
  for_every_algorithm(topology::ring(3), p, [&](std::string const& name, std::function<assembly()> const& make) {
    auto a = make();
    CAPTURE(name);
    for (std::size_t i = 0; i < a.nodes.size(); ++i)
      CHECK(why_not_go_on(a, to_node(i)).empty() == why_not_go_on(a, node_id{0}).empty());
    auto const needs_every_node = a.nodes[0].common_round().has_value() || name == "rasgp";
    CHECK(why_not_go_on(a, node_id{0}).empty() != needs_every_node);
    if (!needs_every_node) return;
    auto const me = identity_of(a, node_id{0});
    transport::in_process wires{transport::in_process::room{a.nodes.size()}, me};
    auto const sentence = refusal([&] {
      static_cast<void>(run_peer(a, me, wires, {.time = std::chrono::hours{1}}, {.lost = when_lost::goes_on}));
    });
    CHECK(says(sentence,
               "(when_lost::goes_on) is not possible, because this algorithm needs every node; if one was lost"));
    refusals += name + " ";
  });
  CHECK(says(refusals, "push_diging extra "));
  CHECK(says(refusals, " rasgp "));
}

}  // namespace
}  // namespace rubato::test
