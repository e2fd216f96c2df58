// SPDX-License-Identifier: MIT
#include <rubato/problem/split.hpp>

#include <algorithm>
#include <cmath>
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

TEST_CASE("a Dirichlet split gives every sample to exactly one node and every node a sample") {
  for (auto const alpha : {1e-3, 0.1, 1.0, 1e6}) {
    for (auto const nodes : {1UL, 3UL, 50UL, 60UL}) {
      auto const data = sorted_by_turns(60, 3);
      auto const shards = split::dirichlet(data, nodes, alpha, 7);
      REQUIRE(shards.size() == nodes);
      std::set<std::uint32_t> seen;
      std::size_t total = 0;
      for (auto const& shard : shards) {
        CHECK_FALSE(shard.empty());
        total += shard.size();
        seen.insert(shard.begin(), shard.end());
      }
      CHECK(total == 60);
      CHECK(seen.size() == 60);
    }
  }
}

TEST_CASE("a Dirichlet split goes from one node a label at small alpha to equal shares at large alpha") {
  auto const data = sorted_by_turns(3000, 3);
  auto const largest_share = [&](double alpha) {  // of a label at one node, mean over labels and seeds
    auto sum = 0.0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      std::vector<std::size_t> most(3);
      for (auto const& shard : split::dirichlet(data, 4, alpha, seed)) {
        std::vector<std::size_t> count(3);
        for (auto const s : shard) ++count[data.labels()[s]];
        for (std::size_t c = 0; c < 3; ++c) most[c] = std::max(most[c], count[c]);
      }
      for (auto const m : most) sum += static_cast<double>(m) / 1000 / 3 / 20;
    }
    return sum;
  };
  CHECK(largest_share(0.01) > 0.9);
  CHECK(largest_share(1.0) == Approx((1 + 1 / 2.0 + 1 / 3.0 + 1 / 4.0) / 4).epsilon(0.1));  // broken-stick: H_n / n
  CHECK(largest_share(1e5) < 0.26);
}

TEST_CASE("a Dirichlet split refuses an alpha that is not positive, by name, and is a function of its seed") {
  auto const data = sorted_by_turns(90, 3);
  for (auto const alpha : {0.0, -1.0, std::nan("")}) {
    CHECK(refusal([&] { return split::dirichlet(data, 4, alpha, 1); }).find("the alpha of a Dirichlet split") == 0);
  }
  CHECK(refusal([&] { return split::dirichlet(data, 91, 1, 1); }).find("data of 90 samples cannot be split") == 0);
  CHECK(split::dirichlet(data, 4, 0.5, 1) == split::dirichlet(data, 4, 0.5, 1));
  CHECK(split::dirichlet(data, 4, 0.5, 1) != split::dirichlet(data, 4, 0.5, 2));
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
