// SPDX-License-Identifier: MIT
// One node on its own thread: what it computes, when it reads its inbox, and how its packets leave. Links mean what
// they mean in the simulator: while one is busy, only the newest packet of each state channel waits for it.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/edge_report.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/driver/detail/node_view.hpp>
#include <rubato/driver/detail/reach.hpp>
#include <rubato/driver/inbox.hpp>
#include <rubato/environment/network.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/checkpoint_lock.hpp>
#include <rubato/run/checkpoint_writer.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/node_status.hpp>

namespace rubato::detail {

/// What all threads of a run share.
struct thread_run {
  thread_run(assembly& a, environment::scenario const& s, std::uint64_t most, status_boards statuses)
      : scenario{s}, network{scenario, a.nodes.size()}, who{&a}, boards{std::move(statuses)}, most_gradients{most} {
    for (std::size_t i = 0; i < a.nodes.size(); ++i) inboxes.push_back(std::make_unique<inbox>());
    begins(static_cast<std::int64_t>(a.nodes.size()));  // all starts
  }

  // What is under way is counted if a number of gradients ends the run: it ends when nothing is under way.
  void begins(std::int64_t what = 1) {
    if (most_gradients != (std::numeric_limits<std::uint64_t>::max)()) under_way.fetch_add(what);
  }
  void ends(std::uint64_t what = 1) { begins(-static_cast<std::int64_t>(what)); }
  /// Whether one more gradient may be used; it counts as under way until ends().
  [[nodiscard]] auto takes_gradient() -> bool {
    begins();
    auto const taken = gradients.fetch_add(1) < most_gradients;
    if (!taken) {
      gradients.fetch_sub(1);
      ends();
    }
    return taken;
  }
  [[nodiscard]] auto has_enough() const -> bool { return gradients.load(std::memory_order_relaxed) >= most_gradients; }

  [[nodiscard]] auto now() const -> instant {
    return {std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin)};
  }
  [[nodiscard]] auto at(instant t) const -> std::chrono::steady_clock::time_point { return begin + t.since_start; }

  /// All that go on together are to meet as soon as they can.
  void meet() {
    meeting = true;
    for (auto& box : inboxes) box->wake();
  }
  /// The gradients of each node, or, where they cannot all compute the same number of them, the least.
  [[nodiscard]] auto gradients_of_each() const -> std::optional<std::uint64_t> {
    if (most_gradients == (std::numeric_limits<std::uint64_t>::max)()) return {};
    return most_gradients / who->peers;
  }
  /// Every thread ends as soon as it can.
  void end() {
    ending = true;
    for (auto& box : inboxes) box->wake();
  }
  /// The first failure ends the run; the others follow from it.
  void fail(std::exception_ptr why) {
    {
      auto const lock = std::lock_guard{failure_mutex};
      if (!failure) failure = std::move(why);
    }
    end();
  }
  [[nodiscard]] auto failed() -> std::exception_ptr {
    auto const lock = std::lock_guard{failure_mutex};
    return failure;
  }

  environment::scenario scenario;
  environment::network network;  // each sender touches its own edges only
  assembly* who;
  status_boards boards;  // empty: nobody reads them
  std::vector<std::unique_ptr<inbox>> inboxes;
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  std::atomic<bool> ending{false};
  std::uint64_t most_gradients;
  std::atomic<std::uint64_t> gradients{0};
  std::atomic<std::uint64_t> bytes_sent{0};
  std::atomic<std::int64_t> under_way{0};  // starts, gradients being used, packets on links and in inboxes
  std::atomic<std::uint64_t> measurement{0};  // number of the look for which nodes should publish their state
  std::mutex failure_mutex;
  std::exception_ptr failure;
  checkpoint_options saves;
  checkpoint_lock held;  // longer than anything is written
  std::optional<checkpoint_writer> writer;  // where nodes are saved
  std::atomic<bool> meeting{false};  // nodes that go on together are to meet at one round, and end there
  std::atomic<std::uint64_t> last_round{(std::numeric_limits<std::uint64_t>::max)()};  // that one
  std::atomic<std::size_t> met{0};  // nodes that were saved there
  std::atomic<std::size_t> resting{0};  // nodes that have come to the round at which all rest (node_checkpoints)
};

class node_thread {
 public:
  node_thread(thread_run& run, std::size_t self) : run_{&run}, self_{self}, host_{run.who->nodes[self], self} {
    look_.model = host_.node().estimate();
  }

