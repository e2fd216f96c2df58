// SPDX-License-Identifier: MIT
// A network of one node is SGD, bit for bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/lockstep.hpp"

namespace rubato::test {

template<class Node>
void is_sgd_alone() {
  auto const q = problem::quadratic::random(1, 9, 5, {.spread = 3, .condition = 10, .noise = 0.3});
  auto nodes = lockstep{assemble<Node>(topology::line(1), q, {.step = 0.37, .seed = 11})};
  std::vector<double> x(9), g(9);
  backend::host<double> b;
  for (std::uint64_t k = 0; k < 200; ++k) {
    REQUIRE(nodes.point(0) == x);
    q.gradient(b, std::span<double const>{x}, {11, node_id{0}, k}, std::span<double>{g});
    for (std::size_t c = 0; c < 9; ++c) x[c] = x[c] - 0.37 * g[c];
    nodes.round();
  }
}

}  // namespace rubato::test
