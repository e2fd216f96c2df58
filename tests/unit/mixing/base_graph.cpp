// SPDX-License-Identifier: MIT
#include <rubato/mixing/base_graph.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::mixing;
using rubato::test::refusal;
using rubato::test::says;

using dense = std::vector<std::vector<double>>;

/// The rounds in their order, applied to the unit vectors.
auto product(std::vector<matrix> const& rounds) -> dense {
  auto const n = rounds.front().nodes();
  auto all = dense(n, std::vector<double>(n, 0.0));
  for (auto i = std::size_t{0}; i < n; ++i) all[i][i] = 1;
  for (auto const& round : rounds) {
    auto next = dense(n, std::vector<double>(n, 0.0));
    for (auto i = std::size_t{0}; i < n; ++i)
      for (auto const& w : round.row(to_node(i)))
        for (auto j = std::size_t{0}; j < n; ++j) next[i][j] += w.weight * all[to_index(w.peer)][j];
    all = next;
  }
  return all;
}

TEST_CASE("the Base-(k+1) graph is exact, symmetric, of degree k at most, and short, for every n and k") {
  for (auto k = std::size_t{1}; k <= 4; ++k)
    for (auto n = std::size_t{1}; n <= 64; ++n) {
      INFO("n = " << n << ", k = " << k);
      auto const rounds = base_graph(n, k);
      auto asymmetry = 0.0, error = 0.0;
      auto degree = std::size_t{0};
      for (auto const& round : rounds)
        for (auto i = std::size_t{0}; i < n; ++i) {
          degree = (std::max)(degree, round.row(to_node(i)).size() - 1);
          for (auto const& w : round.row(to_node(i)))
            asymmetry = (std::max)(asymmetry, std::abs(w.weight - round.at(w.peer, to_node(i))));
        }
      for (auto const& row : product(rounds))
        for (auto const x : row) error = (std::max)(error, std::abs(x - 1 / static_cast<double>(n)));
      CHECK(asymmetry == 0);
      CHECK(degree <= k);
      CHECK(error < 1e-14);
      if (n > 1)
        CHECK(static_cast<double>(rounds.size()) <=
              2 * std::log(static_cast<double>(n)) / std::log(static_cast<double>(k) + 1) + 2);
    }
}

TEST_CASE("the Base-(k+1) graph has the lengths of its authors' program") {
  using lengths = std::map<std::size_t, std::size_t>;
  auto const check = [](std::size_t k, lengths const& known) {
    for (auto const& [n, length] : known) {
      INFO("n = " << n << ", k = " << k);
      CHECK(base_graph(n, k).size() == length);
    }
  };
  check(1, {{3, 3},
            {4, 2},
            {5, 5},
            {6, 4},
            {7, 5},
            {8, 3},
            {9, 7},
            {10, 6},
            {12, 5},
            {16, 4},
            {17, 9},
            {24, 6},
            {25, 9},
            {32, 5},
            {33, 11},
            {48, 7},
            {64, 6}});
  check(2, {{3, 1}, {5, 3}, {7, 4}, {9, 2}, {10, 4}, {16, 4}, {25, 6}});
  check(4, {{5, 1}, {25, 2}, {7, 3}, {33, 5}});
}

/// Edges a round, as a * 10 + b (a < b), and their weights.
using known_rounds = std::vector<std::map<int, double>>;

void check_rounds(std::vector<matrix> const& rounds, known_rounds const& known) {
  REQUIRE(rounds.size() == known.size());
  for (auto r = std::size_t{0}; r < known.size(); ++r) {
    INFO("round " << r);
    auto pairs = std::size_t{0};
    for (auto i = std::size_t{0}; i < rounds[r].nodes(); ++i)
      for (auto const& w : rounds[r].row(to_node(i))) pairs += to_index(w.peer) > i ? 1U : 0U;
    CHECK(pairs == known[r].size());
    for (auto const& [ends, weight] : known[r])
      CHECK(rounds[r].at(to_node(static_cast<std::size_t>(ends / 10)), to_node(static_cast<std::size_t>(ends % 10))) ==
            Approx(weight).epsilon(1e-15));
  }
}

TEST_CASE("the Base-2 graphs of 5, 6 and 7 nodes have known edges") {
  check_rounds(
      base_graph(5, 1),
      {{{1, .5}, {23, .5}}, {{2, .5}, {13, .5}}, {{34, .8}, {1, .5}}, {{1, .5}, {23, .5}}, {{2, .5}, {13, .5}}});
  check_rounds(base_graph(6, 1),
               {{{1, .5}, {34, .5}}, {{12, 2. / 3}, {45, 2. / 3}}, {{1, .5}, {34, .5}}, {{3, .5}, {14, .5}, {25, .5}}});
  check_rounds(base_graph(7, 1), {{{1, .5}, {23, .5}, {45, .5}},
                                  {{2, .5}, {13, .5}, {45, .5}},
                                  {{36, 4. / 7}, {24, 4. / 7}, {15, 4. / 7}},
                                  {{56, 2. / 3}, {1, .5}, {23, .5}},
                                  {{45, .5}, {2, .5}, {13, .5}}});
}

TEST_CASE("the Base-(k+1) graph needs a node and a neighbour, and takes more neighbours than there are") {
  CHECK(says(refusal([] { (void)base_graph(4, 0); }), "at least one neighbour"));
  CHECK(says(refusal([] { (void)base_graph(0, 1); }), "has no node"));
  CHECK(base_graph(7, 1000).size() == 1);
}

}  // namespace
