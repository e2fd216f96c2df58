// SPDX-License-Identifier: MIT
// Members that come and go between processes: who is present as one process sees it, and the model with which one that
// comes later begins. All edges of the run have a connection; a node is present while its own is open. So nobody needs
// to be told of a change, and views agree once connections do.
//
// An edge stays open when members change, and its weights follow the view of either end: all that was pushed over it is
// one running sum, whose newest message counts whatever the weight is now. So it needs messages of which the newest
// counts, and links that lose no last one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
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
#include <rubato/transport/concepts.hpp>

namespace rubato::detail {

/// What is for members that come and go only.
inline void refuse_without_members(assembly const& a, peer_options const& o) {
  if (!a.members && o.entry == entry::later)
    throw config_error{"a node can join later only where members come and go: assemble with topology::member_graphs"};
  if (!a.members && o.farewell == farewell::leaves)
    throw config_error{"a node can leave the others only where members come and go; else its run ends"};
  if (o.restarts != 0 && o.entry != entry::later)
    throw config_error{"only a node that comes later (entry::later) can have restarted before: set no restarts"};
}
/// Nodes that cannot be members between processes.
inline void refuse_members_of(assembly const& a, transport::identity const& me) {
  auto tracks = false;
  for (auto const& c : me.channels) {
    if (c.kind == channel_kind::event)
      throw config_error{
          "between processes members come and go only where the newest message counts, as those of "
          "r_fast, and " +
          a.algorithm + " needs every one"};
    if (c.channel == channel_id::model && c.body != body_form::whole)
      throw config_error{
          "between processes a member that joins begins with a model as it is sent, and these nodes send "
          "differences: take a codec of the sums alone"};
    tracks = tracks || c.channel == channel_id::tracker;
  }
  if (!tracks)
    throw config_error{"between processes members come and go under tracking only, as r_fast, and " + a.algorithm +
                       " does not track"};
  if (!a.nodes[to_index(me.self)].takes_members())
    throw config_error{
        "these nodes do not take another place in the network: between processes members come and go without pace and "
        "recording"};
}

/// Throws config_error unless this run can have members that come and go; `is_lossless`: the transport.
inline void refuse_members(assembly const& a, transport::identity const& me, peer_options const& o, bool is_lossless) {
  refuse_without_members(a, o);
  if (!a.members) return;
  refuse_members_of(a, me);
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

/// Of a run without members that come and go, nothing happens here.
class peer_members {
 public:
  peer_members(assembly& a, node_id self) : run_{&a}, self_{self} {}
  [[nodiscard]] auto come_and_go() const -> bool { return run_->members != nullptr; }

  void opens(node_id peer, hosted_node const& host) {
    open_.insert(peer);
    tell(host);
  }
  void closes(node_id peer, hosted_node const& host) {
    open_.erase(peer);
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
  [[nodiscard]] auto absent() const -> std::vector<node_id> {
    std::vector<node_id> all;
    for (std::size_t i = 0; come_and_go() && i < run_->peers; ++i)
      if (to_node(i) != self_ && !open_.contains(to_node(i))) all.push_back(to_node(i));
    return all;
  }

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
  /// Once all have come or are known not to. A node that comes later needs no more than a model; if somebody is there,
  /// it waits for that as long as its patience lasts.
  [[nodiscard]] auto may_begin(entry when, bool all_came, bool is_late) const -> bool {
    if (!come_and_go() || when == entry::first) return all_came;
    return model_ || (all_came && (open_.empty() || is_late));
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
  shared_buffer model_;
  node_id from_{};
};

}  // namespace rubato::detail
