// SPDX-License-Identifier: MIT
#include <rubato/core/text.hpp>

#include <chrono>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>

#include <rubato/mixing/plan.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/topology/edge_list.hpp>
#include <rubato/transport/concepts.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

namespace rubato::test {
namespace {

using namespace std::chrono_literals;

TEST_CASE("a number is written in the shortest way that reads back, and read up to where it ends") {
  for (auto const x : {0.1, 1.0, -2.5e-300, 1e23, 1.0 / 3}) {
    auto back = 0.0;
    auto const text = shortest(x) + "ms";
    CHECK(read_number(text, back) == text.size() - 2);
    CHECK(back == x);
  }
  CHECK(shortest(0.1F) == "0.1");
  CHECK(shortest(std::numeric_limits<double>::infinity()) == "inf");
  CHECK(with_digits(8.0 / 3, 15) == "2.66666666666667");
  auto value = 7.0;
  for (auto const* const text : {"", "x", "+1", " 1", "1e999", ","}) CHECK(read_number(text, value) == 0);
  CHECK(value == 7.0);
}

TEST_CASE("foreign text becomes one line without terminal control, and letters stay unchanged") {
  CHECK(escaped("plain text, \xc3\xa9t\xc3\xa9, \xe2\x82\xac, \xf0\x9f\x8e\xbb") ==
        "plain text, \xc3\xa9t\xc3\xa9, \xe2\x82\xac, \xf0\x9f\x8e\xbb");
  CHECK(escaped("a\nb\tc\r\x1b[2J\x7f") == "a\\nb\\tc\\x0d\\x1b[2J\\x7f");
  CHECK(escaped(std::string_view{"\0", 1}) == "\\x00");
  CHECK(escaped("\xff\xc3") == "\\xff\\xc3");                            // no UTF-8, and a letter that is cut
  CHECK(escaped("\xc2\x9b"
                "2J") ==
        "\\xc2\\x9b"
        "2J");                  // a control character of Latin-1
  CHECK(escaped("\xe2\x80\xae"
                "txt") ==
        "\\xe2\\x80\\xae"
        "txt");        // turns the direction
  CHECK(escaped("\xc0\xaf\xed\xa0\x80") == "\\xc0\\xaf\\xed\\xa0\\x80");  // overlong; half a pair
  CHECK(escaped("abcdef", 3) == "abc...");
}

/// A locale whose decimal point is a comma, made by localedef if the system has its sources; false otherwise.
auto take_decimal_comma(std::filesystem::path const& folder) -> bool {
  if (std::setlocale(LC_ALL, "de_DE.UTF-8") == nullptr) {
    auto const make = "localedef -i de_DE -f UTF-8 '" + (folder / "de_DE.UTF-8").string() + "' 2>/dev/null";
    static_cast<void>(!std::system(make.c_str()));
    ::setenv("LOCPATH", folder.c_str(), 1);
    if (std::setlocale(LC_ALL, "de_DE.UTF-8") == nullptr) return false;
  }
  return *std::localeconv()->decimal_point == ',';
}

TEST_CASE("sentences, reports and files use a decimal point even if the locale has a comma") {
  scratch_folder const folder{"locale"};
  if (!take_decimal_comma(folder.path())) {
    WARN("skipped: there is neither a locale de_DE.UTF-8 nor localedef with the sources of one (Debian: locales)");
    return;
  }
  auto value = 0.0;
  CHECK(read_number("0.5", value) == 3);
  CHECK(value == 0.5);
  CHECK(shortest(0.5) == "0.5");
  CHECK(with_digits(0.5, 15) == "0.5");
  CHECK(report::fixed(0.5, 2) == "0.50");
  CHECK(transport::detail::seconds_text(80ms) == "0.08 s");
  CHECK(transport::detail::seconds_text(5s) == "5.0 s");
  CHECK(says(refusal([] { (void)problem::quadratic::random(2, 3, 1, {.noise = -0.5}); }), "not -0.5"));
  CHECK(says(mixing::tracking_plan(topology::pair{topology::binary_tree(5)}).summary.c_str(), "gain 5"));
  auto const odd = [] { (void)mixing::from_entries(1, {{node_id{0}, node_id{0}, 0.5}}, mixing::stochasticity::row); };
  CHECK(says(refusal(odd), "sums to 0.5:"));
  std::setlocale(LC_ALL, "C");
}

}  // namespace
}  // namespace rubato::test
