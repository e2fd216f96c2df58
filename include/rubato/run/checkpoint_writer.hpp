// SPDX-License-Identifier: MIT
// Checkpoints for drivers in real time: a thread that writes them, and the times at which each node is due.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

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
  [[nodiscard]] auto is_done_with(std::filesystem::path const& file) -> bool {
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
  /// Whether this file's last one could not be written; it is not told of any more.
  [[nodiscard]] auto forgets_failure(std::filesystem::path const& file) -> bool {
    auto const lock = std::lock_guard{mutex_};
    return failures_.erase(file) > 0;
  }
  /// Why the last checkpoint of a file could not be written; empty if all were.
  [[nodiscard]] auto failure() -> std::string {
    auto const lock = std::lock_guard{mutex_};
    return first_failure();
  }
  /// How many checkpoints could not be written, up to now.
  [[nodiscard]] auto failed() -> std::uint64_t {
    auto const lock = std::lock_guard{mutex_};
    return failed_;
  }
  /// As failure(), once nothing is left to write.
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
      else failures_[next.key()] = std::move(why), ++failed_;
      busy_with_.clear();
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::filesystem::path, checkpoint> wanted_;
  std::filesystem::path busy_with_;
  std::map<std::filesystem::path, std::string> failures_;  // of files whose last checkpoint could not be written
  std::uint64_t failed_ = 0;
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

/// What to say of all checkpoints that could not be written, if there were several: " could not write 3 checkpoints".
inline auto failures_of(checkpoint_writer& writer) -> std::string {
  auto const n = writer.failed();
  return n < 2 ? std::string{} : " could not write " + std::to_string(n) + " checkpoints";
}

/// From which round that node goes on, of those that it was saved at. Throws config_error where there is none.
inline auto round_of(checkpoint_options const& o, node_id self) -> round_to_resume {
  if (o.round) return {*o.round};
  if (auto newest = newest_common_round(o, std::span{&self, 1})) return *std::move(newest);
  throw config_error{"the checkpoint '" + escaped(o.file_of(self, 0).string()) +
                     "' cannot be read, and there is none of a later round"};
}

/// One node's checkpoints in a driver in real time.
/// **Thread safety:** one owner; several may share a writer.
class node_checkpoints {
 public:
  node_checkpoints() = default;  // none
  /// Throws config_error in four cases. A round was given to nodes that have none. The node could not be resumed,
  /// because its algorithm needs every node, a resumed node begins with all edges closed, and its nodes do not go on
  /// together. Or nobody could tell whether it is the same run. Or a new run would overwrite the state of another one.
  node_checkpoints(checkpoint_options const& o, assembly const& a, node_id self)
      : options_{o},
        subject_{a.agreed.text() + pace_of(a, self) + o.subject + network_words + "=" + escaped(a.network) + "\n"},
        self_{self},
        together_{a.nodes[to_index(self)].common_round().has_value()},
        round_{a.nodes[to_index(self)].common_round().value_or(round_state{})},
        file_{o.file_of(self)},
        rounds_{saved_rounds(o, self)} {
    if (!a.unlisted.empty()) {
      throw config_error{"a checkpoint cannot tell the settings of " + a.unlisted +
                         ", which lists none: give it a visit_options (core/visit_options.hpp)"};
    }
    if (o.round && !together_) {
      throw config_error{"a round to go on from was given, " + std::to_string(*o.round) +
                         ", and the nodes of this algorithm are not saved at rounds: each goes on from its only file"};
    }
    if (!rounds_.empty()) file_ = o.file_of(self, rounds_.back());
    if (auto error = std::error_code{}; !o.resume && std::filesystem::exists(file_, error)) {
      throw config_error{"'" + escaped(file_.string()) + "' holds a state of node " + std::to_string(to_index(self)) +
                         " already: go on from it, or give another folder to a run that begins anew"};
    }
    if (auto const why = a.factory && !together_ ? a.factory.end_by_closed_edge(to_index(self)) : ""; !why.empty())
      throw config_error{"this algorithm cannot go on from a checkpoint between nodes: " + why};
  }
  /// Whether the nodes of this run go on together from the beginning of one round, or each from a state of its own.
  [[nodiscard]] auto together() const -> bool { return together_; }
  /// The distance of the node that is farthest away, in edges, and how many nodes there are: what bounds how far this
  /// node may be ahead of another one, and so which of its files that one may still count on.
  void reach(std::uint64_t edges, std::uint64_t nodes) {
    if (!together_) return;
    apart_ = (round_.anywhere ? 1 : edges) * (std::min)(round_.behind, std::uint64_t{1} << 40);
    older_kept_ =
        static_cast<std::size_t>((std::min)((apart_ + options_.every_rounds - 1) / options_.every_rounds, nodes)) + 1;
  }

  /// Puts the state of the node's file into `host`. Returns a warning, or nothing. Throws config_error, which names the
  /// file, if it does not hold a state of this node and run.
  template<class Host>
  [[nodiscard]] auto restore_into(Host& host, buffer_pool const& pool) -> std::string {
    std::string remark;
    if (together_) {
      auto from = round_of(options_, self_);
      from_ = from.done;
      file_ = options_.file_of(self_, from.done);
      remark = std::move(from.remark);
    }
    auto const saved = read_checkpoint(file_);
    try {
      auto warning = check_checkpoint(saved, subject_, self_);
      restore(host, saved.state, pool);
      before_ = host.node().statistics();
      resumed_ = sessions_before(options_, self_) >> 16;
      return warning.empty() || remark.empty() ? warning + remark : remark + "; " + warning;
    } catch (config_error const& e) {
      throw config_error{"'" + escaped(file_.string()) + "': " + e.what()};
    }
  }
  /// What the node had counted by the state that was read.
  [[nodiscard]] auto counted_before() const -> node_statistics const& { return before_; }
  /// How often the run has resumed, this time included.
  [[nodiscard]] auto resumed() const -> std::uint32_t { return resumed_; }
  /// The round that the state is of, where all go on together.
  [[nodiscard]] auto resumed_from() const -> std::optional<std::uint64_t> { return from_; }
  /// If the nodes of a run were saved after different numbers of resumptions, all count from the largest number.
  void count_from(std::uint32_t resumed) { resumed_ = resumed; }

  /// The bytes that this node's checkpoints take on the disk, at least: a file, and beside it the one that replaces it.
  template<class Host>
  [[nodiscard]] auto least_bytes(Host& host) const -> std::uint64_t {
    return std::uint64_t{options_.resume ? 1U : 2U} * take_snapshot(host).size_bytes();
  }

  /// Saves at once for the first time, so that a run can be resumed whenever it is killed. The node is held up while
  /// the vectors that it may still write are copied; the other thread does the rest. If the disk is slower than the
  /// period, the next save waits.
  template<class Host>
  void save_if_due(instant now, Host& host, checkpoint_writer& writer) {
    if (due_ && now < *due_) return;
    if (!writer.is_done_with(file_)) return;
    save(host, writer);
    due_ = later_by(now, options_.every);
  }
  /// Of nodes that go on together, after every event: the state at the beginning of each round that is due. False while
  /// the one before is not written: then the node has to stand still, since the others count on it. False too once it
  /// has met the others, where it ends.
  template<class Host>
  [[nodiscard]] auto save_round_if_due(Host& host, checkpoint_writer& writer) -> bool {
    if (has_met()) return false;
    auto const round = *host.node().common_round();
    auto const due = !saved_ || round.done >= *saved_ + options_.every_rounds || round.done == meets_at_ ||
                     (round.done == rests_at_ && saved_ != rests_at_);
    if (!round.begins || !due) return true;
    if (!writer.is_done_with(file_)) return false;
    if (saved_ && writer.forgets_failure(file_)) rounds_.pop_back();  // there is none
    save_round(host, writer, round.done);
    if (has_met()) return false;
    tell_next(host);
    remove_useless();
    return true;
  }

  /// This node has done `done` rounds: no node can have begun the returned one before it hears that all end there.
  /// Links keep order, and a node that hears of it tells its neighbours before it sends them anything else.
  [[nodiscard]] auto earliest_meeting(std::uint64_t done) const -> std::uint64_t { return done + apart_ + 1; }
  /// All nodes end at that round, where they are saved. False if there is nothing new in that: they end before it
  /// anyway, or have passed it.
  template<class Host>
  auto meet_at(Host& host, std::uint64_t round) -> bool {
    if (!together_ || !saved_ || round >= meets_at_.value_or(never) || round <= host.node().common_round()->done)
      return false;
    meets_at_ = round;
    tell_next(host);
    return true;
  }
  /// A node that is to use so many gradients since it began ends at a round that is known, where each round takes the
  /// same number of them; so do all others that are to use as many. With a `rest`, some of them are to use more: then
  /// all are saved at the last round that is whole, rest there until everybody is, and go on.
  template<class Host>
  void meet_after(std::uint64_t gradients, Host& host, bool rest = false) {
    if (!together_ || !saved_ || foreseen_) return;
    foreseen_ = true;
    auto const at = *host.node().common_round();
    if (at.gradients == 0 || gradients / at.gradients >= never - *saved_) return;
    auto const round = *saved_ + gradients / at.gradients;
    if (!rest && gradients % at.gradients == 0) return static_cast<void>(meet_at(host, round));
    if (!rest || round == *saved_) return;
    rests_at_ = round;
    tell_next(host);
  }
  /// Whether it was saved at the round at which it rests, and stands there.
  template<class Host>
  [[nodiscard]] auto rests(Host& host) const -> bool {
    return rests_at_ && saved_ == rests_at_ && host.node().common_round()->done == *rests_at_;
  }
  /// The round at which all end, as far as this node knows.
  [[nodiscard]] auto last_round() const -> std::optional<std::uint64_t> { return meets_at_; }
  /// The newest one at which this process saved the node.
  [[nodiscard]] auto newest_round() const -> std::optional<std::uint64_t> { return saved_; }
  /// Whether the node was saved at the round at which all end.
  [[nodiscard]] auto has_met() const -> bool { return meets_at_ && saved_ == meets_at_; }
  /// What is there at the end of a run. Nodes that go on together have such a state at the beginning of a round.
  template<class Host>
  void save_last(Host& host, checkpoint_writer& writer) {
    if (!together_) return save(host, writer);
    auto const round = *host.node().common_round();
    if (round.begins && saved_ != round.done) save_round(host, writer, round.done);
  }
  template<class Host>
  void save(Host& host, checkpoint_writer& writer) const {
    writer.write(file_, {subject_, self_, host.node().statistics().iterations, resumed_, take_snapshot(host)});
  }

 private:
  static constexpr auto never = (std::numeric_limits<std::uint64_t>::max)();

  /// A state says how a pace stands, so a node that keeps one cannot go on from the state of one that keeps none, nor
  /// the other way round.
  static auto pace_of(assembly const& a, node_id self) -> std::string {
    auto const at = to_index(self);
    return at < a.paces.size() && a.paces[at] ? "pace=kept\n" : "pace=none\n";
  }
  /// The next round at which nodes have to meet that do not come by it anyway.
  template<class Host>
  void tell_next(Host& host) const {
    auto next = (std::min)(*saved_ + options_.every_rounds, meets_at_.value_or(never));
    if (rests_at_ && *rests_at_ > *saved_) next = (std::min)(next, *rests_at_);
    host.node().meet_at(next, options_.every_rounds);
  }
  template<class Host>
  void save_round(Host& host, checkpoint_writer& writer, std::uint64_t done) {
    if (!saved_) {
      aside_ = rounds_of_files(options_, self_, aside);
      std::erase_if(rounds_, [&](std::uint64_t r) { return r > done && put_aside(r); });
      std::erase(rounds_, done);
    }
    saved_ = done;
    rounds_.push_back(done);
    file_ = options_.file_of(self_, done);
    save(host, writer);
  }
  /// A node that is at a round whose state is due has seen all others at most `reach` rounds before it, and they had
  /// written all but the last of what was due by then. And all have the round from which they went on.
  void remove_useless() {
    auto error = std::error_code{};
    for (; rounds_.size() > older_kept_ + 1; rounds_.erase(rounds_.begin()))
      std::filesystem::remove(options_.file_of(self_, rounds_.front()), error);
    std::erase_if(aside_, [&](std::uint64_t r) {
      return r < rounds_.front() && (std::filesystem::remove(options_.file_of(self_, r) += aside, error), true);
    });
  }
  /// What a former process had done beyond the round that all go back to is of no run any more: it must not be mixed
  /// with what this one does.
  auto put_aside(std::uint64_t round) -> bool {
    auto const file = options_.file_of(self_, round);
    auto error = std::error_code{};
    std::filesystem::rename(file, std::filesystem::path{file} += aside, error);
    if (error) throw run_error{"'" + escaped(file.string()) + "' cannot be renamed: " + error.message()};
    aside_.push_back(round);
    return true;
  }

  checkpoint_options options_;
  std::string subject_;
  node_id self_{};
  bool together_ = false;
  round_state round_;  // at the beginning: how far apart nodes may be
  std::filesystem::path file_;  // of rounds, the newest
  std::vector<std::uint64_t> rounds_;  // of which there are files, in rising order
  std::vector<std::uint64_t> aside_;  // those of files that are kept beside them for a while
  std::optional<std::uint64_t> saved_;  // the last that this process saved
  std::size_t older_kept_ = 2;
  std::uint64_t apart_ = 1;  // so many rounds at most are between this node and any other
  std::optional<std::uint64_t> meets_at_;  // the round at which all end
  std::optional<std::uint64_t> rests_at_;  // the round at which all are saved beside those that are due
  bool foreseen_ = false;  // what meet_after could say was said
  std::optional<std::uint64_t> from_;
  node_statistics before_;
  std::uint32_t resumed_ = 0;
  std::optional<instant> due_;
};

}  // namespace detail

}  // namespace rubato
