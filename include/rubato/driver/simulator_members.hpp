// SPDX-License-Identifier: MIT
// The members of the simulator that let nodes come and go: who hears what when, and which edges close and open for it.
// A part of simulator.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/driver/simulator.hpp>
#include <rubato/mixing/members.hpp>
#include <rubato/wire/frame.hpp>

namespace rubato {

inline void simulator::check_members() const {
  auto const& plan = scenario_.members;
  if (!who_.members) {
    if (plan.is_fixed()) return;
    throw config_error{
        "a scenario whose members come and go needs graphs for each number of them: assemble with "
        "topology::member_graphs"};
  }
  plan.check(who_.peers);
  for (auto const& n : who_.nodes)
    if (!n.takes_members())
      throw config_error{
          "these nodes do not take another place in the network: members come and go without pace and "
          "recording"};
  if (!scenario_.restarts.empty())
    throw config_error{
        "where members come and go, a node restarts by dying and joining: list that as changes of members"};
}

/// Before the nodes start: closes all edges, and opens those of the first members.
inline void simulator::begin_members() {
  views_ = detail::member_views{scenario_.members, who_.peers, who_.nodes.size()};
  for (std::size_t i = 0; i < who_.nodes.size(); ++i) {
    state_[i].down = !views_.is_present(i);
    close_all(i);
  }
  for (std::size_t i = 0; i < who_.nodes.size(); ++i) {
    if (!state_[i].down) rewire(i);
  }
  for (std::size_t k = 0; k < scenario_.members.changes.size(); ++k) {
    auto const& c = scenario_.members.changes[k];
    schedule(c.at, event_kind::member_change, to_index(c.node), static_cast<std::uint32_t>(k));
  }
}

inline void simulator::schedule(nanoseconds at, event_kind kind, std::size_t node, std::uint32_t slot) {
  queue_.push({at.count(), kind, static_cast<std::uint32_t>(node), slot});
  ++live_;
}

/// A node that was made anew has all edges open.
inline void simulator::close_all(std::size_t node) {
  for (auto const peer : who_.factory.neighbours(node)) {
    auto const& end = views_.end(node, to_index(peer));
    tell_end(node, peer, neighbour_change::edge::closes, end.session);
  }
}

inline void simulator::tell_end(std::size_t node, node_id peer, neighbour_change::edge what, std::uint32_t session) {
  session_id const both{session, session};
  who_.nodes[node].on_neighbours(now_, {peer, what, both, both}, out_);
  carry_out(node);
}

/// Makes a node's place and edges those of its view.
inline void simulator::rewire(std::size_t node) {
  auto const view = views_.view(node);  // none, for a moment, at a server
  auto const place = view.empty() ? mixing::neighbourhood{} : who_.members->place(view, to_node(node));
  auto const peers = who_.factory.neighbours(node);
  for (auto const peer : peers) {
    auto& end = views_.end(node, to_index(peer));
    end.wanted = view.empty() ? std::uint8_t{0} : mixing::flows_with(place, peer);
    auto const is_other = end.wanted != end.flows || end.count != views_.known(node, to_index(peer));
    if (end.is_open && is_other) close_end(node, peer);
  }
  if (!view.empty()) who_.nodes[node].on_members(view);
  for (auto const peer : peers) open_if_both_want(node, to_index(peer));
}

/// The other end notices it as late as a message.
inline void simulator::close_end(std::size_t node, node_id peer) {
  auto& end = views_.end(node, to_index(peer));
  end.is_open = false;
  tell_end(node, peer, neighbour_change::edge::closes, end.session);
  hang_up(node, peer);
}

inline void simulator::hang_up(std::size_t node, node_id peer) {
  auto const slot = hang_ups_.put({to_node(node), views_.end(node, to_index(peer)).session});
  auto const at = now_ + scenario_.link_of(to_node(node), peer).latency;
  schedule(at.since_start, event_kind::hang_up, to_index(peer), slot);
}

inline void simulator::open_if_both_want(std::size_t i, std::size_t j) {
  if (state_[i].down || state_[j].down || !views_.may_open(i, j)) return;
  auto const session = views_.open(i, j);
  tell_end(i, to_node(j), neighbour_change::edge::opens, session);
  tell_end(j, to_node(i), neighbour_change::edge::opens, session);
}

inline void simulator::notice_hang_up(event const& e) {
  auto const was = hang_ups_.take(e.slot);
  auto& end = views_.end(e.node, to_index(was.peer));
  if (state_[e.node].down || !end.is_open || end.session != was.session) return;
  end.is_open = false;
  tell_end(e.node, was.peer, neighbour_change::edge::closes, end.session);
  open_if_both_want(e.node, to_index(was.peer));
  drain(e.node);
}

inline void simulator::change_members(event const& e) {
  auto const& c = scenario_.members.changes[e.slot];
  views_.set_count(e.node, views_.count_after(e.slot));
  if (c.what == environment::member_event::joins) return invite(e);
  auto const was_there = !state_[e.node].down;  // not on its way
  for (auto const peer : who_.factory.neighbours(e.node)) {
    auto& end = views_.end(e.node, to_index(peer));
    if (end.is_open && c.what == environment::member_event::leaves) hang_up(e.node, peer);
    end.is_open = false;
  }
  if (was_there) take_away(e.node);
  spread_word(e.slot);
  if (trace_ != nullptr) trace_->after_event(now_, c.node, who_.nodes);
}

/// Nothing is left of the node but its model.
inline void simulator::take_away(std::size_t node) {
  auto& s = state_[node];
  cancel(node);
  s.wait.reset();
  s.down = true;
  ++s.session;
  who_.nodes[node] = who_.factory.make(node, who_.nodes[node].estimate(), s.session);
}

inline void simulator::spread_word(std::size_t change) {
  auto const& plan = scenario_.members;
  for (std::size_t i = 0; i < who_.nodes.size(); ++i) {
    if (to_node(i) == plan.changes[change].node) continue;
    auto const at = later_by(now_, plan.delay(scenario_.seed, change, to_node(i)));
    schedule(at.since_start, event_kind::member_word, i, static_cast<std::uint32_t>(change));
  }
}

inline void simulator::hear_of_member(event const& e) {
  auto const who = to_index(scenario_.members.changes[e.slot].node);
  if (!views_.learn(e.node, who, views_.count_after(e.slot)) || state_[e.node].down) return;
  rewire(e.node);
  drain(e.node);
}

/// The node that joins is told who is present, and is sent a model. Where nobody is there it begins as the run did.
inline void simulator::invite(event const& e) {
  auto const is_there = [](per_node const& s) { return !s.down; };
  auto const end = state_.begin() + static_cast<std::ptrdiff_t>(who_.peers);
  auto const contact = std::find_if(state_.begin(), end, is_there);
  views_.learn(e.node, e.node, views_.count(e.node));
  auto arrival = newcomer{e.slot, {}};
  auto delay = nanoseconds{};
  if (contact != end) {
    learn_all(e.node, static_cast<std::size_t>(contact - state_.begin()));
    auto const sender = sponsor_of(e.node, static_cast<std::size_t>(contact - state_.begin()));
    arrival.model = who_.nodes[sender].estimate();
    count_first_model(sender, e.node, arrival.model);
    auto const& link = scenario_.link_of(to_node(sender), to_node(e.node));
    auto const bytes = wire::header_bytes + arrival.model.size() * bytes_of(arrival.model.kind());
    delay = environment::network::sending_time(link, bytes) + link.latency;
  }
  schedule(now_.since_start + delay, event_kind::member_enters, e.node, newcomers_.put(std::move(arrival)));
}

inline void simulator::learn_all(std::size_t node, std::size_t from) {
  auto const all = views_.all_known(from);
  for (std::size_t i = 0; i < all.size(); ++i) views_.learn(node, i, all[i]);
}

/// The neighbour with the lowest id that is there, or else the node that was asked.
inline auto simulator::sponsor_of(std::size_t node, std::size_t contact) const -> std::size_t {
  auto const place = who_.members->place(views_.view(node), to_node(node));
  for (auto const peer : detail::neighbours_of(place)) {
    if (to_index(peer) < who_.peers && !state_[to_index(peer)].down) return to_index(peer);
  }
  return contact;
}

inline void simulator::enter(event const& e) {
  auto came = newcomers_.take(e.slot);
  auto& s = state_[e.node];
  if (views_.count(e.node) != views_.count_after(came.change)) return;  // it has gone again
  s.down = false;
  who_.nodes[e.node] = who_.factory.make(e.node, std::move(came.model), s.session);
  if (trace_ != nullptr) trace_->restarted(now_, to_node(e.node));
  close_all(e.node);
  rewire(e.node);
  spread_word(came.change);
  who_.nodes[e.node].start(now_, out_);
  drain(e.node);
}

/// Values and bytes alone: the number of packets numbers the draws of the link.
inline void simulator::count_first_model(std::size_t from, std::size_t to, shared_buffer const& model) {
  auto& edge = network_.edge_between(to_node(from), to_node(to));
  auto const kind = channels_.kind_of(channel_id::model);
  auto& counts = network_.channel_of(edge, channel_id::model, kind).counts;
  counts.values_sent += model.size();
  counts.bytes_sent += wire::header_bytes + model.size() * bytes_of(model.kind());
}

/// Whoever is there and has not heard of a change still counts on who has gone, or not on who has come.
inline void simulator::warn_of_unknown_changes(run_result& result) const {
  for (std::size_t k = 0; k < scenario_.members.changes.size(); ++k) {
    auto const& c = scenario_.members.changes[k];
    auto const of = to_index(c.node);
    if (c.at > now_.since_start || views_.count(of) != views_.count_after(k)) continue;
    std::size_t unaware = 0;
    for (std::size_t i = 0; i < who_.peers; ++i)
      if (i != of && !state_[i].down && views_.known(i, of) != views_.count(of)) ++unaware;
    if (unaware == 0) continue;
    auto const what = c.what == environment::member_event::joins    ? " had joined"
                      : c.what == environment::member_event::leaves ? " had left"
                                                                    : " had died";
    result.warnings.push_back("when the run ended, " + std::to_string(unaware) +
                              " of those who were there did not know that node " + std::to_string(of) + what +
                              ": models need not be at the optimum of the present ones");
  }
}

}  // namespace rubato
