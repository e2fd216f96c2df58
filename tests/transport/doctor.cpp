// SPDX-License-Identifier: MIT
// tests/cluster/doctor.sh runs whole doctors in processes of their own.
#include "../../examples/support/doctor.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "transport/worlds.hpp"

namespace rubato::test {
namespace {

using findings = std::vector<examples::finding>;

/// What two doctors find if a pair has that long to measure its link.
auto found_within(std::chrono::nanoseconds turn) -> std::vector<findings> {
  tcp_doors doors{2};
  auto const choice = [&](std::size_t self) {
    return examples::doctor_choice{.self = self,
                                   .addresses = doors.addresses,
                                   .listener = doors.options(self).listener,
                                   .arrival = std::chrono::seconds{60},
                                   .silence = std::chrono::seconds{60},
                                   .turn = turn};
  };
  auto const no_keys = [] { return std::shared_ptr<transport::security const>{}; };
  std::vector<findings> all(2);
  auto first = examples::doctor{choice(0)}, second = examples::doctor{choice(1)};
  std::thread other{[&] { all[1] = second.examine(no_keys); }};
  all[0] = first.examine(no_keys);
  other.join();
  return all;
}

auto of_link(findings const& all) -> examples::finding {
  auto const at = std::find_if(all.begin(), all.end(), [](auto const& f) { return f.check == "link"; });
  REQUIRE(at != all.end());
  return *at;
}

TEST_CASE("a link that is too slow to be measured in its turn fails nothing, and what is measured is told") {
  for (auto const& each : found_within(std::chrono::seconds{0})) {
    CHECK(says(of_link(each).found, "was not measured in time"));
    CHECK(of_link(each).mend.starts_with("better: "));
    CHECK(std::none_of(each.begin(), each.end(), [](auto const& f) { return f.fails; }));
  }
  for (auto const& each : found_within(std::chrono::minutes{1})) {
    CHECK(says(of_link(each).found, "ms one way"));
    CHECK(std::none_of(each.begin(), each.end(), [](auto const& f) { return f.fails; }));
  }
}

}  // namespace
}  // namespace rubato::test
