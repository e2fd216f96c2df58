// SPDX-License-Identifier: MIT
// Members that come and go between processes: who is present as one process sees it, and the model with which one that
// comes later begins. All edges of the run have a connection; a node is present while its own is open. So nobody needs
// to be told of a change, and views agree once connections do. Whether they do can be seen: each node says a short hash
// of its view with its status. Where one link of two members cannot be made, hashes differ for good.
//
// An edge stays open when members change, and its weights follow the view of either end: all that was pushed over it is
// one running sum, whose newest message counts whatever the weight is now. So it needs messages of which the newest
// counts, and links that lose no last one.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/finite.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/driver/peer_options.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/topology/members.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/transport/peer_status.hpp>
#include <rubato/wire/agreement.hpp>

namespace rubato::detail {

/// What is for members that come and go only.
inline void refuse_without_members(assembly const& a, peer_options const& o) {
  if (!a.members && o.entry == entry::later)
    throw config_error{"a node can join later only where members come and go: assemble with topology::member_graphs"};
  if (!a.members && o.farewell == farewell::leaves)
    throw config_error{"a node can leave the others only where members come and go; else its run ends"};
  if (!a.members && !o.first.empty())
    throw config_error{
        "which nodes begin (peer_options::first) is said only where members come and go: assemble with "
        "topology::member_graphs"};
  if (o.restarts != 0 && o.entry != entry::later)
    throw config_error{"only a node that comes later (entry::later) can have restarted before: set no restarts"};
}
/// Nodes that cannot be members between processes.
inline void refuse_members_of(assembly const& a, transport::identity const& me) {
  auto const servers = a.nodes.size() - a.peers;
  if (servers > 1)
    throw config_error{"between processes members come and go with one server, and here " + std::to_string(servers) +
                       " share the model"};
  auto tracks = false;
  for (auto const& c : me.channels) {
    if (servers == 1) break;  // each edge of a worker is with its server alone, and counts anew in each session
    if (c.kind == channel_kind::event)
      throw config_error{
          "between processes members come and go with a server, or where the newest message counts, as those of "
          "r_fast, and " +
          a.algorithm + " needs every one"};
    if (c.channel == channel_id::model && c.body != body_form::whole)
      throw config_error{
          "between processes a member that joins begins with a model as it is sent, and these nodes send "
          "differences: take a codec of the sums alone"};
    tracks = tracks || c.channel == channel_id::tracker;
  }
  if (servers == 0 && !tracks)
    throw config_error{"between processes members come and go with a server, or under tracking, as r_fast, and " +
                       a.algorithm + " does not track"};
  if (!a.nodes[to_index(me.self)].takes_members())
    throw config_error{
        "these nodes do not take another place in the network: between processes members come and go without pace and "
        "recording"};
}
inline void refuse_place_of(assembly const& a, transport::identity const& me, peer_options const& o) {
  auto const who = "node " + std::to_string(to_index(me.self));
  if (a.is_server(me.self)) {
    if (o.entry == entry::later || o.farewell == farewell::leaves)
      throw config_error{who + " is the server, which is there from the beginning to the end"};
    return;
  }
  if (o.first.empty() || o.entry == entry::later) return;
  if (std::find(o.first.begin(), o.first.end(), me.self) == o.first.end())
    throw config_error{who + " is none of those that begin (peer_options::first): it comes later (entry::later)"};
}

/// Throws config_error unless this run can have members that come and go; `is_lossless`: the transport.
inline void refuse_members(assembly const& a, transport::identity const& me, peer_options const& o, bool is_lossless) {
  refuse_without_members(a, o);
  if (!a.members) return;
  refuse_members_of(a, me);
  if (!o.first.empty()) topology::require_members(o.first, a.peers);
  refuse_place_of(a, me, o);
  if (!is_lossless)
    throw config_error{
        "members come and go only over a transport that is lossless, and this one may lose the last "
        "message to a node"};
  if (o.lost != when_lost::goes_on)
    throw config_error{"where members come and go, nodes go on without lost ones (when_lost::goes_on)"};
  if (o.pace.ahead != 0 && o.pace.ahead != pace_options{}.ahead)
    throw config_error{
        "where members come and go, nodes have no pace: it would wait for nodes that send nothing at present; leave "
        "peer_options::pace as it is"};
  if (!o.checkpoint.folder.empty())
    throw config_error{
        "where members come and go, a node that comes back begins with a neighbour's model, and no "
        "checkpoints are kept"};
}

/// A short hash of a set of members, from 1 to peer_status::most_views.
inline auto view_of(std::span<node_id const> present) -> std::uint64_t {
  std::string text;
  for (auto const id : present) text += std::to_string(to_index(id)) + ' ';
  return 1 + wire::hash_of(text) % transport::peer_status::most_views;
}

/// What others say of whom they see, and since when that differs from what this node sees: only views that are equal
/// begin that time anew, for where members come and go all the time, views change before anybody has waited long.
class other_views {
 public:
  /// This node sees these from now on; at the beginning 0.
  void sees(std::uint64_t mine, instant now) {
    compare(now);
    mine_ = mine;
    compare(now);
  }
  /// That peer sees these; 0: it says nothing.
  void hears(node_id peer, std::uint64_t view, instant now) {
    auto& it = all_[peer];
    compare(it, now);
    it.view = view;
    compare(it, now);
  }
  void forget(node_id peer) { all_.erase(peer); }
  /// That peer has ended its run, so what it sees does not change any more.
  void ends(node_id peer, instant now, std::chrono::nanoseconds lasting) {
    auto const at = all_.find(peer);
    if (at == all_.end()) return;
    if (differs(at->second, now, lasting)) at->second.has_ended = true;
    else all_.erase(at);
  }
  /// Those of which it was not said yet that their view has differed from this one for so long.
  [[nodiscard]] auto newly_differing(instant now, std::chrono::nanoseconds lasting) -> std::vector<node_id> {
    auto all = differing(now, lasting);
    std::erase_if(all, [&](node_id peer) { return std::exchange(all_[peer].told, true); });
    return all;
  }
  [[nodiscard]] auto differing(instant now, std::chrono::nanoseconds lasting) const -> std::vector<node_id> {
    std::vector<node_id> all;
    for (auto const& [peer, it] : all_)
      if (differs(it, now, lasting)) all.push_back(peer);
    return all;
  }

