// SPDX-License-Identifier: MIT
#include <rubato/mixing/matrix.hpp>

#include <limits>
#include <vector>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::mixing;
using rubato::test::refusal;
using rubato::test::says;

constexpr auto a = node_id{0}, b = node_id{1}, c = node_id{2};

TEST_CASE("a matrix keeps its rows sorted and its zeros out") {
  auto const m = from_entries(2, {{a, b, 0.25}, {b, b, 1.0}, {a, a, 0.75}, {b, a, 0.0}}, stochasticity::row);
  CHECK(m.nodes() == 2);
  CHECK(m.row(a).size() == 2);
  CHECK(m.row(b).size() == 1);
  CHECK(m.at(a, b) == 0.25);
  CHECK(m.at(b, a) == 0.0);
  CHECK(m.diagonal(a) == 0.75);
  CHECK(m.transposed().at(b, a) == 0.25);
  CHECK(m.transposed().kind() == stochasticity::column);
  CHECK(support(m) == topology::from_edges(2, {{b, a}}));
}

TEST_CASE("a matrix of pairs is symmetric, and each node keeps what its pairs leave") {
  auto const m = from_pairs(3, {{a, b, 0.25}, {c, b, 0.5}});
  for (auto const& [i, j, w] : std::vector<entry>{{a, b, .25}, {b, a, .25}, {b, c, .5}, {c, b, .5}, {a, c, 0}})
    CHECK(m.at(i, j) == w);
  CHECK(m.diagonal(a) == 0.75);
  CHECK(m.diagonal(b) == 0.25);
  CHECK(from_pairs(2, {}).diagonal(b) == 1);
  CHECK(says(refusal([] { (void)from_pairs(2, {{a, c, 1}}); }), "(0, 2) of the custom weights does not exist"));
  CHECK(says(refusal([] { (void)from_pairs(2, {{a, b, 1.5}}); }), "(0, 0) of the custom weights is -0.5"));
  CHECK(from_pairs(2, {{a, b, 1.5}}, "any", signs::any).diagonal(a) == -0.5);
}

TEST_CASE("sums that are not one are refused by row, by column and by value") {
  auto const row = refusal([] { (void)from_entries(2, {{a, a, 1}, {b, b, 0.5}, {b, a, 0.4}}, stochasticity::row); });
  CHECK(says(row, "row 1 of the custom weights sums to 0.9"));
  auto const column =
      refusal([] { (void)from_entries(2, {{a, a, 0.5}, {a, b, 0.5}, {b, b, 1}}, stochasticity::column); });
  CHECK(says(column, "column 0"));
  CHECK(says(column, "0.5"));
  CHECK(says(refusal([] {
               (void)from_entries(2, {{a, a, 0.5}, {a, b, 0.5}, {b, b, 1}}, stochasticity::doubly, "weights of mine");
             }),
             "column 0 of the weights of mine"));
  CHECK_FALSE(refusal([] { (void)from_entries(1, {{a, a, 1 + 1e-11}}, stochasticity::row); }).empty());
  CHECK(refusal([] { (void)from_entries(1, {{a, a, 1 + 1e-13}}, stochasticity::row); }).empty());
}

TEST_CASE("invalid weights are refused with their place") {
  auto const refused = [](std::vector<entry> const& entries) {
    return refusal([&] { (void)from_entries(2, entries, stochasticity::row); });
  };
  CHECK(says(refused({{a, a, 1.5}, {a, b, -0.5}, {b, b, 1}}), "(0, 1) of the custom weights is -0.5"));
  CHECK(says(refused({{a, a, std::numeric_limits<double>::quiet_NaN()}}), "(0, 0)"));
  CHECK(says(refused({{a, a, std::numeric_limits<double>::infinity()}}), "inf"));
  CHECK(says(refused({{a, c, 1}}), "(0, 2) of the custom weights does not exist"));
  CHECK(says(refused({{a, a, 0.5}, {a, a, 0.5}, {b, b, 1}}), "given twice"));
  CHECK(says(refused({{a, b, 1}, {b, b, 1}}), "node 0 keeps no weight of its own"));
  CHECK(says(refusal([] { (void)from_entries(0, {}, stochasticity::row); }), "no row"));
}

