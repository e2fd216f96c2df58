// SPDX-License-Identifier: MIT
#include <rubato/mixing/named_rounds.hpp>

#include <cstddef>
#include <string>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

TEST_CASE("rounds have names, with hyphens or underscores, and what has none is a graph or nothing") {
  auto const peer = mixing::rounds_by_name("one-peer-exponential", 8);
  REQUIRE(peer);
  CHECK(peer->parts().size() == 3);
  CHECK(mixing::residual(peer->parts()) < 1e-12);
  CHECK(peer->name() == "rounds of one-peer-exponential(8)");
  CHECK(peer->text() == mixing::rounds_by_name("one_peer_exponential", 8)->text());
  CHECK(mixing::residual(mixing::rounds_by_name("base-k", 7)->parts()) < 1e-12);
  CHECK(mixing::rounds_by_name("base-k:2", 9)->parts().size() == 2);
  CHECK(mixing::rounds_by_name("hierarchical-rounds:3", 9)->parts().size() == 3);
  CHECK(mixing::rounds_by_name("shift-one", 6)->parts().size() == 3);
  CHECK(mixing::rounds_by_name("shift-one:4", 6)->parts().size() == 12);
  CHECK_FALSE(mixing::rounds_by_name("ring", 8));
  CHECK_FALSE(mixing::rounds_by_name("file:base-k", 8));
}

TEST_CASE("drawn rounds have a seed, join all nodes, and are as many for large networks as fit") {
  for (auto const* name : {"one-peer-equitopo", "one-peer-equitopo-directed"}) {
    for (std::size_t n = 1; n <= 12; ++n) {
      INFO(name << " of " << n);
      auto const rounds = *mixing::rounds_by_name(name, n);
      CHECK(rounds.parts().size() == 4 * n);
      if (n > 1) CHECK(mixing::residual(rounds.parts()) < 0.05);
      CHECK_NOTHROW(mixing::push_sum_plan(rounds));
      if (std::string{name} == "one-peer-equitopo") CHECK_NOTHROW(mixing::gossip_plan(rounds));
    }
    CHECK(mixing::rounds_by_name(name, 100)->parts().size() == 256);
    CHECK(mixing::rounds_by_name(name, 9)->text() != mixing::rounds_by_name(name + std::string{":4"}, 9)->text());
  }
}

TEST_CASE("parameters of rounds that do not fit are refused with a sentence") {
  auto const refused = [](char const* name, std::size_t n = 8) {
    return refusal([&] { static_cast<void>(mixing::rounds_by_name(name, n)); });
  };
  CHECK(says(refused("one-peer-exponential:2"), "there is no topology"));
  CHECK(
      says(refused("base-k:many"), "there is no topology 'base-k:many': take one of one-peer-exponential, shift-one"));
  CHECK(says(refused("base-k:0"), "at least one neighbour"));
  CHECK(says(refused("shift-one", 5), "5 nodes have none"));
  CHECK(says(refused("shift-one:0", 4), "not every 0"));
  CHECK(says(refused("hierarchical-rounds"), "there is no topology"));
  CHECK(says(refused("one-peer-exponential", 0), "one-peer exponential"));
}

}  // namespace
}  // namespace rubato::test