 private:
  struct one {
    std::uint64_t view = 0;
    instant agreed{};  // when the two views were equal the last time, or the peer said nothing
    bool told = false;
    bool has_ended = false;  // with another view than this node's
  };
  void compare(one& it, instant now) const {
    if (!it.has_ended && (it.view == 0 || it.view == mine_)) it.agreed = now, it.told = false;
  }
  void compare(instant now) {
    for (auto& [peer, it] : all_) compare(it, now);
  }
  [[nodiscard]] auto differs(one const& it, instant now, std::chrono::nanoseconds lasting) const -> bool {
    return it.has_ended || (it.view != 0 && it.view != mine_ && now - it.agreed > lasting);
  }
  std::uint64_t mine_ = 0;
  std::map<node_id, one> all_;
};

/// Of a run without members that come and go, nothing happens here.
class peer_members {
 public:
  peer_members(assembly& a, node_id self) : run_{&a}, self_{self} {}
  [[nodiscard]] auto come_and_go() const -> bool { return run_->members != nullptr; }

  void opens(node_id peer, hosted_node const& host) {
    open_.insert(peer);
    others_.forget(peer);
    tell(host);
  }
  void closes(node_id peer, hosted_node const& host) {
    open_.erase(peer);
    others_.forget(peer);
    tell(host);
  }
  /// Gives the node its place among those who are present.
  void tell(hosted_node const& host) const {
    if (come_and_go()) host.node().on_members(present());
  }
  /// This node and all whose edges are open, without servers.
  [[nodiscard]] auto present() const -> std::vector<node_id> {
    auto all = open_;
    all.insert(self_);
    all.erase(all.lower_bound(to_node(run_->peers)), all.end());
    return {all.begin(), all.end()};
  }
  /// The members that are not there; none at a worker, who sees its server alone.
  [[nodiscard]] auto absent() const -> std::vector<node_id> {
    std::vector<node_id> all;
    auto const sees_all = run_->nodes.size() == run_->peers || run_->is_server(self_);
    for (std::size_t i = 0; come_and_go() && sees_all && i < run_->peers; ++i)
      if (to_node(i) != self_ && !open_.contains(to_node(i))) all.push_back(to_node(i));
    return all;
  }

