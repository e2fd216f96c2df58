// SPDX-License-Identifier: MIT
// Law 11: an edge lives in a session. Closing is exact at any time and at either end alone, late packets are dropped,
// and a reopened edge works. Negative control: without sessions the law breaks.
#include <algorithm>
#include <cmath>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/for_all.hpp"
#include "support/shuffled.hpp"

namespace {

using namespace rubato;
using enum neighbour_change::edge;
using fixed_node = r_fast<backend::host<float>>;

template<class Node>
auto assembled(topology::pair const& network, problem::quadratic const& q, double step) -> assembly {
  typename Node::options options{};
  options.step = step;
  return assemble<Node>(network, q, options);
}

auto largest(std::vector<double> const& law, double modulus) -> double {
  auto worst = 0.0;
  for (auto const v : law) worst = std::max(worst, std::abs(modulus > 0 ? std::remainder(v, modulus) : v));
  return worst;
}

/// The state of one undirected edge: how often each end was told, and what.
struct edge_ends {
  std::size_t a;
  std::size_t b;
  std::uint32_t told_a = 0;
  std::uint32_t told_b = 0;
};
auto what_of(std::uint32_t number) -> neighbour_change::edge { return number % 2 == 1 ? closes : opens; }

/// Opens and closes edges at random, each end at its own time; ends with both ends of every edge told the same.
void random_changes(test::shuffled& run, std::vector<edge_ends>& edges, random_stream& gen) {
  for (int k = 0; k < 40; ++k) {
    run.steps(static_cast<int>(gen.below(30)));
    auto& e = edges[gen.below(edges.size())];
    auto const first = gen.chance(0.5);
    auto& told = first ? e.told_a : e.told_b;
    if (told > (first ? e.told_b : e.told_a)) continue;  // a session ends at both ends before the next begins
    ++told;
    run.change(first ? e.a : e.b, first ? e.b : e.a, what_of(told), told);
    REQUIRE(largest(test::law_of(run), 0x1p32) == 0.0);
  }
  for (auto& e : edges) {
    run.steps(5);
    if (e.told_a < e.told_b) run.change(e.a, e.b, what_of(e.told_b), e.told_b);
    if (e.told_b < e.told_a) run.change(e.b, e.a, what_of(e.told_a), e.told_a);
    e.told_a = e.told_b = std::max(e.told_a, e.told_b);
  }
}

TEST_CASE("edges that close and open at random times never break the law, and the run still finds the optimum") {
  test::for_all(25, [](random_stream& gen, std::uint64_t seed) {
    auto const n = 4 + gen.below(4);
    auto const graph = gen.chance(0.5) ? topology::ring(n) : topology::complete(n);
    auto const q = problem::quadratic::random(n, 3, seed, {.spread = 1, .condition = 3, .noise = 0});
    auto run = test::shuffled{assembled<fixed_node>(topology::both(graph), q, 0.1), seed, 0.2};
    std::vector<edge_ends> edges;
    for (auto const e : graph.edges()) {
      if (e.from < e.to) edges.push_back({to_index(e.from), to_index(e.to)});
    }
    run.steps(100);
    random_changes(run, edges, gen);
    REQUIRE(largest(test::law_of(run), 0) == 0.0);
    for (auto& e : edges) {
      if (what_of(e.told_a) == opens) continue;
      run.change(e.a, e.b, opens, ++e.told_a);
      run.change(e.b, e.a, opens, ++e.told_b);
    }
    run.steps(60'000);
    REQUIRE(run.failure().empty());
    REQUIRE(largest(test::law_of(run), 0) == 0.0);
    for (std::size_t i = 0; i < n; ++i) REQUIRE(test::distance(run.model(i), q.optimum()) < 1e-4);
  });
}

/// The problem of all nodes but one.
auto survivors(problem::quadratic const& all, std::size_t dead) -> problem::quadratic {
  problem::quadratic::rows h, b;
  for (std::size_t i = 0; i < all.nodes(); ++i) {
    if (i == dead) continue;
    h.emplace_back();
    b.emplace_back();
    for (std::size_t k = 0; k < all.dimension(); ++k) {
      h.back().push_back(all.curvature(i, k));
      b.back().push_back(all.centre(i, k));
    }
  }
  return {h, b};
}

template<class Node>
void survivors_agree(double law_within, double within) {
  constexpr std::size_t n = 5, dead = 2;
  auto const all = problem::quadratic::random(n, 3, 9, {.spread = 2, .condition = 3, .noise = 0});
  auto run = test::shuffled{assembled<Node>(topology::both(topology::complete(n)), all, 0.1), 3, 0.3};
  run.steps(700);
  run.kill(dead);
  run.steps(100);  // the others do not know it yet
  for (std::size_t i = 0; i < n; ++i) {
    if (i != dead) run.change(i, dead, closes, 1);
    run.steps(20);
  }
  CHECK(largest(test::law_of(run), 0) <= law_within);
  run.steps(60'000);
  CHECK(largest(test::law_of(run), 0) <= law_within);
  auto const best = survivors(all, dead).optimum();
  REQUIRE(test::distance(best, all.optimum()) > 0.01);
  for (std::size_t i = 0; i < n; ++i) {
    if (i != dead) CHECK(test::distance(run.model(i), best) < within);
  }
}

TEST_CASE("the survivors of a death reach the optimum of the survivors' sum") {
  SECTION("fixed point") { survivors_agree<fixed_node>(0.0, 2e-5); }
  SECTION("floating, double") { survivors_agree<r_fast<backend::host<double>>>(1e-9, 1e-9); }
  SECTION("fixed point in hardware vectors") { survivors_agree<r_fast<backend::eigen<float>>>(0.0, 2e-5); }
}

TEST_CASE("late packets of a closed session are dropped; if they were accepted they would break the law") {
  constexpr std::size_t dead = 2;  // it pushes to the others, who do not push to it
  auto const push = topology::from_edges(
      3, {{node_id{0}, node_id{1}}, {node_id{1}, node_id{0}}, {node_id{2}, node_id{0}}, {node_id{2}, node_id{1}}},
      "push");
  auto const q = problem::quadratic::random(3, 3, 4);
  for (auto const with_sessions : {true, false}) {
    auto run = test::shuffled{assembled<fixed_node>({topology::complete(3), push}, q, 0.05), 8, 0.0};
    run.steps(200);
    run.kill(dead);
    for (std::size_t i : {0U, 1U}) run.change(i, dead, closes, 1);
    for (std::size_t i : {0U, 1U}) run.change(i, dead, opens, 2);
    REQUIRE(run.strangers({2, 2}) > 0);
    CHECK(largest(test::law_of(run), 0) == 0.0);
    if (!with_sessions) run.restamp_from(dead, {2, 2});
    run.steps(60'000);
    auto const best = survivors(q, dead).optimum();
    auto const off = std::max(test::distance(run.model(0), best), test::distance(run.model(1), best));
    INFO((with_sessions ? "with sessions" : "without sessions") << ", " << off << " from the optimum");
    CHECK((off < 2e-5) == with_sessions);
    CHECK((largest(test::law_of(run), 0) == 0.0) == with_sessions);
  }
}

/// A gradient that never changes: every total grows by the same amount for ever.
struct constant_pull {
  [[nodiscard]] auto dimension() const -> std::size_t { return 3; }
  template<backend::array_backend Backend>
  auto gradient(Backend&, std::span<typename Backend::scalar const>, sample_key,
                std::span<typename Backend::scalar> g) const -> double {
    for (std::size_t k = 0; k < g.size(); ++k) g[k] = k == 1 ? -0.75F : 1.0F;
    return 0;
  }
};

TEST_CASE("an edge whose total wrapped many times closes exactly and without leaving the ledger's range") {
  fixed_node::options options{};
  options.step = 1e-3;
  options.ledger.exponents = {24};
  auto run =
      test::shuffled{assemble<fixed_node>(topology::both(topology::exponential(4)), constant_pull{}, options), 8, 0.1};
  for (std::uint32_t k = 0; k < 2; ++k) {
    run.steps(60'000);
    run.change(0, 1, closes, 2 * k + 1);
    CHECK(largest(test::law_of(run), 0x1p32) == 0.0);
    run.change(1, 0, closes, 2 * k + 1);
    CHECK(largest(test::law_of(run), 0) == 0.0);
    tracking_audit a;
    run.nodes()[0].audit(a);
    CHECK(std::abs(a.tracker[0]) > 0x1p32);  // more than one wrap
    run.steps(3000);
    CHECK(largest(test::law_of(run), 0) == 0.0);
    CHECK(run.failure() == "");
    run.change(0, 1, opens, 2 * k + 2);
    run.change(1, 0, opens, 2 * k + 2);
  }
}

}  // namespace
