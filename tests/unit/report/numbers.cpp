// SPDX-License-Identifier: MIT
#include <rubato/report/numbers.hpp>

#include <cstdlib>
#include <limits>

#include "support/catch.hpp"

namespace {

using namespace rubato::report;
using namespace std::chrono_literals;
constexpr auto nan = std::numeric_limits<double>::quiet_NaN();
constexpr auto infinite = std::numeric_limits<double>::infinity();

TEST_CASE("the shortest text of a number reads back bit for bit") {
  for (auto const x : {0.1, 1.0 / 3.0, 1e-300, 5e-324, 1.7976931348623157e308, -2.5, 0.0, 123456789.125})
    CHECK(std::strtod(shortest(x).c_str(), nullptr) == x);
  CHECK(shortest(0.1) == "0.1");
  CHECK(shortest(2) == "2");
}

TEST_CASE("NaN is empty in files and a dash in tables") {
  CHECK(shortest(nan).empty());
  CHECK(fixed(nan, 2) == "-");
  CHECK(readable(nan) == "-");
  CHECK(shortest(infinite) == "inf");
  CHECK(readable(-infinite) == "-inf");
}

TEST_CASE("fixed numbers are rounded to the nearest, from their exact binary value") {
  CHECK(fixed(0.125, 2) == "0.12");
  CHECK(fixed(0.375, 2) == "0.38");
  CHECK(fixed(1.005, 2) == "1.00");
  CHECK(fixed(0.9999, 2) == "1.00");
  CHECK(fixed(1e6, 0) == "1000000");
}

TEST_CASE("fixed numbers have room for the largest double") {
  CHECK(fixed(-std::numeric_limits<double>::max(), 4).size() == 1 + 309 + 5);
}

TEST_CASE("readable numbers use exponents where four decimals are too few or too many") {
  CHECK(readable(0.45123) == "0.4512");
  CHECK(readable(0.0) == "0.0000");
  CHECK(readable(1.2344e-9) == "1.234e-09");
  CHECK(readable(3e7) == "3.000e+07");
}

TEST_CASE("a time has the digits of its decimal value") {
  CHECK(shortest(seconds_of(300ms)) == "0.3");
  CHECK(shortest(seconds_of(1234567891ns)) == "1.234567891");
  CHECK(shortest(seconds_of(0ns)) == "0");
}

}  // namespace
