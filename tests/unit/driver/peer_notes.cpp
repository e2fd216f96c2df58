// SPDX-License-Identifier: MIT
// What one process says while it runs.
#include <rubato/driver/detail/peer_notes.hpp>

#include <chrono>
#include <memory>
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

TEST_CASE("of each kind of news, a bounded number is said in a minute, and all are kept") {
  heard.clear();
  auto const board = std::make_shared<status_board>();
  detail::peer_notes notes{[](std::string_view sentence) { heard.emplace_back(sentence); }, board};
  auto const say = [&](std::vector<std::string>& kind, int second) {
    notes.note(kind, std::chrono::seconds{second}, "news", "news");
  };
  for (auto k = 0; k < 100; ++k) say(notes.result.lost, 1);
  say(notes.result.returned, 2);
  auto const most = detail::peer_notes::most_a_minute;
  REQUIRE(heard.size() == most + 2);
  CHECK(heard[most - 1] == "after 1 s: news");
  CHECK(heard[most] == "after 1 s: more of this kind happens; what comes within a minute is not said");
  CHECK(heard[most + 1] == "after 2 s: news");
  say(notes.result.lost, 59);
  CHECK(heard.size() == most + 2);
  say(notes.result.lost, 61);
  CHECK(heard.back() == "after 61 s: news");
  CHECK(notes.result.lost.size() == 102);
  CHECK(board->newest()->said == heard);
}

TEST_CASE("that a list is full is said once, however much was said within the minute") {
  heard.clear();
  detail::peer_notes notes{[](std::string_view sentence) { heard.emplace_back(sentence); }};
  for (auto k = 0; k < 2000; ++k) notes.note(notes.result.lost, std::chrono::seconds{1}, "news", "news");
  CHECK(heard.size() == detail::peer_notes::most_a_minute + 2);
  CHECK(heard.back() == "after 1 s: more of this kind happens, and is not said");
  CHECK(notes.result.lost.back() == "more of this kind happens, and is not said");
}

TEST_CASE("where only warnings are asked for, a peer that has come back is not said, but shown") {
  heard.clear();
  auto const board = std::make_shared<status_board>();
  detail::peer_notes notes{[](std::string_view sentence) { heard.emplace_back(sentence); }, board, log_level::warnings};
  notes.note(notes.result.lost, std::chrono::seconds{1}, "node 1 is gone", "");
  notes.note(notes.result.returned, std::chrono::seconds{2}, "node 1 has come back", "");
  notes.warn("a warning");
  CHECK(heard == std::vector<std::string>{"after 1 s: node 1 is gone", "a warning"});
  CHECK(board->newest()->said.size() == 3);
}

}  // namespace
}  // namespace rubato::test
