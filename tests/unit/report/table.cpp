// SPDX-License-Identifier: MIT
#include <rubato/report/table.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato::report;

TEST_CASE("a table aligns words to the left and numbers to the right") {
  auto table = text_table{{{"name", side::left}, {"value"}}};
  table.add_row({"a", "1"});
  table.add_row({"longer", "123456"});
  CHECK(table.text() ==
        "name     value\n"
        "------  ------\n"
        "a            1\n"
        "longer  123456\n");
}

TEST_CASE("no line of a table ends in spaces") {
  auto table = text_table{{{"value"}, {"remark", side::left}}};
  table.add_row({"1", ""});
  table.add_row({"2", "x"});
  CHECK(table.text() == "value  remark\n-----  ------\n    1\n    2  x\n");
}

TEST_CASE("a table without rows shows its titles") { CHECK(text_table{{{"a"}, {"b"}}}.text() == "a  b\n-  -\n"); }

}  // namespace
