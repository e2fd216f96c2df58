// SPDX-License-Identifier: MIT
// The life of one node in one process, from the meeting of all nodes to its goodbye. The calling thread serves messages
// and deadlines. Gradients are computed on a separate thread, so that the node is not silent during a long one.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/driver/detail/gradient_thread.hpp>
#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/driver/detail/kept_looks.hpp>
#include <rubato/driver/detail/last_meeting.hpp>
#include <rubato/driver/detail/look_thread.hpp>
#include <rubato/driver/detail/peer_members.hpp>
#include <rubato/driver/detail/peer_neighbours.hpp>
#include <rubato/driver/detail/peer_notes.hpp>
#include <rubato/driver/detail/peer_saves.hpp>
#include <rubato/driver/detail/peer_view.hpp>
#include <rubato/driver/detail/peer_words.hpp>
#include <rubato/driver/detail/start_barrier.hpp>
#include <rubato/driver/peer_options.hpp>
#include <rubato/environment/compute.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/checkpoint_writer.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/pace.hpp>
#include <rubato/run/peer_result.hpp>
#include <rubato/run/stop_token.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/transport/detail/idle_spell.hpp>

namespace rubato::detail {

template<transport::endpoint Transport>
class peer_driver {
  static_assert(transport::check_endpoint<Transport>());

 public:
  peer_driver(assembly& a, transport::identity const& me, Transport& wires, peer_options const& o)
      : run_{&a},
        me_{&me},
        transport_{&wires},
        options_{o},
        pace_{a.members ? nullptr : pace_one(a, me.self, o.pace)},
        host_{a.nodes[to_index(me.self)], to_index(me.self)},
        looks_{o.look_every, (std::max)(o.look_bytes, 8 * vector_bytes())},
        computing_{a.oracle,
                   [o, self = me.self](std::uint64_t draw) { return o.compute.duration(o.compute_seed, self, draw); },
                   [&wires] { wires.wake(); }, o.awake},
        showing_{a.oracle, me.self, {o.watching, o.measure_loss}},
        notes_{o.says, o.status, o.least_said} {
    if (!o.watching.empty() && o.look_every.count() <= 0)
      throw config_error{"a node has observers, and nothing says how often they look: give look_every a time"};
    if (to_index(me.self) < a.peers) o.compute.check(a.peers);
    if (!Transport::lossless) refuse_loss_of(me.channels);
  }

  auto run(until const& end) -> peer_result {
    auto lives = true;
    try {
      result_.result.stopped = at_node(to_index(me_->self), [&] { return begin_and_live(end); });
      lives = false;
      return part();
    } catch (...) {
      show_failure();
      if (lives) say_why();
      throw;
    }
  }

 private:
  using what = transport::incoming::what;
  using how = transport::cause::how;

  /// After the end of the node's own work: takes leave of the others, and makes the result.
  auto part() -> peer_result {
    auto const stopped = result_.result.stopped;
    if (writer_ && !meeting_.was_held() && saves_.newest_round())
      notes_.warn(node_name(me_->self) + meeting_.words_of_none());
    if (stopped == stop_reason::interrupted && meeting_.was_held()) {
      depart();  // what the others lack for this round is still on its way to them
      collect();
    } else if (stopped == stop_reason::interrupted && !leaves_the_others()) {
      // neighbours must not take this for a regular end
      fault_ = {me_->self, how::interrupted};
      say_why();
      collect();
    } else {
      if (stopped == stop_reason::neighbour) say_if_early_itself();
      else say_if_stalled();
      if (stopped != stop_reason::neighbour) say_who_ended_before();
      depart();
      collect();
      if (options_.lost == when_lost::ends && !is_interrupted()) refuse_absence();
      result_.cut_off = others_.lost();
      if (result_.cut_off.empty() && goes_on()) result_.parted = std::max<std::uint64_t>(others_.parted(), 1) - 1;
    }
    finish_history();
    show_status(node_status::phase::ended);
    if (!writer_) return std::move(result_);
    auto const why = writer_->finish();
    if (auto const all = failures_of(*writer_); !all.empty()) notes_.warn(node_name(me_->self) + all);
    if (!too_early_.empty()) throw peer_error{too_early_};  // now that the others have all that they need
    if (!why.empty()) result_.unwritten = "the last state of this node was not saved: " + why;
    return std::move(result_);
  }