  /// To be called before the thread begins. Prepares the node's checkpoints and, if it resumes, reads its state.
  /// Returns a warning, or nothing. Throws config_error.
  [[nodiscard]] auto prepare_checkpoints() -> std::string {
    saves_ = {run_->saves, *run_->who, to_node(self_)};
    saves_.reach(reach_of(*run_->who, to_node(self_)), run_->who->nodes.size());
    if (!run_->saves.resume) return {};
    auto warning = saves_.restore_into(host_, run_->who->pool);
    look_.model = host_.node().estimate();
    return warning;
  }
  [[nodiscard]] auto saves() -> node_checkpoints& { return saves_; }
  /// See node_checkpoints.
  [[nodiscard]] auto least_bytes() -> std::uint64_t { return saves_.least_bytes(host_); }
  /// After the thread has ended.
  void save_last() { saves_.save_last(host_, *run_->writer); }

  /// What the measuring thread may read.
  struct look {
    shared_buffer model;
    double residual = 0;
    std::optional<waiting> wait;
    instant waiting_since{};
  };
  [[nodiscard]] auto last_look() -> look {
    auto const lock = std::lock_guard{look_mutex_};
    return look_;
  }

  /// The body of the thread. Any failure ends the run with a run_error.
  void live() {
    try {
      live_until_stopped();
    } catch (...) {
      run_->fail(std::current_exception());
    }
  }

  /// How it stands, on its board. By this thread or, after it has ended, by another one.
  void publish(node_status::phase at) {
    if (run_->boards.empty() || !run_->boards[self_]->is_due(at, run_->now())) return;
    auto s = status_of(*run_->who, to_node(self_), host_.node(), host_.wait(), run_->now(), !audit_.tracker.empty());
    s.at = at;
    s.resident_bytes = resident_bytes();
    std::vector<edge_report> edges;
    run_->network.collect_from(self_, edges);
    for (auto const& e : edges) add_traffic(s, e);
    for (auto const& [sender, count] : host_.delivered()) {
      for (auto& n : s.neighbours) n.delivered += n.peer == sender.first ? count : 0;
    }
    run_->boards[self_]->publish(std::move(s), run_->now());
  }

  /// Packets handed to the node, by sender and channel. After the thread has ended.
  [[nodiscard]] auto delivered() const -> std::map<std::pair<node_id, channel_id>, std::uint64_t> const& {
    return host_.delivered();
  }

 private:
  using network = environment::network;
  using edge = network::edge;
  using channel = network::channel;

  auto sender() {  // before its uses, so that its type is known
    return [this](packet p, instant now) { send(std::move(p), now); };
  }

  void live_until_stopped() {
    try {
      at_node(self_, [this] {
        if (run_->saves.resume) come_back();
        else host_.start(run_->now(), sender());
        save_round_if_due();
        note_waiting();
        run_->ends();
        while (!run_->ending) {
          if (run_->writer && !saves_.together()) saves_.save_if_due(run_->now(), host_, *run_->writer);
          if (wants_gradient()) compute();
          else receive_until(std::nullopt);
        }
      });
    } catch (run_error const&) {
      throw;
    } catch (...) {
      rethrow_named("node " + std::to_string(self_));
    }
  }

  /// Closes all edges and opens them again, in a new session whose number both ends know without exchanging it. Where
  /// all nodes go on from one round, their edges resume.
  void come_back() {
    using what = neighbour_change::edge;
    auto const again = session_id{saves_.resumed(), saves_.resumed()};
    auto const neighbours = run_->who->factory.neighbours(self_);
    if (saves_.together()) host_.resume(run_->now());
    else host_.resume(run_->now(), neighbours);
    for (auto const peer : neighbours)
      host_.change(run_->now(), {peer, saves_.together() ? what::resumes : what::opens, again, again}, sender());
  }

  /// After every event: at a round whose state is due the node stands still until the one before is written.
  void save_round_if_due() {
    if (!run_->writer || !saves_.together()) return;
    auto const has_met = saves_.has_met();
    stands_still_ = !saves_.save_round_if_due(host_, *run_->writer);
    if (auto const each = run_->gradients_of_each())
      saves_.meet_after(*each, host_, run_->most_gradients % run_->who->peers != 0);
    if (!has_met && saves_.has_met()) ++run_->met;
    if (!saves_.rests(host_)) return;
    if (!std::exchange(rested_, true)) ++run_->resting;
    if (run_->resting < run_->inboxes.size()) stands_still_ = true;
  }
  /// Before every event: at which round all meet. Who hears of the meeting names a round that nobody can have begun
  /// before it sees that one; of all that are named the earliest is everybody's.
  void note_meeting() {
    if (!run_->meeting || !run_->writer || !saves_.together()) return;
    if (!std::exchange(names_round_, true)) {
      auto const mine = saves_.earliest_meeting(host_.node().common_round()->done);
      auto last = run_->last_round.load();
      while (mine < last && !run_->last_round.compare_exchange_weak(last, mine)) {
      }
    }
    static_cast<void>(saves_.meet_at(host_, run_->last_round));
  }

