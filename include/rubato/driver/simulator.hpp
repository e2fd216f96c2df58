// SPDX-License-Identifier: MIT
// The deterministic driver: one queue of events in virtual time. It owns clock, links and compute times; nodes own
// maths.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/channel_table.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/snapshot.hpp>
#include <rubato/core/text.hpp>
#include <rubato/driver/detail/event_queue.hpp>
#include <rubato/driver/detail/gradient_pool.hpp>
#include <rubato/driver/detail/member_views.hpp>
#include <rubato/driver/detail/node_view.hpp>
#include <rubato/driver/simulation_trace.hpp>
#include <rubato/environment/network.hpp>
#include <rubato/environment/scenario.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/result.hpp>
#include <rubato/run/stop_token.hpp>
#include <rubato/wire/agreement.hpp>

namespace rubato {

/// One run. **Determinism:** same assembly, scenario and end give the same bits, for any scenario.threads.
class simulator {
 public:
  /// Throws config_error if the scenario does not fit what was assembled.
  simulator(assembly who, environment::scenario const& s)
      : who_{std::move(who)},
        scenario_{s},
        network_{scenario_, who_.nodes.size()},
        gradients_{who_.oracle, s.threads},
        metrics_{who_.oracle, who_.measured().begin},
        state_(who_.nodes.size()) {
    detail::refuse_used(who_.nodes, who_.peers);
    s.check(who_.peers, who_.nodes.size());
    if (s.compute.mean().count() == 0) {
      throw config_error{"a simulated gradient takes some time above 0, for nothing else moves the virtual clock"};
    }
    for (auto const& n : who_.nodes) channels_.add(n.channels());
    if (!s.restarts.empty()) check_restarts();
    check_members();
  }

  void watch(observers all) { watching_ = std::move(all); }
  /// Polled about every thousand events.
  void stop_when(stop_token asked) { stop_ = std::move(asked); }
  /// `t` must outlive the runs.
  void trace(simulation_trace& t) { trace_ = &t; }
  /// See simulate_options::statuses. Throws config_error unless there is one for each node, or none.
  void show_on(status_boards all) {
    detail::check_boards(all, who_.nodes.size());
    boards_ = std::move(all);
  }

  /// The whole run as it is now: nodes, links, packets under way, clock and history. To be called between two events,
  /// or after run() has returned. Bodies are shared; what nodes may still write is copied, in one pass. Throws
  /// config_error if a part of a node lists no state.
  [[nodiscard]] auto state() -> snapshot { return take_snapshot(*this); }
  /// The next run() goes on from this state. Subject, blocks and scenario (except its threads) must be those of the
  /// saved run; otherwise a config_error says which is not. The result has the bits of a run that was never cut. About
  /// a state that was taken after a run, and about another end, see run().
  void resume(snapshot const& saved) {
    restore(*this, saved, who_.pool);
    begun_ = true;
  }
  static void visit_state(auto& self, auto&& visit);
  [[nodiscard]] auto now() const -> instant { return now_; }
  /// Gradients computed and packets delivered so far.
  [[nodiscard]] auto events() const -> std::uint64_t { return events_; }

  /// Runs to the end. Throws run_error if a node fails, diverges or waits for ever, or if the problem throws.
  ///
  /// A run that has ended can go on with a later end: here, if run() is called again, or elsewhere, from its state().
  /// It has the bits of a run that was never cut, with these exceptions:
  /// - the history keeps the look at the cut, and looks go on at the interval with which the run began;
  /// - a target loss counts as reached from the first look of the whole history that is at or below it;
  /// - gradients that were ready while a run with enough of them waited for its last packets are handed over when it
  /// goes on. An end that has passed already ends it at once.
  auto run(until const& end) -> run_result;

  [[nodiscard]] auto nodes() const -> std::span<any_node const> { return who_.nodes; }
  /// Whether a node is there: not stopped, and a member at present.
  [[nodiscard]] auto is_there(node_id node) const -> bool { return !state_[to_index(node)].down; }

