// SPDX-License-Identifier: MIT
// The threads driver: one thread a node, mailboxes in one process, real time. The scenario's links and compute times
// become real delays, so that the same environment can be tried on real threads. A scenario of zeros runs at full
// speed.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/environment/scenario.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/atomic_file.hpp>
#include <rubato/run/checkpoint.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/result.hpp>
#include <rubato/run/stop_token.hpp>
#if RUBATO_BODIES
#include <thread>

#include <rubato/driver/detail/node_thread.hpp>
#include <rubato/run/metrics.hpp>
#endif

namespace rubato {

/// Options of the threads driver.
struct thread_options {
  std::chrono::nanoseconds patience = std::chrono::seconds{30};  ///< a node that waits longer ends the run
  observers watching{};
  /// One a node, for its status four times a second and at the end, and for all looks; empty: nobody reads them.
  status_boards statuses{};
  stop_token stop{};
  /// Each node is saved at a moment of its own or, where all go on together, at the same rounds; `end` counts from the
  /// resumption.
  checkpoint_options checkpoint{};
  /// Of nodes that are saved at the same rounds: the longest time that they go on after their end, until all are saved
  /// at one more round. A stop that is requested in this time shortens it to a second.
  std::chrono::nanoseconds linger = std::chrono::seconds{6};
};

/// Runs what was assembled, one thread a node, until `end` on the real clock. Nodes that the scenario slows sleep.
/// Throws config_error before the first thread starts, run_error if a node fails, waits too long or its problem throws
/// (what it threw is nested); all threads are joined first. Vectors are shared by reference, so scenarios that ask for
/// frames or blocks are refused.
auto run_threads(assembly a, environment::scenario const& s, until const& end, thread_options const& o = {})
    -> run_result;

#if RUBATO_BODIES
namespace detail {

/// However the scope ends in which threads are started, they are told to end and are joined.
struct threads_of_scope {
  explicit threads_of_scope(thread_run& of) : run{&of} {}
  threads_of_scope(threads_of_scope const&) = delete;
  auto operator=(threads_of_scope const&) -> threads_of_scope& = delete;
  ~threads_of_scope() {
    run->end();
    for (auto& each : started) each.join();
  }

  thread_run* run;
  std::vector<std::thread> started;
};

/// Measures while the threads run, and says why it stopped.
class thread_watch {
 public:
  using threads = std::vector<std::unique_ptr<node_thread>>;

  thread_watch(thread_run& run, threads& nodes, thread_options const& o)
      : run_{&run}, threads_{&nodes}, options_{&o}, metrics_{run.who->oracle, run.who->measured().begin} {}

  auto watch(until const& end, run_result& result) -> stop_reason {
    auto interval = run_->scenario.measure_every;
    if (interval.count() <= 0) interval = std::min<std::chrono::nanoseconds>(end.time / 200, std::chrono::seconds{1});
    interval = std::max<std::chrono::nanoseconds>(interval, std::chrono::milliseconds{1});
    auto next_look = instant{};
    auto closing = std::optional<instant>{};  // since when there are enough gradients
    while (true) {
      auto const now = run_->now();
      if (run_->ending) return stop_reason::interrupted;  // a failure; the caller throws
      if (options_->stop.stop_requested()) return stop_reason::interrupted;
      if (now.since_start >= end.time) return stop_reason::time;
      if (run_->has_enough()) {
        if (!closing) closing = now;
        if (run_->under_way.load() == 0 || have_met() || now - *closing > options_->patience)
          return stop_reason::gradients;
      }
      if (now >= next_look) {
        if (auto const why = look_at_all(end, result)) return *why;
        next_look = later_by(run_->now(), interval);
      }
      if (!closing) check_patience();
      std::this_thread::sleep_until(
          run_->at((std::min)({next_look, now + std::chrono::milliseconds{closing ? 1 : 20}, instant{end.time}})));
    }
  }

  /// Until all have met, or cannot or will not. Nodes that may compute no more could not go on to another round. A stop
  /// that did not end the run (`why`) leaves what is under way a second.
  void await_meeting(stop_reason why) const {
    if (!run_->writer || !threads_->front()->saves().together()) return;
    run_->meet();
    auto latest = later_by(run_->now(), options_->linger);
    auto hurries = why == stop_reason::interrupted;
    auto const may_go_on = [this] { return !run_->has_enough() || run_->under_way.load() > 0; };
    while (!run_->ending && may_go_on() && !have_met() && run_->now() < latest) {
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
      if (!std::exchange(hurries, options_->stop.stop_requested()) && hurries)
        latest = (std::min)(latest, later_by(run_->now(), std::chrono::seconds{1}));
    }
  }
  /// Whether all were saved at the round at which they end.
  [[nodiscard]] auto have_met() const -> bool { return run_->met == threads_->size(); }

