// SPDX-License-Identifier: MIT
#include <rubato/algorithm/detail/wide_total.hpp>

#include <cstdlib>

#include <rubato/algorithm/detail/debt.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>

#include "support/catch.hpp"
#include "support/for_all.hpp"

namespace {

using namespace rubato;

constexpr std::size_t n = 37;

auto low_word(std::int64_t total) -> std::int32_t {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(total));
}

/// Walks totals in steps below 2^bits, mostly one way, and compares what is settled with 64-bit sums.
template<class Backend>
void follow(random_stream& gen, unsigned bits, int steps) {
  Backend b;
  detail::wide_total<Backend, std::int32_t> wide;
  auto low = b.template allocate<std::int32_t>(n);
  std::vector<std::int64_t> total(n, 0);
  std::fill_n(low.data(), n, 0);
  for (int k = 0; k < steps; ++k) {
    backend::flag_bits magnitudes = 0;
    for (std::size_t i = 0; i < n; ++i) {
      auto const size = static_cast<std::int64_t>(gen.below(std::uint64_t{1} << bits));
      auto const step = (i % 2 == 0) != gen.chance(0.1) ? size : -size;
      magnitudes |= static_cast<backend::flag_bits>(backend::magnitude_bits(static_cast<std::int32_t>(step)));
      total[i] += step;
      low.data()[i] = low_word(total[i]);
    }
    wide.grew(b, low.data(), n, magnitudes);
  }
  auto debt = b.template allocate<double>(n);
  std::fill_n(debt.data(), n, 5.0);
  wide.settle(b, low.data(), n, {debt.data(), -1.0});
  for (std::size_t i = 0; i < n; ++i) REQUIRE(debt.data()[i] == 5.0 - static_cast<double>(total[i]));
}

TEST_CASE("a total that wrapped many times is settled as the 64-bit number that it is") {
  test::for_all(20, [](random_stream& gen, std::uint64_t) {
    follow<backend::host<float>>(gen, 29, 400);  // up to fifty wraps
    follow<backend::host<float>>(gen, 20, 3000);
    follow<backend::eigen<float>>(gen, 27, 400);
  });
}

TEST_CASE("a settled total starts again from nothing") {
  backend::host<float> b;
  detail::wide_total<backend::host<float>, std::int32_t> wide;
  auto low = b.allocate<std::int32_t>(1);
  auto debt = b.allocate<double>(1);
  debt.data()[0] = 0;
  for (int round = 0; round < 3; ++round) {
    std::int64_t total = 0;
    for (int k = 0; k < 40; ++k) {
      total += 1 << 28;
      low.data()[0] = low_word(total);
      wide.grew(b, low.data(), 1, 1U << 28);
    }
    wide.settle(b, low.data(), 1, {debt.data(), 1.0});
    CHECK(debt.data()[0] == (round + 1) * 40.0 * 0x1p28);
  }
}

TEST_CASE("totals of a floating ledger are settled as they are") {
  backend::host<double> b;
  detail::wide_total<backend::host<double>, double> wide;
  auto total = b.allocate<double>(1);
  auto debt = b.allocate<double>(1);
  total.data()[0] = 0.3;
  debt.data()[0] = 1.0;
  wide.grew(b, total.data(), 1, 0);
  wide.settle(b, total.data(), 1, {debt.data(), 1.0});
  CHECK(debt.data()[0] == 1.3);
}

/// Releases a debt into z, which is emptied after every release as if all of it were pushed on.
template<class Backend>
void pay(double owed, bool emptied) {
  Backend b;
  detail::debt<Backend, std::int32_t> d;
  d.open(b, n)[n - 1] = owed;
  auto z = b.template allocate<std::int32_t>(n);
  std::fill_n(z.data(), n, 0);
  auto paid = 0.0;
  auto rounds = 0;
  for (; d && rounds < 20'000; ++rounds) {
    d.release(b, z.data(), n);
    for (std::size_t i = 0; i + 1 < n; ++i) REQUIRE(z.data()[i] == 0);
    REQUIRE(std::abs(static_cast<double>(z.data()[n - 1])) <= 0x1p27);
    if (!emptied) continue;
    paid += z.data()[n - 1];
    REQUIRE(std::abs(static_cast<double>(z.data()[n - 1])) <= 0x1p25);
    z.data()[n - 1] = 0;
  }
  if (emptied) {
    CHECK_FALSE(d);
    CHECK(paid == owed);
  } else {
    CHECK(d);  // z is full: the rest waits
    CHECK(d.values()[n - 1] + z.data()[n - 1] == owed);
  }
}

TEST_CASE("a debt is released exactly, at a bounded rate, and never beyond the range of z") {
  for (auto const owed : {1.0, -63.0, 1234567.0, -0x1p31, 0x1p36 + 1}) {
    pay<backend::host<float>>(owed, true);
    pay<backend::eigen<float>>(owed, true);
  }
  pay<backend::host<float>>(0x1p40 + 3, false);
  pay<backend::eigen<float>>(-0x1p40 - 3, false);
}

}  // namespace
