// SPDX-License-Identifier: MIT
// One node on its own thread: what it computes, when it reads its inbox, and how its packets leave. Links mean what they
// mean in the simulator: while one is busy, only the newest packet of each state channel waits for it.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/channel_table.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/inbox.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/sim/network.hpp>

namespace rubato::detail {

/// Within a handler: throws a run_error that says where it happened, with what was caught nested in it.
[[noreturn]] inline void rethrow_named(std::string const& where) {
  try {
    throw;
  } catch (std::exception const& e) {
    std::throw_with_nested(run_error{where + ": " + e.what()});
  } catch (...) {
    std::throw_with_nested(run_error{where + ": something was thrown that is not a std::exception"});
  }
}

/// What all threads of a run share.
struct thread_run {
  thread_run(assembly& a, sim::scenario const& s) : scenario{s}, network{scenario, a.nodes.size()}, who{&a} {
    for (std::size_t i = 0; i < a.nodes.size(); ++i) inboxes.push_back(std::make_unique<inbox>());
  }

  [[nodiscard]] auto now() const -> instant {
    return {std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin)};
  }
  [[nodiscard]] auto at(instant t) const -> std::chrono::steady_clock::time_point { return begin + t.since_start; }

  /// Every thread ends as soon as it can.
  void end() {
    stop.request_stop();
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

  sim::scenario scenario;
  sim::network network;  // each sender touches its own edges only
  assembly* who;
  std::vector<std::unique_ptr<inbox>> inboxes;
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  std::stop_source stop;
  std::atomic<std::uint64_t> gradients{0};
  std::atomic<std::uint64_t> measurement{0};  // number of the look that nodes should answer
  std::mutex failure_mutex;
  std::exception_ptr failure;
};

class node_thread {
 public:
  node_thread(thread_run& run, std::size_t self) : run_{&run}, self_{self}, node_{&run.who->nodes[self]} {
    channels_.add(node_->channels());
    look_.model = node_->estimate();
  }

  /// What the measuring thread may see.
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

  /// The thread's whole life. Whatever goes wrong ends the run with a run_error.
  void live() {
    try {
      live_until_stopped();
    } catch (...) {
      run_->fail(std::current_exception());
    }
  }

  /// Packets handed to the node, by sender and channel. After the thread has ended.
  [[nodiscard]] auto delivered() const -> std::map<std::pair<node_id, channel>, std::uint64_t> const& {
    return delivered_;
  }

 private:
  using edge = sim::network::edge;
  using lane = sim::network::lane;

  void live_until_stopped() {
    try {
      node_->start(run_->now(), out_);
      drain();
      while (!run_->stop.stop_requested()) {
        if (request_) compute();
        else receive_until(std::nullopt);
      }
    } catch (run_error const&) {
      throw;
    } catch (...) {
      rethrow_named("node " + std::to_string(self_));
    }
  }

  void compute() {
    auto const request = std::move(*request_);
    request_.reset();
    auto const started = run_->now();
    auto const duration = run_->scenario.compute.duration(run_->scenario.seed, to_node(self_), draws_++);
    cancelled_ = false;
    auto g = evaluate(request);
    receive_until(instant{run_->scenario.compute.done_at(to_node(self_), started.since_start, duration)});
    if (cancelled_ || run_->stop.stop_requested()) return;
    g.duration = run_->now() - started;
    run_->gradients.fetch_add(1, std::memory_order_relaxed);
    if (!std::isfinite(g.loss)) {
      throw run_error{"the run diverges: the loss at node " + std::to_string(self_) + " is not finite at " +
                      std::to_string(to_seconds(run_->now().since_start)) + " s; use a smaller step"};
    }
    node_->on_gradient(run_->now(), std::move(g), out_);
    drain();
    show();
  }

  auto evaluate(gradient_request const& request) -> gradient {
    try {
      return run_->who->oracle.evaluate(request);
    } catch (...) {
      rethrow_named("the problem threw at node " + std::to_string(self_) + ", gradient " + std::to_string(draws_));
    }
  }

  /// Serves packets, links and wake-ups until `end` (until a gradient is wanted, if there is none), or the run stops;
  /// once at least, so that none of them starves when gradients take no time.
  void receive_until(std::optional<instant> end) {
    auto& mine = *run_->inboxes[self_];
    while (!run_->stop.stop_requested()) {
      auto const now = run_->now();
      depart(now);
      deliver(mine.take_due(now));
      wake_up(now);
      if (end ? cancelled_ || now >= *end : request_.has_value()) return;
      mine.wait_until(next_event(end), [&](instant t) { return run_->at(t); });
      show();
    }
  }

  /// When there is something to do without a packet; soon in any case, so that looks are answered and stops noticed.
  auto next_event(std::optional<instant> end) -> instant {
    auto next = run_->now() + std::chrono::milliseconds{20};
    if (end) next = std::min(next, *end);
    if (!wakeups_.empty()) next = std::min(next, wakeups_.front().at);
    for (auto const to : queued_) {
      next = std::min(next, instant{run_->network.edge_between(to_node(self_), to).free_at});
    }
    return next;
  }

