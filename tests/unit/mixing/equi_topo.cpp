// SPDX-License-Identifier: MIT
#include <rubato/mixing/equi_topo.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include <rubato/mixing/spectral.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::mixing;
using rubato::test::refusal;
using rubato::test::says;

TEST_CASE("static EquiTopo is circulant with equal parts a shift, and receives from i + u") {
  auto const w = d_equi_static(17, {.shifts = 5, .seed = 3});
  auto sum = 0.0;
  for (auto u = std::size_t{1}; u < 17; ++u) {
    auto const weight = w.at(node_id{0}, to_node(u));
    // A whole number of draws of (n-1)/(n M) each.
    auto const draws = weight * 17 * 5 / 16;
    CHECK(draws == Approx(std::round(draws)).margin(1e-12));
    sum += draws;
    for (auto i = std::size_t{0}; i < 17; ++i) CHECK(w.at(to_node(i), to_node((i + u) % 17)) == weight);
  }
  CHECK(sum == Approx(5));
  CHECK(w.diagonal(node_id{4}) == Approx(1.0 / 17));
  auto const symmetric = u_equi_static(17, {.shifts = 5, .seed = 3});
  for (auto i = std::size_t{0}; i < 17; ++i)
    for (auto j = std::size_t{0}; j < 17; ++j)
      CHECK(symmetric.at(to_node(i), to_node(j)) ==
            Approx((w.at(to_node(i), to_node(j)) + w.at(to_node(j), to_node(i))) / 2).margin(1e-15));
}

TEST_CASE("with as many shifts as its bound asks for, static EquiTopo mixes at the rate asked for, whatever n is") {
  CHECK(equi_shifts(100, 0.5, 0.05) == 88);
  for (auto const n : {10, 40, 150})
    for (auto seed = std::uint64_t{0}; seed < 5; ++seed) {
      auto const nodes = static_cast<std::size_t>(n);
      auto const options = equi_options{.shifts = equi_shifts(nodes, 0.5, 0.01), .seed = seed};
      CHECK(second_singular_value(d_equi_static(nodes, options)) <= 0.5);
      CHECK(second_singular_value(u_equi_static(nodes, options)) <= 0.5);
    }
}

TEST_CASE("a one-peer round is the blend of one shift, drawn from the static graph's or from all") {
  auto const options = equi_options{.shifts = 3, .eta = 0.53, .seed = 9};
  auto const fixed = d_equi_static(17, options);
  auto few = std::set<std::size_t>{}, all = std::set<std::size_t>{};
  for (auto round = std::uint64_t{0}; round < 200; ++round) {
    auto const w = od_equi_dyn(17, options, round);
    REQUIRE(w.row(node_id{0}).size() == 2);
    CHECK(w.diagonal(node_id{0}) == Approx(0.47 + 0.53 / 17));
    for (auto u = std::size_t{1}; u < 17; ++u)
      if (w.at(node_id{0}, to_node(u)) > 0) {
        few.insert(u);
        CHECK(fixed.at(node_id{0}, to_node(u)) > 0);
      }
    auto const any = od_equi_dyn(17, {.seed = 9}, round);
    for (auto u = std::size_t{1}; u < 17; ++u)
      if (any.at(node_id{0}, to_node(u)) > 0) all.insert(u);
  }
  CHECK(few.size() <= 3);
  CHECK(all.size() == 16);
}

TEST_CASE("an undirected one-peer round pairs nodes of one shift, as many as fit") {
  for (auto const n : {2, 3, 8, 17})
    for (auto round = std::uint64_t{0}; round < 30; ++round) {
      auto const size = static_cast<std::size_t>(n);
      auto const w = ou_equi_dyn(size, {.eta = 1, .seed = 4}, round);
      INFO("n = " << n << ", round " << round);
      auto shifts = std::set<std::size_t>{};
      auto alone = std::vector<std::size_t>{};
      for (auto i = std::size_t{0}; i < size; ++i) {
        REQUIRE(w.row(to_node(i)).size() <= 2);
        if (w.row(to_node(i)).size() == 1) alone.push_back(i);
        for (auto const& other : w.row(to_node(i)))
          if (other.peer != to_node(i)) {
            CHECK(other.weight == Approx((n - 1.0) / n));
            CHECK(w.at(other.peer, to_node(i)) == other.weight);
            auto const u = (to_index(other.peer) + size - i) % size;
            shifts.insert((std::min)(u, size - u));
          }
      }
      REQUIRE(shifts.size() == 1);
      auto const u = *shifts.begin();
      for (auto const i : alone)
        for (auto const j : alone) CHECK((i == j || ((i + u) % size != j && (j + u) % size != i)));
      CHECK(ou_equi_dyn(size, {.eta = 1, .seed = 4}, round).row(node_id{0}).size() == w.row(node_id{0}).size());
    }
}

TEST_CASE("EquiTopo of one and of two nodes, and options that make no sense") {
  CHECK(d_equi_static(1, {.shifts = 2}).diagonal(node_id{0}) == 1);
  CHECK(od_equi_dyn(1, {}, 0).diagonal(node_id{0}) == 1);
  CHECK(ou_equi_dyn(1, {}, 0).diagonal(node_id{0}) == 1);
  CHECK(u_equi_static(2, {.shifts = 3}).at(node_id{0}, node_id{1}) == Approx(0.5));
  CHECK(ou_equi_dyn(2, {.eta = 1}, 7).at(node_id{0}, node_id{1}) == 0.5);
  CHECK(says(refusal([] { (void)d_equi_static(5, {}); }), "need a number of shifts"));
  CHECK(says(refusal([] { (void)od_equi_dyn(5, {.eta = 0}, 1); }), "eta is 0"));
  CHECK(says(refusal([] { (void)ou_equi_dyn(5, {.eta = 1.5}, 1); }), "eta is 1.5"));
  CHECK(says(refusal([] { (void)ou_equi_dyn(0, {}, 1); }), "no node"));
  CHECK(says(refusal([] { (void)equi_shifts(5, 0, 0.1); }), "between 0 and 1"));
}

}  // namespace
