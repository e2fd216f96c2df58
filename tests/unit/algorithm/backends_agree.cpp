// SPDX-License-Identifier: MIT
// Every backend and ledger walks the path of host<double> with plain sums, within its own rounding.
#include <algorithm>

#include <rubato/algorithm/a2cid2.hpp>
#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/async_dgd_atc.hpp>
#include <rubato/algorithm/non_blocking_allreduce.hpp>
#include <rubato/algorithm/non_blocking_d_psgd.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/prox_dgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/rasgp.hpp>
#include <rubato/backend/checked.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"

namespace {

using namespace rubato;
constexpr std::size_t n = 5, dimension = 203;  // three whole blocks and a short one
constexpr auto rounds = 80;

using path = std::vector<std::vector<double>>;

template<class Node>
auto walk() -> path {
  typename Node::options options{};
  options.step = 0.1;
  options.block_values = 64;
  auto const q = problem::quadratic::random(n, dimension, 12, {.spread = 1, .condition = 5, .noise = 0});
  auto nodes = test::lockstep{assemble<Node>(topology::exponential(n), q, options)};
  path p;
  for (int k = 0; k < rounds; ++k) {
    p.push_back(nodes.point(static_cast<std::size_t>(k) % n));
    nodes.round();
  }
  return p;
}

auto farthest(path const& a, path const& b) -> double {
  auto worst = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) worst = std::max(worst, test::distance(a[k], b[k]));
  return worst;
}

TEST_CASE("every backend walks the path of the reference") {
  auto const reference = walk<r_fast<backend::host<double>>>();
  REQUIRE(std::abs(reference.back()[0]) > 1e-3);
  CHECK(farthest(walk<r_fast<backend::eigen<double>>>(), reference) < 1e-13);
  CHECK(farthest(walk<r_fast<backend::eigen<float>>>(), reference) < 2e-5);
  CHECK(farthest(walk<r_fast<backend::checked<backend::host<double>>>>(), reference) == 0.0);
}

template<template<class> class Node>
void agree_without_tracking() {
  auto const reference = walk<Node<backend::host<double>>>();
  REQUIRE(std::abs(reference.back()[0]) > 1e-3);
  CHECK(farthest(walk<Node<backend::eigen<double>>>(), reference) < 1e-13);
  CHECK(farthest(walk<Node<backend::checked<backend::host<double>>>>(), reference) == 0.0);
}
template<class Backend>
using gossiping = non_blocking_d_psgd<Backend>;
template<class Backend>
using reducing = non_blocking_allreduce<Backend>;
template<class Backend>
using pairwise = ad_psgd<Backend>;
template<class Backend>
using accelerated = a2cid2<Backend>;
template<class Backend>
using giving = rasgp<Backend>;
template<class Backend>
using pushing = osgp<Backend>;
template<class Backend>
using sparse = prox_dgd<Backend>;
template<class Backend>
using bounded = prox_dgd<Backend, prox::box>;
template<class Backend>
using combining = async_dgd_atc<Backend>;

TEST_CASE("methods without tracking walk the path of the reference on every backend") {
  agree_without_tracking<gossiping>();
  agree_without_tracking<reducing>();
  agree_without_tracking<pairwise>();
  agree_without_tracking<accelerated>();
  agree_without_tracking<giving>();
  agree_without_tracking<pushing>();
  agree_without_tracking<sparse>();
  agree_without_tracking<bounded>();
  agree_without_tracking<combining>();
}

}  // namespace