 private:
  using nanoseconds = std::chrono::nanoseconds;
  using network = environment::network;
  using event = detail::event;
  using event_kind = detail::event_kind;

  struct alignas(64) per_node {  // one cache line
    std::uint64_t draws = 0;  // gradients asked for; numbers the draws of compute times
    std::optional<std::uint32_t> computing{};  // slot of the gradient under way
    std::optional<waiting> wait{};
    instant waiting_since{};
    std::uint32_t session = 0;  // how often it stopped
    bool down = false;

    static void visit_state(auto& self, auto&& visit) {
      visit("draws", self.draws), visit("computing", self.computing), visit("wait", self.wait);
      visit("waiting since", self.waiting_since), visit("session", self.session), visit("down", self.down);
    }
  };
  struct scheduled_wakeup {
    std::uint32_t id = 0;
    std::uint32_t session = 0;  // of the node that asked for it
    static void visit_state(auto& self, auto&& visit) { visit("id", self.id), visit("session", self.session); }
  };
  struct alignas(128) parcel {  // two neighbouring cache lines, which come together
    packet p;
    std::size_t block = network::no_block;
    std::vector<std::byte> frame;  // the packet as bytes, when frames are encoded; keeps its memory for the next one
    static void visit_state(auto& self, auto&& visit) {
      visit("packet", self.p), visit("block", self.block), visit("frame", self.frame);
    }
  };
  struct computation {
    std::uint64_t job = 0;
    bool cancelled = false;
    nanoseconds duration{};
    instant begun{};
    std::size_t parts = 0;  // that the node has been given
    gradient result{};  // from the first of them on; then there is no job
    static void visit_state(auto& self, auto&& visit) {
      visit("cancelled", self.cancelled), visit("duration", self.duration), visit("begun", self.begun);
      visit("parts", self.parts);
      if (self.parts > 0)
        visit("ticket", self.result.id), visit("gradient", self.result.value), visit("loss", self.result.loss);
    }
  };

  struct hung_up {
    node_id peer{};
    std::uint32_t session = 0;
    static void visit_state(auto& self, auto&& visit) { visit("peer", self.peer), visit("session", self.session); }
  };
  struct newcomer {
    std::uint32_t change = 0;
    shared_buffer model{};  // empty: the common first one
    static void visit_state(auto& self, auto&& visit) { visit("change", self.change), visit("model", self.model); }
  };

  [[nodiscard]] auto interval_of(until const& end) const -> nanoseconds;
  [[nodiscard]] auto begin(until const& end) -> std::optional<stop_reason>;
  void go_on(until const& end);
  void check_target(until const& end) const;
  auto run_events(until const& end) -> stop_reason;
  void collect(run_result& result);
  void count_edges(std::vector<edge_report>& edges);
  void show(node_status::phase at);
  void fetch_ahead() const;
  void handle(event const& e);
  void arrive(event const& e);
  void finish_gradient(event const& e);
  void schedule_gradient(std::size_t node, std::uint32_t slot);
  void give_part(event const& e);
  auto take_gradient(std::size_t node, std::uint64_t job) -> gradient;
  [[nodiscard]] auto parts_of(std::size_t node) const -> std::size_t;
  void depart(event const& e);
  void wake(event const& e);
  void check_restarts() const;
  void stop(event const& e);
  void come_back(event const& e);
  void tell(std::size_t node, node_id peer, neighbour_change::edge what);
  void check_members() const;
  void begin_members();
  void schedule(nanoseconds at, event_kind kind, std::size_t node, std::uint32_t slot);
  void close_all(std::size_t node);
  void tell_end(std::size_t node, node_id peer, neighbour_change::edge what, std::uint32_t session);
  void rewire(std::size_t node);
  void close_end(std::size_t node, node_id peer);
  void hang_up(std::size_t node, node_id peer);
  void open_if_both_want(std::size_t i, std::size_t j);
  void notice_hang_up(event const& e);
  void change_members(event const& e);
  void take_away(std::size_t node);
  void spread_word(std::size_t change);
  void hear_of_member(event const& e);
  void invite(event const& e);
  void learn_all(std::size_t node, std::size_t from);
  [[nodiscard]] auto sponsor_of(std::size_t node, std::size_t contact) const -> std::size_t;
  void enter(event const& e);
  void count_first_model(std::size_t from, std::size_t to, shared_buffer const& model);
  void warn_of_unknown_changes(run_result& result) const;
  void cancel(std::size_t node);
  void drain(std::size_t node);
  void carry_out(std::size_t node);
  void do_as_asked(std::size_t node);
  void send(packet& p);
  void put_on_link(network::edge& e, network::channel& l, packet& p);
  void put_blocks_on_link(network::edge& e, network::channel& l, packet const& p);
  void put_on_way(environment::journey const& j, network::channel& l, packet& p, std::size_t block);
  void schedule_arrival(nanoseconds at, packet& p, std::size_t block);
  void encode(parcel& c) const;
  void hand_over(event const& e);
  void hand_over_frame(event const& e);
  auto channel_under(packet const& p) -> network::channel&;
  auto look() -> measurement;
  auto measure(until const& end) -> std::optional<stop_reason>;
  void check_waiting() const;
  [[noreturn]] void report_standstill(std::size_t node, char const* why) const;
  [[nodiscard]] auto block_body(packet p, std::size_t block) -> shared_buffer;