  /// Looks at all nodes in one instant, after their threads have ended.
  void last_look(run_result& result) {
    auto const at = result.ended;
    auto const measured = run_->who->measured();
    auto const those = std::span<any_node const>{run_->who->nodes}.subspan(measured.begin, measured.size());
    auto const m = scored(at, [&] { return metrics_.measure(those, those.size(), at); });
    record(m, metrics_.models(), result);
  }
  /// What the last look saw of each node's tracking.
  [[nodiscard]] auto audits() const -> std::span<tracking_audit const> { return metrics_.audits(); }

 private:
  /// The reason for which the look ends the run, if any.
  auto look_at_all(until const& end, run_result& result) -> std::optional<stop_reason> {
    models_.clear();
    double residual = 0;
    auto const measured = run_->who->measured();
    for (auto i = measured.begin; i < measured.end; ++i) {
      auto l = (*threads_)[i]->last_look();
      models_.push_back(std::move(l.model));
      residual = (std::max)(residual, l.residual);
    }
    auto const at = run_->now().since_start;
    auto m = scored(at, [&] { return metrics_.of_models(models_, at); });
    m.tracking_residual = residual;
    refuse_unknown_loss(end, m);
    auto const said = record(m, models_, result);
    run_->measurement.fetch_add(1, std::memory_order_relaxed);
    if (m.loss <= end.target_loss) {
      result.time_to_target = m.at;
      return stop_reason::target_loss;
    }
    return said == verdict::stop ? std::optional{stop_reason::observer} : std::nullopt;
  }

  template<class Measure>
  static auto scored(std::chrono::nanoseconds at, Measure measure) -> measurement {
    try {
      return measure();
    } catch (run_error const&) {
      throw;
    } catch (...) {
      rethrow_named("the problem threw while it was measured at " + shortest(to_seconds(at)) + " s");
    }
  }

  auto record(measurement m, std::span<shared_buffer const> models, run_result& result) const -> verdict {
    m.gradients = run_->gradients.load(std::memory_order_relaxed);
    m.bytes_sent = run_->bytes_sent.load(std::memory_order_relaxed);
    result.history.push_back(m);
    for (auto const& each : run_->boards) each->add(m);
    return shown_to(options_->watching, {m, models});
  }

  /// Names the node that has waited longest: the others wait because of it.
  void check_patience() const {
    auto longest = node_thread::look{};
    std::size_t who = 0;
    for (std::size_t i = 0; i < threads_->size(); ++i) {
      auto l = (*threads_)[i]->last_look();
      if (!l.wait || (longest.wait && longest.waiting_since <= l.waiting_since)) continue;
      longest = std::move(l);
      who = i;
    }
    auto const waited = run_->now() - longest.waiting_since;
    if (!longest.wait || waited <= options_->patience) return;
    run_->fail(std::make_exception_ptr(run_error{waited_too_long(who, *longest.wait, waited)}));
  }

