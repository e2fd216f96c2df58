// SPDX-License-Identifier: MIT
// The driver of one node in one process: the same node that the simulator ran, over a transport. The calling thread
// serves messages and deadlines; gradients are computed on a thread of their own, so that a long one silences nobody.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/run/arrival.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/gradient_thread.hpp>
#include <rubato/run/hosted_node.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/peer_result.hpp>
#include <rubato/sim/compute.hpp>
#include <rubato/transport/concepts.hpp>

namespace rubato {

/// What happens when a peer dies, falls silent or never comes.
enum class when_lost : std::uint8_t {
  ends,     ///< the run, with a run_error that names the peer
  goes_on,  ///< without it: its edges close (law 11), and open again if it comes back
};

struct peer_options {
  std::chrono::nanoseconds patience = std::chrono::seconds{30};  ///< a node that waits longer ends the run
  std::chrono::nanoseconds linger = std::chrono::seconds{5};     ///< in which all peers should end too
  std::chrono::nanoseconds look_every{};  ///< between two looks at the model; 0: at the start and the end only
  when_lost lost = when_lost::ends;
  sim::compute_model compute = sim::fixed({});  ///< gradients take at least so long: a straggler sleeps, as on threads
  std::uint64_t compute_seed = 0;               ///< of the model's variation
  bool (*interrupted)() = nullptr;        ///< polled; true, and then for good, ends this node, which tells the others so
};

/// Who node `self` of an assembled run is to its transport.
[[nodiscard]] inline auto identity_of(assembly const& a, node_id self, wire::checksum check = nullptr)
    -> transport::identity {
  if (to_index(self) >= a.nodes.size()) {
    throw config_error{"there is no node " + std::to_string(to_index(self)) + ": the run has nodes 0 to " +
                       std::to_string(a.nodes.size() - 1)};
  }
  if (!a.unlisted.empty()) {
    throw config_error{"processes cannot compare the settings of " + a.unlisted +
                       ", which lists none: give it a visit_options (core/visit_options.hpp)"};
  }
  auto const channels = a.nodes[to_index(self)].channels();
  transport::identity me{self, a.again.neighbours(to_index(self)), a.agreed, a.blocks, {channels.begin(), channels.end()}, a.pool};
  me.check = check;
  me.agreed.add("checksum", check == nullptr ? "none" : "yes");
  return me;
}

namespace detail {

template<transport::endpoint Transport>
class peer_driver {
  static_assert(transport::check_endpoint<Transport>());

 public:
  peer_driver(assembly& a, transport::identity const& me, Transport& wires, peer_options const& o)
      : run_{&a}, me_{&me}, wires_{&wires}, options_{o}, host_{a.nodes[to_index(me.self)], to_index(me.self)},
        computing_{a.oracle, [o, self = me.self](std::uint64_t draw) { return o.compute.duration(o.compute_seed, self, draw); },
                   [&wires] { wires.wake(); }} {
    if (to_index(me.self) < a.peers) o.compute.check(a.peers);
    for (auto const& c : me.channels) {
      if (c.kind == channel_kind::event && !Transport::lossless) {
        throw config_error{"on the channel " + std::string{name_of(c.lane)} +
                           " every message counts, and this transport may lose some: use one that is lossless"};
      }
    }
  }

  auto run(until const& end) -> peer_result {
    auto& stopped = result_.result.stopped;
    try {
      stopped = at_node(to_index(me_->self), [&] { return begin_and_live(end); });
    } catch (...) {
      say_why();
      throw;
    }
    if (stopped == stop_reason::interrupted) {  // no neighbour may take it for one that has come to its end
      fault_ = {me_->self, how::interrupted};
      say_why();
      collect();
    } else {
      depart();
      collect();
      if (options_.lost == when_lost::ends) refuse_absence();
    }
    return std::move(result_);
  }

 private:
  using what = transport::incoming::what;
  using how = transport::cause::how;