  assembly who_;
  environment::scenario scenario_;
  network network_;
  detail::gradient_pool gradients_;
  metrics metrics_;
  std::vector<per_node> state_;
  channel_table channels_;
  detail::event_queue queue_;
  detail::slot_store<parcel> parcels_;
  detail::slot_store<computation> computations_;
  detail::slot_store<scheduled_wakeup> scheduled_wakeups_;
  detail::member_views views_;  // where members come and go
  detail::slot_store<hung_up> hang_ups_;
  detail::slot_store<newcomer> newcomers_;
  outbox out_;
  instant now_{};
  std::uint64_t gradients_done_ = 0;
  std::uint64_t events_ = 0;
  std::size_t live_ = 0;  // events that can still move a node
  std::size_t carried_ = 0;  // those among them that carry packets
  std::vector<measurement> history_;
  std::optional<nanoseconds> time_to_target_{};
  nanoseconds interval_{};  // between two looks
  bool begun_ = false;
  std::optional<instant> closing_{};  // since when no further gradient is used, because there are enough
  std::vector<event> held_;  // gradients that were ready since then
  observers watching_;
  status_boards boards_;
  std::chrono::steady_clock::time_point next_show_{};
  stop_token stop_;
  simulation_trace* trace_ = nullptr;
};

inline auto simulator::run(until const& end) -> run_result {
  detail::ends_boards const if_it_fails{boards_};
  end.check();
  if (end.never())
    throw config_error{"nothing ends this run; give until a time, a target loss or a number of gradients"};
  auto at_once = std::optional<stop_reason>{};
  if (begun_) go_on(end);
  else at_once = begin(end);
  run_result result;
  static_cast<run_setup&>(result) = who_;
  if (time_to_target_) result.stopped = stop_reason::target_loss;
  else if (at_once) result.stopped = *at_once;
  else result.stopped = closing_ && carried_ == 0 ? stop_reason::gradients : run_events(end);
  if (history_.back().at < now_.since_start) measure(end);
  show(node_status::phase::ended);
  result.history = history_;
  result.time_to_target = time_to_target_;
  result.ended = now_.since_start;
  result.events = events_;
  collect(result);
  detail::warn_of_counters(who_.peers, result);
  detail::warn_of_resolution(metrics_.audits(), result);
  if (who_.members) warn_of_unknown_changes(result);
  return result;
}

/// The reason for which the first look ends the run, if any. The nodes have started in any case.
inline auto simulator::begin(until const& end) -> std::optional<stop_reason> {
  begun_ = true;
  interval_ = interval_of(end);
  if (who_.members) begin_members();
  auto const why = measure(end);
  for (std::size_t i = 0; i < who_.nodes.size(); ++i) {
    if (state_[i].down) continue;
    at_node(i, [&] {
      who_.nodes[i].start(now_, out_);
      drain(i);
    });
  }
  for (std::size_t k = 0; k < scenario_.restarts.size(); ++k) {
    auto const& r = scenario_.restarts[k];
    queue_.push({r.at.count(), event_kind::stop, static_cast<std::uint32_t>(r.node), static_cast<std::uint32_t>(k)});
    ++live_;
  }
  queue_.push({interval_.count(), event_kind::measurement, 0, 0});
  return why;
}

/// Decides again what a former end had decided.
inline void simulator::go_on(until const& end) {
  check_target(end);
  auto const reached =
      std::find_if(history_.begin(), history_.end(), [&](auto const& m) { return m.loss <= end.target_loss; });
  time_to_target_ = reached == history_.end() ? std::nullopt : std::optional{reached->at};
  if (gradients_done_ >= end.gradients) {
    if (!closing_) closing_ = now_;
    return;
  }
  closing_.reset();
  for (auto const& e : std::exchange(held_, {})) {
    queue_.push({now_.since_start.count(), e.kind(), e.node, e.slot});
    ++live_;
  }
}

inline void simulator::check_target(until const& end) const {
  if (std::isfinite(end.target_loss) && std::isnan(history_.front().loss)) {
    throw config_error{
        "a run can end at a target loss only if its problem has a loss() that is a number at the first model"};
  }
}

inline void simulator::visit_state(auto& self, auto&& visit) {
  visit.same("number of nodes", self.who_.nodes.size());
  visit.same("subject", wire::hash_of(self.who_.agreed.text())),
      visit.same("scenario", digest_of_state(self.scenario_));
  visit.same("block values", self.who_.blocks.block_values());
  visit("nodes", self.who_.nodes), visit("network", self.network_), visit("of each node", self.state_);
  visit("queue", self.queue_), visit("parcels", self.parcels_), visit("computations", self.computations_);
  for (auto& of_node :
       self.state_) {  // a gradient that is computed when it is due need not be saved, but its request must
    if (!of_node.computing) continue;
    auto& c = self.computations_.at(*of_node.computing);
    if (c.parts > 0) continue;
    auto request = visit.is_reading() ? gradient_request{} : self.gradients_.request_of(c.job);
    visit("request", request);
    if (visit.is_reading()) c.job = self.gradients_.submit(std::move(request));
  }
  visit("scheduled wakeups", self.scheduled_wakeups_), visit("now", self.now_),
      visit("gradients done", self.gradients_done_);
  if (self.who_.members) {
    if (visit.is_reading())
      self.views_ = detail::member_views{self.scenario_.members, self.who_.peers, self.who_.nodes.size()};
    visit("views", self.views_), visit("hang-ups", self.hang_ups_), visit("newcomers", self.newcomers_);
  }
  visit("events", self.events_), visit("live", self.live_), visit("carried", self.carried_);
  visit("closing", self.closing_), visit("held", self.held_), visit("interval", self.interval_),
      visit("history", self.history_);
}

/// How often to look: as the scenario says, or a two-hundredth of the run, or every virtual second of an endless one.
inline auto simulator::interval_of(until const& end) const -> nanoseconds {
  if (scenario_.measure_every.count() > 0) return scenario_.measure_every;
  if (end.time == (nanoseconds::max)()) return std::chrono::seconds{1};
  return (std::max)(end.time / 200, nanoseconds{1});
}

inline auto simulator::run_events(until const& end) -> stop_reason {
  for (std::uint64_t count = 0;; ++count) {
    if (trace_ != nullptr) trace_->between_events(*this);
    if (count % 1024 == 0 && stop_.stop_requested()) return stop_reason::interrupted;
    auto const e = queue_.next();
    if (nanoseconds{e.at_ns} > end.time) {
      now_ = {(std::max)(now_.since_start, end.time)};  // time does not go back if the end had passed before
      return closing_ ? stop_reason::gradients : stop_reason::time;
    }
    queue_.drop();
    fetch_ahead();
    now_ = {nanoseconds{e.at_ns}};
    if (e.kind() == event_kind::measurement) {
      if (!closing_) check_waiting();
      queue_.push({e.at_ns + interval_.count(), event_kind::measurement, 0,
                   0});  // first, because a run that ends here may go on
      if (auto const why = measure(end)) return *why;
      if (stop_.stop_requested()) return stop_reason::interrupted;  // a look may take long
      continue;
    }
    --live_;
    at_node(e.node, [&] { handle(e); });
    if (!closing_ && gradients_done_ >= end.gradients) closing_ = now_;
    if (closing_ && (carried_ == 0 || now_ - *closing_ > scenario_.patience)) return stop_reason::gradients;
  }
}

/// The counters of nodes and edges; what receivers counted is joined to the edge's counters. A packet still under way
/// does not count as delivered, but will if the run goes on.
inline void simulator::count_edges(std::vector<edge_report>& edges) {
  auto const count_under_way = [this](std::uint64_t more) {
    for (auto const& e : queue_.waiting()) {
      if (e.kind() == event_kind::arrival) channel_under(parcels_.at(e.slot).p).counts.delivered += more;
    }
  };
  count_under_way(~std::uint64_t{0});  // one less
  network_.collect(edges);
  count_under_way(1);
}

inline void simulator::collect(run_result& result) {
  count_edges(result.edges);
  detail::collect_nodes(who_.nodes, who_.measured(), result);
  for (std::size_t i = 0; who_.members && i < who_.peers; ++i)
    if (state_[i].down) result.absent.push_back(to_node(i));
}

/// Whoever reads a status lives in real time.
inline void simulator::show(node_status::phase at) {
  auto const clock = std::chrono::steady_clock::now();
  if (boards_.empty() || (at == node_status::phase::running && clock < next_show_)) return;
  next_show_ = clock + std::chrono::milliseconds{100};
  auto const tracks = detail::first_tracking(metrics_.audits()) != nullptr;
  auto const memory = resident_bytes();
  std::vector<node_status> all;
  for (std::size_t i = 0; i < who_.nodes.size(); ++i) {
    auto& s = all.emplace_back(detail::status_of(who_, to_node(i), who_.nodes[i], state_[i].wait, now_, tracks));
    s.at = state_[i].down && at == node_status::phase::running ? node_status::phase::arriving : at;
    s.resident_bytes = memory;
    for (auto& n : s.neighbours) {
      if (state_[to_index(n.peer)].down) n.is = standing::lost;
    }
  }
  std::vector<edge_report> edges;
  count_edges(edges);
  for (auto const& e : edges) {
    detail::add_traffic(all[to_index(e.from)], e);
    detail::add_traffic(all[to_index(e.to)], e);
  }
  for (std::size_t i = 0; i < all.size(); ++i) boards_[i]->publish(std::move(all[i]), now_);
}

/// In a large run nothing that an event needs is in a cache. So it is prefetched while earlier events are handled.
inline void simulator::fetch_ahead() const {
  if (auto const* e = queue_.ahead(4)) {
    if (e->kind() == event_kind::arrival) detail::fetch<sizeof(parcel)>(&parcels_.at(e->slot));
    else network_.fetch_list(e->node);
    detail::fetch(&who_.nodes[e->node]);
    detail::fetch(&state_[e->node]);
  }
  if (auto const* e = queue_.ahead(2)) {
    who_.nodes[e->node].fetch();
    if (e->kind() != event_kind::arrival) network_.fetch_edges(e->node);
  }
}

inline void simulator::handle(event const& e) {
  if (e.kind() == event_kind::arrival || e.kind() == event_kind::departure) --carried_;
  switch (e.kind()) {
    case event_kind::arrival:
      arrive(e);
      break;
    case event_kind::gradient_done:
      finish_gradient(e);
      break;
    case event_kind::departure:
      depart(e);
      break;
    case event_kind::wakeup:
      wake(e);
      break;
    case event_kind::measurement:
      break;
    case event_kind::stop:
      stop(e);
      break;
    case event_kind::restart_done:
      come_back(e);
      break;
    case event_kind::member_change:
      change_members(e);
      break;
    case event_kind::member_word:
      hear_of_member(e);
      break;
    case event_kind::member_enters:
      enter(e);
      break;
    case event_kind::hang_up:
      notice_hang_up(e);
      break;
  }
}

inline void simulator::wake(event const& e) {
  auto const a = scheduled_wakeups_.take(e.slot);
  if (a.session != state_[e.node].session) return;
  who_.nodes[e.node].on_wakeup(now_, {a.id, now_}, out_);
  drain(e.node);
}

inline void simulator::finish_gradient(event const& e) {
  if (closing_ && !computations_.at(e.slot).cancelled) return held_.push_back(e);
  if (auto const& c = computations_.at(e.slot); !c.cancelled && c.parts + 1 < parts_of(e.node)) return give_part(e);
  auto c = computations_.take(e.slot);
  if (c.cancelled) return;
  state_[e.node].computing.reset();
  auto g = c.parts > 0 ? std::move(c.result) : take_gradient(e.node, c.job);
  g.duration = c.duration;
  ++gradients_done_;
  ++events_;
  if (std::isinf(g.loss)) {  // no number: not known
    throw run_error{"the run diverges: the loss at node " + std::to_string(e.node) + " is not finite at " +
                    shortest(to_seconds(now_.since_start)) + " s; use a smaller step"};
  }
  who_.nodes[e.node].on_gradient(now_, std::move(g), out_);
  drain(e.node);
}

/// In how many parts the node gets its gradients.
inline auto simulator::parts_of(std::size_t node) const -> std::size_t {
  auto const& all = who_.oracle.parts();
  return all.empty() || !who_.nodes[node].takes_gradient_parts() ? 1 : all.size();
}

/// The event at which the next part of a gradient is final, or its last.
inline void simulator::schedule_gradient(std::size_t node, std::uint32_t slot) {
  auto const& c = computations_.at(slot);
  auto needed = c.duration;
  if (c.parts + 1 < parts_of(node)) {
    auto const share = who_.oracle.parts()[c.parts].time;
    needed = nanoseconds{std::llround(share * static_cast<double>(c.duration.count()))};
  }
  auto const done = scenario_.compute.done_at(to_node(node), c.begun.since_start, needed);
  queue_.push({done.count(), event_kind::gradient_done, static_cast<std::uint32_t>(node), slot});
  ++live_;
}

/// The gradient is computed as a whole when its first part is due, and its parts are copied.
inline void simulator::give_part(event const& e) {
  auto& c = computations_.at(e.slot);
  if (c.parts == 0) c.result = take_gradient(e.node, c.job);
  auto part = who_.oracle.part_of(c.result, who_.oracle.parts()[c.parts++].values);
  schedule_gradient(e.node, e.slot);
  who_.nodes[e.node].on_gradient_part(now_, std::move(part), out_);
  drain(e.node);
}

/// An exception of the problem ends the run. The run_error names the node and the number of its gradient, and nests the
/// original.
inline auto simulator::take_gradient(std::size_t node, std::uint64_t job) -> gradient {
  try {
    return gradients_.take(job);
  } catch (std::exception const& e) {
    std::throw_with_nested(run_error{"the problem threw at node " + std::to_string(node) + ", gradient " +
                                     std::to_string(state_[node].draws) + ": " + e.what()});
  }
}

/// Carries out what the node asked for, at the end of an event.
inline void simulator::drain(std::size_t node) {
  carry_out(node);
  if (trace_ != nullptr) trace_->after_event(now_, to_node(node), who_.nodes);
}

/// Drops the gradient under way, if any.
inline void simulator::cancel(std::size_t node) {
  auto& s = state_[node];
  if (!s.computing) return;
  auto& c = computations_.at(*s.computing);
  gradients_.forget(c.job);
  c.cancelled = true;
  s.computing.reset();
}

inline void simulator::carry_out(std::size_t node) {
  if (!out_.empty()) do_as_asked(node);
  else if (auto& s = state_[node]; s.computing) s.wait.reset();
}

inline void simulator::do_as_asked(std::size_t node) {
  auto& s = state_[node];
  if (out_.failure) throw run_error{out_.failure->sentence};
  for (auto& p : out_.packets) {
    if (trace_ != nullptr) trace_->posted(now_, p);
    send(p);
  }
  if (out_.cancel) cancel(node);
  if (out_.request) {
    RUBATO_EXPECTS(!s.computing, "a node has at most one outstanding gradient request");
    auto const duration = scenario_.compute.duration(scenario_.seed, to_node(node), s.draws++);
    auto const slot = computations_.put({gradients_.submit(std::move(*out_.request)), false, duration, now_});
    s.computing = slot;
    schedule_gradient(node, slot);
  }
  for (auto const& w : out_.wakeups) {
    queue_.push({(std::max)(w.at, now_).since_start.count(), event_kind::wakeup, static_cast<std::uint32_t>(node),
                 scheduled_wakeups_.put({w.id, s.session})});
    ++live_;
  }
  if (out_.wait && s.wait != out_.wait) s.waiting_since = now_;  // it waits for another message, so it made progress
  if (out_.wait) s.wait = out_.wait;
  else if (s.computing) s.wait.reset();
  out_.clear();
}

inline auto simulator::look() -> measurement {
  try {
    auto const those = std::span<any_node const>{who_.nodes}.subspan(who_.measured().begin);
    std::vector<bool> absent;
    for (auto i = who_.measured().begin; who_.members && i < who_.measured().end; ++i) absent.push_back(state_[i].down);
    return metrics_.measure(those, who_.measured().size(), now_.since_start, absent);
  } catch (run_error const&) {
    throw;
  } catch (std::exception const& e) {
    std::throw_with_nested(run_error{"the problem threw when its loss was looked at: " + std::string{e.what()}});
  }
}

/// The reason for which the look ends the run, if any.
inline auto simulator::measure(until const& end) -> std::optional<stop_reason> {
  auto m = look();
  m.gradients = gradients_done_;
  m.bytes_sent = network_.bytes_sent();
  history_.push_back(m);
  if (history_.size() == 1) check_target(end);
  detail::refuse_unknown_loss(end, m);
  show(node_status::phase::running);
  for (auto const& each : boards_) each->add(m);
  auto const said = watching_.empty() ? verdict::go_on : detail::shown_to(watching_, {m, metrics_.models()});
  if (m.loss <= end.target_loss) {
    if (!time_to_target_) time_to_target_ = m.at;
    return stop_reason::target_loss;
  }
  return said == verdict::stop ? std::optional{stop_reason::observer} : std::nullopt;
}

/// Names the node that has waited longest: the others wait because of it.
inline void simulator::check_waiting() const {
  auto longest = state_.size();
  for (std::size_t i = 0; i < state_.size(); ++i) {
    if (!state_[i].wait) continue;
    if (longest == state_.size() || state_[i].waiting_since < state_[longest].waiting_since) longest = i;
  }
  if (longest == state_.size()) {
    if (live_ == 0) throw run_error{"nothing is under way any more, and no node says what it waits for"};
    return;
  }
  if (live_ == 0) report_standstill(longest, "and nothing is under way that could end it");
  if (now_ - state_[longest].waiting_since > scenario_.patience) {
    report_standstill(longest, "which is longer than the patience");
  }
}

inline void simulator::report_standstill(std::size_t node, char const* why) const {
  auto const& w = *state_[node].wait;
  throw run_error{"node " + std::to_string(node) + " has waited for " + std::string{name_of(w.channel)} + " message " +
                  std::to_string(to_count(w.number)) + " of node " + std::to_string(to_index(w.peer)) + " since " +
                  shortest(to_seconds(state_[node].waiting_since.since_start)) + " s, " + why};
}

}  // namespace rubato

#include <rubato/driver/simulator_members.hpp>
#include <rubato/driver/simulator_packets.hpp>
#include <rubato/driver/simulator_restarts.hpp>
