// SPDX-License-Identifier: MIT
// When measurements are due, and which of them are kept.
#include <rubato/driver/detail/kept_looks.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using std::chrono::nanoseconds;

auto model() -> shared_buffer { return buffer_pool{}.allocate<double>(1000).publish(); }

/// Looks whenever it may, each look costing that much.
auto times(detail::kept_looks looks, nanoseconds until, nanoseconds cost) -> std::vector<nanoseconds> {
  for (auto due = looks.due(); due && *due < until; due = looks.due()) {
    looks.add({looks.time_of(*due), model(), 0, 0}, *due, *due + cost);
  }
  std::vector<nanoseconds> at;
  for (auto const& l : looks.take()) at.push_back(l.at);
  return at;
}

using list = std::vector<nanoseconds>;

TEST_CASE("measurements are due at the start and at each multiple of the interval") {
  CHECK(times({10ms, 1U << 20}, 45ms, 100us) == list{0ms, 10ms, 20ms, 30ms, 40ms});
  CHECK(times({0ms, 1U << 20}, 1h, 1us) == list{0ms});
  CHECK(times({nanoseconds::max(), 1U << 20}, 1h, 1us) == list{0ms});
}

TEST_CASE("a late measurement is taken once, for the last due time, and delays the next by nine times its cost") {
  detail::kept_looks looks{10ms, 1U << 20};
  looks.add({looks.time_of(0ms), model(), 0, 0}, 0ms, 3ms);
  CHECK(looks.due() == 30ms);
  CHECK(looks.time_of(57ms) == 50ms);
  looks.add({looks.time_of(57ms), model(), 0, 0}, 57ms, 58ms);
  CHECK(looks.due() == 70ms);
}

TEST_CASE("if measurements would take too much memory every second one is dropped, and the interval doubles") {
  constexpr std::size_t room = 4 * (8000 + sizeof(peer_look));
  CHECK(times({10ms, room}, 45ms, 0ms) == list{0ms, 20ms, 40ms});
  CHECK(times({10ms, room}, 65ms, 0ms) == list{0ms, 20ms, 40ms, 60ms});
  CHECK(times({10ms, room}, 85ms, 0ms) == list{0ms, 40ms, 80ms});
  CHECK(times({1ms, room}, 1h, 0ms).size() <= 4);
  CHECK(times({10ms, 1}, 1h, 0ms) == list{0ms});
}

}  // namespace
}  // namespace rubato::test