  /// For whom this node waits before it begins; empty: all. A server is always there.
  [[nodiscard]] auto awaited(peer_options const& o) const -> std::vector<node_id> {
    if (o.entry == entry::later || o.first.empty()) return {};
    auto all = o.first;
    for (auto i = run_->peers; i < run_->nodes.size(); ++i) all.push_back(to_node(i));
    return all;
  }
  /// At the beginning: who has not come, and is not missed either; and who has come though it does not begin.
  [[nodiscard]] auto newcomers(peer_options const& o) const -> std::vector<node_id> {
    if (o.entry == entry::later) return absent();
    std::vector<node_id> all;
    for (std::size_t i = 0; !o.first.empty() && i < run_->peers; ++i)
      if (std::find(o.first.begin(), o.first.end(), to_node(i)) == o.first.end()) all.push_back(to_node(i));
    return all;
  }
  /// As peer_status::view; 0 where nodes stay. With a server nobody else sees them all.
  [[nodiscard]] auto view() const -> std::uint64_t {
    return come_and_go() && run_->nodes.size() == run_->peers ? view_of(present()) : 0;
  }
  /// What the others see.
  [[nodiscard]] auto others() -> other_views& { return others_; }

  /// Of a node that has not begun: who is there, and the model of the neighbour with the lowest id that has sent one.
  /// Returns a sentence if that is not finite.
  [[nodiscard]] auto hears(transport::incoming const& n) -> std::string {
    using what = transport::incoming::what;
    if (n.kind == what::opened) open_.insert(n.peer);
    if (n.kind == what::closed || n.kind == what::left) open_.erase(n.peer);
    auto const whole = n.kind == what::message && n.p.channel == channel_id::model &&
                       n.p.body.size() == run_->blocks.values() && n.p.body.kind() != element::u8;
    if (!come_and_go() || !whole || (model_ && from_ < n.peer)) return {};
    if (first_not_finite(n.p.body) < n.p.body.size())
      return blame{self_}.message(n.peer, channel_id::model, n.p.body).sentence().sentence;
    from_ = n.peer;
    model_ = n.p.body;
    return {};
  }
  /// Once all have come or are known not to. A node that comes later needs no more than a model; it waits for that as
  /// long as its patience lasts.
  [[nodiscard]] auto may_begin(entry when, bool all_came, bool is_late) const -> bool {
    if (!come_and_go() || when == entry::first) return all_came;
    return model_ || (all_came && is_late && !open_.empty());
  }
  /// Of a node that comes later: whether there is nobody to join.
  [[nodiscard]] auto meets_nobody(entry when, bool all_came, bool is_late) const -> bool {
    return come_and_go() && when == entry::later && !model_ && open_.empty() && (all_came || is_late);
  }
  /// Makes a node that comes later anew, with that model.
  void begin_with_model(entry when, std::uint64_t restarts) {
    if (come_and_go() && when == entry::later)
      run_->nodes[to_index(self_)] = run_->factory.make(to_index(self_), std::move(model_), restarts);
  }

 private:
  assembly* run_;
  node_id self_;
  std::set<node_id> open_;
  other_views others_;
  shared_buffer model_;
  node_id from_{};
};

}  // namespace rubato::detail
