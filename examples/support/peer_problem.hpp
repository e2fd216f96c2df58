// SPDX-License-Identifier: MIT
// What peer and cluster demand of a run, and what its processes agree on.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <rubato/core/text.hpp>
#include <rubato/driver/peer_options.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/run/admission.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/peer_result.hpp>
#include <rubato/transport/shared_memory.hpp>
#include <rubato/wire/agreement.hpp>

#include "support/peer_options.hpp"

namespace rubato::examples {

/// The options of race with which the nodes of this run can be built again; throws config_error if there are none.
[[nodiscard]] inline auto setup_of(peer_choice const& c) -> std::string {
  if (c.race.quadratic) throw config_error{"--record needs --problem softmax: replay reads race's data"};
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i + 1 < c.race.arguments.size(); i += 2) {
    auto const& name = c.race.arguments[i];
    if (name != "--algorithms") arguments.insert(arguments.end(), {name, c.race.arguments[i + 1]});
  }
  arguments.insert(arguments.end(), {"--algorithms", c.race.algorithms.front()});
  auto const is_set = std::any_of(c.race.settings.begin(), c.race.settings.end(),
                                  [](auto const& s) { return s.algorithm.empty() && s.name == "block-values"; });
  if (!is_set) {
    arguments.insert(arguments.end(), {"--set", "block-values=" + std::to_string(c.race.block_values)});
  }
  return setup_text(arguments);
}

namespace detail {
[[nodiscard]] inline auto names_of(std::vector<node_id> const& ids) -> std::string {
  std::string who;
  for (auto const id : ids) who += (who.empty() ? "node " : " and node ") + std::to_string(to_index(id));
  return who;
}
}  // namespace detail

/// The same of a run whose members come and go.
[[nodiscard]] inline auto words_of_lost_members(peer_result const& r) -> std::string {
  auto const self = std::to_string(to_index(r.id));
  if (!r.other_views.empty())
    return "when the run ended, node " + self + " and " + detail::names_of(r.other_views) +
           " saw different members: some link between two of them could not be made, and models are off the optimum";
  if (!r.cut_off.empty())
    return detail::names_of(r.cut_off) + (r.cut_off.size() == 1 ? " was" : " were") + " lost to node " + self +
           " and had not come back when the run ended: it went on to the optimum of those who were there";
  return r.parted == 0 ? ""
                       : "another member than node " + self + " had lost one that had not come back when the run ended";
}

/// Of peers that were gone when the run ended, this node's own and those of others, one sentence; empty: there were
/// none.
[[nodiscard]] inline auto words_of_the_lost(peer_result const& r, bool members_come_and_go = false) -> std::string {
  if (members_come_and_go) return words_of_lost_members(r);
  auto const self = std::to_string(to_index(r.id));
  if (r.cut_off.empty() && r.parted == 0) return {};
  if (r.cut_off.empty()) {
    return "a node that is " + std::to_string(r.parted) + (r.parted == 1 ? " edge" : " edges") + " away from node " +
           self + " was cut off from a peer when the run ended: what one side computed since then, the other lacks";
  }
  return "node " + self + " was cut off from " + detail::names_of(r.cut_off) +
         " when the run ended: what one side computed since then, the other lacks";
}

/// Throws run_error unless the models of a run on quadratics are as near the optimum as required.
inline void require_near(double worst, peer_choice const& c) {
  if (c.within == 0 || worst <= c.within) return;
  throw run_error{"a model is " + report::readable(worst) + " away from the optimum, and --within allows " +
                  report::readable(c.within)};
}

/// Throws config_error if nodes are to go on without lost ones, and those of this run cannot, as far as that node and
/// its neighbours are concerned.
inline void refuse_going_on(peer_choice const& c, assembly const& a, node_id node) {
  if (!c.goes_on || to_index(node) >= a.nodes.size()) return;
  if (auto const why = why_not_go_on(a, node); !why.empty()) throw config_error{"--go-on is not possible" + why};
}

/// As --admit asks for, if it does. Throws config_error where the algorithm exchanges no whole models.
inline void admit_as_asked(assembly& a, node_id node, peer_choice const& c, admission::speaker says = {}) {
  if (c.admit > 0 && to_index(node) < a.nodes.size()) admit(a, node, admission::within{c.admit}, std::move(says));
}

/// What a node's saved state depends on, besides the node itself.
inline void add_setting(wire::agreement& agreed, peer_choice const& c) {
  agreed.add("--algorithms", c.race.algorithms.front()).add("problem", c.race.problem_text);
  if (c.race.quadratic) return;
  agreed.add("split", c.race.split == data_split::iid ? "iid" : "by-label").add("batch", c.race.batch);
  agreed.add("l2", report::shortest(c.race.l2));
}
[[nodiscard]] inline auto setting_of(peer_choice const& c) -> std::string {
  wire::agreement setting;
  add_setting(setting, c);
  return setting.text();
}

/// What else the processes of a run must have in common. Not the time if nodes go on without each other: a restarted
/// one gets less time.
inline void add_end(wire::agreement& agreed, peer_choice const& c) {
  if (c.members) agreed.add("--members", *c.members).add("--nodes that begin", c.beginning);
  agreed.add("--until", c.goes_on ? "any, as nodes --go-on" : report::shortest(to_seconds(c.race.until)) + " s");
}

/// What is wrong where so many links shall go over shared memory, which this machine has too little of; empty: nothing.
[[nodiscard]] inline auto words_of_little_memory(std::size_t links) -> std::string {
  auto const a_link = 2 * std::uint64_t{transport::shared_memory_options{}.ring_bytes} + 4096;
  auto const needed = links * a_link;
  auto unknown = std::error_code{};
  auto const here = std::filesystem::space("/dev/shm", unknown);
  if (unknown || here.available >= needed) return {};
  auto const text = [](std::uint64_t bytes) { return with_digits(static_cast<double>(bytes) / 1048576.0, 4) + " MiB"; };
  return "links over shared memory need " + text(needed) + ", and /dev/shm has " + text(here.available) + " left";
}
/// What ends such a sentence.
inline constexpr auto cure_of_little_memory =
    ": take --transport tcp, or enlarge /dev/shm (for a container, --shm-size)";

}  // namespace rubato::examples
