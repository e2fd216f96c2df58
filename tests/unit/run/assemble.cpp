// SPDX-License-Identifier: MIT
// run/assemble.hpp: what every run begins with, and what it refuses.
#include <rubato/run/assemble.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using node_type = r_fast<backend::host<float>>;

/// A problem of three values whose parts can be set wrong one by one; node 1 has the gradient that is given.
struct adjustable {
  std::size_t split_over = 2;
  std::vector<float> first = {1, 2, 3};
  float of_node_1 = 1;

  [[nodiscard]] auto dimension() const -> std::size_t { return 3; }
  [[nodiscard]] auto nodes() const -> std::size_t { return split_over; }
  [[nodiscard]] auto initial() const -> std::vector<float> { return first; }
  auto gradient(backend::host<float>&, std::span<float const>, sample_key key, std::span<float> g) const -> double {
    for (auto& v : g) v = key.node == node_id{1} ? of_node_1 : 1.0F;
    return 0;
  }
};

auto refused(adjustable const& p) -> std::string {
  return test::refusal([&] { static_cast<void>(assemble<node_type>(topology::ring(2), p, {})); });
}

TEST_CASE("all nodes begin at the problem's first model, in one shared body") {
  auto const made = assemble<node_type>(topology::ring(2), adjustable{}, {.step = 0.2, .block_values = 64});
  REQUIRE(made.nodes.size() == 2);
  CHECK(made.peers == 2);
  CHECK(made.blocks.values() == 3);
  CHECK(made.step == 0.2);
  CHECK(made.raw_step * made.gain == Approx(0.2));
  auto const a = made.nodes[0].estimate(), b = made.nodes[1].estimate();
  CHECK(a.view<float>()[2] == 3.0F);
  CHECK(a.view<float>().data() == b.view<float>().data());
}

TEST_CASE("a problem split over a different number of nodes than the network has is refused, with both numbers") {
  auto const said = refused({.split_over = 5});
  CHECK(test::says(said, "5"));
  CHECK(test::says(said, "2"));
  CHECK(refused({}).empty());
}

TEST_CASE("a first model whose size is not the problem's dimension is refused, with both sizes") {
  for (auto const size : {0U, 2U, 4U, 1000U}) {
    auto const said = refused({.first = std::vector<float>(size, 1.0F)});
    CHECK(test::says(said, std::to_string(size).c_str()));
    CHECK(test::says(said, "3"));
  }
}

TEST_CASE("a first gradient of NaN is refused, naming the node") {
  using limits = std::numeric_limits<float>;
  for (auto const bad : {std::nanf(""), limits::infinity(), -limits::infinity()}) {
    CHECK(test::says(refused({.of_node_1 = bad}), "node 1"));
  }
}

TEST_CASE("a step that is not a positive number is refused") {
  for (auto const step : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    auto const said =
        test::refusal([&] { static_cast<void>(assemble<node_type>(topology::ring(2), adjustable{}, {.step = step})); });
    CHECK(test::says(said, "the step must be a positive number"));
  }
}

}  // namespace
