// SPDX-License-Identifier: MIT
// Every algorithm of the catalogue, with the policies that its name has by default, ends where the catalogue says.
#include "../../examples/support/catalogue.hpp"

#include <string>

#include <rubato/backend/host.hpp>

#include "matrix/combination.hpp"

namespace rubato::test {
namespace {

TEST_CASE("every algorithm of the catalogue ends at the optimum or off it, as its row says") {
  auto algorithms = 0;
  examples::for_each_algorithm<backend::host<double>>([&]<class Node>(examples::catalogue_row<Node> const& row) {
    // The bound of those that end off the optimum is a fraction of the 5.0 at the start.
    auto const promised = row.where == examples::ends::at_optimum
                              ? expectation{.step = 0.05, .above_minimum = 2e-2, .law = 1e-9}
                              : expectation{.step = 0.02, .above_minimum = 3};
    reaches<Node>(std::string{row.name}.c_str(), promised);
    ++algorithms;
  });
  CHECK(algorithms >= 18);
}

}  // namespace
}  // namespace rubato::test