  auto begin_and_live(until const& end) -> stop_reason {
    if (run_->is_server(me_->self)) refuse_endless_server(me_->self, end);
    if (!kept_.prepare(options_.checkpoint, *run_, *me_, host_, notes_, options_.stop) || !await_everyone())
      return stop_reason::interrupted;
    told_.view = members_.view();
    transport_->announce(told_);
    begun_ = now();
    members_.others().sees(told_.view, begun_);
    last_ = later_by(begun_, end.time);  // before what came early is taken: goodbyes are judged by it
    auto early = early_.take();
    members_.begin_with_model(options_.entry, options_.restarts);
    members_.tell(host_);
    close_to_newcomers();
    if (options_.checkpoint.resume && !saves_.together()) others_.resume(me_->peers);
    if (!options_.checkpoint.resume) host_.start(now(), sender());
    else if (saves_.together()) resume_together(host_, now(), early, sender());
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

  auto sender() {
    return [this](packet p, instant) {
      auto const to = p.to;
      auto const kind = host_.channels().kind_of(p.channel);
      if (transport_->send(kind, std::move(p)) != transport::send_status::refused) return;
      if (goes_on()) return transport_->give_up(to, transport::detail::stalled_words);
      fault_ = {to, how::stalled};
      throw peer_error{words_of_refusal(me_->self, to)};
    };
  }
  [[nodiscard]] auto goes_on() const -> bool { return options_.lost == when_lost::goes_on; }
  [[nodiscard]] auto now() const -> instant { return me_->time.now(); }
  [[nodiscard]] auto vector_bytes() const -> std::size_t { return me_->blocks.values() * sizeof(double); }
  [[nodiscard]] auto is_interrupted() const -> bool { return options_.stop.stop_requested(); }
  /// This node was interrupted, or meets the others because one of them was.
  [[nodiscard]] auto all_end() const -> bool { return is_interrupted() || meeting_.is_interrupted(); }

  /// What is under way has a second left where this node is interrupted after its own end; else nothing.
  [[nodiscard]] auto hurried() -> std::optional<instant> {
    if (!hurried_ && is_interrupted() && own_end_ && *own_end_ != stop_reason::interrupted)
      hurried_ = later_by(now(), std::chrono::seconds{1});
    return hurried_;
  }

  /// Waits until every node of the run has arrived or is known not to come; the deadlines of transports bound this.
  /// Messages of peers that began earlier are kept. False if interrupted.
  [[nodiscard]] auto await_everyone() -> bool {
    auto all = start_barrier{*run_, *me_, members_.awaited(options_)};
    others_.reach(all.reach());
    auto const latest = later_by(now(), options_.patience);
    while (!members_.may_begin(options_.entry, all.is_complete(), now() >= latest)) {
      if (is_interrupted()) return false;
      if (members_.meets_nobody(options_.entry, all.is_complete(), now() >= latest))
        throw peer_error{words_of_joining_nobody(me_->self)};
      for (auto& n : polled(now() + std::chrono::milliseconds{20})) {
        all.hears(n);
        others_.of(n.peer).here = n.kind != what::closed;
        if (auto const wrong = members_.hears(n); !wrong.empty()) refuse_sender(n.peer, wrong);
        if (n.kind == what::closed) refuse_loss(n);
        keep(early_, std::move(n), "has not begun");
      }
      transport_->announce({transport::peer_status::phase::arriving, all.level()});
      show_status(node_status::phase::arriving);
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
    refuse_sender(from, words);
  }
  [[noreturn]] void refuse_sender(node_id from, std::string const& words) {
    fault_ = {from, how::failed};
    throw peer_error{node_name(from) + " is at fault at " + node_name(me_->self) + ": " + words};
  }

  auto polled(instant latest) -> std::vector<transport::incoming> {
    std::vector<transport::incoming> in;
    transport_->poll(me_->time.at(latest), in);
    return in;
  }

  auto live(until const& end) -> stop_reason {
    while (true) {
      if (auto const why = reason_to_end(end)) {
        if (*why != stop_reason::interrupted) refuse_without_server(true);
        return *why;
      }
      note_early_ends();
      take_out_ended();
      note_other_views();
      if (!stands_still_) begin_gradient();
      for (auto& n : polled(idle_.end_of_wait(now(), next_event(last_)))) take(std::move(n));
      host_.wake(now(), sender());
      finish_gradient();
      check_patience();
    }
  }

  /// Why this node ends now, if it does: what it came to first. It may go on for a while to meet the others.
  auto reason_to_end(until const& end) -> std::optional<stop_reason> {
    auto const spent = gradients_ >= end.gradients && has_used_all();  // then it cannot go on to a later round
    auto const why = own_reason(spent);
    if (can_meet() && to_index(me_->self) < run_->peers) meeting_.foresee(end.gradients);
    if (can_meet() && why && !own_end_ && !spent) meeting_.name_earliest(*why == stop_reason::interrupted, now());
    if (!own_end_) own_end_ = why;
    if (auto const latest = hurried()) meeting_.hurry(*latest);
    tell_of_meeting();
    if (meeting_.was_held()) return end_with_all(end);
    if (own_end_ && (spent || !meeting_.is_awaited(now()))) return own_end_;
    if (meeting_.is_interrupted() && !meeting_.is_awaited(now())) return stop_reason::interrupted;
    if (!waits_in_vain()) return std::nullopt;
    if (own_end_) return own_end_;
    return goes_on_without_neighbour() ? std::nullopt : std::optional{end_with_neighbour(end)};
  }
  /// Looks and saves as long as the node lives.
  auto own_reason(bool spent) -> std::optional<stop_reason> {
    auto const said = showing_.take(result_.result.history);
    look_if_due();
    save_if_due();
    show_status(node_status::phase::running);
    if (is_interrupted()) return stop_reason::interrupted;
    if (said == verdict::stop) return stop_reason::observer;
    if (now() >= last_) return stop_reason::time;
    return spent ? std::optional{stop_reason::gradients} : std::nullopt;
  }

  /// Whether the node asks for the next gradient, or waits for a node that has ended its run.
  [[nodiscard]] auto has_used_all() const -> bool { return host_.wants_gradient() || waits_in_vain(); }
  /// Whether the node can do nothing before a message comes of a node that has ended its run. (Its goodbye came after
  /// all that it had sent.)
  [[nodiscard]] auto waits_in_vain() const -> bool {
    return !under_way_ && held_.empty() && !host_.wants_gradient() && host_.wait() &&
           others_.has_left(host_.wait()->peer);
  }
  /// In order, but where a number of gradients was to be computed and nothing else: that is not reached.
  auto end_with_neighbour(until const& end) -> stop_reason {
    if (end.time != (std::chrono::nanoseconds::max)()) return stop_reason::neighbour;
    auto const& w = *host_.wait();
    fault_ = {w.peer, how::stalled};
    throw peer_error{waited_too_long(to_index(me_->self), w, now() - host_.waiting_since()) +
                     "; that node has ended its run"};
  }

  // --- neighbours that end before this node

  [[nodiscard]] auto ends_at_a_time() const -> bool { return last_.since_start != (std::chrono::nanoseconds::max)(); }
  [[nodiscard]] auto worth_a_sentence() const -> std::chrono::nanoseconds {
    return detail::worth_a_sentence((ends_at_a_time() ? last_ : now()) - begun_, ends_at_a_time());
  }
  /// Of a node that waits in vain: closes its edge with the node that has ended its run, so that it goes on at once.
  /// That one is not lost: it had ended in order. False if this node may not go on without it, or cannot.
  auto goes_on_without_neighbour() -> bool {
    if (!goes_on()) return false;
    if (last_ - now() < worth_a_sentence()) return true;  // its own end is near
    auto const peer = host_.wait()->peer;
    auto& it = others_.of(peer);
    if (std::exchange(it.without, true)) return false;  // it waits for it all the same
    it.met_again = true;
    host_.change(now(), {peer, neighbour_change::edge::closes, {}, {}}, sender());
    return true;
  }
  /// Where a time ends this run, it is known at once that a neighbour has ended before. (A node that may not go on
  /// without is likely to end because of that, and says so then.)
  void note_early_ends() {
    if (!goes_on() || members_.come_and_go() || !ends_at_a_time() || last_ - now() < worth_a_sentence()) return;
    for (auto const& [peer, at] : others_.untold_ends(last_, worth_a_sentence())) {
      auto const sentence = words_of_early_leave(peer, me_->self, last_ - at);
      note(result_.result.warnings, sentence, sentence);
    }
  }
  /// The others that ended before this node did, so that its model may be off the optimum.
  void say_who_ended_before() {
    auto const ended = begun_ + result_.result.ended;
    for (auto const& [peer, at] : others_.untold_ends(ended, worth_a_sentence()))
      notes_.warn(words_of_earlier_end(peer, me_->self, ended - at));
  }

  // --- the round at which all end who go on together

  [[nodiscard]] auto can_meet() const -> bool {
    return writer_ && saves_.together() && Transport::ordered && result_.lost.empty();
  }
  /// The neighbours hear of it before anything else that this node sends.
  void tell_of_meeting() {
    auto const s = meeting_.status_after(told_);
    if (s == told_) return;
    told_ = s;
    transport_->announce(told_);
  }
  /// All were saved at one round, at which this node ends, be it because another one does.
  auto end_with_all(until const& end) -> stop_reason {
    if (own_end_) return *own_end_;
    if (meeting_.is_interrupted()) return stop_reason::interrupted;
    if (gradients_ >= end.gradients) return stop_reason::gradients;
    if (end.time != (std::chrono::nanoseconds::max)()) return stop_reason::neighbour;
    too_early_ = words_of_missing_gradients(me_->self, gradients_, end.gradients, meeting_.words_of_all());
    return stop_reason::neighbour;
  }

  [[nodiscard]] auto next_event(instant last) const -> instant {
    auto next = now() + std::chrono::milliseconds{20};
    if (!own_end_) next = (std::min)(next, last);
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
    computing_.submit(*host_.take_request(), gradient_thread::given_to(host_.node()));
    under_way_ = true;
  }

  void finish_gradient() {
    auto done = computing_.take();
    host_.take_parts(now(), computing_.take_parts(), sender());
    if (!done || (under_way_ && host_.cancelled())) return;
    idle_.end();
    under_way_ = false;
    if (done->thrown)
      rethrow_named(done->thrown,
                    "the problem threw at " + node_name(me_->self) + ", gradient " + std::to_string(gradients_ + 1));
    ++gradients_;
    host_.finish(now(), std::move(done->value), sender());
    save_round_if_due();
  }

  // --- incoming (driver/detail/peer_incoming.hpp)

  void take(transport::incoming n);
  void take_held();
  void handle(transport::incoming const& n);
  void handle_opened(transport::incoming const& n);
  void handle_left(transport::incoming const& n);
  void close_ended(node_id peer);
  void take_out(node_id peer, std::string const& news);
  void take_out_ended();
  [[nodiscard]] auto is_kept(node_id peer) const -> bool;
  void lose(transport::incoming const& n);
  auto note_loss(node_id peer, std::string const& why) -> bool;
  void note_return(node_id peer);
  void note(std::vector<std::string>& list, std::string const& said, std::string const& kept);
  void close_to_newcomers();
  void hear_parted(transport::incoming const& n);
  void tell_parted();
  void tell_view();
  void note_other_views();
  void tell();
  void refuse_loss(transport::incoming const& n);
  void refuse_absence() const;

  // --- patience

  /// Of a worker that goes on without lost nodes: its server is none of those. It may come back for a while.
  void refuse_without_server(bool ends) {
    if (!goes_on()) return;
    for (auto const peer : others_.lost()) {
      auto const& they = others_.of(peer);
      if (!run_->is_server(peer) || (!ends && now() - they.lost_at.value_or(begun_) <= options_.come_back)) continue;
      fault_ = {peer, how::gone};
      if (writer_) saves_.save_last(host_, *writer_);
      throw peer_error{words_of_no_server(
          peer, they.lost_why, ends ? std::nullopt : std::optional<std::chrono::nanoseconds>{options_.come_back},
          me_->self)};
    }
  }

  void check_patience() {
    refuse_without_server(false);
    if (congested_) refuse_congestion();
    auto const ends = own_end_ || meeting_.is_interrupted();  // it waits for the meeting, and ends if that is not held
    auto const waits = host_.wait() && !under_way_ && !host_.wants_gradient() && !ends;
    auto const waited = waits ? now() - host_.waiting_since() : std::chrono::nanoseconds{};
    tell_waiting(waited > options_.patience / 2);
    if (!waits) return;
    auto const w = *host_.wait();
    if (goes_on() && !others_.is_lost(w.peer)) return wait_on_or_give_up(w, waited);
    if (waited <= options_.patience) return;
    fault_ = {w.peer, how::stalled};
    throw peer_error{waited_too_long(to_index(me_->self), w, waited)};
  }

  /// Tells the peers that this node waits, so that those who wait for it do not take it for the one at fault.
  void tell_waiting(bool waits) {
    if (told_.at != transport::peer_status::phase::running || waits == (told_.level % 2 != 0)) return;
    ++told_.level;
    transport_->announce(told_);
  }

  /// Of a chain of waiting nodes only the last gives up its peer. The wait is bounded by one patience for each link
  /// that such a chain may have.
  void wait_on_or_give_up(waiting const& w, std::chrono::nanoseconds waited) {
    if (others_.has_left(w.peer)) return;  // so near to this node's end that it need not go on without that one
    auto& they = others_.of(w.peer);
    auto const alone = (std::min)(waited, now() - they.free_since);
    auto const patience = options_.patience / (std::int64_t{1} << (std::min)(they.given_up, 4));
    if (they.waits ? waited / static_cast<std::int64_t>(others_.reach() + 1) <= options_.patience : alone <= patience)
      return;
    ++they.given_up;
    transport_->give_up(w.peer, waited_too_long(to_index(me_->self), w, waited));
  }

  void refuse_congestion() {
    auto const held = now() - *held_since_;
    if (held <= options_.patience) return;
    if (goes_on()) {
      held_since_.reset();
      return transport_->give_up(*congested_, transport::detail::stalled_words);
    }
    fault_ = {*congested_, how::stalled};
    throw peer_error{words_of_congestion(me_->self, *congested_, held)};
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
    return {at, host_.node().estimate(), local_residual(audit_), gradients_,
            transport::bytes_sent(transport_->traffic_of())};
  }

  void show(peer_look const& l) { showing_.show(l.unscored(), l.model, result_.result.history); }
  void show_status(node_status::phase at) {
    if (!options_.status || !options_.status->is_due(at, now())) return;
    auto const ran = at == node_status::phase::running ? now() - begun_ : result_.result.ended;
    auto const so_far = peer_progress{at, ran, gradients_, !audit_.tracker.empty()};
    options_.status->publish(status_of(*run_, *me_, host_, transport_->traffic_of(), others_, so_far), now());
  }
  /// To be called in a catch block: readers would take a node that has failed for one that runs.
  void show_failure() {
    if (!options_.status) return;
    if (has_begun_ && result_.result.ended.count() == 0) result_.result.ended = now() - begun_;
    show_status(node_status::phase::ended);
    options_.status->say(words_of_caught());
  }
  /// The last look is shown after this node has said goodbye, so that no other node waits for it.
  void finish_history() {
    showing_.wait_and_take(result_.result.history);
    if (result_.looks.empty()) return;  // it never began
    show(result_.looks.back());
    showing_.wait_and_take(result_.result.history);
  }

  // --- checkpoints

  void save_if_due() {
    if (!writer_) return;
    if (saves_.together()) {
      save_round_if_due();
      take_held();
    } else {
      saves_.save_if_due(now(), host_, *writer_);
    }
    notes_.note_failure(writer_->failure(), now() - begun_);
  }
  void save_round_if_due() {
    if (writer_ && saves_.together()) stands_still_ = !saves_.save_round_if_due(host_, *writer_);
  }

  /// Warns if the run ended by time while its node had stood still for long, for example in rounds whose peer had ended
  /// before.
  void say_if_stalled() {
    if (!host_.wait() || under_way_) return;
    auto const waited = now() - host_.waiting_since();
    if (waited < std::chrono::seconds{1} || waited < result_.result.ended / 10) return;
    notes_.warn(words_of_stall(me_->self, *host_.wait(), waited));
  }

  /// That the node itself ended early because of a neighbour.
  void say_if_early_itself() {
    if (last_ - begun_ - result_.result.ended < worth_a_sentence()) return;
    auto const why = meeting_.was_held() ? meeting_.words_of_all() : words_of_needed_end(*host_.wait());
    notes_.warn(words_of_early_end(me_->self, result_.result.ended, why));
  }

  /// Says goodbye and waits, for a while, until the others have said theirs.
  void depart() {
    auto const leaves = result_.left = leaves_the_others();
    auto const may_return = members_.come_and_go() && !run_->is_server(me_->self);
    auto const level = leaves ? 1U : may_return ? 2U : 0U;
    transport_->announce({transport::peer_status::phase::left, level, {}, told_.parted, told_.view});
    auto const since = now();
    auto said = std::optional<instant>{};  // all, the goodbye too
    auto const may_end = [&] {
      auto const latest = hurried();
      if (!said && !has_unsent()) said = now();
      if (leaves) return said && now() - *said >= std::chrono::seconds{1};  // they go on, and need not answer
      return latest ? now() >= *latest : is_interrupted() && !meeting_.was_held();
    };
    while (!transport_->everyone_left() && now() - since < options_.linger && !may_end()) {
      for (auto const& n : polled(now() + std::chrono::milliseconds{20})) hear_farewell(n);
    }
    for (auto const& n : polled(now())) hear_farewell(n);  // a last status may be known before it is heard
    // Where nodes go on without each other, a restarted peer may well run for longer: it is not cut off.
    if (result_.result.stopped == stop_reason::time && !goes_on() && !is_interrupted()) name_who_stays();
  }
  /// Where the connection closed now, others would take the node for dead.
  [[nodiscard]] auto has_unsent() const -> bool {
    if constexpr (requires { transport_->has_unsent(); }) return transport_->has_unsent();
    else return false;
  }
  /// A member that leaves is taken out of the others' sum.
  [[nodiscard]] auto leaves_the_others() const -> bool {
    return members_.come_and_go() && !run_->is_server(me_->self) &&
           (options_.farewell == farewell::leaves || result_.result.stopped == stop_reason::interrupted);
  }
  void hear_farewell(transport::incoming const& n) {
    if (n.kind == what::left) others_.leaves(n.peer, now());
    if (n.kind == what::left || n.kind == what::stands) hear_parted(n);
    if (n.kind == what::closed && !is_interrupted()) note_loss(n.peer, n.why);
  }
  /// If a time ends the run, all end together, except those that came later.
  void name_who_stays() {
    for (auto const peer : me_->peers) {
      if (others_.has_left(peer) || others_.of(peer).met_again) continue;
      note_loss(peer, words_of_stay(peer, transport::detail::seconds_text(options_.linger), me_->self));
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
    result_.result.absent = members_.absent();
    result_.other_views = members_.others().differing(begun_ + result_.result.ended, options_.linger);
    static_cast<run_setup&>(r) = *run_;
    r.events = gradients_;
    for (auto const& t : transport_->traffic_of()) notes_.add_traffic(me_->self, t);
    auto const measured = run_->measured();
    auto const self = to_index(me_->self);
    collect_node(host_.node(), me_->self, self >= measured.begin && self < measured.end, edge_index{r.edges}, r,
                 saves_.counted_before());
    auto const said = r.warnings.size();
    warn_of_counters(run_->peers, r);
    if (!result_.looks.empty()) warn_of_resolution({&audit_, 1}, r);
    std::for_each(r.warnings.begin() + static_cast<std::ptrdiff_t>(said), r.warnings.end(),
                  [this](auto const& w) { notes_.say(w); });
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
  peer_saves kept_;
  node_checkpoints& saves_ = kept_.node;
  std::optional<checkpoint_writer>& writer_ = kept_.writer;
  peer_members members_{*run_, me_->self};
  last_meeting meeting_{saves_, host_, options_.linger};
  std::optional<instant> hurried_;
  std::optional<stop_reason> own_end_;  // to which this node came first, whether it goes on to a meeting or not
  bool stands_still_ = false;  // until the state that is due can be written
  early_messages held_{vector_bytes()};  // messages that came meanwhile
  bool has_begun_ = false;
  bool under_way_ = false;
  std::uint64_t gradients_ = 0;
  std::optional<node_id> congested_;  // the peer because of which no gradient is begun
  std::optional<instant> held_since_;
  transport::cause fault_{me_->self, how::failed};
  std::string too_early_;  // the sentence of a node that ended before its gradients were used, and had no other end
  peer_neighbours others_;
  transport::peer_status told_{transport::peer_status::phase::running};  // while it runs
  early_messages early_{vector_bytes()};
  instant begun_{}, last_{};
  transport::detail::idle_spell<instant> idle_{options_.awake};
  tracking_audit audit_;
  peer_notes notes_;
  peer_result& result_ = notes_.result;
};

}  // namespace rubato::detail

#include <rubato/driver/detail/peer_incoming.hpp>
