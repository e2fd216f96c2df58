// SPDX-License-Identifier: MIT
#include <rubato/core/packet.hpp>

#include <array>

#include "support/catch.hpp"

namespace {

using namespace rubato;

TEST_CASE("scalars keep the bits of set values, and know which were not set") {
  scalars s;
  CHECK(s.mask() == 0);
  CHECK_FALSE(s.real(scalar_slot::loss));
  s.set(scalar_slot::loss, 0.1).set(scalar_slot::sample_count, std::uint64_t{1} << 63);
  CHECK(s.real(scalar_slot::loss) == 0.1);
  CHECK(s.count(scalar_slot::sample_count) == std::uint64_t{1} << 63);
  CHECK_FALSE(s.has(scalar_slot::duration_ns));
  CHECK_FALSE(s.count(scalar_slot::push_sum_weight));
  CHECK(s.mask() == 0b0110);
  scalars same;
  same.set(scalar_slot::sample_count, std::uint64_t{1} << 63).set(scalar_slot::loss, 0.1);
  CHECK(s == same);
}

TEST_CASE("a patch has one iteration for all its blocks or one for each") {
  std::array<iteration, 2> const numbers{iteration{4}, iteration{9}};
  patch p;
  p.blocks = {3, 5};
  p.numbers = numbers;
  CHECK(p.number_of(3) == iteration{4});
  CHECK(p.number_of(4) == iteration{9});
  p.numbers = {numbers.data(), 1};
  CHECK(p.number_of(4) == iteration{4});
}

TEST_CASE("every channel has a name of its own") {
  for (std::size_t a = 0; a < channel_count; ++a) {
    CHECK_FALSE(name_of(static_cast<channel_id>(a)).empty());
    for (std::size_t b = 0; b < a; ++b)
      CHECK(name_of(static_cast<channel_id>(a)) != name_of(static_cast<channel_id>(b)));
  }
}

}  // namespace
