// SPDX-License-Identifier: MIT
// What one process writes down for its result, and says at once to its owner.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/driver/detail/peer_words.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/peer_result.hpp>

namespace rubato::detail {

class peer_notes {
 public:
  using speaker = void (*)(std::string_view);
  static constexpr auto most_a_minute = std::size_t{20};  // sentences of one kind that are said

  explicit peer_notes(speaker says, std::shared_ptr<status_board> board = nullptr, log_level least = log_level::news)
      : says_{says}, board_{std::move(board)}, least_{least} {}

  void say(std::string const& sentence, log_level level = log_level::warnings) const {
    if (says_ != nullptr && level >= least_) says_(sentence);
    if (board_) board_->say(sentence);
  }
  /// What happened in the middle of a run is said with its time, unless much of its kind was in the last minute. It is
  /// kept in the list of its kind as long as that is not full.
  void note(std::vector<std::string>& list, std::chrono::nanoseconds since_begun, std::string const& said,
            std::string const& kept) {
    static auto const no_more = std::string{"more of this kind happens, and is not said"};
    if (list.size() > most) return;
    auto const is_last = list.size() == most;
    if (auto const words = is_last ? no_more : said_now(&list, since_begun, said); !words.empty())
      say("after " + readable_seconds(since_begun) + ": " + words,
          &list == &result.returned ? log_level::news : log_level::warnings);
    list.push_back(is_last ? no_more : kept);
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
  struct minute {
    std::chrono::nanoseconds begun{};
    std::size_t said = 0;
  };

  /// What to say of a sentence of that kind; nothing if too much was said of it.
  auto said_now(void const* kind, std::chrono::nanoseconds since_begun, std::string const& sentence) -> std::string {
    auto& m = minutes_[kind];
    if (since_begun - m.begun >= std::chrono::minutes{1}) m = {since_begun, 0};
    if (++m.said <= most_a_minute) return sentence;
    return m.said == most_a_minute + 1 ? "more of this kind happens; what comes within a minute is not said" : "";
  }

  speaker says_;
  std::shared_ptr<status_board> board_;
  log_level least_;
  std::map<void const*, minute> minutes_;  // by kind: the list of its sentences
  std::string failure_;
  std::optional<std::chrono::nanoseconds> failure_said_;
};

}  // namespace rubato::detail
