// SPDX-License-Identifier: MIT
// What cluster says to who may join a run whose members come and go, and whose results it leaves out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <rubato/run/peer_result.hpp>

#include "support/over_ssh.hpp"

namespace rubato::examples {

/// How to start a member that comes later to a run with room for `most`, of which n begin: `program` with these words.
/// Empty: there is no more room.
[[nodiscard]] inline auto words_of_room(std::string const& program, std::vector<std::string> words, std::size_t n,
                                        std::size_t most) -> std::string {
  if (n >= most) return {};
  std::erase(words, "--quiet");
  auto text = "there is room for " + std::to_string(most - n) + " more, with ids from " + std::to_string(n) +
              " on, who can join as\n  " + program + " --join --id " + std::to_string(n);
  constexpr auto plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,=";
  for (auto const& word : words)
    text += " " + (word.find_first_not_of(plain) == std::string::npos ? word : shell_quoted(word));
  return text + "\n";
}

/// Leaves out the results of those who are no members at the end, as who came to it last saw it.
inline void leave_out_absent(std::vector<peer_result>& parts) {
  auto const last = std::max_element(parts.begin(), parts.end(),
                                     [](auto const& a, auto const& b) { return a.result.ended < b.result.ended; });
  if (last == parts.end()) return;
  auto const absent = last->result.absent;
  std::erase_if(parts, [&](auto const& p) { return std::find(absent.begin(), absent.end(), p.id) != absent.end(); });
  for (auto& p : parts) p.result.absent = absent;
}

}  // namespace rubato::examples
