// SPDX-License-Identifier: MIT
// The threads driver: one thread a node, mailboxes in one process, real time. The scenario's links and compute times are
// kept as delays, so that the same environment can be tried in earnest; a scenario of zeros runs at full speed.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/inbox.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/result.hpp>
#include <rubato/sim/network.hpp>

namespace rubato {

/// What only a driver in real time needs.
struct thread_options {
  std::chrono::nanoseconds patience = std::chrono::seconds{30};  ///< a node that waits longer ends the run
  bool (*interrupted)() = nullptr;  ///< polled; true ends the run cleanly
};

namespace detail {

/// What all threads of a run share.
struct thread_run {
  thread_run(assembly& a, sim::scenario const& s) : scenario{s}, network{scenario, a.nodes.size()}, who{&a} {
    for (std::size_t i = 0; i < a.nodes.size(); ++i) inboxes.push_back(std::make_unique<inbox>());
  }

  [[nodiscard]] auto now() const -> instant {
    return {std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin)};
  }
  [[nodiscard]] auto at(instant t) const -> std::chrono::steady_clock::time_point { return begin + t.since_start; }

  /// The first failure ends the run; the others follow from it.
  void fail(std::string sentence) {
    auto const lock = std::lock_guard{failure_mutex};
    if (!failure) failure = std::move(sentence);
    stop.request_stop();
  }
  [[nodiscard]] auto failed() -> std::optional<std::string> {
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
  std::optional<std::string> failure;
};

/// One node on its thread.
class node_thread {
 public:
  node_thread(thread_run& run, std::size_t self) : run_{&run}, self_{self}, node_{&run.who->nodes[self]} {
    for (auto const& c : node_->channels()) kinds_[static_cast<std::size_t>(c.lane)] = c.kind;
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

  /// The thread's whole life. Whatever goes wrong ends the run with a sentence.
  void live() {
    try {
      node_->start(run_->now(), out_);
      drain();
      while (!run_->stop.stop_requested()) {
        if (request_) compute();
        else receive_until(std::nullopt);
      }
    } catch (std::exception const& e) {
      run_->fail("node " + std::to_string(self_) + ", gradient " + std::to_string(draws_) + ": " + e.what());
    } catch (...) {
      run_->fail("node " + std::to_string(self_) + ", gradient " + std::to_string(draws_) +
                 ": something was thrown that is not a std::exception");
    }
  }

 private:
  void compute() {
    auto const request = std::move(*request_);
    request_.reset();
    auto const started = run_->now();
    auto const duration = run_->scenario.compute.duration(run_->scenario.seed, to_node(self_), draws_++);
    cancelled_ = false;
    auto g = run_->who->oracle.evaluate(request);
    receive_until(started + duration);
    if (cancelled_ || run_->stop.stop_requested()) return;
    g.duration = run_->now() - started;
    run_->gradients.fetch_add(1, std::memory_order_relaxed);
    if (!std::isfinite(g.loss)) throw run_error{"the run diverges: the loss is not finite; use a smaller step"};
    node_->on_gradient(run_->now(), std::move(g), out_);
    drain();
    show();
  }

  /// Hands in what arrives until `end` (or until a gradient is wanted, if there is none), or the run stops.
  void receive_until(std::optional<instant> end) {
    auto& mine = *run_->inboxes[self_];
    while (!run_->stop.stop_requested()) {
      auto const now = run_->now();
      if (end ? now >= *end || cancelled_ : request_.has_value()) {
        deliver(mine.take_due(now));
        if (end || request_) return;
      }
      deliver(mine.take_due(now));
      wake_up(now);
      if (end ? cancelled_ : request_.has_value()) return;
      auto latest = run_->now() + std::chrono::milliseconds{20};  // looks are answered and stops noticed in time
      if (end && *end < latest) latest = *end;
      for (auto const& w : wakeups_) latest = std::min(latest, w.at);
      mine.wait_until(latest, [&](instant t) { return run_->at(t); });
      show();
    }
  }

  void deliver(std::vector<packet> arrived) {
    for (auto& p : arrived) {
      auto const whole = range{0, run_->who->blocks.blocks()};
      node_->on_patch(run_->now(),
                      patch{p.from, p.to, p.lane, p.life, p.based_on, p.posted_at, whole, {&p.number, 1}, p.body, p.extra},
                      out_);
      ++delivered_;
      drain();
    }
  }

  void wake_up(instant now) {
    std::vector<wakeup> due;
    std::erase_if(wakeups_, [&](wakeup w) {
      if (w.at <= now) due.push_back(w);
      return w.at <= now;
    });
    for (auto const w : due) {
      node_->on_wakeup(run_->now(), w, out_);
      drain();
    }
  }

  void drain() {
    if (out_.failure) throw run_error{out_.failure->sentence};
    for (auto& p : out_.packets) send(std::move(p));
    if (out_.cancel) cancelled_ = true;
    wakeups_.insert(wakeups_.end(), out_.wakeups.begin(), out_.wakeups.end());
    if (out_.request) request_ = std::move(out_.request);
    auto const stands = out_.wait && !out_.request;
    if (stands || out_.request) {
      auto const lock = std::lock_guard{look_mutex_};
      if (!stands) look_.wait.reset();
      else if (!look_.wait || look_.wait->number != out_.wait->number || look_.wait->peer != out_.wait->peer) {
        look_.wait = out_.wait;
        look_.waiting_since = run_->now();
      }
    }
    out_.clear();
  }

  void send(packet p) {
    auto& e = run_->network.edge_between(p.from, p.to);
    auto& l = run_->network.lane_of(e, p, kinds_[static_cast<std::size_t>(p.lane)]);
    auto const j = run_->network.transmit(e, l, p, p.body.size(), run_->now().since_start);
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
  std::array<channel_kind, channel_count> kinds_{};
  outbox out_;
  std::optional<gradient_request> request_;
  std::vector<wakeup> wakeups_;
  bool cancelled_ = false;
  std::uint64_t draws_ = 0;
  std::uint64_t delivered_ = 0;
  std::uint64_t answered_ = 0;
  tracking_audit audit_;
  std::mutex look_mutex_;
  look look_;
};

/// Measures while the threads run; returns why it stopped.
class thread_watch {
 public:
  thread_watch(thread_run& run, std::vector<std::unique_ptr<node_thread>>& threads, metrics& m)
      : run_{&run}, threads_{&threads}, metrics_{&m} {}

  auto watch(until const& end, thread_options const& o, run_result& result) -> stop_reason {
    auto interval = run_->scenario.measure_every;
    if (interval.count() <= 0) interval = std::min<std::chrono::nanoseconds>(end.time / 200, std::chrono::seconds{1});
    interval = std::max<std::chrono::nanoseconds>(interval, std::chrono::milliseconds{1});
    auto next_look = instant{};
    while (true) {
      auto const now = run_->now();
      if (run_->stop.stop_requested()) return stop_reason::interrupted;  // a failure; the caller throws
      if (o.interrupted != nullptr && o.interrupted()) return stop_reason::interrupted;
      if (now.since_start >= end.time) return stop_reason::time;
      if (run_->gradients.load(std::memory_order_relaxed) >= end.gradients) return stop_reason::gradients;
      if (now >= next_look) {
        if (look(end, result)) return stop_reason::target_loss;
        check_patience(o.patience);
        next_look = now + interval;
      }
      std::this_thread::sleep_until(run_->at(std::min({next_look, now + std::chrono::milliseconds{20},
                                                       instant{end.time}})));
    }
  }

 private:
  auto look(until const& end, run_result& result) -> bool {
    models_.clear();
    double residual = 0;
    for (std::size_t i = 0; i < run_->who->peers; ++i) {
      auto l = (*threads_)[i]->last_look();
      models_.push_back(std::move(l.model));
      residual = std::max(residual, l.residual);
    }
    auto m = metrics_->of_models(models_, run_->now().since_start);
    m.gradients = run_->gradients.load(std::memory_order_relaxed);
    m.tracking_residual = residual;
    result.history.push_back(m);
    run_->measurement.fetch_add(1, std::memory_order_relaxed);
    if (!(m.loss <= end.target_loss)) return false;
    result.time_to_target = m.at;
    return true;
  }

  void check_patience(std::chrono::nanoseconds patience) {
    for (std::size_t i = 0; i < threads_->size(); ++i) {
      auto const l = (*threads_)[i]->last_look();
      if (!l.wait || run_->now() - l.waiting_since <= patience) continue;
      run_->fail("node " + std::to_string(i) + " has waited for " + std::string{name_of(l.wait->lane)} + " message " +
                 std::to_string(to_count(l.wait->number)) + " of node " + std::to_string(to_index(l.wait->peer)) +
                 " for " + std::to_string(to_seconds(run_->now() - l.waiting_since)) + " s");
    }
  }

  thread_run* run_;
  std::vector<std::unique_ptr<node_thread>>* threads_;
  metrics* metrics_;
  std::vector<shared_buffer> models_;
};

inline void finish_report(thread_run& run, run_result& result) {
  auto const& nodes = run.who->nodes;
  run.network.collect(result.edges);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    auto const s = nodes[i].statistics();
    result.nodes.push_back({to_node(i), s.iterations, s.gradients, s.dropped});
    if (i < run.who->peers) result.models.push_back(nodes[i].estimate());
    result.events += s.gradients;
    for (auto const& in : s.edges) {
      for (auto& e : result.edges) {
        if (e.from != in.peer || e.to != to_node(i) || e.lane != in.lane) continue;
        e.delivered = in.accepted + in.overtaken;
        e.overtaken = in.overtaken;
        e.age = in.age;
        result.events += e.delivered;
      }
    }
  }
}

}  // namespace detail

/// Runs what was assembled, one thread a node, until `end` on the real clock. Nodes that the scenario slows sleep.
/// Throws config_error before the first thread starts, run_error if a node fails, waits too long or its problem throws;
/// all threads are joined first. Vectors are shared by reference, so scenarios that ask for frames or blocks are refused.
inline auto run_threads(assembly a, sim::scenario const& s, until const& end, thread_options const& o = {})
    -> run_result {
  s.check(a.peers);
  if (s.carried != sim::frames::by_reference || s.split != sim::delivery::whole) {
    throw config_error{"the threads driver shares whole vectors; encoded frames and single blocks need the simulator"};
  }
  if (a.nodes.size() > 1024) {
    throw config_error{"the threads driver runs at most 1024 nodes, not " + std::to_string(a.nodes.size())};
  }
  run_result result;
  detail::thread_run run{a, s};
  metrics looks{a.oracle};
  std::vector<std::unique_ptr<detail::node_thread>> nodes;
  for (std::size_t i = 0; i < a.nodes.size(); ++i) nodes.push_back(std::make_unique<detail::node_thread>(run, i));
  {
    std::vector<std::jthread> threads;
    for (auto& each : nodes) threads.emplace_back([&each] { each->live(); });
    result.stopped = detail::thread_watch{run, nodes, looks}.watch(end, o, result);
    run.stop.request_stop();
    for (auto& box : run.inboxes) box->wake();
  }
  if (auto const failure = run.failed()) throw run_error{*failure};
  result.ended = run.now().since_start;
  auto last = looks.measure(a.nodes, a.peers, result.ended);
  last.gradients = run.gradients.load();
  result.history.push_back(last);
  result.network = a.network;
  result.step = a.step;
  result.raw_step = a.raw_step;
  result.gain = a.gain;
  detail::finish_report(run, result);
  return result;
}

}  // namespace rubato
