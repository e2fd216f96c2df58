// SPDX-License-Identifier: MIT
// How one node of a run stands, as plain data that its driver publishes while it runs, and the board from which others
// read it at any time.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/core/statistics.hpp>
#include <rubato/run/result.hpp>

namespace rubato {

/// What is said of a run while it goes on.
enum class log_level : std::uint8_t {
  news,      ///< all: also what is good, as a peer that has come back
  warnings,  ///< what may spoil the result: lost peers, warnings
};

/// How a neighbour stands, as far as a node knows.
enum class standing : std::uint8_t {
  awaited,  ///< it has not come yet
  here,
  waiting,  ///< it has waited for another node for long
  lost,     ///< it died or fell silent, and has not come back
  left,     ///< it has ended its run in order
};

constexpr auto name_of(standing s) -> std::string_view {
  constexpr std::string_view names[] = {"awaited", "here", "waiting", "lost", "left"};
  return names[static_cast<std::size_t>(s)];
}

/// A neighbour, and what went to and came from it so far over all channels.
struct neighbour_status {
  node_id peer{};
  standing is = standing::awaited;
  std::string why{};  ///< it was lost
  std::uint64_t packets_sent = 0;
  std::uint64_t bytes_sent = 0;  ///< bodies and headers
  std::uint64_t packets_lost = 0;  ///< dropped here
  std::uint64_t delivered = 0;
  std::uint64_t bytes_received = 0;  ///< of bodies; 0 under drivers of one process, which do not count them
  std::uint64_t refused = 0;  ///< models of it that the node did not let in (run/admission.hpp)
  bool sends = false;  ///< this node uses what it sends
  age_counter age{};  ///< of its messages where this node used them, from the beginning
  /// The mean age of what was used in the last seconds. Where nothing was, it grows as time passes. NaN if nothing was
  /// used yet.
  double recent_age_s = std::numeric_limits<double>::quiet_NaN();
};

/// All that a node tells of itself. Times are on the run's clock, and begin when all nodes have come.
struct node_status {
  enum class phase : std::uint8_t { arriving, running, ended };
  node_id id{};
  std::size_t of = 0;  ///< number of nodes of the run, servers included
  std::string algorithm, network;
  phase at = phase::arriving;
  std::chrono::nanoseconds ran{};
  std::uint64_t iterations = 0;
  std::uint64_t gradients = 0;  ///< computed
  std::uint64_t dropped = 0;  ///< of these, no longer wanted
  std::uint64_t resident_bytes = 0;  ///< memory of the process; 0: not known
  bool tracks = false;  ///< its algorithm has a tracking law, and a look has been taken
  std::string waits{};  ///< for which message it waits; empty: it does not
  std::vector<neighbour_status> neighbours;

  // What the board adds.
  double iterations_a_second = 0;  ///< these three: in the last seconds
  double gradients_a_second = 0;
  double bytes_a_second = 0;  ///< sent
  /// The last look at this node alone, and the last of which a loss is known: `loss` is that of its own model, and
  /// `tracking_residual` its own share of the tracking law (local_residual).
  std::optional<measurement> newest{}, measured{};
  std::vector<measurement> history{};  ///< such looks in order, thinned to some hundred; those with a loss stay first
  std::vector<std::string> said{};  ///< the last sentences about the run

