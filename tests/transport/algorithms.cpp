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

template<class Open>
void come_near(std::string const& algorithm, char const* over, std::function<assembly()> const& make, std::size_t nodes,
               Open const& open) {
  INFO(algorithm << " over " << over);
  std::vector<int> told(nodes + 1, 0);
  auto const fates = run_each(
      nodes, [&](std::size_t) { return make(); }, open,
      [&](std::size_t i) { return until_all_near(i, told, distance_of(algorithm), work); });
  for (auto const& f : fates) {
    INFO(f.sentence);
    REQUIRE(f.sentence.empty());
  }
  CHECK(told.back() == 1);
}

TEST_CASE(
    "every algorithm runs over TCP or shared memory, by turns, and those that need neither lossless links nor whole "
    "messages over UDP that loses a fifth") {
  auto const p = three_centres();
  auto over_udp = 0, which = 0;
  for_every_algorithm(topology::ring(3), p, [&](std::string const& name, std::function<assembly()> const& make) {
    auto const one = make();
    auto const n = one.nodes.size();
    if (++which % 2 == 0) {
      come_near(name, "shared memory", make, n, over_shared_memory());
    } else {
      tcp_doors doors{n};
      come_near(name, "TCP", make, n, over_tcp(doors));
    }
    if (needs_whole_messages(one)) return;
    ++over_udp;
    udp_doors lossy{n};
    come_near(name, "UDP", make, n, [&](std::size_t self, transport::identity const& me) {
      return std::make_unique<transport::udp>(me, lossy.options(self, {.loss = 0.2, .loss_seed = self}));
    });
  });
  CHECK(over_udp == 8);
}

TEST_CASE("going on without lost peers is refused before the start where an algorithm needs every node, only there") {
  auto const p = three_centres();
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
