// SPDX-License-Identifier: MIT
#include <rubato/core/random.hpp>

#include <array>
#include <cmath>
#include <set>
#include <span>
#include <vector>

#include <rubato/core/digest.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;

TEST_CASE("a stream is a function of its key on every platform") {
  auto s = random_stream{1, 2, 3};
  std::vector<std::uint64_t> const found{s.bits(), s.bits(), s.bits()};
  CHECK(found == std::vector<std::uint64_t>{0x214d4c07ecfeaac5ULL, 0x6ff419cb83dfe1e6ULL, 0xf475ff91157f0556ULL});
  auto again = random_stream{sample_key{1, node_id{2}, 3}};
  CHECK(again.bits() == found[0]);
}

TEST_CASE("keys that differ in one word, or in the order of words, give other streams") {
  auto const first = [](std::initializer_list<std::uint64_t> key) { return random_stream{key}.bits(); };
  CHECK(first({1, 2, 3}) != first({1, 2, 4}));
  CHECK(first({1, 2, 3}) != first({2, 1, 3}));
  CHECK(first({1, 2, 3}) != first({1, 2}));
  CHECK(first({0}) != first({0, 0}));
}

TEST_CASE("a key can be given word by word") {
  auto const part = random_stream{1, 2};
  CHECK(part.with(3).bits() == random_stream{1, 2, 3}.bits());
  CHECK(part.with(4).with(5).bits() == random_stream{1, 2, 4, 5}.bits());
}

TEST_CASE("a stream can begin after any number of draws") {
  random_stream drawn{{1, 2, 3}};
  random_stream const whole = drawn;
  CHECK(whole.ahead(0).bits() == random_stream{whole}.bits());
  for (std::uint64_t k = 0; k < 100; ++k) CHECK(whole.ahead(k).below(1000) == drawn.below(1000));
  CHECK(whole.ahead(100).normal() == drawn.normal());
  CHECK(whole.ahead(102).bits() == drawn.bits());
}

TEST_CASE("uniform numbers fill 0 to 1 evenly, without 1") {
  auto s = random_stream{99};
  std::array<int, 10> tenth{};
  for (int k = 0; k < 100'000; ++k) {
    auto const u = s.uniform();
    REQUIRE((u >= 0.0 && u < 1.0));
    ++tenth[static_cast<std::size_t>(10 * u)];
  }
  for (auto const count : tenth) CHECK(std::abs(count - 10'000) < 5 * 95);
}

TEST_CASE("below() is even over a bound that is no power of two, and never reaches it") {
  auto s = random_stream{7};
  std::array<int, 3> third{};
  for (int k = 0; k < 30'000; ++k) ++third[s.below(3)];
  for (auto const count : third) CHECK(std::abs(count - 10'000) < 5 * 82);
  for (int k = 0; k < 100; ++k) REQUIRE(s.below(1) == 0);
}

TEST_CASE("normal numbers have mean zero, variance one and normal tails") {
  auto s = random_stream{5};
  auto sum = 0.0, squares = 0.0;
  auto beyond_two = 0;
  constexpr auto draws = 100'000;
  for (int k = 0; k < draws; ++k) {
    auto const x = s.normal();
    REQUIRE(std::isfinite(x));
    sum += x;
    squares += x * x;
    beyond_two += std::abs(x) > 2 ? 1 : 0;
  }
  CHECK(std::abs(sum) / draws < 5 / std::sqrt(draws));
  CHECK(squares / draws == Approx(1.0).epsilon(0.03));
  CHECK(beyond_two == Approx(0.0455 * draws).epsilon(0.08));
}

TEST_CASE("a digest changes with every word, with their order and with the number of bytes") {
  auto const of = [](std::vector<unsigned char> const& bytes) {
    return digest{}.add(std::as_bytes(std::span{bytes})).value();
  };
  std::vector<unsigned char> bytes(19, 0);
  std::set<std::uint64_t> seen{of(bytes)};
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    auto changed = bytes;
    changed[bit / 8] = static_cast<unsigned char>(1U << (bit % 8));
    CHECK(seen.insert(of(changed)).second);
  }
  for (std::size_t size = 0; size < bytes.size(); ++size)
    CHECK(seen.insert(of(std::vector<unsigned char>(size, 0))).second);
  CHECK(digest{}.add(1).add(2).value() != digest{}.add(2).add(1).value());
  CHECK(digest{}.add(0).value() != digest{}.value());
  // The first number of SplitMix64 seeded with 42.
  CHECK(digest{}.add(std::uint64_t{42}).value() == 13679457532755275413ULL);
}

}  // namespace
