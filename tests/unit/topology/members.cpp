// SPDX-License-Identifier: MIT
#include <rubato/topology/members.hpp>

#include <set>
#include <vector>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;

auto ids(std::vector<std::size_t> const& of) -> std::vector<node_id> {
  std::vector<node_id> all;
  for (auto const i : of) all.push_back(to_node(i));
  return all;
}

TEST_CASE("members with low ids sit at their own places, and the others at the free ones") {
  CHECK(topology::seats(ids({0, 1, 2, 3})) == ids({0, 1, 2, 3}));
  CHECK(topology::seats(ids({1, 2, 3})) == ids({3, 1, 2}));
  CHECK(topology::seats(ids({0, 2, 5, 6})) == ids({0, 5, 2, 6}));
  CHECK(topology::seats(ids({5, 6, 7})) == ids({5, 6, 7}));
  CHECK(topology::seats(ids({4})) == ids({4}));
}

TEST_CASE("each member of every set sits at exactly one place") {
  for (unsigned set = 1; set < 256; ++set) {
    std::vector<node_id> present;
    for (std::size_t i = 0; i < 8; ++i)
      if ((set >> i & 1U) != 0) present.push_back(to_node(i));
    auto const at = topology::seats(present);
    CHECK(std::set<node_id>(at.begin(), at.end()) == std::set<node_id>(present.begin(), present.end()));
  }
}

TEST_CASE("where the root of a tree is gone, who sits at its place is the root") {
  auto const trees = topology::member_graphs{5, topology::binary_tree};
  CHECK(trees.most() == 5);
  CHECK(trees.of(5).is_tree_pair());
  CHECK(trees.root(ids({0, 1, 2, 3, 4})) == node_id{0});
  CHECK(trees.root(ids({1, 2, 3, 4})) == node_id{4});
  CHECK(trees.root(ids({1, 2, 3})) == node_id{3});
  CHECK(trees.root(ids({1})) == node_id{1});
}

}  // namespace
