// SPDX-License-Identifier: MIT
#include <rubato/report/heat_map.hpp>

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using report::heat_map;
using rubato::test::refusal;
using rubato::test::says;

auto count(std::string const& text, std::string const& part) -> std::size_t {
  auto found = std::size_t{0};
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// 4 rows of two factors, 6 columns of two.
auto sample_map() -> heat_map {
  auto map = heat_map{.title = "who is first", .note = "8 nodes"};
  map.rows = {{"loss", {"0 %", "30 %"}}, {"latency", {"1 ms", "50 ms"}}};
  map.columns = {{"stragglers", {"none", "one", "random"}}, {"split", {"iid", "by label"}}};
  map.cells.assign(24, {"r_fast", 1.25});
  map.cells[1] = {"ring", 1};
  map.cells[7] = {"ring", 12.3};
  map.cells[8] = {"osgp", std::numeric_limits<double>::infinity()};
  map.cells[9] = {};
  map.cells[23] = {"osgp", std::nan("")};
  return map;
}

TEST_CASE("a map has a box and a number for every cell, and says who wins where nobody else does") {
  auto const script = report::heat_map_script(sample_map());
  CHECK(count(script, "set object rectangle ") == 24 + 3 + 4);  // cells, winners and shades
  CHECK(count(script, "set label '1.2' ") + count(script, "set label '1.3' ") == 19);
  CHECK(count(script, "set label '1.0' ") == 1);
  CHECK(count(script, "set label '12' ") == 1);
  CHECK(count(script, "set label 'alone' ") == 1);
  CHECK(count(script, "set label 'none' ") == 1 + 1);  // a cell, and a level
  CHECK(count(script, "set label 'who is first' ") == 1);
  CHECK(count(script, "set label '8 nodes' ") == 1);
  CHECK(count(script, "set label 'r_fast  19 of 24' ") == 1);
  CHECK(script.find("'r_fast  19") < script.find("'osgp  2"));  // the more wins the earlier; then by name
  CHECK(script.find("'osgp  2") < script.find("'ring  2"));
}

TEST_CASE("the labels of an inner factor are repeated in each group, and lines are between the groups") {
  auto const script = report::heat_map_script(sample_map());
  for (auto const* const name : {"loss", "latency", "stragglers", "split", "0 %", "30 %", "one", "random"})
    CHECK(count(script, "set label '" + std::string{name} + "' ") == 1);
  CHECK(count(script, "set label 'by label' ") == 3);
  CHECK(count(script, "set label '50 ms' ") == 2);
  CHECK(count(script, "set arrow ") == 2 + 1);

  auto deep = sample_map();  // three factors of columns: lines between groups of two depths
  deep.columns = {{"a", {"1", "2"}}, {"b", {"1", "2"}}, {"c", {"1", "2"}}};
  deep.rows = {{"loss", {"0 %", "10 %", "30 %"}}};
  auto const lines = report::heat_map_script(deep);
  CHECK(count(lines, "nohead lw 2.4 ") == 1);
  CHECK(count(lines, "nohead lw 1.2 ") == 2);
}

TEST_CASE("the colour of a cell is its winner's, the paler the smaller its lead") {
  using report::detail::shade_of;
  auto const script = report::heat_map_script(sample_map());
  CHECK(count(script, "fc rgb '" + shade_of("#0072b2", 1.25) + "'") == 19);
  CHECK(count(script, "fc rgb '#009e73'") == 1 + 1);  // the lead of 12, and the legend
  CHECK(shade_of("#0072b2", 4) == "#0072b2");
  CHECK(shade_of("#0072b2", 1000) == "#0072b2");
  CHECK(shade_of("#0072b2", 1) == report::detail::paler("#0072b2", 0.75));
  CHECK(shade_of("#0072b2", std::nan("")) == shade_of("#0072b2", 1));
}

TEST_CASE("names on a map cannot leave their quotes") {
  auto map = sample_map();
  map.title = "it's\nquit";
  map.rows[0].levels[1] = "';quit;'";
  map.cells[0].winner = "x'\n!ls";
  auto const script = report::heat_map_script(map);
  CHECK(count(script, "set label 'it''s quit' ") == 1);
  CHECK(count(script, "set label ''';quit;''' ") == 1);
  CHECK(count(script, "set label 'x'' !ls  1 of 24' ") == 1);
}

TEST_CASE("a map of one row and one column has no lines, and one without factors is a cell") {
  auto map = heat_map{.title = "t"};
  map.columns = {{"loss", {"0", "1"}}};
  map.cells = {{"a", 2}, {"b", 3}};
  auto const script = report::heat_map_script(map);
  CHECK(count(script, "set arrow ") == 0);
  CHECK(count(script, "set label '2.0' ") == 1);
  CHECK_FALSE(report::heat_map_script({.title = "t", .cells = {{"a", 2}}}).empty());
}

TEST_CASE("a map with too few cells, or a factor without values, is refused") {
  auto map = sample_map();
  map.cells.pop_back();
  CHECK(says(refusal([&] { static_cast<void>(report::heat_map_script(map)); }),
             "a map of these factors has 24 cells, not 23"));
  map.rows[1].levels.clear();
  CHECK(
      says(refusal([&] { static_cast<void>(report::heat_map_script(map)); }), "the factor 'latency' of a map has no"));
}

}  // namespace