TEST_CASE("uniform weights follow the edges: pull averages what comes in, push splits what goes out") {
  auto const graph = topology::from_edges(3, {{a, c}, {b, c}, {c, a}});
  auto const pull = uniform_pull(graph);
  CHECK(pull.kind() == stochasticity::row);
  CHECK(pull.at(c, a) == Approx(1.0 / 3));
  CHECK(pull.at(c, c) == Approx(1.0 / 3));
  CHECK(pull.at(a, c) == 0.5);
  CHECK(pull.at(b, b) == 1.0);
  auto const push = uniform_push(graph);
  CHECK(push.kind() == stochasticity::column);
  CHECK(push.at(c, a) == 0.5);
  CHECK(push.at(c, b) == 0.5);
  CHECK(push.at(a, c) == 0.5);
  CHECK(push.at(a, b) == 0.0);
  CHECK(support(pull) == graph);
  CHECK(support(push) == graph);
}

TEST_CASE("Metropolis-Hastings weights are symmetric and leave a star's leaves 1 - 1/n") {
  auto const m = metropolis_hastings(topology::star(5));
  CHECK(m.kind() == stochasticity::doubly);
  CHECK(m.at(a, b) == Approx(0.2));
  CHECK(m.at(b, a) == m.at(a, b));
  CHECK(m.diagonal(a) == Approx(0.2));
  CHECK(m.diagonal(b) == Approx(0.8));
  CHECK(metropolis_hastings(topology::line(1)).diagonal(a) == 1.0);
  CHECK(metropolis_hastings(topology::star(10'000)).diagonal(a) == Approx(1e-4));
}

TEST_CASE("Metropolis-Hastings weights refuse a directed graph by the edge without a reverse") {
  auto const sentence = refusal([] { (void)metropolis_hastings(topology::from_edges(3, {{a, b}, {b, a}, {c, b}})); });
  CHECK(says(sentence, "2 -> 1"));
}

TEST_CASE("a dense matrix equals the sparse one of its entries, and has as many entries per row as rows") {
  auto const m = from_rows({{0.75, 0.25, 0}, {0, 1, 0}, {0.5, 0, 0.5}}, stochasticity::row, "mine");
  CHECK(m.nodes() == 3);
  CHECK(m.name() == "mine");
  CHECK(m.row(a).size() == 2);
  CHECK(m.row(b).size() == 1);
  CHECK(m.at(a, b) == 0.25);
  CHECK(m.at(c, a) == 0.5);
  auto const ragged = refusal([] { (void)from_rows({{0.5, 0.5}, {1}}, stochasticity::row, "mine"); });
  CHECK(ragged == "row 1 of the mine has 1 entries, and there are 2 rows: weights are a square matrix");
  CHECK(says(refusal([] { (void)from_rows({{0.5, 0.6}, {0, 1}}, stochasticity::row); }), "row 0"));
}

TEST_CASE("negative weights are accepted only where they are allowed, also on the diagonal") {
  auto const rows = std::vector<std::vector<double>>{{-0.25, 1.25}, {1.25, -0.25}};
  auto const m = from_rows(rows, stochasticity::doubly, "mine", signs::any);
  CHECK(m.at(a, a) == -0.25);
  CHECK(m.transposed().at(b, b) == -0.25);
  CHECK(support(from_rows({{1.5, -0.5}, {-0.5, 1.5}}, stochasticity::doubly, "mine", signs::any)).edge_count() == 2);
  CHECK(says(refusal([&] { (void)from_rows(rows, stochasticity::doubly); }), "entry (0, 0)"));
  auto const unbounded = std::numeric_limits<double>::infinity();
  CHECK(says(refusal([&] { (void)from_rows({{unbounded}}, stochasticity::doubly, "mine", signs::any); }), "finite"));
  CHECK(says(refusal([&] { (void)from_rows({{-1}}, stochasticity::doubly, "mine", signs::any); }), "sums to -1"));
}

}  // namespace
