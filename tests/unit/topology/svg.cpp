// SPDX-License-Identifier: MIT
#include <rubato/topology/svg.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/topology/builders.hpp>
#include <rubato/topology/places.hpp>

#include "support/catch.hpp"

namespace {
using namespace rubato;
using namespace rubato::topology;

auto count(std::string const& text, std::string_view part) -> std::size_t {
  auto found = std::size_t{0};
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}
auto drawn(digraph const& graph, svg_options const& options = {}) -> std::string {
  return to_svg(graph, places_of(graph), options);
}

TEST_CASE("an undirected graph has a line a pair without arrows, and a numbered circle a node") {
  auto const svg = drawn(ring(6));
  CHECK(count(svg, "<circle") == 6);
  CHECK(count(svg, "<path d=\"M") - count(svg, "<path d=\"M0 0L10 4") == 6);
  CHECK(count(svg, "marker-end") == 0);
  CHECK(count(svg, ">5</text>") == 1);
  CHECK(count(svg, ">ring(6)</text>") == 1);
}

TEST_CASE("edges that go one way have an arrow, and opposite ones of a directed graph share a line with two") {
  auto const one_way = drawn(directed_ring(5));
  CHECK(count(one_way, "marker-end") == 5);
  CHECK(count(one_way, "marker-start") == 0);
  // Hops 1 and 2 go one way, and hop 4 of 8 both.
  auto const exponential_graph = drawn(exponential(8));
  CHECK(count(exponential_graph, "marker-end") == 16 + 4);
  CHECK(count(exponential_graph, "marker-start") == 4);
}

TEST_CASE("the edges of a tree stand out before the others, in their direction, and the root has a ring") {
  auto const graph = grid({2, 3});
  auto const trees = spanning_trees(graph, node_id{1});
  auto const svg = drawn(graph, {.root = trees.root(), .strong = trees.pull().edges()});
  CHECK(count(svg, "url(#s)") == 5);
  CHECK(count(svg, "stroke=\"#d3d8dd\"") == 7 - 5);
  CHECK(count(svg, "<circle") == 6 + 1);
}

TEST_CASE("an edge that would run through a node is bent, and no other is") {
  CHECK(count(to_svg(torus({1, 5}), lattice_places({1, 5})), "Q") == 1);
  CHECK(count(to_svg(grid({3, 4}), lattice_places({3, 4})), "Q") == 0);
  CHECK(count(to_svg(torus({3, 4}), lattice_places({3, 4})), "Q") == 7);
}

TEST_CASE("titles and captions of others do no harm") {
  auto const svg = drawn(line(2), {.title = "a <b> & \"c\"\n", .captions = {"1 < 2"}});
  CHECK(count(svg, "a &lt;b&gt; &amp; &quot;c&quot;\\n</text>") == 1);
  CHECK(count(svg, "1 &lt; 2</text>") == 1);
}

TEST_CASE("one node and a thousand have a picture") {
  CHECK(count(drawn(line(1)), "<circle") == 1);
  auto const many = drawn(small_world(1000));
  CHECK(count(many, "<circle") == 1000);
  CHECK(count(many, "nan") == 0);
  CHECK(count(many, "</text>") == 1);
}

TEST_CASE("places by name are those of lattices, groups and geometric graphs, with parameters and without") {
  auto const same = [](std::string_view name, std::size_t n, std::vector<point> const& wanted) {
    auto const made = places_by_name(name, by_name(name, n));
    return std::equal(made.begin(), made.end(), wanted.begin(), wanted.end(),
                      [](point a, point b) { return a.x == b.x && a.y == b.y; });
  };
  CHECK(same("torus", 12, lattice_places({3, 4})));
  CHECK(same("grid:6x2", 12, lattice_places({6, 2})));
  CHECK(same("hierarchical", 12, group_places({0, 4, 8, 12})));
  CHECK(same("hierarchical:2", 12, group_places({0, 6, 12})));
  CHECK(same("geometric", 12, geometric_with_places(12, connecting_radius(12), 0).places));
  CHECK(same("geometric:0.7:3", 12, geometric_with_places(12, 0.7, 3).places));
  CHECK(same("random_regular:3", 12, circle_places(12)));
  CHECK(same("binary-tree", 12, tree_places(binary_tree(12), node_id{0})));
}

/// No two nodes nearer than this.
auto least_distance(std::vector<point> const& places) -> double {
  auto least = 1e300;
  for (auto i = std::size_t{0}; i < places.size(); ++i)
    for (auto j = std::size_t{0}; j < i; ++j)
      least = (std::min)(least, std::hypot(places[i].x - places[j].x, places[i].y - places[j].y));
  return least;
}

TEST_CASE("places keep nodes apart, put levels of a tree below each other, and long trees lengthways") {
  for (auto const n : {2, 3, 7, 8, 31, 100}) {
    auto const nodes = static_cast<std::size_t>(n);
    INFO("n = " << n);
    CHECK(least_distance(circle_places(nodes)) > 0.99);
    CHECK(least_distance(lattice_places({2, nodes})) == Approx(1));
    CHECK(least_distance(tree_places(binary_tree(nodes), node_id{0})) > 0.6);
    CHECK(least_distance(tree_places(star(nodes), node_id{0})) > 0.6);
    CHECK(least_distance(tree_places(line(nodes), node_id{0})) > 0.99);
    if (n > 3) CHECK(least_distance(group_places(group_begins(nodes, nodes / 3))) > 0.8);
  }
  auto const tree = tree_places(binary_tree(7), node_id{0});
  CHECK(tree[0].y < tree[1].y);
  CHECK(tree[1].y == tree[2].y);
  CHECK(tree[0].x == Approx((tree[1].x + tree[2].x) / 2));
  auto const chain = tree_places(line(5), node_id{0});
  CHECK(chain[4].x > chain[0].x + 4);
  CHECK(chain[4].y == chain[0].y);
}

}  // namespace
