// SPDX-License-Identifier: MIT
#include <rubato/ledger/fixed_point.hpp>

#include <cmath>
#include <limits>

#include <rubato/core/random.hpp>
#include <rubato/ledger/floating.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using ledger::fixed_point;

auto calibrated(std::vector<double> const& largest, std::size_t nodes) -> fixed_point {
  fixed_point l;
  l.calibrate(block_partition{64 * largest.size(), 64}, largest, nodes);
  return l;
}

TEST_CASE(
    "calibration leaves room for the margin times n (4 at least) times the largest first gradient, and wastes at most "
    "a bit") {
  for (auto const largest : {1e-6, 0.03, 1.0, 77.0, 1e5}) {
    for (std::size_t const nodes : {1U, 8U, 1000U}) {
      auto const l = calibrated({largest}, nodes);
      auto const units = l.margin * static_cast<double>(std::max<std::size_t>(nodes, 4)) * largest / l.quantum(0);
      INFO(largest << " at " << nodes << " nodes gives exponent " << l.exponent(0));
      CHECK(units < 0x1p29);
      CHECK(units >= 0x1p28);
    }
  }
}

TEST_CASE("each block has its own exponent, and a block that starts at zero takes that of the run") {
  auto const l = calibrated({1.0, 0.0, 0.001}, 4);
  REQUIRE(l.exponents.size() == 3);
  CHECK(l.exponent(0) == l.exponent(1));
  CHECK(l.exponent(2) == l.exponent(0) + 10);
  CHECK(l.uniform_end(0, 3) == 2);
  CHECK(l.uniform_end(2, 3) == 3);
}

TEST_CASE("equal exponents are stored once, a run without any gradient gets a default") {
  CHECK(calibrated({1.0, 1.0, 1.1}, 4).exponents.size() == 1);
  CHECK(calibrated({1.0, 1.0}, 4).uniform_end(0, 2) == 2);
  CHECK(calibrated({0.0}, 4).exponent(0) == 20);
}

TEST_CASE("exponents that were set are kept if they fit, and refused otherwise") {
  fixed_point l{.exponents = {12}};
  l.calibrate(block_partition{640, 64}, std::vector<double>(10, 1.0), 8);
  CHECK(l.exponents == std::vector<int>{12});
  fixed_point wrong{.exponents = {12, 13, 14}};
  CHECK(test::says(test::refusal([&] { wrong.calibrate(block_partition{640, 64}, {}, 8); }),
                   "3 exponents for 10 blocks"));
  CHECK(test::says(test::refusal([] { calibrated({std::nan("")}, 1); }), "not finite"));
  CHECK(test::says(test::refusal([] { calibrated({std::numeric_limits<double>::infinity()}, 1); }), "not finite"));
}

TEST_CASE("values of 2^29 units leave the range, and the sentence says where, how far and what would help") {
  CHECK_FALSE(fixed_point::out_of_range((1U << 29) - 1));
  CHECK(fixed_point::out_of_range(1U << 29));
  fixed_point const l{.exponents = {10, 25}};
  auto const sentence = l.range_sentence(1);
  CHECK(test::says(sentence, "in block 1"));
  CHECK(test::says(sentence, "reached 16 "));
  CHECK(test::says(sentence, "exponent 25 is too large"));
  CHECK(test::says(sentence, "at most 23"));
  CHECK_FALSE(ledger::floating::out_of_range(~0U));
}

TEST_CASE("differences of totals are right while they wrap") {
  auto const a = fixed_point{.exponents = {20}}.arithmetic_for<float>(0);
  random_stream draw{4};
  std::int64_t total = 0, consumed = 0, received = 0;
  auto const word = [](std::int64_t v) { return static_cast<std::int32_t>(static_cast<std::uint32_t>(v)); };
  for (int k = 0; k < 10'000; ++k) {
    total += static_cast<std::int64_t>(draw.below(1U << 29));
    if (draw.chance(0.5) && total - consumed < (std::int64_t{1} << 30)) continue;
    received += a.sub(word(total), word(consumed));
    consumed = total;
    REQUIRE(received == total);
  }
  CHECK(total > std::int64_t{100} << 32);
}

template<class Ledger, class T, class V>
void split_and_compare(Ledger const& l, V z, std::vector<T> const& weights, double tolerance) {
  auto const a = l.template arithmetic_for<T>(0);
  backend::scalar_lanes<T> at{0};
  V all{};
  auto rest = T{1};
  for (auto const w : weights) {
    auto const share = a.share(at, z, w);
    CHECK(std::abs(static_cast<double>(share) - static_cast<double>(w) * static_cast<double>(z)) <= tolerance);
    all = a.add(all, share);
    rest -= w;
  }
  auto const kept = a.kept(z, rest, all);
  CHECK(std::abs(static_cast<double>(kept) + static_cast<double>(all) - static_cast<double>(z)) <=
        (Ledger::exact ? 0.0 : 1e-12 * std::abs(static_cast<double>(z))));
}

TEST_CASE("the shares and the kept part sum to the whole (G.A)") {
  for (auto const z : {0, 1, -1, 2, 7, -12345, (1 << 29) - 1}) {
    split_and_compare<fixed_point, float>(fixed_point{.exponents = {20}}, z, {0.2F, 0.2F, 0.2F},
                                          0.5 + 1e-7 * std::abs(z));
    split_and_compare<ledger::floating, double>({}, static_cast<double>(z), {0.25, 0.1, 0.3}, 1e-6);
  }
}

TEST_CASE("a gradient enters as the nearest multiple of the quantum, and leaves as it is") {
  auto const l = fixed_point{.exponents = {4}};
  auto const a = l.arithmetic_for<float>(0);
  backend::scalar_lanes<float> at{0};
  CHECK(a.quantise(at, 1.0F) == 16);
  CHECK(a.quantise(at, 0.03125F) == 0);    // a tie goes to even
  CHECK(a.quantise(at, 0.09375F) == 2);
  CHECK(a.direction(at, 16) == 1.0F);
  CHECK(l.quantum(0) == 0.0625);
  CHECK(fixed_point::out_of_range(static_cast<backend::flag_bits>(backend::magnitude_bits(a.quantise(at, 1e30F)))));
}

}  // namespace
