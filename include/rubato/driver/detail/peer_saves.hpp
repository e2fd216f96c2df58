// SPDX-License-Identifier: MIT
// What one process has to save its node: the lock on it, what is due, and the thread that writes.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/driver/detail/peer_notes.hpp>
#include <rubato/driver/detail/reach.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/atomic_file.hpp>
#include <rubato/run/checkpoint.hpp>
#include <rubato/run/checkpoint_lock.hpp>
#include <rubato/run/checkpoint_writer.hpp>
#include <rubato/run/stop_token.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/wire/agreement.hpp>

namespace rubato::detail {

/// All have come, so every edge has opened; its first session carries on with the round that begins. Takes these news
/// off `early`.
template<class Send>
void resume_together(hosted_node& host, instant now, std::vector<transport::incoming>& early, Send&& send) {
  host.resume(now);
  std::set<node_id> resumed;
  std::erase_if(early, [&](transport::incoming const& n) {
    if (n.kind != transport::incoming::what::opened || !resumed.insert(n.peer).second) return false;
    host.change(now, {n.peer, neighbour_change::edge::resumes, n.outgoing, n.incoming}, send);
    return true;
  });
}

struct peer_saves {
  checkpoint_lock lock{};  // longer than anything is written
  node_checkpoints node{};
  std::optional<checkpoint_writer> writer{};  // where the node is saved

  /// Throws config_error, before any peer waits for this node, if the node cannot be resumed, its checkpoint does not
  /// fit, or another process saves it there. False if interrupted while it waited for that one.
  [[nodiscard]] auto prepare(checkpoint_options const& o, assembly const& a, transport::identity const& me,
                             hosted_node& host, peer_notes& notes, stop_token const& stop) -> bool {
    o.check();
    if (o.folder.empty()) return true;
    if (!o.resume) ensure_writable_folder(o.folder);
    if (!lock.take(o, {to_index(me.self), to_index(me.self) + 1}, stop)) return false;
    if (!lock.remark().empty()) notes.warn(lock.remark());
    node = {o, a, me.self};
    node.reach(reach_of(a, me.self), a.nodes.size());
    if (o.resume) {
      if (auto other = ignored_checkpoints(o, a.nodes.size(), node.together()); !other.empty())
        notes.warn(std::move(other));
      if (auto warning = node.restore_into(host, a.pool); !warning.empty()) notes.warn(std::move(warning));
    }
    refuse_other_state(me);
    ensure_writable_folder(o.folder);
    ensure_space(o.folder, node.least_bytes(host));
    writer.emplace();
    return true;
  }

 private:
  /// What the node's transport tells the others must fit the state that was read.
  void refuse_other_state(transport::identity const& me) const {
    if (me.opened_before >> 16 != node.resumed()) {
      throw config_error{"the sessions of a node that goes on must be new: give identity_of() its checkpoint_options"};
    }
    auto const agreed = wire::detail::value_of(me.agreed.text(), round_to_go_on_from);
    if (!agreed || !node.resumed_from() || *agreed == std::to_string(*node.resumed_from())) return;
    throw config_error{"another process saved node " + std::to_string(to_index(me.self)) +
                       " meanwhile: it was to go on from round " + std::string{*agreed} + ", and its newest is round " +
                       std::to_string(*node.resumed_from())};
  }
};

}  // namespace rubato::detail
