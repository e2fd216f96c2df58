// SPDX-License-Identifier: MIT
// Between processes: a node of the run that posts huge models neither moves the others, which have a rule of admission,
// nor keeps them from their end.
#include <rubato/run/admission.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "support/catch.hpp"
#include "support/lying_node.hpp"
#include "support/refusal.hpp"
#include "transport/peers.hpp"

namespace rubato::test {
namespace {

TEST_CASE("over TCP huge models of one node are refused, counted and told, and the others end at the optimum") {
  constexpr std::size_t nodes = 4, insider = 2;
  auto const p = quadratic::random(nodes, 6, 14, {.spread = 1, .condition = 4, .noise = 0});
  tcp_doors doors{nodes};
  auto const assemble_one = [&](std::size_t i) {
    auto a = assemble<r_fast<space>>(topology::ring(nodes), p, {.step = 0.1});
    if (i == insider) make_lie(a, i, 1e8);
    else admit(a, to_node(i), admission::within{100});
    return a;
  };
  auto const board = std::make_shared<status_board>();
  auto const fates = run_each(nodes, assemble_one, over_tcp(doors), [&](std::size_t i) {
    auto how = peer_options{.compute = environment::fixed(work)};
    if (i == 1) how.status = board;
    return std::pair{rounds(3000), how};
  });
  for (std::size_t i = 0; i < nodes; ++i) {
    INFO("node " << i << ": " << fates[i].sentence);
    REQUIRE(fates[i].sentence.empty());
    if (i == insider) continue;
    auto const& r = fates[i].result.result;
    auto const x = r.models.at(0).view<double>();
    for (std::size_t k = 0; k < x.size(); ++k) CHECK(std::abs(x[k] - p.optimum()[k]) < 0.01);
    auto const is_neighbour = i != 0;  // of the insider, on a ring
    CHECK(is_neighbour == std::any_of(r.warnings.begin(), r.warnings.end(), [](auto const& w) {
            return says(w, "of node 2 did not pass the rule of admission of 1 node, which");
          }));
  }
  auto const seen = board->newest();
  for (auto const& n : seen->neighbours) CHECK((n.refused > 0) == (n.peer == to_node(insider)));
}

}  // namespace
}  // namespace rubato::test