  auto begin_and_live(until const& end) -> stop_reason {
    if (to_index(me_->self) >= run_->peers && end.time == (std::chrono::nanoseconds::max)()) {
      throw config_error{"node " + name(me_->self) + " is a server, which computes no gradients: give its run a time to end at"};
    }
    if (!await_everyone()) return stop_reason::interrupted;
    wires_->announce({transport::standing::phase::running});
    begun_ = now();
    host_.start(now(), sender());
    for (auto const& n : early_.take()) handle(n);
    auto const why = live(end);
    result_.result.ended = now() - begun_;
    look(result_.result.ended);
    return why;
  }

  auto sender() {
    return [this](packet p, instant) {
      auto const to = p.to;
      auto const kind = host_.channels().kind_of(p.lane);
      if (wires_->send(kind, std::move(p)) != transport::send_status::refused) return;
      if (options_.lost == when_lost::goes_on) return wires_->give_up(to);
      fault_ = {to, how::stalled};
      throw run_error{"node " + name(me_->self) + " has many times more messages waiting for node " + name(to) +
                      " than its transport should hold: the peer reads too slowly, or not at all"};
    };
  }
  static auto name(node_id id) -> std::string { return std::to_string(to_index(id)); }
  [[nodiscard]] auto now() const -> instant { return me_->time.now(); }
  [[nodiscard]] auto is_interrupted() const -> bool { return options_.interrupted != nullptr && options_.interrupted(); }

  /// Until every node of the run has come, or is known not to; the deadlines of transports bound it. Messages of peers
  /// that began earlier are kept. False if interrupted.
  [[nodiscard]] auto await_everyone() -> bool {
    auto all = arrival{*run_, *me_};
    while (!all.is_complete()) {
      if (is_interrupted()) return false;
      for (auto& n : polled(now() + std::chrono::milliseconds{20})) {
        all.hears(n);
        if (n.kind == what::closed) refuse_loss(n);
        auto const kind = n.kind == what::message ? host_.channels().kind_of(n.p.lane) : channel_kind{};
        early_.keep(std::move(n), kind);
      }
      wires_->announce({transport::standing::phase::arriving, all.level()});
    }
    return true;
  }

  auto polled(instant latest) -> std::vector<transport::incoming> {
    std::vector<transport::incoming> in;
    wires_->poll(me_->time.at(latest), in);
    return in;
  }

  auto live(until const& end) -> stop_reason {
    auto const last = end.time == (std::chrono::nanoseconds::max)() ? instant{end.time} : begun_ + end.time;
    while (true) {
      if (is_interrupted()) return stop_reason::interrupted;
      look_if_due();
      if (now() >= last) return stop_reason::time;
      if (gradients_ >= end.gradients) return stop_reason::gradients;
      begin_gradient();
      for (auto const& n : polled(next_event(last))) handle(n);
      host_.wake(now(), sender());
      finish_gradient();
      check_patience();
    }
  }

  [[nodiscard]] auto next_event(instant last) const -> instant {
    auto next = (std::min)(last, now() + std::chrono::milliseconds{20});
    if (auto const due = host_.next_wakeup()) next = (std::min)(next, *due);
    if (options_.look_every.count() > 0) next = (std::min)(next, begun_ + looks_ * options_.look_every);
    return next;
  }

  // --- gradients ------------------------------------------------------------------------------------------------------

  /// None is begun while events pile up: the node would post more of them.
  void begin_gradient() {
    if (under_way_ && host_.cancelled()) {
      computing_.forget();
      under_way_ = false;
    }
    auto const wanted = !under_way_ && host_.wants_gradient();
    congested_ = wanted ? wires_->congested() : std::nullopt;
    if (!congested_) held_since_.reset();
    else if (!held_since_) held_since_ = now();
    if (!wanted || congested_) return;
    computing_.submit(*host_.take_request());
    under_way_ = true;
  }

  void finish_gradient() {
    auto done = computing_.take();
    if (!done || (under_way_ && host_.cancelled())) return;
    under_way_ = false;
    if (done->thrown) {
      try {
        std::rethrow_exception(done->thrown);
      } catch (...) {
        rethrow_named("the problem threw at node " + name(me_->self) + ", gradient " + std::to_string(gradients_ + 1));
      }
    }
    ++gradients_;
    host_.finish(now(), std::move(done->value), sender());
  }

