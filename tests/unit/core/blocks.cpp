// SPDX-License-Identifier: MIT
#include <rubato/core/blocks.hpp>

#include <cstddef>
#include <limits>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;

TEST_CASE("blocks cover the vector once, the last one possibly shorter") {
  block_partition const p{1000, 192};
  CHECK(p.blocks() == 6);
  std::size_t at = 0;
  for (std::size_t b = 0; b < p.blocks(); ++b) {
    auto const r = p.values_of({b, b + 1});
    CHECK(r.begin == at);
    CHECK(r.size() == (b < 5 ? 192U : 40U));
    at = r.end;
  }
  CHECK(at == 1000);
  CHECK(p.values_of({2, 5}) == range{384, 960});
  CHECK(p.values_of({3, 3}).empty());
}

TEST_CASE("a partition without a size is one block, even of nothing") {
  CHECK(block_partition{7}.blocks() == 1);
  CHECK(block_partition{7}.values_of({0, 1}) == range{0, 7});
  auto const longest = (std::numeric_limits<std::size_t>::max)();
  CHECK(block_partition{7, longest}.blocks() == 1);
  CHECK(block_partition{7, longest}.values_of({0, 1}) == range{0, 7});
  CHECK(block_partition{0}.blocks() == 1);
  CHECK(block_partition{0}.values_of({0, 1}).empty());
  CHECK(block_partition{128, 64}.blocks() == 2);
}

TEST_CASE("a block size that is no multiple of 64 is refused unless it covers the vector") {
  auto const refused = [](std::size_t values, std::size_t size) {
    return test::refusal([&] { block_partition{values, size}; });
  };
  CHECK(test::says(refused(1000, 100), "not 100"));
  CHECK(test::says(refused(1000, 0), "not 0"));
  CHECK(refused(100, 100).empty());
  CHECK(refused(1000, 64).empty());
}

}  // namespace
