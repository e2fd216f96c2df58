// SPDX-License-Identifier: MIT
// What one process writes down for its result, and says at once to its owner.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/driver/detail/peer_words.hpp>
#include <rubato/run/peer_result.hpp>

namespace rubato::detail {

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
  /// Why the last checkpoint could not be written; empty: it was. Says it at once, since a process that is killed later
  /// could not say it, and then once a minute.
  void note_failure(std::string const& why, std::chrono::nanoseconds since_begun) {
    if (std::exchange(failure_, why) == why || why.empty()) return;
    if (failure_said_ && since_begun - *failure_said_ < std::chrono::minutes{1}) return;
    failure_said_ = since_begun;
    note(result.result.warnings, since_begun, "a checkpoint failed: " + why, "a checkpoint failed: " + why);
  }
  /// What went over one channel of an edge of that node, as that end sees it.
  void add_traffic(node_id self, transport::traffic const& t) {
    auto& r = result.result;
    edge_report out{self, t.peer, t.channel};
    out.packets_sent = t.packets;
    out.values_sent = t.values;
    out.bytes_sent = t.bytes;
    out.conflated = t.replaced;
    out.lost = t.lost;
    edge_report in{t.peer, self, t.channel};
    in.conflated = t.skipped;
    in.delivered = t.delivered;
    in.bytes_received = t.bytes_in;
    r.events += t.delivered;
    if (t.packets + t.replaced + t.lost > 0) r.edges.push_back(out);
    if (t.delivered + t.skipped > 0) r.edges.push_back(in);
  }

  peer_result result;

 private:
  static constexpr std::size_t most = 1000;  // sentences of a list
  speaker says_;
  std::string failure_;
  std::optional<std::chrono::nanoseconds> failure_said_;
};

}  // namespace rubato::detail
