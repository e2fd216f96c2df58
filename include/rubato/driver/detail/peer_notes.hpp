// SPDX-License-Identifier: MIT
// What one process writes down for its result, and says at once to its owner.
#pragma once

#include <chrono>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/text.hpp>
#include <rubato/run/peer_result.hpp>

namespace rubato::detail {

/// Seconds with two digits behind the point.
inline auto readable_seconds(std::chrono::nanoseconds d) -> std::string {
  return shortest(std::round(to_seconds(d) * 100) / 100) + " s";
}

class peer_notes {
 public:
  using speaker = void (*)(std::string_view);
  explicit peer_notes(speaker says) : says_{says} {}

  void say(std::string const& sentence) const {
    if (says_ != nullptr) says_(sentence);
  }
  /// What happened in the middle of a run is said with its time, and kept in the list as long as that is not full.
  void note(std::vector<std::string>& list, std::chrono::nanoseconds since_begun, std::string const& said,
            std::string const& kept) const {
    static auto const no_more = std::string{"more of this kind happens, and is not said"};
    if (list.size() > most) return;
    say("after " + readable_seconds(since_begun) + ": " + (list.size() < most ? said : no_more));
    list.push_back(list.size() < most ? kept : no_more);
  }
  void warn(std::string sentence) {
    say(sentence);
    result.result.warnings.push_back(std::move(sentence));
  }

  peer_result result;

 private:
  static constexpr std::size_t most = 1000;  // sentences of a list
  speaker says_;
};

}  // namespace rubato::detail
