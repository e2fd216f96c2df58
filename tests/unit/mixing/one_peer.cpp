// SPDX-License-Identifier: MIT
#include <rubato/mixing/one_peer.hpp>

#include <cmath>
#include <utility>
#include <vector>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {
using namespace rubato;
using namespace rubato::mixing;
using rubato::test::refusal;
using rubato::test::says;

constexpr auto pi = 3.14159265358979323846;
auto close_to(double value, double margin = 1e-12) -> Approx { return Approx(value).margin(margin).epsilon(0); }

TEST_CASE("a round of the one-peer exponential sequence takes half from the node 2^k before") {
  auto const rounds = one_peer_exponential(5);
  REQUIRE(rounds.size() == 3);
  CHECK(support(rounds[0]) == topology::directed_ring(5));
  for (auto k = std::size_t{0}; k < 3; ++k)
    for (auto i = std::size_t{0}; i < 5; ++i) {
      CHECK(rounds[k].row(to_node(i)).size() == 2);
      CHECK(rounds[k].diagonal(to_node(i)) == 0.5);
      CHECK(rounds[k].at(to_node((i + (std::size_t{1} << k)) % 5), to_node(i)) == 0.5);
    }
  CHECK(second_singular_value(rounds[0]) == close_to(std::cos(pi / 5), 1e-9));
  CHECK(one_peer_exponential(1).size() == 1);
  CHECK(one_peer_exponential(2).size() == 1);
}

TEST_CASE("the one-peer exponential sequence is exact at powers of two and nowhere else") {
  for (auto n = std::size_t{1}; n <= 34; ++n) {
    INFO("n = " << n);
    auto const left = residual(one_peer_exponential(n));
    if ((n & (n - 1)) == 0) CHECK(left == close_to(0));
    else CHECK(left * static_cast<double>(n) > 0.5);
  }
  for (auto const& [n, left] :
       std::vector<std::pair<std::size_t, double>>{{6, 0.2165}, {7, 0.1250}, {12, 0.2091}, {24, 0.2073}})
    CHECK(residual(one_peer_exponential(n)) == close_to(left, 6e-5));
}

TEST_CASE("groups average inside, then their leaders, then inside again") {
  auto const rounds = hierarchical_rounds(6, 2);
  REQUIRE(rounds.size() == 3);
  CHECK(rounds[0].at(node_id{1}, node_id{2}) == close_to(1.0 / 3));
  CHECK(rounds[0].at(node_id{0}, node_id{3}) == 0);
  CHECK(rounds[1].at(node_id{0}, node_id{3}) == 0.5);
  CHECK(rounds[1].diagonal(node_id{1}) == 1);
  CHECK(hierarchical_rounds(6, 2, 4).size() == 6);
  // One leader of three moves half: the difference of the groups' means shrinks to 2/3.
  CHECK(residual(rounds) == close_to(2.0 / 3));
  CHECK(residual(hierarchical_rounds(5, 1)) == close_to(0));
  CHECK(residual(hierarchical_rounds(4, 4, 1, topology::inside_groups::star, topology::among_leaders::complete)) ==
        close_to(0));
}

TEST_CASE("shift-one pairs each node of the first half with each of the second once, as BAGUA's formula says") {
  for (auto const n : {std::size_t{2}, std::size_t{6}, std::size_t{10}}) {
    auto const half = n / 2;
    auto const rounds = shift_one(n);
    REQUIRE(rounds.size() == half);
    for (auto s = std::size_t{0}; s < half; ++s) {
      for (auto r = std::size_t{0}; r < n; ++r) {
        auto const peer = r < half ? (s + r) % half + half : (r - s) % half;
        CHECK(rounds[s].at(to_node(r), to_node(peer)) == 0.5);
        CHECK(rounds[s].diagonal(to_node(r)) == 0.5);
        CHECK(rounds[s].row(to_node(r)).size() == 2);
      }
    }
    // After the first round both halves hold the same, and each further one is (I + S) / 2 of it, S a shift by one.
    CHECK(residual(rounds) == close_to(half == 1 ? 0 : std::pow(std::cos(pi / static_cast<double>(half)), half - 1)));
  }
}

TEST_CASE("rounds of every k-th iteration have k - 1 before them in which nothing moves") {
  auto const rounds = every(3, shift_one(4));
  REQUIRE(rounds.size() == 6);
  for (auto const k : {0U, 1U, 3U, 4U})
    for (auto i = std::size_t{0}; i < 4; ++i) CHECK(rounds[k].diagonal(to_node(i)) == 1);
  CHECK(rounds[2].at(node_id{0}, node_id{2}) == 0.5);
  CHECK(rounds[5].at(node_id{0}, node_id{3}) == 0.5);
  CHECK(residual(rounds) == close_to(residual(shift_one(4))));
  CHECK(residual(every(1000, shift_one(16))) == residual(shift_one(16)));
  CHECK(says(refusal([] { (void)every(10'000'000, shift_one(4)); }), "every 524288 iterations or more often"));
  CHECK(says(refusal([] { (void)every(~std::size_t{0}, shift_one(2)); }), "too many matrices to hold"));
}

TEST_CASE("a sequence needs a round, and the same nodes in all") {
  CHECK(says(refusal([] { (void)residual({}); }), "at least one matrix"));
  CHECK(says(refusal([] { (void)residual({one_peer_exponential(2)[0], one_peer_exponential(3)[0]}); }),
             "for 2 and for 3 nodes"));
  CHECK(says(refusal([] { (void)one_peer_exponential(0); }), "no node"));
}

}  // namespace
