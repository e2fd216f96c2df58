// SPDX-License-Identifier: MIT
// Property tests: the same assertions over many seeds. A failure prints its seed;
// RUBATO_SEED=<seed> runs only that one.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#include <rubato/core/random.hpp>

#include "support/catch.hpp"

namespace rubato::test {

/// Calls `property(gen, seed)` for seeds 1 .. count, each with a stream of its own.
template<class Property>
void for_all(std::uint64_t count, Property&& property) {
  auto const run = [&](std::uint64_t seed) {
    INFO("seed " << seed << ": repeat with RUBATO_SEED=" << seed);
    auto gen = random_stream{0x666f'7261'6c6cULL, seed};
    property(gen, seed);
  };
  if (auto const* const only = std::getenv("RUBATO_SEED")) return run(std::stoull(only));
  for (auto seed = std::uint64_t{1}; seed <= count; ++seed) run(seed);
}

}  // namespace rubato::test