  [[nodiscard]] auto wants_gradient() const -> bool {
    return host_.wants_gradient() && !stands_still_ && !run_->has_enough();
  }

  void compute() {
    auto const request = *host_.take_request();
    auto const started = run_->now();
    auto const duration = run_->scenario.compute.duration(run_->scenario.seed, to_node(self_), draws_++);
    auto g = host_.node().takes_gradient_parts() && !run_->who->oracle.parts().empty()
                 ? evaluate_in_parts(request, started, duration)
                 : evaluate(request);
    receive_until(instant{run_->scenario.compute.done_at(to_node(self_), started.since_start, duration)});
    if (host_.cancelled() || run_->ending) return;
    g.duration = run_->now() - started;
    if (!run_->takes_gradient()) return;
    note_meeting();
    host_.finish(run_->now(), std::move(g), sender());
    save_round_if_due();
    note_waiting();
    show();
    run_->ends();
  }

  auto evaluate(gradient_request const& request) -> gradient {
    try {
      return run_->who->oracle.evaluate(request);
    } catch (...) {
      rethrow_named("the problem threw at node " + std::to_string(self_) + ", gradient " + std::to_string(draws_));
    }
  }

  /// Gives the node each part when it is due, and serves messages meanwhile, on the thread that computes. A failure in
  /// this goes round the problem, which did not cause it.
  struct part_server final : problem::part_receiver {
    node_thread* self = nullptr;
    instant begun{};
    environment::nanoseconds duration{};
    std::size_t done = 0;
    std::exception_ptr thrown{};

    void take_part(gradient_part part) override {
      auto const share = self->run_->who->oracle.parts()[done++].time;
      if (thrown) return;
      try {
        self->give_part(std::move(part), begun,
                        environment::nanoseconds{std::llround(share * static_cast<double>(duration.count()))});
      } catch (...) {
        thrown = std::current_exception();
      }
    }
  };
  void give_part(gradient_part part, instant begun, environment::nanoseconds after) {
    receive_until(instant{run_->scenario.compute.done_at(to_node(self_), begun.since_start, after)});
    if (host_.cancelled() || run_->ending) return;
    std::vector<gradient_part> one;
    one.push_back(std::move(part));
    host_.take_parts(run_->now(), std::move(one), sender());
    note_waiting();
  }
  auto evaluate_in_parts(gradient_request const& request, instant begun, environment::nanoseconds duration)
      -> gradient {
    part_server server;
    server.self = this;
    server.begun = begun;
    server.duration = duration;
    auto g = gradient{};
    try {
      g = run_->who->oracle.evaluate(request, server);
    } catch (...) {
      if (!server.thrown)
        rethrow_named("the problem threw at node " + std::to_string(self_) + ", gradient " + std::to_string(draws_));
    }
    if (server.thrown) std::rethrow_exception(server.thrown);
    return g;
  }

  /// Serves packets, links and wake-ups until `end` (without an end: until a gradient is wanted), or until the run
  /// stops. It does so at least once, so that none of them starves when gradients take no time.
  void receive_until(std::optional<instant> end) {
    auto& mine = *run_->inboxes[self_];
    while (!run_->ending) {
      auto const now = run_->now();
      depart(now);
      deliver(mine.take_due(now));
      note_meeting();
      host_.wake(run_->now(), sender());  // deliveries took time, and a node's times never go back
      note_waiting();
      if (end ? host_.cancelled() || now >= *end : wants_gradient()) return;
      mine.wait_until(next_event(end), [&](instant t) { return run_->at(t); });
      show();
    }
  }