  thread_run* run_;
  threads* threads_;
  thread_options const* options_;
  metrics metrics_;
  std::vector<shared_buffer> models_;
};

/// Returns when all threads have ended, whatever ended them.
RUBATO_INLINE auto live_together(thread_run& run, thread_watch::threads& nodes, thread_watch& watcher, until const& end,
                                 run_result& result) -> stop_reason {
  threads_of_scope threads{run};
  try {
    for (auto& each : nodes) threads.started.emplace_back([&each] { each->live(); });
  } catch (std::system_error const&) {
    rethrow_named("the thread of node " + std::to_string(threads.started.size()) + " cannot be started");
  }
  auto const why = watcher.watch(end, result);
  watcher.await_meeting(why);
  return why;
}

RUBATO_INLINE void finish_report(thread_run& run, thread_watch::threads const& nodes, run_result& result) {
  run.network.collect(result.edges);
  result.events = run.gradients.load();
  auto const edges = edge_index{result.edges};
  auto const measured = run.who->measured();
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    auto const answers = i >= measured.begin && i < measured.end;
    collect_node(run.who->nodes[i], to_node(i), answers, edges, result, nodes[i]->saves().counted_before());
    for (auto const& [sender, count] : nodes[i]->delivered()) {
      edges.find(sender.first, to_node(i), sender.second)->delivered = count;
      result.events += count;
    }
  }
}

RUBATO_INLINE void refuse_what_threads_cannot(assembly const& a, environment::scenario const& s) {
  s.check(a.peers, a.nodes.size());
  if (s.machine_bits_per_second > 0)
    throw config_error{
        "the threads driver limits links, and not machines: machine_bits_per_second needs the simulator"};
  if (s.carried != environment::frames::by_reference || s.split != environment::delivery::whole) {
    throw config_error{"the threads driver shares whole vectors; encoded frames and single blocks need the simulator"};
  }
  if (!s.restarts.empty()) throw config_error{"the threads driver restarts no nodes; restarts need the simulator"};
  if (a.members || !s.members.is_fixed())
    throw config_error{"the threads driver knows no members that come and go; these need the simulator"};
  if (a.nodes.size() > 1024) {
    throw config_error{"the threads driver runs at most 1024 nodes, not " + std::to_string(a.nodes.size())};
  }
}

inline auto first_nodes(std::size_t n) -> std::vector<node_id> {
  std::vector<node_id> all;
  for (std::size_t i = 0; i < n; ++i) all.push_back(to_node(i));
  return all;
}
/// False if `stop` was requested while it waited for a process of a former life of the run.
inline auto prepare_checkpoints(thread_run& run, thread_watch::threads& nodes, checkpoint_options const& o,
                                stop_token const& stop, run_result& result) -> bool {
  o.check();
  if (o.folder.empty()) return true;
  if (!o.resume) ensure_writable_folder(o.folder);
  if (!run.held.take(o, {0, nodes.size()}, stop)) return false;
  if (!run.held.remark().empty()) result.warnings.push_back(run.held.remark());
  run.saves = o;
  auto const together = run.who->nodes[0].common_round().has_value();
  if (auto ignored = o.resume ? ignored_checkpoints(o, nodes.size(), together) : ""; !ignored.empty())
    result.warnings.push_back(std::move(ignored));
  if (o.resume && !o.round && together) {
    if (auto const newest = newest_common_round(o, first_nodes(nodes.size()))) {
      run.saves.round = newest->done;
      if (!newest->remark.empty()) result.warnings.push_back(newest->remark);
    }
  }
  for (auto& each : nodes) {
    if (auto warning = each->prepare_checkpoints(); !warning.empty()) result.warnings.push_back(std::move(warning));
  }
  std::uint32_t resumed = 0;
  for (auto& each : nodes) resumed = (std::max)(resumed, each->saves().resumed());
  for (auto& each : nodes) each->saves().count_from(resumed);
  ensure_writable_folder(o.folder);
  auto bytes = std::uint64_t{0};
  for (auto& each : nodes) bytes += each->least_bytes();
  ensure_space(o.folder, bytes);
  run.writer.emplace();
  return true;
}
/// From which round a run goes on whose nodes did not meet at its end.
inline auto words_of_no_meeting(std::uint64_t newest) -> std::string {
  return "the run ended before all nodes were saved at one more round: it goes on from round " + std::to_string(newest);
}
RUBATO_INLINE void save_last(thread_run& run, thread_watch::threads& nodes, run_result& result) {
  if (!run.writer) return;
  for (auto& each : nodes) each->save_last();
  if (auto why = run.writer->finish(); !why.empty()) result.warnings.push_back("a checkpoint failed: " + why);
  if (auto const all = failures_of(*run.writer); !all.empty()) result.warnings.push_back("the run" + all);
  auto const have_met = std::all_of(nodes.begin(), nodes.end(), [](auto& each) { return each->saves().has_met(); });
  if (!nodes.front()->saves().together() || have_met) return;
  try {
    auto const newest = newest_common_round(run.saves, first_nodes(nodes.size()));
    result.warnings.push_back(words_of_no_meeting(newest ? newest->done : 0));
  } catch (config_error const& e) {
    result.warnings.emplace_back(e.what());
  }
}

}  // namespace detail

RUBATO_INLINE auto run_threads(assembly a, environment::scenario const& s, until const& end, thread_options const& o)
    -> run_result {
  detail::refuse_used(a.nodes, a.peers);
  end.check();
  if (end.never() && o.watching.empty() && !o.stop.stop_possible())
    throw config_error{
        "nothing ends this run; give a time, a target loss, a number of gradients, an observer or a stop token"};
  detail::refuse_what_threads_cannot(a, s);
  run_result result;
  detail::check_boards(o.statuses, a.nodes.size());
  detail::ends_boards const if_it_fails{o.statuses};
  detail::thread_run run{a, s, end.gradients, o.statuses};
  detail::thread_watch::threads nodes;
  for (std::size_t i = 0; i < a.nodes.size(); ++i) nodes.push_back(std::make_unique<detail::node_thread>(run, i));
  auto const prepared = detail::prepare_checkpoints(run, nodes, o.checkpoint, o.stop, result);
  detail::thread_watch watcher{run, nodes, o};
  result.stopped = prepared ? detail::live_together(run, nodes, watcher, end, result) : stop_reason::interrupted;
  if (auto const failure = run.failed()) std::rethrow_exception(failure);
  result.ended = run.now().since_start;
  watcher.last_look(result);
  for (auto& each : nodes) each->publish(node_status::phase::ended);
  detail::save_last(run, nodes, result);
  static_cast<run_setup&>(result) = a;
  detail::finish_report(run, nodes, result);
  detail::warn_of_counters(a.peers, result);
  detail::warn_of_resolution(watcher.audits(), result);
  return result;
}
#endif  // RUBATO_BODIES

}  // namespace rubato
