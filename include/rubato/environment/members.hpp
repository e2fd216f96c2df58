// SPDX-License-Identifier: MIT
// Who takes part in a simulated run, and when that changes. There is no coordinator: each node has its own view of who
// is present, and for a while views differ. Of a death a node hears by suspicion, of anybody who comes or leaves in
// order by a word; both take a time that is drawn for each node and change. What a node knows of another is how often
// that one has come or gone, so it does not matter in which order it hears. Joins, words and hang-ups know nothing of
// partitions and loss: they always arrive.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/topology/members.hpp>

namespace rubato::environment {

/// joins: the node asks the present node with the lowest id, which tells it who is present. The lowest of its future
/// neighbours sends it its model, and with that it begins, as long after as such a message is under way.
/// leaves: it closes its edges, and the other ends notice that as late as a message.
/// dies: it says nothing; its edges stay open at the other ends until they suspect it.
enum class member_event : std::uint8_t { joins, leaves, dies };

struct member_change {
  node_id node{};
  member_event what{};
  std::chrono::nanoseconds at{};
  static void visit_state(auto& self, auto&& visit) {
    visit("node", self.node), visit("what", self.what), visit("at", self.at);
  }
};

struct membership {
  std::vector<node_id> first{};  ///< who is present at the beginning, by rising id; empty: all
  std::vector<member_change> changes{};  ///< each begins once those before it have; of one time, in this order
  std::chrono::nanoseconds suspicion{};  ///< each of the others suspects a dead node after once to twice this time
  std::chrono::nanoseconds word{};  ///< each of the others hears of who came or left after 0 to this time

  [[nodiscard]] auto is_fixed() const -> bool { return first.empty() && changes.empty(); }
  /// Who is present at the beginning of a run of `nodes` nodes.
  [[nodiscard]] auto beginning(std::size_t nodes) const -> std::vector<node_id>;
  /// How long after change `k` this node hears of it.
  [[nodiscard]] auto delay(std::uint64_t seed, std::size_t k, node_id hearer) const -> std::chrono::nanoseconds;
  /// Throws config_error, naming the node, unless each change is possible when it happens and somebody is always there.
  void check(std::size_t nodes) const;
  static void visit_state(auto& self, auto&& visit) {
    visit("first", self.first), visit("changes", self.changes);
    visit("suspicion", self.suspicion), visit("word", self.word);
  }
};

#if RUBATO_BODIES
RUBATO_INLINE auto membership::beginning(std::size_t nodes) const -> std::vector<node_id> {
  if (!first.empty()) return first;
  std::vector<node_id> all(nodes);
  for (std::size_t i = 0; i < nodes; ++i) all[i] = to_node(i);
  return all;
}

RUBATO_INLINE auto membership::delay(std::uint64_t seed, std::size_t k, node_id hearer) const
    -> std::chrono::nanoseconds {
  auto draw = random_stream{{seed, 0x6d656d62657273ULL, k, static_cast<std::uint64_t>(hearer)}};
  auto const dies = changes[k].what == member_event::dies;
  auto const up_to = static_cast<std::uint64_t>((dies ? suspicion : word).count());
  auto const drawn = std::chrono::nanoseconds{static_cast<std::int64_t>(draw.below(up_to + 1))};
  return dies ? later_by({suspicion}, drawn).since_start : drawn;
}

RUBATO_INLINE void membership::check(std::size_t nodes) const {
  if (suspicion.count() < 0 || word.count() < 0)
    throw config_error{"the times after which nodes hear of a change of members cannot be negative"};
  auto const at_first = beginning(nodes);
  topology::require_members(at_first, nodes);
  std::vector<bool> present(nodes, false);
  for (auto const id : at_first) present[to_index(id)] = true;
  auto before = std::chrono::nanoseconds{};
  for (auto const& c : changes) {
    auto const who = "node " + std::to_string(to_index(c.node));
    if (to_index(c.node) >= nodes)
      throw config_error{who + " cannot be a member: the network has room for nodes 0 to " + std::to_string(nodes - 1)};
    if (c.at < before)
      throw config_error{"changes of members are listed by time, from 0, and that of " + who + " is not"};
    before = c.at;
    auto const joins = c.what == member_event::joins;
    if (joins == present[to_index(c.node)])
      throw config_error{who + (joins ? " cannot join while it is there" : " cannot go while it is not there")};
    present[to_index(c.node)] = joins;
    if (std::none_of(present.begin(), present.end(), [](bool is_there) { return is_there; }))
      throw config_error{"when " + who + " goes, no member is left"};
  }
}
#endif  // RUBATO_BODIES

}  // namespace rubato::environment
