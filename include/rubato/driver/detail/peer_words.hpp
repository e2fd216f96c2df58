// SPDX-License-Identifier: MIT
// Sentences of one process about its end, and about the nodes because of which it ended or stood still.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/core/text.hpp>

namespace rubato::detail {

inline auto node_name(node_id id) -> std::string { return "node " + std::to_string(to_index(id)); }

/// Seconds with two digits behind the point.
inline auto readable_seconds(std::chrono::nanoseconds d) -> std::string {
  return shortest(std::round(to_seconds(d) * 100) / 100) + " s";
}
inline auto words_of(waiting const& w) -> std::string {
  return std::string{name_of(w.channel)} + " message " + std::to_string(to_count(w.number));
}

/// Of a node that stood still when its time was over.
inline auto words_of_stall(node_id self, waiting const& w, std::chrono::nanoseconds waited) -> std::string {
  return node_name(self) + " stood still when the run ended: it had waited for " + words_of(w) + " of " +
         node_name(w.peer) + " for " + shortest(to_seconds(waited)) + " s";
}
/// Of a node that ended before its time: `why` follows.
inline auto words_of_early_end(node_id self, std::chrono::nanoseconds ran, std::string const& why) -> std::string {
  return node_name(self) + " ended after " + shortest(to_seconds(ran)) + " s, before its own end: " + why;
}
/// Of a neighbour that has ended its run so long before this node's end.
inline auto words_of_early_leave(node_id peer, node_id self, std::chrono::nanoseconds before) -> std::string {
  return node_name(peer) + " has ended its run " + readable_seconds(before) + " before the end that " +
         node_name(self) + " was given: what this one computes from now on lacks what that one would have";
}
/// The same, said afterwards.
inline auto words_of_earlier_end(node_id peer, node_id self, std::chrono::nanoseconds before) -> std::string {
  return node_name(peer) + " ended its run " + readable_seconds(before) + " before " + node_name(self) +
         " did: what this one computed since then lacks what that one would have";
}
/// Of a node that ended because this neighbour had.
inline auto words_of_needed_end(waiting const& w) -> std::string {
  return node_name(w.peer) + ", which had to send it " + words_of(w) + ", had ended its run";
}
inline auto words_of_missing_gradients(node_id self, std::uint64_t done, std::uint64_t of, std::string const& why)
    -> std::string {
  return node_name(self) + " ended after " + std::to_string(done) + " of " + std::to_string(of) + " gradients: " + why;
}
inline auto words_of_stay(node_id peer, std::string const& linger, node_id self) -> std::string {
  return node_name(peer) + " has not ended within " + linger + " of the end of " + node_name(self);
}
inline auto words_of_absence(node_id from, node_id self, std::chrono::nanoseconds ran) -> std::string {
  return node_name(from) + " took no part: not one message of it came in the " + shortest(to_seconds(ran)) +
         " s that " + node_name(self) + " ran; start the processes nearer together, or let them run longer";
}
inline auto words_of_congestion(node_id self, node_id peer, std::chrono::nanoseconds held) -> std::string {
  return node_name(self) + " has begun no gradient for " + shortest(to_seconds(held)) +
         " s, which is longer than the patience: as many messages as its transport should hold wait for " +
         node_name(peer) + ", which reads too slowly, or not at all";
}
inline auto words_of_refusal(node_id self, node_id to) -> std::string {
  return node_name(self) + " has many times more messages waiting for " + node_name(to) +
         " than its transport should hold: the peer reads too slowly, or not at all";
}
inline auto words_of_return(node_id peer, bool is_server) -> std::string {
  return node_name(peer) + " has come back" +
         (is_server ? "; it is the server: a process that was started again has the model of its checkpoint if it "
                      "resumed from one, else the first model"
                    : "");
}
inline auto words_of_joining(node_id peer) -> std::string { return node_name(peer) + " has come"; }
inline auto words_of_leaving(node_id peer) -> std::string { return node_name(peer) + " has left"; }
inline auto words_of_joining_nobody(node_id self) -> std::string {
  return node_name(self) + " was to join the others, and met none of them: they have ended, or cannot be reached";
}
inline auto words_of_end_without(node_id peer) -> std::string {
  return node_name(peer) + " has ended its run, and the others go on without it";
}
/// Of members that have seen others than this one does for so long.
inline auto words_of_other_views(std::vector<node_id> const& peers, node_id self, std::chrono::nanoseconds lasting)
    -> std::string {
  std::string who;
  for (auto const peer : peers) who += (who.empty() ? "" : " and ") + node_name(peer);
  return node_name(self) + " and " + who + " have seen different members for " + readable_seconds(lasting) +
         ": some link between two members cannot be made, and until it is, models are off the optimum";
}
/// Of a server that was lost, as `why` says if it is known, and did not come back: within that time, or before the run
/// ended.
inline auto words_of_no_server(node_id server, std::string const& why, std::optional<std::chrono::nanoseconds> within,
                               node_id self) -> std::string {
  return (why.empty() ? node_name(server) + " was lost" : why) + ", and " +
         (within ? "has not come back within " + readable_seconds(*within) : "had not come back when the run ended") +
         ": it is the server, without which " + node_name(self) + " cannot go on";
}

/// To be called in a catch block.
inline auto words_of_caught() -> std::string {
  try {
    throw;
  } catch (std::exception const& e) {
    return e.what();
  } catch (...) {
    return "something was thrown that is not a std::exception";
  }
}

}  // namespace rubato::detail
