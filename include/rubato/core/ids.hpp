// SPDX-License-Identifier: MIT
// Strong identifiers: a node cannot be passed as an iteration, nor a draw as a ticket.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>

#include <rubato/core/language.hpp>

namespace rubato {

/// One participant of a run; ids are 0 .. n-1 (a server, where there is one, is node n).
enum class node_id : std::uint32_t {};
/// The sender's own count of local iterations on a message; 0 is the common start, so messages begin at 1.
enum class iteration : std::uint64_t {};
/// Names one gradient request of one node; a gradient whose ticket is not the outstanding one is dropped.
enum class ticket : std::uint64_t {};

constexpr auto to_index(node_id id) -> std::size_t { return static_cast<std::size_t>(id); }
constexpr auto to_count(iteration i) -> std::uint64_t { return static_cast<std::uint64_t>(i); }
constexpr auto next(iteration i) -> iteration { return iteration{to_count(i) + 1}; }
constexpr auto next(ticket t) -> ticket { return ticket{static_cast<std::uint64_t>(t) + 1}; }
constexpr auto to_node(std::size_t i) -> node_id { return node_id{static_cast<std::uint32_t>(i)}; }

/// A point on the run's clock: integer nanoseconds since its start, virtual or real. Nodes only ever receive it.
struct instant {
  std::chrono::nanoseconds since_start{};
  static void visit_state(auto& self, auto&& visit) { visit("since start", self.since_start); }
  friend auto operator<=>(instant const&, instant const&) = default;
  friend auto operator+(instant t, std::chrono::nanoseconds d) -> instant { return {t.since_start + d}; }
  friend auto operator-(instant a, instant b) -> std::chrono::nanoseconds { return a.since_start - b.since_start; }
};

/// That much later than an instant of a run's clock, or the clock's last instant if that is sooner.
constexpr auto later_by(instant t, std::chrono::nanoseconds d) -> instant {
  using std::chrono::nanoseconds;
  return {d < (nanoseconds::max)() - t.since_start ? t.since_start + d : (nanoseconds::max)()};
}

constexpr auto to_seconds(std::chrono::nanoseconds d) -> double { return static_cast<double>(d.count()) / 1e9; }

/// Names a mini-batch: the same key draws the same samples, in any driver and in any order of events.
struct sample_key {
  std::uint64_t seed{};
  node_id node{};
  std::uint64_t draw{};
  static void visit_state(auto& self, auto&& visit) {
    visit("seed", self.seed), visit("node", self.node), visit("draw", self.draw);
  }
  friend auto operator==(sample_key const&, sample_key const&) -> bool = default;
};

/// Numbers a session of an edge: how often either end has been started. Messages of a closed session are dropped.
struct session_id {
  std::uint32_t sender{};
  std::uint32_t receiver{};
  static void visit_state(auto& self, auto&& visit) { visit("sender", self.sender), visit("receiver", self.receiver); }
  friend auto operator==(session_id const&, session_id const&) -> bool = default;
};

}  // namespace rubato