  void deliver(std::vector<packet> arrived) {
    for (auto& p : arrived) {
      auto const whole = range{0, run_->who->blocks.blocks()};
      node_->on_patch(run_->now(),
                      patch{p.from, p.to, p.lane, p.life, p.based_on, p.posted_at, whole, {&p.number, 1}, p.body, p.extra},
                      out_);
      ++delivered_[{p.from, p.lane}];
      drain();
    }
  }

  void wake_up(instant now) {
    auto const later = std::find_if(wakeups_.begin(), wakeups_.end(), [&](auto const& w) { return w.at > now; });
    std::vector<wakeup> const due(wakeups_.begin(), later);
    wakeups_.erase(wakeups_.begin(), later);
    for (auto const& w : due) {
      node_->on_wakeup(run_->now(), w, out_);
      drain();
    }
  }

  /// Does what the node wants done.
  void drain() {
    if (out_.failure) throw run_error{out_.failure->sentence};
    auto const now = run_->now();
    if (!out_.packets.empty()) depart(now);
    for (auto& p : out_.packets) send(std::move(p), now);
    if (out_.cancel) {
      cancelled_ = true;
      request_.reset();  // it may not even have begun
    }
    for (auto const& w : out_.wakeups) {
      auto const earlier = [](instant at, auto const& other) { return at < other.at; };
      wakeups_.insert(std::upper_bound(wakeups_.begin(), wakeups_.end(), w.at, earlier), w);
    }
    if (out_.request) request_ = std::move(out_.request);
    note_waiting(now);
    out_.clear();
  }

  /// A wait begins anew when it is for another message.
  void note_waiting(instant now) {
    if (!out_.wait && !out_.request) return;
    auto const lock = std::lock_guard{look_mutex_};
    if (out_.request) {
      look_.wait.reset();
    } else if (look_.wait != out_.wait) {
      look_.wait = out_.wait;
      look_.waiting_since = now;
    }
  }

  // --- links ----------------------------------------------------------------------------------------------------------

  void send(packet p, instant now) {
    channels_.check(p);
    auto& e = run_->network.edge_between(p.from, p.to);
    auto& l = run_->network.lane_of(e, p, channels_.kind_of(p.lane));
    if (l.kind == channel_kind::event || e.free_at <= now.since_start) {
      put_on_link(e, l, std::move(p), now.since_start);
      return;
    }
    // The link is busy: the newest state waits for it, and replaces an older one that does.
    if (l.pending) ++l.counts.conflated;
    l.pending = std::move(p);
    if (!std::exchange(e.departure_scheduled, true)) queued_.push_back(e.to);
  }

  /// What waits for a link leaves at the time when the link became free, however late this thread looks.
  void depart(instant now) {
    std::erase_if(queued_, [&](node_id to) {
      auto& e = run_->network.edge_between(to_node(self_), to);
      while (auto* const l = next_to_leave(e)) {
        if (e.free_at > now.since_start) return false;
        auto p = std::move(*l->pending);
        l->pending.reset();
        e.turn = static_cast<std::size_t>(l - e.lanes.data() + 1) % e.lanes.size();
        put_on_link(e, *l, std::move(p), e.free_at);
      }
      e.departure_scheduled = false;
      return true;
    });
  }

  /// Channels take turns, so that none starves on a slow link. Null if nothing waits.
  static auto next_to_leave(edge& e) -> lane* {
    for (std::size_t k = 0; k < e.lanes.size(); ++k) {
      auto& l = e.lanes[(e.turn + k) % e.lanes.size()];
      if (l.pending) return &l;
    }
    return nullptr;
  }

  void put_on_link(edge& e, lane& l, packet p, sim::nanoseconds at) {
    auto const j = run_->network.transmit(e, l, p, p.body.size(), at);
    auto& to = *run_->inboxes[to_index(p.to)];
    if (j.second) l.counts.conflated += to.put({*j.second}, l.kind, p);
    if (j.arrival) l.counts.conflated += to.put({*j.arrival}, l.kind, std::move(p));
  }

  /// Shows the model after every iteration, and the residual when a new look was asked for.
  void show() {
    auto const wanted = run_->measurement.load(std::memory_order_relaxed);
    auto residual = std::optional<double>{};
    if (wanted != answered_) {
      answered_ = wanted;
      node_->audit(audit_);
      residual = local_residual(audit_);
    }
    auto const lock = std::lock_guard{look_mutex_};
    look_.model = node_->estimate();
    if (residual) look_.residual = *residual;
  }

  thread_run* run_;
  std::size_t self_;
  any_node* node_;
  channel_table channels_;
  outbox out_;
  std::optional<gradient_request> request_;
  std::vector<wakeup> wakeups_;  // in the order of their times
  std::vector<node_id> queued_;  // receivers to whom a packet waits for its link
  bool cancelled_ = false;
  std::uint64_t draws_ = 0;
  std::map<std::pair<node_id, channel>, std::uint64_t> delivered_;
  std::uint64_t answered_ = 0;
  tracking_audit audit_;
  std::mutex look_mutex_;
  look look_;
};

}  // namespace rubato::detail
