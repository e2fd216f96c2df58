// SPDX-License-Identifier: MIT
// What one process says while it runs.
#include <rubato/driver/detail/peer_notes.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

namespace rubato::test {
namespace {

std::vector<std::string> heard;

TEST_CASE("checkpoints that fail are told at once, and then once a minute") {
  heard.clear();
  detail::peer_notes notes{[](std::string_view sentence) { heard.emplace_back(sentence); }};
  for (auto s = 0; s < 150; ++s) {  // each round has a file of its own, and every tenth is written
    auto const why = s % 10 == 9 ? std::string{} : "round " + std::to_string(s) + " cannot be written";
    notes.note_failure(why, std::chrono::seconds{s});
    notes.note_failure(why, std::chrono::seconds{s});
  }
  CHECK(heard == std::vector<std::string>{"after 0 s: a checkpoint failed: round 0 cannot be written",
                                          "after 60 s: a checkpoint failed: round 60 cannot be written",
                                          "after 120 s: a checkpoint failed: round 120 cannot be written"});
  CHECK(notes.result.result.warnings.size() == 3);
}

}  // namespace
}  // namespace rubato::test
