// SPDX-License-Identifier: MIT
// Checkpoints for drivers in real time: a thread that writes them, and the times at which each node is due.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/snapshot.hpp>
#include <rubato/core/text.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/checkpoint.hpp>

namespace rubato {

namespace detail {

/// Writes checkpoints on a thread of its own, one after the other, so that a run is held up only while its state is
/// taken.
/// **Thread safety:** any thread may give it checkpoints.
class checkpoint_writer {
 public:
  checkpoint_writer() : thread_{[this] { live(); }} {}
  checkpoint_writer(checkpoint_writer const&) = delete;
  auto operator=(checkpoint_writer const&) -> checkpoint_writer& = delete;
  /// The destructor writes everything that was given.
  ~checkpoint_writer() {
    {
      auto const lock = std::lock_guard{mutex_};
      ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  /// Whether the last checkpoint for this file has been written.
  [[nodiscard]] auto has_written(std::filesystem::path const& file) -> bool {
    auto const lock = std::lock_guard{mutex_};
    return !wanted_.contains(file) && busy_with_ != file;
  }
  /// Replaces a checkpoint for the same file whose writing has not begun.
  void write(std::filesystem::path const& file, checkpoint c) {
    {
      auto const lock = std::lock_guard{mutex_};
      wanted_[file] = std::move(c);
    }
    changed_.notify_all();
  }
  /// Why the last checkpoint of a file could not be written; empty if all were.
  [[nodiscard]] auto failure() -> std::string {
    auto const lock = std::lock_guard{mutex_};
    return first_failure();
  }
  /// The same, once nothing is left to write.
  [[nodiscard]] auto finish() -> std::string {
    auto lock = std::unique_lock{mutex_};
    changed_.wait(lock, [this] { return wanted_.empty() && busy_with_.empty(); });
    return first_failure();
  }

 private:
  [[nodiscard]] auto first_failure() const -> std::string {
    return failures_.empty() ? std::string{} : failures_.begin()->second;
  }
  void live() {
    auto lock = std::unique_lock{mutex_};
    while (true) {
      changed_.wait(lock, [this] { return ending_ || !wanted_.empty(); });
      if (wanted_.empty()) return;
      auto const next = wanted_.extract(wanted_.begin());
      busy_with_ = next.key();
      lock.unlock();
      std::string why;
      try {
        write_checkpoint(next.key(), next.mapped());
      } catch (std::exception const& e) {
        why = e.what();
      }
      lock.lock();
      if (why.empty()) failures_.erase(next.key());
      else failures_[next.key()] = std::move(why);
      busy_with_.clear();
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::filesystem::path, checkpoint> wanted_;
  std::filesystem::path busy_with_;
  std::map<std::filesystem::path, std::string> failures_;  // of files whose last checkpoint could not be written
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

/// One node's checkpoints in a driver in real time.
/// **Thread safety:** one owner; several may share a writer.
class node_checkpoints {
 public:
  node_checkpoints() = default;  // none
  /// Throws config_error in three cases. The node could not be resumed, because its algorithm needs every node, and a
  /// resumed node begins with all edges closed. Or nobody could tell whether it is the same run. Or a new run would
  /// overwrite the state of another one.
  node_checkpoints(checkpoint_options const& o, assembly const& a, node_id self)
      : every_{o.every}, subject_{a.agreed.text() + pace_of(a, self) + o.subject}, self_{self}, file_{o.file_of(self)} {
    if (!a.unlisted.empty()) {
      throw config_error{"a checkpoint cannot tell the settings of " + a.unlisted +
                         ", which lists none: give it a visit_options (core/visit_options.hpp)"};
    }
    if (auto error = std::error_code{}; !o.resume && std::filesystem::exists(file_, error)) {
      throw config_error{"'" + escaped(file_.string()) + "' holds a state of node " + std::to_string(to_index(self)) +
                         " already: go on from it, or give another folder to a run that begins anew"};
    }
    if (a.factory)
      refuse_unless_edges_may_close(a.factory.make(to_index(self), {}, 0), a.factory.neighbours(to_index(self)));
  }

  /// Puts the state of the node's file into `host`. Returns a warning, or nothing. Throws config_error, which names the
  /// file, if it does not hold a state of this node and run.
  template<class Host>
  [[nodiscard]] auto restore_into(Host& host, buffer_pool const& pool) -> std::string {
    auto const saved = read_checkpoint(file_);
    try {
      auto warning = check_checkpoint(saved, subject_, self_);
      restore(host, saved.state, pool);
      progress_ = saved.progress;
      resumed_ = saved.resumed + 1;
      return warning;
    } catch (config_error const& e) {
      throw config_error{"'" + escaped(file_.string()) + "': " + e.what()};
    }
  }
  /// Of the state that was read: its local iterations, and how often the run has resumed, this time included.
  [[nodiscard]] auto progress() const -> std::uint64_t { return progress_; }
  [[nodiscard]] auto resumed() const -> std::uint32_t { return resumed_; }
  /// If the nodes of a run were saved after different numbers of resumptions, all count from the largest number.
  void count_from(std::uint32_t resumed) { resumed_ = resumed; }

  /// Saves at once for the first time, so that a run can be resumed whenever it is killed. The node is held up while
  /// the vectors that it may still write are copied; the other thread does the rest. If the disk is slower than the
  /// period, the next save waits.
  template<class Host>
  void save_if_due(instant now, Host& host, checkpoint_writer& writer) {
    if (due_ && now < *due_) return;
    if (!writer.has_written(file_)) return;
    save(host, writer);
    due_ = later_by(now, every_);
  }
  template<class Host>
  void save(Host& host, checkpoint_writer& writer) const {
    writer.write(file_, {subject_, self_, host.node().statistics().iterations, resumed_, take_snapshot(host)});
  }

 private:
  /// A state says how a pace stands, so a node that keeps one cannot go on from the state of one that keeps none, nor
  /// the other way round.
  static auto pace_of(assembly const& a, node_id self) -> std::string {
    auto const at = to_index(self);
    return at < a.paces.size() && a.paces[at] ? "pace=kept\n" : "pace=none\n";
  }
  static void refuse_unless_edges_may_close(any_node probe, std::span<node_id const> neighbours) {
    outbox out;
    for (auto const peer : neighbours) {
      probe.on_neighbours({}, {peer, neighbour_change::edge::closes, {}, {}}, out);
      if (out.failure)
        throw config_error{"this algorithm cannot go on from a checkpoint between nodes: " + out.failure->sentence};
      out.clear();
    }
  }

  std::chrono::nanoseconds every_{};
  std::string subject_;
  node_id self_{};
  std::filesystem::path file_;
  std::uint64_t progress_ = 0;
  std::uint32_t resumed_ = 0;
  std::optional<instant> due_;
};

}  // namespace detail

}  // namespace rubato
