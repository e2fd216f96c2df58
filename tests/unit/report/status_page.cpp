// SPDX-License-Identifier: MIT
#include <rubato/report/status_page.hpp>

#include <cstddef>
#include <string>
#include <string_view>

#include "support/catch.hpp"

namespace rubato::test {
namespace {

TEST_CASE("the page goes on asking whatever goes wrong, and takes lists of any length") {
  auto const page = report::status_page;
  auto const asks_again = page.find("setTimeout(poll");
  REQUIRE(asks_again != page.npos);
  CHECK(page.substr(0, asks_again).ends_with("} finally {\n    "));
  for (auto const* const spread : {"Math.max(...", "Math.min(..."})
    CHECK(page.find(spread + std::string{"losses"}) == page.npos);
}

TEST_CASE("the page asks for nothing but network.json of its own server") {
  auto const page = report::status_page;
  CHECK(page.starts_with("<!DOCTYPE html>"));
  CHECK(page.size() < 64'000);
  for (auto const* const foreign :
       {" src=", "@import", "url(", "import(", "XMLHttpRequest", "WebSocket", "innerHTML"}) {
    INFO(foreign);
    CHECK(page.find(foreign) == page.npos);
  }
  constexpr auto asking = std::string_view{"fetch("};
  auto const first = page.find(asking);
  REQUIRE(first != page.npos);
  CHECK(page.substr(first).starts_with("fetch('network.json'"));
  CHECK(page.find(asking, first + 1) == page.npos);
  constexpr auto link = std::string_view{"href="};
  CHECK(page.find("href=\"data:,\"") == page.find(link));
  CHECK(page.find(link, page.find(link) + 1) == page.npos);
  constexpr auto address = std::string_view{"http://www.w3.org/"};  // names of SVG and XHTML, which nobody asks for
  for (auto at = page.find("http"); at != page.npos; at = page.find("http", at + 1))
    CHECK(page.substr(at).starts_with(address));
}

}  // namespace
}  // namespace rubato::test
