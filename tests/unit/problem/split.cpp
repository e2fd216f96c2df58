// SPDX-License-Identifier: MIT
#include <rubato/problem/split.hpp>

#include <algorithm>
#include <set>
#include <vector>

#include "support/catch.hpp"
#include "support/problem_checks.hpp"

namespace {

namespace split = rubato::split;
using rubato::problem::dataset;
using rubato::test::refusal;

// Labels come in the order 0 1 2 0 1 2 ...
auto sorted_by_turns(std::size_t samples, std::size_t classes) -> dataset {
  std::vector<std::uint16_t> labels(samples);
  for (std::size_t i = 0; i < samples; ++i) labels[i] = static_cast<std::uint16_t>(i % classes);
  return {std::vector<float>(samples, 1), labels, classes};
}

void check_partition(split::shards const& shards, std::size_t samples, std::size_t nodes) {
  REQUIRE(shards.size() == nodes);
  std::set<std::uint32_t> seen;
  std::size_t total = 0;
  for (auto const& shard : shards) {
    CHECK(shard.size() >= samples / nodes);
    CHECK(shard.size() <= samples / nodes + (samples % nodes == 0 ? 0 : 1));
    total += shard.size();
    seen.insert(shard.begin(), shard.end());
  }
  CHECK(total == samples);
  CHECK(seen.size() == samples);
  CHECK(*seen.rbegin() == samples - 1);
}

}  // namespace

TEST_CASE("both splits give every sample to exactly one node, in sizes that differ by at most one") {
  for (auto const samples : {1UL, 2UL, 7UL, 60UL, 101UL}) {
    for (auto const nodes : {1UL, 2UL, 7UL, 60UL}) {
      if (nodes > samples) continue;
      auto const data = sorted_by_turns(samples, 3);
      check_partition(split::iid(data, nodes, 5), samples, nodes);
      check_partition(split::by_label(data, nodes, 5), samples, nodes);
    }
  }
}

TEST_CASE("a split by label gives as few classes to a node as it can") {
  auto const data = sorted_by_turns(300, 3);
  auto const shards = split::by_label(data, 6, 1);
  for (std::size_t i = 0; i < 6; ++i) {
    for (auto const sample : shards[i]) CHECK(data.labels()[sample] == i / 2);
  }
}

TEST_CASE("an iid split gives every class to every node") {
  auto const data = sorted_by_turns(600, 3);
  for (auto const& shard : split::iid(data, 4, 1)) {
    for (std::uint16_t label = 0; label < 3; ++label) {
      auto const count = std::count_if(shard.begin(), shard.end(), [&](auto s) { return data.labels()[s] == label; });
      CHECK(count > 25);  // 50 expected, standard deviation 5
      CHECK(count < 75);
    }
  }
}

TEST_CASE("splits are functions of their seed") {
  auto const data = sorted_by_turns(90, 3);
  CHECK(split::iid(data, 4, 1) == split::iid(data, 4, 1));
  CHECK(split::iid(data, 4, 1) != split::iid(data, 4, 2));
  CHECK(split::by_label(data, 4, 1) == split::by_label(data, 4, 1));
  CHECK(split::by_label(data, 4, 1) != split::by_label(data, 4, 2));
}

TEST_CASE("the seed of a split by label changes the order inside shards and not who holds what") {
  auto const data = sorted_by_turns(90, 3);
  auto a = split::by_label(data, 4, 1);
  auto b = split::by_label(data, 4, 2);
  for (auto* shards : {&a, &b}) {
    for (auto& shard : *shards) std::sort(shard.begin(), shard.end());
  }
  CHECK(a == b);
}

TEST_CASE("splits refuse no nodes, and more nodes than samples") {
  auto const data = sorted_by_turns(4, 2);
  for (auto const make : {&split::iid, &split::by_label}) {
    CHECK(refusal([&] { return make(data, 0, 1); }) == "data are split over at least one node, not 0");
    CHECK(refusal([&] { return make(data, 5, 1); }) ==
          "data of 4 samples cannot be split over 5 nodes, for each needs at least one sample");
  }
}