  // --- what comes in --------------------------------------------------------------------------------------------------

  void handle(transport::incoming const& n) {
    switch (n.kind) {
      case what::message: {
        auto const& p = n.p;
        host_.deliver(now(),
                      patch{p.from, p.to, p.lane, p.life, p.based_on, p.posted_at, n.blocks, {&p.number, 1}, p.body, p.extra},
                      sender());
        return;
      }
      case what::opened:
        // Nodes begin in the first life of each edge, unless it was closed before it began: that peer came late.
        if (closed_.erase(n.peer) > 0 || !(n.outgoing == session{}) || !(n.incoming == session{})) {
          host_.change(now(), {n.peer, neighbour_change::edge::opens, n.outgoing, n.incoming}, sender());
        }
        left_.erase(n.peer);
        return;
      case what::stands:
        return;
      case what::closed:
        refuse_loss(n);
        if (is_interrupted()) return;  // they all end: the node need not learn to do without them
        result_.lost.push_back(n.why);
        closed_.insert(n.peer);
        host_.change(now(), {n.peer, neighbour_change::edge::closes, {}, {}}, sender());
        return;
      case what::left:  // its run has ended, and so will this one: nothing is taken back
        left_.insert(n.peer);
        return;
    }
  }

  void refuse_loss(transport::incoming const& n) {
    if (options_.lost == when_lost::goes_on || is_interrupted()) return;  // at one Ctrl-C all end
    fault_ = n.because;
    throw run_error{n.why};
  }

  /// Who began so late, or failed so early, that nothing of it came in all this node's time was no part of the run.
  void refuse_absence() const {
    auto const traffic = wires_->traffic_of();
    for (auto const from : run_->again ? run_->again.senders(to_index(me_->self)) : std::vector<node_id>{}) {
      auto const heard = std::any_of(traffic.begin(), traffic.end(), [&](auto const& t) { return t.peer == from && t.delivered > 0; });
      if (heard) continue;
      throw run_error{"node " + name(from) + " took no part: not one message of it came in the " +
                      std::to_string(to_seconds(result_.result.ended)) + " s that node " + name(me_->self) +
                      " ran; start the processes nearer together, or let them run longer"};
    }
  }

  void check_patience() {
    if (congested_) refuse_congestion();
    if (!host_.wait() || under_way_ || host_.wants_gradient()) return;
    auto const waited = now() - host_.waiting_since();
    if (waited <= options_.patience) return;
    auto const& w = *host_.wait();
    fault_ = {w.peer, how::stalled};
    throw run_error{waited_too_long(to_index(me_->self), w, waited) +
                    (left_.contains(w.peer) ? "; that node has ended its run" : "")};
  }
  void refuse_congestion() {
    auto const held = now() - *held_since_;
    if (held <= options_.patience) return;
    if (options_.lost == when_lost::goes_on) {
      held_since_.reset();
      return wires_->give_up(*congested_);
    }
    fault_ = {*congested_, how::stalled};
    throw run_error{"node " + name(me_->self) + " has begun no gradient for " + std::to_string(to_seconds(held)) +
                    " s, which is longer than the patience: as many messages as its transport should hold wait for node " +
                    name(*congested_) + ", which reads too slowly, or not at all"};
  }

  // --- looks and the end ----------------------------------------------------------------------------------------------

  void look_if_due() {
    if (looks_ == 0 && options_.look_every.count() == 0) look({});
    while (options_.look_every.count() > 0 && now() - begun_ >= looks_ * options_.look_every) {
      look(looks_ * options_.look_every);
    }
  }
  void look(std::chrono::nanoseconds at) {
    host_.node().audit(audit_);
    result_.looks.push_back({at, host_.node().estimate(), local_residual(audit_), gradients_});
    ++looks_;
  }

