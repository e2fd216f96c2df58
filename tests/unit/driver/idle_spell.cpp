// SPDX-License-Identifier: MIT
#include <rubato/driver/detail/idle_spell.hpp>

#include <chrono>

#include <rubato/core/ids.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using spell = detail::idle_spell<instant>;

TEST_CASE("who waited for a short time the last time stays awake for a while, and sleeps then") {
  constexpr auto begin = instant{1s}, latest = instant{9s};
  auto idle = spell{};
  CHECK(idle.end_of_wait(begin, latest) == latest);  // nothing is known yet
  idle.end(begin + (spell::soon - 1ns));

  auto const next = instant{2s};
  CHECK(idle.end_of_wait(next, latest) == next);
  CHECK(idle.end_of_wait(next + (spell::awake - 1ns), latest) == next + (spell::awake - 1ns));
  CHECK(idle.end_of_wait(next + spell::awake, latest) == latest);  // and in vain: the spell goes on
  CHECK(idle.end_of_wait(next + 2 * spell::awake, latest) == latest);
  idle.end(next + spell::soon);

  CHECK(idle.end_of_wait(instant{3s}, latest) == latest);  // after a long one
  idle.end(instant{3s});
  idle.end(instant{5s});  // two things at once are one end
  CHECK(idle.end_of_wait(instant{6s}, latest) == instant{6s});
}

}  // namespace
