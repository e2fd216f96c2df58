// SPDX-License-Identifier: MIT
// The driver of one node in one process: the same node type that the simulator runs, over a transport.
#pragma once

#include <chrono>
#include <limits>
#include <span>
#include <string>

#include <rubato/core/errors.hpp>
#include <rubato/driver/detail/peer_driver.hpp>
#include <rubato/driver/detail/peer_members.hpp>
#include <rubato/driver/peer_options.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/peer_result.hpp>
#include <rubato/run/result.hpp>
#include <rubato/transport/concepts.hpp>

namespace rubato {

/// Runs node `me.self` of the assembly over `wires`: waits until every node of the run has arrived, runs until `end` on
/// its own clock (`end.gradients` counts this node's), and says goodbye. It does not touch the other nodes of the
/// assembly. Throws config_error before the start. Throws run_error with one sentence if the node fails or the problem
/// throws, and peer_error, which is one too, if a peer is lost (unless asked to go on) or waited for too long; the
/// peers are told which node is at fault, and name it. A neighbour that has ended sends no more; a node that waits for
/// it ends too, in order (stop_reason::neighbour; a run_error if only a number of gradients ends the run), unless it
/// goes on without. If `end` is a time, all end together. With `end.gradients` and unequal speeds, slow nodes go on
/// without the fast ones. With async_model_average they then go on without any exchange, because their exchange with a
/// node that has ended stays open: give it a time. Nodes that average in pairs (ad_psgd) no longer ask one that has
/// ended.
template<transport::endpoint Transport>
auto run_peer(assembly& a, transport::identity const& me, Transport& wires, until const& end,
              peer_options const& o = {}) -> peer_result {
  if (end.target_loss > -std::numeric_limits<double>::infinity()) {
    throw config_error{
        "one process does not see the mean model of all, so it cannot end at a target loss: give it a time"};
  }
  if (end.never()) throw config_error{"nothing ends this run; give a time or a number of gradients"};
  end.check();
  if (to_index(me.self) >= a.nodes.size()) {
    throw config_error{"this assembly has no node " + std::to_string(to_index(me.self)) +
                       ": it is empty, or was moved into a run before"};
  }
  detail::refuse_used(std::span{a.nodes}.subspan(to_index(me.self), 1), 1);
  detail::refuse_members(a, me, o, Transport::lossless);
  if (auto const why = o.lost == when_lost::goes_on ? why_not_go_on(a, me.self) : ""; !why.empty())
    throw config_error{"going on without lost peers (when_lost::goes_on) is not possible" + why};
  return detail::peer_driver<Transport>{a, me, wires, o}.run(end);
}

/// The same for a known node type: if the transport cannot carry its channels, the call does not compile, and the
/// message says why.
template<node Node, transport::endpoint Transport>
auto run_peer(assembly& a, transport::identity const& me, Transport& wires, until const& end,
              peer_options const& o = {}) -> peer_result {
  static_assert(transport::check_carries<Transport, Node>());
  return run_peer(a, me, wires, end, o);
}

}  // namespace rubato