  /// The time of the next work without a packet. It is soon in any case, so that looks are answered and stops are
  /// noticed.
  auto next_event(std::optional<instant> end) -> instant {
    auto next = run_->now() + std::chrono::milliseconds{20};
    if (stands_still_) next = run_->now() + std::chrono::milliseconds{1};
    if (end) next = (std::min)(next, *end);
    if (auto const due = host_.next_wakeup()) next = (std::min)(next, *due);
    for (auto const to : queued_) {
      next = (std::min)(next, instant{run_->network.edge_between(to_node(self_), to).free_at});
    }
    return next;
  }

  /// What came while the node stands still waits for it.
  void deliver(std::vector<packet> arrived) {
    for (auto& p : arrived) held_.push_back(std::move(p));
    if (stands_still_) save_round_if_due();
    while (!held_.empty() && !stands_still_) {
      if (run_->ending) return;
      auto const p = std::move(held_.front());
      held_.pop_front();
      note_meeting();
      host_.deliver(run_->now(), patch_of(p, {0, run_->who->blocks.blocks()}), sender());
      save_round_if_due();
      note_waiting();
      if (run_->has_enough()) show();  // before the gradient counts as used
      run_->ends();
    }
  }

  /// Publishes the wait for the watching thread.
  void note_waiting() {
    if (host_.wait() == look_.wait) return;  // only this thread writes it
    auto const lock = std::lock_guard{look_mutex_};
    look_.wait = host_.wait();
    look_.waiting_since = host_.waiting_since();
  }

  // --- links

  void send(packet p, instant now) {
    depart(now);
    auto& e = run_->network.edge_between(p.from, p.to);
    auto& l = run_->network.channel_of(e, p.channel, host_.channels().kind_of(p.channel));
    if (!network::must_wait(e, l, now.since_start)) {
      put_on_link(e, l, std::move(p), now.since_start);
      return;
    }
    if (network::keep_waiting(l, std::move(p))) run_->begins();
    if (!std::exchange(e.departure_scheduled, true)) queued_.push_back(e.to);
  }

  /// A packet that waits for a link leaves at the time at which the link became free, however late this thread notices.
  void depart(instant now) {
    std::erase_if(queued_, [&](node_id to) {
      auto& e = run_->network.edge_between(to_node(self_), to);
      while (auto* const l = network::next_to_leave(e)) {
        if (e.free_at > now.since_start) return false;
        put_on_link(e, *l, std::move(*network::take_waiting(e, *l)), e.free_at);
        run_->ends();
      }
      e.departure_scheduled = false;
      return true;
    });
  }

  void put_on_link(edge& e, channel& l, packet p, environment::nanoseconds at) {
    auto const before = l.counts.bytes_sent;
    auto const j = run_->network.transmit(e, l, p, p.body.size(), at);
    run_->bytes_sent.fetch_add(l.counts.bytes_sent - before, std::memory_order_relaxed);
    if (j.second) put(l, *j.second, p);
    if (j.arrival) put(l, *j.arrival, std::move(p));
  }
  void put(channel& l, environment::nanoseconds due, packet p) {
    auto const to = p.to;
    run_->begins();
    auto const replaced = run_->inboxes[to_index(to)]->put({due}, l.kind, std::move(p));
    if (!replaced) {
      throw run_error{"node " + std::to_string(to_index(to)) + " has not read " + std::to_string(inbox::most_unread) +
                      " " + std::string{name_of(l.name)} + " messages of node " + std::to_string(self_) +
                      ": it reads too slowly, or not at all"};
    }
    run_->ends(*replaced);
    l.counts.conflated += *replaced;
  }

  /// Publishes the model after every iteration, and the residual if a new look was asked for.
  void show() {
    auto const wanted = run_->measurement.load(std::memory_order_relaxed);
    auto residual = std::optional<double>{};
    if (wanted != answered_) {
      answered_ = wanted;
      host_.node().audit(audit_);
      residual = local_residual(audit_);
    }
    publish(node_status::phase::running);
    auto const lock = std::lock_guard{look_mutex_};
    look_.model = host_.node().estimate();
    if (residual) look_.residual = *residual;
  }

  thread_run* run_;
  std::size_t self_;
  hosted_node host_;
  node_checkpoints saves_;
  bool stands_still_ = false;  // until the state that is due can be written
  bool names_round_ = false;  // it has named one
  bool rested_ = false;  // it has come to the round at which all rest
  std::deque<packet> held_;  // packets that came meanwhile
  std::vector<node_id> queued_;  // receivers for which a packet waits for its link
  std::uint64_t draws_ = 0;
  std::uint64_t answered_ = 0;
  tracking_audit audit_;
  std::mutex look_mutex_;
  look look_;
};

}  // namespace rubato::detail
