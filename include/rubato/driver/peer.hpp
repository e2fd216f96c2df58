// SPDX-License-Identifier: MIT
// The driver of one node in one process: the same node type that the simulator runs, over a transport. The calling
// thread serves messages and deadlines. Gradients are computed on a separate thread, so that the node is not silent
// during a long one.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/driver/gradient_thread.hpp>
#include <rubato/driver/hosted_node.hpp>
#include <rubato/driver/kept_looks.hpp>
#include <rubato/driver/look_thread.hpp>
#include <rubato/driver/peer_options.hpp>
#include <rubato/driver/start_barrier.hpp>
#include <rubato/environment/compute.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/atomic_file.hpp>
#include <rubato/run/checkpoint_writer.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/pace.hpp>
#include <rubato/run/peer_result.hpp>
#include <rubato/run/stop_token.hpp>
#include <rubato/transport/concepts.hpp>

namespace rubato {

namespace detail {

template<transport::endpoint Transport>
class peer_driver {
  static_assert(transport::check_endpoint<Transport>());

 public:
  peer_driver(assembly& a, transport::identity const& me, Transport& wires, peer_options const& o)
      : run_{&a},
        me_{&me},
        transport_{&wires},
        options_{o},
        pace_{pace_one(a, me.self, o.pace)},
        host_{a.nodes[to_index(me.self)], to_index(me.self)},
        looks_{o.look_every, (std::max)(o.look_bytes, 8 * vector_bytes())},
        computing_{a.oracle,
                   [o, self = me.self](std::uint64_t draw) { return o.compute.duration(o.compute_seed, self, draw); },
                   [&wires] { wires.wake(); }},
        showing_{a.oracle, me.self, {o.watching, o.measure_loss}} {
    if (!o.watching.empty() && o.look_every.count() <= 0)
      throw config_error{"a node has observers, and nothing says how often they look: give look_every a time"};
    if (to_index(me.self) < a.peers) o.compute.check(a.peers);
    for (auto const& c : me.channels) {
      if (c.kind == channel_kind::event && !Transport::lossless) {
        throw config_error{"on the channel " + std::string{name_of(c.channel)} +
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
    if (stopped == stop_reason::interrupted) {  // neighbours must not take this for a regular end
      fault_ = {me_->self, how::interrupted};
      say_why();
      collect();
    } else {
      if (stopped == stop_reason::neighbour) say_if_early_itself();
      else say_if_stalled();
      depart();
      collect();
      if (options_.lost == when_lost::ends && !is_interrupted()) refuse_absence();
      result_.cut_off.assign(closed_.begin(), closed_.end());
      if (closed_.empty() && goes_on()) result_.parted = parted() > 0 ? parted() - 1 : 0;
    }
    finish_history();
    if (!writer_) return std::move(result_);
    if (auto const why = writer_->finish(); !why.empty())
      result_.unwritten = "the last state of this node was not saved: " + why;
    return std::move(result_);
  }

 private:
  static constexpr std::size_t most_said = 1000;  // of losses, and of returns
  using what = transport::incoming::what;
  using how = transport::cause::how;

  auto begin_and_live(until const& end) -> stop_reason {
    if (to_index(me_->self) >= run_->peers && end.time == (std::chrono::nanoseconds::max)()) {
      throw config_error{"node " + name(me_->self) +
                         " is a server, which computes no gradients: give its run a time to end at"};
    }
    prepare_checkpoints();
    if (!await_everyone()) return stop_reason::interrupted;
    transport_->announce({transport::peer_status::phase::running});
    begun_ = now();
    auto early = early_.take();
    if (options_.checkpoint.resume && !saves_.together()) resuming_ = closed_ = {me_->peers.begin(), me_->peers.end()};
    if (!options_.checkpoint.resume) host_.start(now(), sender());
    else if (saves_.together()) resume_together(early);
    else host_.resume(now(), me_->peers);  // whose edges are all closed
    has_begun_ = true;
    save_round_if_due();
    for (auto& n : early) take(std::move(n));
    auto const why = live(end);
    result_.result.ended = now() - begun_;
    if (writer_) saves_.save_last(host_, *writer_);  // written while this node says goodbye
    result_.looks = looks_.take();
    result_.looks.push_back(look_at_node(result_.result.ended));
    return why;
  }

  /// All have come, so every edge has opened; its first session carries on with the round that begins.
  void resume_together(std::vector<transport::incoming>& early) {
    host_.resume(now());
    std::set<node_id> resumed;
    std::erase_if(early, [&](transport::incoming const& n) {
      if (n.kind != what::opened || !resumed.insert(n.peer).second) return false;
      host_.change(now(), {n.peer, neighbour_change::edge::resumes, n.outgoing, n.incoming}, sender());
      return true;
    });
  }

  auto sender() {
    return [this](packet p, instant) {
      auto const to = p.to;
      auto const kind = host_.channels().kind_of(p.channel);
      if (transport_->send(kind, std::move(p)) != transport::send_status::refused) return;
      if (goes_on()) return transport_->give_up(to, transport::detail::stalled_words);
      fault_ = {to, how::stalled};
      throw run_error{"node " + name(me_->self) + " has many times more messages waiting for node " + name(to) +
                      " than its transport should hold: the peer reads too slowly, or not at all"};
    };
  }
  static auto name(node_id id) -> std::string { return std::to_string(to_index(id)); }
  [[nodiscard]] auto goes_on() const -> bool { return options_.lost == when_lost::goes_on; }
  [[nodiscard]] auto now() const -> instant { return me_->time.now(); }
  [[nodiscard]] auto vector_bytes() const -> std::size_t { return me_->blocks.values() * sizeof(double); }
  [[nodiscard]] auto is_interrupted() const -> bool { return options_.stop.stop_requested(); }

  /// Waits until every node of the run has arrived or is known not to come; the deadlines of transports bound this.
  /// Messages of peers that began earlier are kept. False if interrupted.
  [[nodiscard]] auto await_everyone() -> bool {
    auto all = start_barrier{*run_, *me_};
    reach_ = all.reach();
    while (!all.is_complete()) {
      if (is_interrupted()) return false;
      for (auto& n : polled(now() + std::chrono::milliseconds{20})) {
        all.hears(n);
        if (n.kind == what::closed) refuse_loss(n);
        keep(early_, std::move(n), "has not begun");
      }
      transport_->announce({transport::peer_status::phase::arriving, all.level()});
    }
    return true;
  }

  /// What the node, in that state, cannot take yet; a peer that sends more than is kept is refused or given up.
  void keep(early_messages& in, transport::incoming n, char const* state) {
    auto const from = n.peer;
    auto const kind = n.kind == what::message ? host_.channels().kind_of(n.p.channel) : channel_kind{};
    if (in.keep(std::move(n), kind)) return;
    auto const words = std::string{"it sent more than is kept for a node that "} + state;
    if (goes_on()) return transport_->give_up(from, words);
    fault_ = {from, how::failed};
    throw run_error{"node " + name(from) + " is at fault at node " + name(me_->self) + ": " + words};
  }

  auto polled(instant latest) -> std::vector<transport::incoming> {
    std::vector<transport::incoming> in;
    transport_->poll(me_->time.at(latest), in);
    return in;
  }

  auto live(until const& end) -> stop_reason {
    auto const last = last_ = later_by(begun_, end.time);
    while (true) {
      if (is_interrupted()) return stop_reason::interrupted;
      if (showing_.take(result_.result.history) == verdict::stop) return stop_reason::observer;
      look_if_due();
      save_if_due();
      if (now() >= last) return stop_reason::time;
      if (gradients_ >= end.gradients && has_used_all()) return stop_reason::gradients;
      if (!goes_on() && waits_in_vain()) return end_with_neighbour(end);
      if (!stands_still_) begin_gradient();
      for (auto& n : polled(next_event(last))) take(std::move(n));
      host_.wake(now(), sender());
      finish_gradient();
      check_patience();
    }
  }

  /// Whether the node asks for the next gradient, or waits for a node that has ended its run.
  [[nodiscard]] auto has_used_all() const -> bool { return host_.wants_gradient() || waits_in_vain(); }
  /// Whether the node can do nothing before a message comes of a node that has ended its run. (Its goodbye came after
  /// all that it had sent.)
  [[nodiscard]] auto waits_in_vain() const -> bool {
    return !under_way_ && held_.empty() && !host_.wants_gradient() && host_.wait() &&
           left_.contains(host_.wait()->peer);
  }
  /// In order, but where a number of gradients was to be computed and nothing else: that is not reached.
  auto end_with_neighbour(until const& end) -> stop_reason {
    if (end.time != (std::chrono::nanoseconds::max)()) return stop_reason::neighbour;
    auto const& w = *host_.wait();
    fault_ = {w.peer, how::stalled};
    throw run_error{waited_too_long(to_index(me_->self), w, now() - host_.waiting_since()) +
                    "; that node has ended its run"};
  }

  [[nodiscard]] auto next_event(instant last) const -> instant {
    auto next = (std::min)(last, now() + std::chrono::milliseconds{20});
    if (auto const due = host_.next_wakeup()) next = (std::min)(next, *due);
    if (auto const due = looks_.due(); due && !showing_.is_busy()) next = (std::min)(next, later_by(begun_, *due));
    return next;
  }

  // --- gradients

  /// Begins no gradient while events pile up: the node would post more of them.
  void begin_gradient() {
    if (under_way_ && host_.cancelled()) {
      computing_.forget();
      under_way_ = false;
    }
    auto const wanted = !under_way_ && host_.wants_gradient();
    congested_ = wanted ? transport_->congested() : std::nullopt;
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
    save_round_if_due();
  }

  // --- incoming

  /// Messages wait while the node stands still.
  void take(transport::incoming n) {
    if (n.kind == what::message && (stands_still_ || !held_.empty()))
      return keep(held_, std::move(n), "waits for its checkpoint to be written");
    handle(n);
    save_round_if_due();
  }
  void take_held() {
    if (stands_still_ || held_.empty()) return;
    for (auto& n : held_.take()) take(std::move(n));  // the rest is held again if the node stands still on the way
  }

  void handle(transport::incoming const& n) {
    switch (n.kind) {
      case what::message: {
        host_.deliver(now(), patch_of(n.p, n.blocks), sender());
        return;
      }
      case what::opened:
        // Nodes begin in the first session of each edge, unless it was closed before: then the peer came late.
        if (closed_.contains(n.peer) || !(n.outgoing == session_id{}) || !(n.incoming == session_id{})) {
          note_return(n.peer);
          host_.change(now(), {n.peer, neighbour_change::edge::opens, n.outgoing, n.incoming}, sender());
          others_[n.peer].met_again = true;
        }
        left_.erase(n.peer);
        return;
      case what::stands: {
        hear_parted(n);
        auto& they = others_[n.peer];
        auto const waits = n.peer_status.at == transport::peer_status::phase::running && n.peer_status.level % 2 != 0;
        if (they.waits && !waits) they.free_since = now();
        they.waits = waits;
        return;
      }
      case what::closed:
        refuse_loss(n);
        if (is_interrupted()) return;  // all of them end: no need to close the edge
        lose(n.peer, n.why);
        return;
      case what::left:  // its run has ended in order, and so will this one: nothing is taken back
        left_.insert(n.peer);
        hear_parted(n);
        say_if_early(n.peer);
        if (pace_) pace_->leaves(n.peer);
        return;
    }
  }

  /// Goes on without that peer until it comes back.
  void lose(node_id peer, std::string const& why) {
    if (!note_loss(peer, why)) return;
    host_.change(now(), {peer, neighbour_change::edge::closes, {}, {}}, sender());
  }
  /// False if the peer was lost before.
  auto note_loss(node_id peer, std::string const& why) -> bool {
    if (!closed_.insert(peer).second) return false;
    others_[peer].waits = false;
    others_[peer].met_again = true;
    others_[peer].parted = 0;
    resuming_.erase(peer);
    if (goes_on()) note(result_.lost, why, why);
    else result_.lost.push_back(why);  // it is thrown
    tell_parted();
    return true;
  }
  void note_return(node_id peer) {
    others_[peer].parted = 0;
    if (closed_.erase(peer) == 0) return;
    if (resuming_.erase(peer) > 0) return;  // it was this node that was away
    auto const news = "node " + name(peer) + " has come back";
    note(result_.returned, news, news + " after " + since_begun());
    tell_parted();
  }
  [[nodiscard]] auto since_begun() const -> std::string {
    return shortest(std::round(to_seconds(now() - begun_) * 100) / 100) + " s";
  }
  void say(std::string const& sentence) const {
    if (options_.says != nullptr) options_.says(sentence);
  }
  /// What happened now is said, and kept in the list, as long as that is not full.
  void note(std::vector<std::string>& list, std::string const& said, std::string const& kept) const {
    static auto const no_more = std::string{"more of this kind happens, and is not said"};
    if (list.size() > most_said) return;
    say("after " + since_begun() + ": " + (list.size() < most_said ? said : no_more));
    list.push_back(list.size() < most_said ? kept : no_more);
  }
  void warn(std::string sentence) {
    say(sentence);
    result_.result.warnings.push_back(std::move(sentence));
  }
  /// Where nodes go on, an early end is no fault, since a restarted node may be given less time. But it ends the
  /// exchange with that node.
  void say_if_early(node_id peer) {
    if (!goes_on() || last_.since_start == (std::chrono::nanoseconds::max)() || last_ - now() <= options_.linger)
      return;
    auto const sentence = "node " + name(peer) + " has ended its run " +
                          shortest(std::round(to_seconds(last_ - now()) * 100) / 100) + " s before the end that node " +
                          name(me_->self) + " was given";
    note(result_.result.warnings, sentence, sentence);
  }

  // --- nodes that are cut off elsewhere

  /// As peer_status::parted: the distance of the nearest node that has lost a peer, by what the neighbours say. What
  /// they repeat of a loss that is over grows with each message, until it exceeds every distance in the network.
  [[nodiscard]] auto parted() const -> std::uint64_t {
    if (!closed_.empty()) return 1;
    auto nearest = std::uint64_t{0};
    for (auto const& [peer, they] : others_) {
      if (they.parted > 0 && (nearest == 0 || they.parted < nearest)) nearest = they.parted;
    }
    return nearest == 0 || nearest > reach_ ? 0 : nearest + 1;
  }
  void hear_parted(transport::incoming const& n) {
    others_[n.peer].parted = n.peer_status.parted;
    tell_parted();
  }
  void tell_parted() {
    if (!goes_on() || told_parted_ == parted()) return;
    told_parted_ = parted();
    told_waiting_ += 2;  // as odd as before
    transport_->announce({transport::peer_status::phase::running, told_waiting_, {}, told_parted_});
  }

  void refuse_loss(transport::incoming const& n) {
    if (goes_on() || is_interrupted()) return;  // all processes end at one Ctrl-C
    fault_ = n.because;
    if (writer_ && has_begun_) saves_.save_last(host_, *writer_);  // the fault is not this node's
    throw run_error{n.why};
  }

  /// Throws run_error for a peer that was lost after this node's end, since its run may have failed; and for a peer of
  /// which not one message came in all this node's time, since it took no part in the run.
  void refuse_absence() const {
    if (!result_.lost.empty()) throw run_error{result_.lost.front()};
    auto const traffic = transport_->traffic_of();
    for (auto const from : run_->factory ? run_->factory.senders(to_index(me_->self)) : std::vector<node_id>{}) {
      auto const heard =
          std::any_of(traffic.begin(), traffic.end(), [&](auto const& t) { return t.peer == from && t.delivered > 0; });
      if (heard) continue;
      throw run_error{"node " + name(from) + " took no part: not one message of it came in the " +
                      shortest(to_seconds(result_.result.ended)) + " s that node " + name(me_->self) +
                      " ran; start the processes nearer together, or let them run longer"};
    }
  }

  // --- patience

  void check_patience() {
    if (congested_) refuse_congestion();
    auto const waits = host_.wait() && !under_way_ && !host_.wants_gradient();
    auto const waited = waits ? now() - host_.waiting_since() : std::chrono::nanoseconds{};
    tell_waiting(waited > options_.patience / 2);
    if (!waits) return;
    auto const w = *host_.wait();
    if (goes_on() && !closed_.contains(w.peer)) return wait_on_or_give_up(w, waited);
    if (waited <= options_.patience) return;
    fault_ = {w.peer, how::stalled};
    throw run_error{waited_too_long(to_index(me_->self), w, waited) +
                    (left_.contains(w.peer) ? "; that node has ended its run" : "")};
  }

  /// Tells the peers that this node waits, so that those who wait for it do not take it for the one at fault.
  void tell_waiting(bool waits) {
    if (waits == (told_waiting_ % 2 != 0)) return;
    transport_->announce({transport::peer_status::phase::running, ++told_waiting_, {}, told_parted_});
  }

  /// Of a chain of waiting nodes only the last gives up its peer. The wait is bounded by one patience for each link
  /// that such a chain may have.
  void wait_on_or_give_up(waiting const& w, std::chrono::nanoseconds waited) {
    auto& they = others_[w.peer];
    auto const alone = (std::min)(waited, now() - they.free_since);
    auto const patience = options_.patience / (std::int64_t{1} << (std::min)(they.given_up, 4));
    if (they.waits ? waited / static_cast<std::int64_t>(reach_ + 1) <= options_.patience : alone <= patience) return;
    ++they.given_up;
    auto const why = waited_too_long(to_index(me_->self), w, waited);
    if (left_.contains(w.peer)) return lose(w.peer, why + "; that node has ended its run");
    transport_->give_up(w.peer, why);
  }

  void refuse_congestion() {
    auto const held = now() - *held_since_;
    if (held <= options_.patience) return;
    if (goes_on()) {
      held_since_.reset();
      return transport_->give_up(*congested_, transport::detail::stalled_words);
    }
    fault_ = {*congested_, how::stalled};
    throw run_error{
        "node " + name(me_->self) + " has begun no gradient for " + shortest(to_seconds(held)) +
        " s, which is longer than the patience: as many messages as its transport should hold wait for node " +
        name(*congested_) + ", which reads too slowly, or not at all"};
  }

  // --- looks and the end

  void look_if_due() {
    auto const began = now() - begun_;
    if (auto const due = looks_.due(); !due || began < *due || showing_.is_busy()) return;
    auto l = look_at_node(looks_.time_of(began));
    show(l);
    looks_.add(std::move(l), began, now() - begun_);
  }
  auto look_at_node(std::chrono::nanoseconds at) -> peer_look {
    host_.node().audit(audit_);
    return {at, host_.node().estimate(), local_residual(audit_), gradients_};
  }

  void show(peer_look const& l) {
    auto const m = measurement{.at = l.at, .tracking_residual = l.residual, .gradients = l.gradients};
    showing_.show(m, l.model, result_.result.history);
  }
  /// The last look is shown after this node has said goodbye, so that no other node waits for it.
  void finish_history() {
    showing_.wait_and_take(result_.result.history);
    if (result_.looks.empty()) return;  // it never began
    show(result_.looks.back());
    showing_.wait_and_take(result_.result.history);
  }

  // --- checkpoints

  /// Throws config_error, before any peer waits for this node, if the node cannot be resumed or its checkpoint does not
  /// fit.
  void prepare_checkpoints() {
    auto const& o = options_.checkpoint;
    o.check();
    if (o.folder.empty()) return;
    saves_ = {o, *run_, me_->self};
    saves_.reach(start_barrier{*run_, *me_}.reach(), run_->nodes.size());
    if (o.resume) {
      if (auto warning = saves_.restore_into(host_, run_->pool); !warning.empty()) warn(std::move(warning));
    }
    if (me_->opened_before >> 16 != saves_.resumed()) {
      throw config_error{"the sessions of a node that goes on must be new: give identity_of() its checkpoint_options"};
    }
    ensure_writable_folder(o.folder);
    writer_.emplace();
  }
  void save_if_due() {
    if (!writer_) return;
    if (saves_.together()) {
      save_round_if_due();
      take_held();
    } else {
      saves_.save_if_due(now(), host_, *writer_);
    }
    say_failure(writer_->failure());
  }
  void save_round_if_due() {
    if (writer_ && saves_.together()) stands_still_ = !saves_.save_round_if_due(host_, *writer_);
  }
  /// Reports a failure at once, and once each time that failures begin: a process that is killed later could not report
  /// it.
  void say_failure(std::string why) {
    if (why == failure_) return;
    failure_ = std::move(why);
    if (failure_.empty()) return;  // the next checkpoint was written
    auto const sentence = "a checkpoint failed: " + failure_;
    note(result_.result.warnings, sentence, sentence);
  }

  /// Warns if the run ended by time while its node had stood still for long, for example in rounds whose peer had ended
  /// before.
  void say_if_stalled() {
    if (!host_.wait() || under_way_) return;
    auto const waited = now() - host_.waiting_since();
    if (waited < std::chrono::seconds{1} || waited < result_.result.ended / 10) return;
    auto const& w = *host_.wait();
    warn("node " + name(me_->self) + " stood still when the run ended: it had waited for " +
         std::string{name_of(w.channel)} + " message " + std::to_string(to_count(w.number)) + " of node " +
         name(w.peer) + " for " + shortest(to_seconds(waited)) + " s");
  }

  /// Where all end at one time, they do so nearly together: only an earlier end is worth a sentence.
  void say_if_early_itself() {
    auto const left = last_ - begun_ - result_.result.ended;
    if (left < std::chrono::seconds{1} || left < result_.result.ended / 10) return;
    auto const& w = *host_.wait();
    warn("node " + name(me_->self) + " ended after " + shortest(to_seconds(result_.result.ended)) +
         " s, before its own end: node " + name(w.peer) + ", which had to send it " + std::string{name_of(w.channel)} +
         " message " + std::to_string(to_count(w.number)) + ", had ended its run");
  }

  /// Says goodbye and waits, for a while, until the others have said theirs.
  void depart() {
    transport_->announce({transport::peer_status::phase::left, 0, {}, told_parted_});
    auto const since = now();
    while (!transport_->everyone_left() && now() - since < options_.linger && !is_interrupted()) {
      for (auto const& n : polled(now() + std::chrono::milliseconds{20})) hear_farewell(n);
    }
    // Where nodes go on without each other, a restarted peer may well run for longer: it is not cut off.
    if (result_.result.stopped == stop_reason::time && !goes_on() && !is_interrupted()) name_who_stays();
  }
  void hear_farewell(transport::incoming const& n) {
    if (n.kind == what::left) left_.insert(n.peer);
    if (n.kind == what::left || n.kind == what::stands) hear_parted(n);
    if (n.kind == what::closed && !is_interrupted()) note_loss(n.peer, n.why);
  }
  /// If a time ends the run, all end together, except those that came later.
  void name_who_stays() {
    for (auto const peer : me_->peers) {
      if (left_.contains(peer) || others_[peer].met_again) continue;
      note_loss(peer, "node " + name(peer) + " has not ended within " +
                          transport::detail::seconds_text(options_.linger) + " of the end of node " + name(me_->self));
    }
  }

  /// Tells the others why this node ends, so that they neither take it for the one at fault nor wait until it counts as
  /// silent.
  void say_why() {
    transport_->announce({transport::peer_status::phase::ended, 0, fault_});
    auto const since = now();
    while (!transport_->everyone_left() && now() - since < options_.linger)
      polled(now() + std::chrono::milliseconds{20});
  }

  void collect() {
    auto& r = result_.result;
    result_.id = me_->self;
    result_.of = run_->nodes.size();
    result_.agreed = me_->agreed.text();
    result_.rejected = transport_->rejected();
    static_cast<run_setup&>(r) = *run_;
    r.events = gradients_;
    for (auto const& t : transport_->traffic_of()) {
      edge_report out{me_->self, t.peer, t.channel};
      out.packets_sent = t.packets;
      out.values_sent = t.values;
      out.bytes_sent = t.bytes;
      out.conflated = t.replaced;
      out.lost = t.lost;
      edge_report in{t.peer, me_->self, t.channel};
      in.conflated = t.skipped;
      in.delivered = t.delivered;
      in.bytes_received = t.bytes_in;
      r.events += t.delivered;
      if (t.packets + t.replaced + t.lost > 0) r.edges.push_back(out);
      if (t.delivered + t.skipped > 0) r.edges.push_back(in);
    }
    auto const measured = run_->measured();
    auto const self = to_index(me_->self);
    collect_node(host_.node(), me_->self, self >= measured.begin && self < measured.end, edge_index{r.edges}, r);
    r.nodes.back().iterations_before = saves_.progress();
    auto const said = r.warnings.size();
    warn_of_ages(r);
    std::for_each(r.warnings.begin() + static_cast<std::ptrdiff_t>(said), r.warnings.end(),
                  [this](auto const& w) { say(w); });
  }

  assembly* run_;
  transport::identity const* me_;
  Transport* transport_;
  peer_options options_;
  std::shared_ptr<pacer> pace_;  // null: none
  hosted_node host_;
  kept_looks looks_;
  gradient_thread computing_;
  look_thread showing_;
  node_checkpoints saves_;
  std::optional<checkpoint_writer> writer_;  // where the node is saved
  bool stands_still_ = false;  // until the state that is due can be written
  early_messages held_{vector_bytes()};  // messages that came meanwhile
  std::string failure_;  // why the last checkpoint could not be written; empty: it was
  bool has_begun_ = false;
  std::set<node_id> resuming_;  // peers whose edges are closed because this node resumed
  bool under_way_ = false;
  std::uint64_t gradients_ = 0;
  std::optional<node_id> congested_;  // the peer because of which no gradient is begun
  std::optional<instant> held_since_;
  transport::cause fault_{me_->self, how::failed};
  /// What is known of a peer besides its messages.
  struct other {
    bool waits = false;  // it has waited for another node for long
    bool met_again = false;  // one of the two came late or was lost: they need not end together
    instant free_since{};  // end of its last such wait
    std::uint64_t parted = 0;  // its peer_status::parted
    int given_up = 0;  // how often this node gave it up after waiting for it
  };
  std::map<node_id, other> others_;
  std::set<node_id> left_;
  std::set<node_id> closed_;  // peers whose edges are closed for the node
  std::uint64_t reach_ = 0;
  std::uint64_t told_waiting_ = 0;  // odd: the peers have been told that this node waits
  std::uint64_t told_parted_ = 0;
  early_messages early_{vector_bytes()};
  instant begun_{}, last_{};
  tracking_audit audit_;
  peer_result result_;
};

}  // namespace detail

/// Runs node `me.self` of the assembly over `wires`: waits until every node of the run has arrived, runs until `end` on
/// its own clock (`end.gradients` counts this node's), and says goodbye. It does not touch the other nodes of the
/// assembly. Throws config_error before the start. Throws run_error with one sentence if a peer is lost (unless asked
/// to go on), the node fails or waits too long, or the problem throws; the peers are told which node is at fault, and
/// name it. A neighbour that has ended sends no more; a node that waits for it ends too, in order
/// (stop_reason::neighbour; a run_error if only a number of gradients ends the run), unless it goes on without. If
/// `end` is a time, all end together. With `end.gradients` and unequal speeds, slow nodes go on without the fast ones.
/// With ad_psgd or async_model_average they then go on without any exchange, because their exchange with a node that
/// has ended stays open: give those a time.
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