  [[nodiscard]] auto bytes_sent() const -> std::uint64_t {
    std::uint64_t all = 0;
    for (auto const& n : neighbours) all += n.bytes_sent;
    return all;
  }
};

/// The last loss that was measured; NaN if none was.
[[nodiscard]] inline auto newest_loss(node_status const& s) -> double {
  return s.measured ? s.measured->loss : std::numeric_limits<double>::quiet_NaN();
}
/// The last share of the tracking law; NaN if the node has no such law, or nobody has looked yet.
[[nodiscard]] inline auto newest_residual(node_status const& s) -> double {
  return s.tracks && s.newest ? s.newest->tracking_residual : std::numeric_limits<double>::quiet_NaN();
}

/// Memory of this process that is in use; 0 where /proc does not say.
[[nodiscard]] inline auto resident_bytes() -> std::uint64_t {
  auto const file = std::unique_ptr<std::FILE, int (*)(std::FILE*)>{std::fopen("/proc/self/statm", "re"), &std::fclose};
  auto all = 0UL, resident = 0UL;
  if (!file || std::fscanf(file.get(), "%lu %lu", &all, &resident) != 2) return 0;
  return std::uint64_t{resident} * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

constexpr auto name_of(node_status::phase p) -> std::string_view {
  constexpr std::string_view names[] = {"arriving", "running", "ended"};
  return names[static_cast<std::size_t>(p)];
}

/// The newest status of one node. What was read from it is never written again.
/// **Thread safety:** any thread may call anything; each call holds a lock for as long as it takes to copy some
/// hundred numbers.
class status_board {
 public:
  static constexpr std::size_t most_looks = 240;
  static constexpr std::size_t most_said = 30;
  static constexpr std::size_t most_marks = 64;  ///< publications that rates look back to
  static constexpr auto every = std::chrono::milliseconds{250};  ///< between two publications
  static constexpr auto window = std::chrono::seconds{3};  ///< of the last seconds, on the run's clock

  /// Whether the next status of this phase is due. `at` is on the node's clock, as all times here.
  [[nodiscard]] auto is_due(node_status::phase p, instant at) const -> bool {
    std::scoped_lock const hold{lock_};
    return now_.of == 0 || now_.at != p || at - marks_.back().at >= every;
  }

  void publish(node_status s, instant at) {
    std::scoped_lock const hold{lock_};
    while (marks_.size() > 1 && (at - marks_.front().at > window || marks_.size() >= most_marks)) marks_.pop_front();
    add_rates(s, at);
    add_recent_ages(s, at);
    s.newest = now_.newest;
    s.measured = now_.measured;
    s.history = std::move(now_.history);
    s.said = std::move(now_.said);
    now_ = std::move(s);
    marks_.push_back({at, now_.iterations, now_.gradients, now_.bytes_sent(), now_.neighbours});
    changed_ = true;
  }

  /// A look at the node. History keeps one in each gap, the last with a loss if there is one.
  void add(measurement const& m) {
    std::scoped_lock const hold{lock_};
    now_.newest = m;
    if (has_loss(m)) now_.measured = m;
    auto& all = now_.history;
    auto const is_near = all.size() > 1 && m.at < all[all.size() - 2].at + gap_;
    if (!is_near) all.push_back(m);
    else if (has_loss(m) || !has_loss(all.back())) all.back() = m;
    if (all.size() > most_looks) thin(all);
    changed_ = true;
  }

  void say(std::string sentence) {
    std::scoped_lock const hold{lock_};
    if (now_.said.size() >= most_said) now_.said.erase(now_.said.begin());
    now_.said.push_back(std::move(sentence));
    changed_ = true;
  }

  /// The run has failed, so that no last status follows.
  void end() {
    std::scoped_lock const hold{lock_};
    now_.at = node_status::phase::ended;
    changed_ = true;
  }

  /// Never null; `of` is 0 before the first publication.
  [[nodiscard]] auto newest() const -> std::shared_ptr<node_status const> {
    std::scoped_lock const hold{lock_};
    if (std::exchange(changed_, false)) read_ = std::make_shared<node_status const>(now_);
    return read_;
  }

 private:
  struct mark {  // an earlier publication
    instant at;
    std::uint64_t iterations, gradients, bytes;
    std::vector<neighbour_status> neighbours;
  };

  [[nodiscard]] static auto has_loss(measurement const& m) -> bool { return !std::isnan(m.loss); }

  /// Keeps the first look, and one of each two that follow. Requires an odd number of them.
  void thin(std::vector<measurement>& all) {
    gap_ = (std::max)(2 * gap_, 2 * (all.back().at - all.front().at) / static_cast<std::int64_t>(most_looks));
    for (std::size_t k = 1; 2 * k < all.size(); ++k) {
      auto const is_first = has_loss(all[2 * k - 1]) && !has_loss(all[2 * k]);
      all[k] = all[is_first ? 2 * k - 1 : 2 * k];
    }
    all.resize((all.size() + 1) / 2);
  }

  void add_rates(node_status& s, instant at) const {
    if (marks_.empty() || at <= marks_.front().at) return;
    auto const& then = marks_.front();
    auto const seconds = std::chrono::duration<double>(at - then.at).count();
    auto const rate = [&](std::uint64_t now, std::uint64_t was) {
      return now < was ? 0.0 : static_cast<double>(now - was) / seconds;
    };
    s.iterations_a_second = rate(s.iterations, then.iterations);
    s.gradients_a_second = rate(s.gradients, then.gradients);
    s.bytes_a_second = rate(s.bytes_sent(), then.bytes);
  }

  void add_recent_ages(node_status& s, instant at) const {
    if (marks_.empty()) return;
    for (auto& n : s.neighbours) {
      auto const& then = find(marks_.front().neighbours, n.peer);
      if (n.age.uses > then.age.uses) {
        n.recent_age_s = (n.age.total_ns - then.age.total_ns) / 1e9 / static_cast<double>(n.age.uses - then.age.uses);
        continue;
      }
      auto const& last = find(marks_.back().neighbours, n.peer);
      auto const passed = std::chrono::duration<double>(at - marks_.back().at).count();
      n.recent_age_s = last.recent_age_s + passed;  // NaN where nothing was used yet
    }
  }
  [[nodiscard]] static auto find(std::vector<neighbour_status> const& all, node_id peer) -> neighbour_status const& {
    static neighbour_status const none{};
    auto const at = std::find_if(all.begin(), all.end(), [&](auto const& n) { return n.peer == peer; });
    return at == all.end() ? none : *at;
  }

  mutable std::mutex lock_;
  node_status now_;
  std::deque<mark> marks_;  // of the last seconds
  std::chrono::nanoseconds gap_{};  // between two looks that are kept
  mutable bool changed_ = true;
  mutable std::shared_ptr<node_status const> read_;
};

/// Of the nodes of a run that live in one process: one each, in their order.
using status_boards = std::vector<std::shared_ptr<status_board>>;

}  // namespace rubato