  /// Says goodbye and waits, for a while, until the others have said theirs.
  void depart() {
    wires_->announce({transport::standing::phase::left});
    auto const since = now();
    while (!wires_->everyone_left() && now() - since < options_.linger) {
      for (auto const& n : polled(now() + std::chrono::milliseconds{20})) {
        if (n.kind == what::closed && !is_interrupted()) result_.lost.push_back(n.why);
      }
    }
  }

  /// The others shall not take this node for the one at fault, nor wait until it counts as silent.
  void say_why() {
    wires_->announce({transport::standing::phase::ended, 0, fault_});
    auto const since = now();
    while (!wires_->everyone_left() && now() - since < options_.linger) polled(now() + std::chrono::milliseconds{20});
  }

  void collect() {
    auto& r = result_.result;
    result_.id = me_->self;
    result_.of = run_->nodes.size();
    result_.rejected = wires_->rejected();
    r.network = run_->network;
    r.step = run_->step;
    r.raw_step = run_->raw_step;
    r.gain = run_->gain;
    r.events = gradients_;
    for (auto const& t : wires_->traffic_of()) {
      edge_report out{me_->self, t.peer, t.lane};
      out.packets_sent = t.packets;
      out.values_sent = t.values;
      out.bytes_sent = t.bytes;
      out.conflated = t.replaced;
      out.lost = t.lost;
      edge_report in{t.peer, me_->self, t.lane};
      in.conflated = t.skipped;
      in.delivered = t.delivered;
      in.bytes_received = t.bytes_in;
      r.events += t.delivered;
      if (t.packets + t.replaced + t.lost > 0) r.edges.push_back(out);
      if (t.delivered + t.skipped > 0) r.edges.push_back(in);
    }
    auto const measured = run_->measured();
    auto const self = to_index(me_->self);
    collect_node(host_.node(), me_->self, self >= measured.begin && self < measured.end, r);
  }

  assembly* run_;
  transport::identity const* me_;
  Transport* wires_;
  peer_options options_;
  hosted_node host_;
  gradient_thread computing_;
  bool under_way_ = false;
  std::uint64_t gradients_ = 0;
  std::optional<node_id> congested_;      // because of whom no gradient is begun
  std::optional<instant> held_since_;
  transport::cause fault_{me_->self, how::failed};
  std::set<node_id> left_;
  std::set<node_id> closed_;              // whose edges are closed for the node
  early_messages early_;
  instant begun_{};
  std::int64_t looks_ = 0;
  tracking_audit audit_;
  peer_result result_;
};

}  // namespace detail

/// Runs node `me.self` of what was assembled over `wires`: waits until every node of the run has come, runs until `end`
/// on its own clock (`end.gradients` counts this node's), and says goodbye. Keeps the other nodes of the assembly
/// untouched. Throws config_error before the start, run_error with one sentence if a peer is lost (unless asked to go
/// on), the node fails or waits too long, or the problem throws; peers then hear because of which node, and name it.
/// Of neighbours that have come to their end a node hears nothing but that no more comes. With a time all end together;
/// with `end.gradients` and unequal speeds the slow ones go on without the fast ones, and with ad_psgd or
/// async_model_average without any exchange, for theirs with them stays open: give those a time.
template<transport::endpoint Transport>
auto run_peer(assembly& a, transport::identity const& me, Transport& wires, until const& end, peer_options const& o = {})
    -> peer_result {
  if (end.target_loss > -std::numeric_limits<double>::infinity()) {
    throw config_error{"one process does not see the mean model of all, so it cannot end at a target loss: give it a time"};
  }
  if (end.never()) throw config_error{"nothing ends this run; give a time or a number of gradients"};
  return detail::peer_driver<Transport>{a, me, wires, o}.run(end);
}

/// The same for a node type that is known here: what its transport cannot carry does not compile, and says why.
template<node Node, transport::endpoint Transport>
auto run_peer(assembly& a, transport::identity const& me, Transport& wires, until const& end, peer_options const& o = {})
    -> peer_result {
  static_assert(transport::check_carries<Transport, Node>());
  return run_peer(a, me, wires, end, o);
}

}  // namespace rubato
