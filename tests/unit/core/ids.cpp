// SPDX-License-Identifier: MIT
#include <rubato/core/ids.hpp>

#include <chrono>

#include "support/catch.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;

TEST_CASE("iterations and tickets count upwards from zero") {
  CHECK(next(iteration{}) == iteration{1});
  CHECK(next(iteration{41}) == iteration{42});
  CHECK(next(ticket{7}) == ticket{8});
  CHECK(iteration{2} < iteration{10});
}

TEST_CASE("node ids become indices and back") {
  CHECK(to_index(node_id{12}) == 12U);
  CHECK(to_node(12) == node_id{12});
}

TEST_CASE("instants are points and differ by durations") {
  auto const t = instant{3ms};
  CHECK(t + 2ms == instant{5ms});
  CHECK((t + 2ms) - t == 2ms);
  CHECK(t < t + 1ns);
  CHECK(to_seconds(1500ms) == 1.5);
}

}  // namespace
