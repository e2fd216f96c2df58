// SPDX-License-Identifier: MIT
#include <rubato/transport/detail/idle_spell.hpp>

#include <chrono>

#include <rubato/core/ids.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using spell = transport::detail::idle_spell<instant>;

TEST_CASE("a thread stays awake in the first part of each idle spell, and sleeps then") {
  constexpr auto begin = instant{1s}, latest = instant{9s};
  auto idle = spell{50us};
  CHECK(idle.end_of_wait(begin, latest) == begin);
  CHECK(idle.end_of_wait(begin + 49us, latest) == begin + 49us);
  CHECK(idle.end_of_wait(begin + 50us, latest) == latest);
  CHECK(idle.end_of_wait(begin + 90us, latest) == latest);  // it woke in vain: the spell goes on
  idle.end();
  CHECK(idle.end_of_wait(begin + 100us, latest) == begin + 100us);

  CHECK(spell{0us}.end_of_wait(begin, latest) == latest);
}

}  // namespace
