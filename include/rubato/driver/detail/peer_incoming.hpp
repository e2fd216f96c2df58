// SPDX-License-Identifier: MIT
// What one process does with what comes from its peers: messages, edges that open and close, goodbyes, and who is cut
// off elsewhere. A part of peer_driver.hpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/driver/detail/peer_driver.hpp>
#include <rubato/driver/detail/peer_view.hpp>
#include <rubato/driver/detail/peer_words.hpp>
#include <rubato/run/pace.hpp>
#include <rubato/transport/concepts.hpp>

namespace rubato::detail {

/// Messages wait while the node stands still.
template<transport::endpoint Transport>
void peer_driver<Transport>::take(transport::incoming n) {
  idle_.end();
  if (n.kind == what::message && (stands_still_ || !held_.empty()))
    return keep(held_, std::move(n), "waits for its checkpoint to be written");
  handle(n);
  save_round_if_due();
}
template<transport::endpoint Transport>
void peer_driver<Transport>::take_held() {
  if (stands_still_ || held_.empty()) return;
  for (auto& n : held_.take()) take(std::move(n));  // the rest is held again if the node stands still on the way
}

template<transport::endpoint Transport>
void peer_driver<Transport>::handle(transport::incoming const& n) {
  switch (n.kind) {
    case what::message:
      host_.deliver(now(), patch_of(n.p, n.blocks), sender());
      return;
    case what::opened:
      return handle_opened(n);
    case what::stands: {
      hear_parted(n);
      members_.others().hears(n.peer, n.peer_status.view, now());
      if (writer_) meeting_.hear(n.peer_status, now());
      tell_of_meeting();
      auto& they = others_.of(n.peer);
      auto const waits = n.peer_status.at == transport::peer_status::phase::running && n.peer_status.level % 2 != 0;
      if (they.waits && !waits) they.free_since = now();
      they.waits = waits;
      return;
    }
    case what::closed:
      refuse_loss(n);
      meeting_.give_up();
      if (!all_end()) lose(n);  // else there is no need to close the edge
      return;
    case what::left:
      return handle_left(n);
  }
}

/// Nodes begin in the first session of each edge, unless it was closed before: then the peer came late.
template<transport::endpoint Transport>
void peer_driver<Transport>::handle_opened(transport::incoming const& n) {
  if (is_kept(n.peer)) take_out(n.peer, words_of_end_without(n.peer));
  auto const is_closed = others_.is_lost(n.peer) || others_.is_expected(n.peer);
  if (is_closed || !(n.outgoing == session_id{}) || !(n.incoming == session_id{})) {
    note_return(n.peer);
    host_.change(now(), {n.peer, neighbour_change::edge::opens, n.outgoing, n.incoming}, sender());
    others_.of(n.peer).met_again = true;
  }
  others_.opens(n.peer);
  members_.opens(n.peer, host_);
  tell_view();
}

/// What it was given is taken back at once if it leaves the others; if the run of a member has ended, later.
template<transport::endpoint Transport>
void peer_driver<Transport>::handle_left(transport::incoming const& n) {
  auto const is_early = last_ - now() >= worth_a_sentence();
  auto const leaves = members_.come_and_go() && n.peer_status.leaves() && is_early;
  others_.leaves(n.peer, now());
  hear_parted(n);
  if (pace_) pace_->leaves(n.peer);
  if (leaves) return take_out(n.peer, words_of_leaving(n.peer));
  if (host_.node().closes_ended_edges()) close_ended(n.peer);
  members_.others().ends(n.peer, now(), options_.linger);
}
template<transport::endpoint Transport>
void peer_driver<Transport>::close_ended(node_id peer) {
  if (!std::exchange(others_.of(peer).without, true))
    host_.change(now(), {peer, neighbour_change::edge::closes, {}, {}}, sender());
}
/// A member that has left is one that may come.
template<transport::endpoint Transport>
void peer_driver<Transport>::take_out(node_id peer, std::string const& news) {
  close_ended(peer);
  notes_.say("after " + readable_seconds(now() - begun_) + ": " + news, log_level::news);
  others_.of(peer).told = true;
  others_.await_newcomer(peer);
  members_.closes(peer, host_);
  tell_view();
}
/// Members whose run ended so long ago that this one does not end with them. Who comes later does not see them, and all
/// must see the same; those who end together end at the optimum of all.
template<transport::endpoint Transport>
void peer_driver<Transport>::take_out_ended() {
  for (auto const& [peer, it] : others_.all())
    if (is_kept(peer) && now() - *it.left >= options_.linger) take_out(peer, words_of_end_without(peer));
}
/// Whether it is a member that has ended its run and still counts.
template<transport::endpoint Transport>
auto peer_driver<Transport>::is_kept(node_id peer) const -> bool {
  return members_.come_and_go() && !run_->is_server(peer) && others_.has_left(peer) && !others_.is_expected(peer);
}

/// Goes on without that peer until it comes back. If the node cannot, the fault is that of the node that died.
template<transport::endpoint Transport>
void peer_driver<Transport>::lose(transport::incoming const& n) {
  auto const is_closed = others_.of(n.peer).without;  // since it ended its run
  if (!note_loss(n.peer, n.why) || is_closed) return;
  auto const fault = std::exchange(fault_, n.because);
  host_.close(now(), n.peer, n.why, sender());
  members_.closes(n.peer, host_);
  tell_view();
  fault_ = fault;
}
/// False if the peer was lost before.
template<transport::endpoint Transport>
auto peer_driver<Transport>::note_loss(node_id peer, std::string const& why) -> bool {
  if (!others_.lose(peer, now(), why)) return false;
  if (goes_on()) note(result_.lost, why, why);
  else result_.lost.push_back(why);  // it is thrown
  tell_parted();
  return true;
}
template<transport::endpoint Transport>
void peer_driver<Transport>::note_return(node_id peer) {
  auto const joins = others_.joins(peer);
  if (!joins && !others_.comes_back(peer)) return;
  auto const news = joins ? words_of_joining(peer) : words_of_return(peer, to_index(peer) >= run_->peers);
  note(result_.returned, news, news + " after " + readable_seconds(now() - begun_));
  tell_parted();
}
template<transport::endpoint Transport>
void peer_driver<Transport>::note(std::vector<std::string>& list, std::string const& said, std::string const& kept) {
  notes_.note(list, now() - begun_, said, kept);
}

// --- members that come and go

/// Before the node starts.
template<transport::endpoint Transport>
void peer_driver<Transport>::close_to_newcomers() {
  for (auto const peer : members_.newcomers(options_)) {
    if (std::find(me_->peers.begin(), me_->peers.end(), peer) == me_->peers.end()) continue;
    others_.await_newcomer(peer);
    host_.change(now(), {peer, neighbour_change::edge::closes, {}, {}}, sender());
  }
}
template<transport::endpoint Transport>
void peer_driver<Transport>::tell_view() {
  if (!members_.come_and_go() || told_.at != transport::peer_status::phase::running) return;
  auto const view = members_.view();
  if (std::exchange(told_.view, view) == view) return;
  members_.others().sees(view, now());
  tell();
}
template<transport::endpoint Transport>
void peer_driver<Transport>::note_other_views() {
  auto const those = members_.others().newly_differing(now(), options_.linger);
  if (those.empty()) return;
  auto const sentence = words_of_other_views(those, me_->self, options_.linger);
  note(result_.result.warnings, sentence, sentence);
}

// --- nodes that are cut off elsewhere

template<transport::endpoint Transport>
void peer_driver<Transport>::hear_parted(transport::incoming const& n) {
  others_.of(n.peer).parted = n.peer_status.parted;
  tell_parted();
}
template<transport::endpoint Transport>
void peer_driver<Transport>::tell_parted() {
  if (!goes_on() || told_.parted == others_.parted() || told_.at != transport::peer_status::phase::running) return;
  told_.parted = others_.parted();
  tell();
}
/// Tells the peers how this node stands, that it waits as before.
template<transport::endpoint Transport>
void peer_driver<Transport>::tell() {
  told_.level += 2;
  transport_->announce(told_);
}

template<transport::endpoint Transport>
void peer_driver<Transport>::refuse_loss(transport::incoming const& n) {
  if (goes_on() || all_end()) return;  // all processes end at one Ctrl-C
  fault_ = n.because;
  if (writer_ && has_begun_) saves_.save_last(host_, *writer_);  // the fault is not this node's
  throw peer_error{n.why};
}

/// Throws peer_error for a peer that was lost after this node's end, since its run may have failed; and for a peer of
/// which not one message came in all this node's time, since it took no part in the run.
template<transport::endpoint Transport>
void peer_driver<Transport>::refuse_absence() const {
  if (!result_.lost.empty()) throw peer_error{result_.lost.front()};
  if (auto const from = silent_sender(*run_, me_->self, transport_->traffic_of()))
    throw peer_error{words_of_absence(*from, me_->self, result_.result.ended)};
}

}  // namespace rubato::detail
