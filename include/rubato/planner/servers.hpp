// SPDX-License-Identifier: MIT
// The pace of servers that take gradients as they come. Their times are followed gradient by gradient: when a worker's
// gradient arrives, at which version of the model it was computed, whether it counts, and whether a step is made.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <rubato/core/random.hpp>
#include <rubato/planner/detail/timed_link.hpp>
#include <rubato/planner/pace.hpp>
#include <rubato/planner/situation.hpp>

namespace rubato::planner {

/// What a server does with a gradient.
enum class server_rule : std::uint8_t {
  at_once,  ///< asgd: a step for each
  by_duration,  ///< rescaled_asgd: a step for each, in proportion to its time
  below_threshold,  ///< ringmaster_asgd: a step for each that is less than 2 n steps old
  buffered,  ///< fedbuff: a step for each `buffer`, weights falling with age
  collected,  ///< rennala_sgd: a step for each `round_size` at the current model
  one_of_each,  ///< malenia_sgd: a step when every worker has sent one at the current model
  newest_of_each,  ///< dude_asgd: a step for each, along the mean of the newest of all
};

/// Of a few thousand gradients, or of as many as a few steps take. `steps_per_second` is 0 if no step was seen in some
/// millions of gradients (16 millions divided by the workers).
[[nodiscard]] auto server_pace(situation const& s, server_rule rule) -> pace;

#if RUBATO_BODIES
namespace detail {

/// Steps that are to be seen, if that many gradients of all workers show them.
inline constexpr double steps_wanted = 12;
inline constexpr std::size_t arrivals_times_workers = std::size_t{1} << 24;

/// A server and its workers, in time.
class server_clock {
 public:
  server_clock(situation const& s, server_rule rule)
      : s_{&s},
        rule_{rule},
        whole_{s.link, static_cast<double>(s.dimension * s.value_bytes)},
        times_{s.compute, s.workers, s.seed},
        draw_{0x73657276ULL, s.seed},
        workers_(s.workers),
        size_{rule == server_rule::buffered ? s.buffer : s.round_size} {
    if (size_ == 0) size_ = s.workers;
    for (auto i = std::size_t{0}; i < workers_.size(); ++i) give(i, 0, true);
  }

  auto run() -> pace {
    auto const n = workers_.size();
    auto const before = 8 * n, all = before + (std::max)(std::size_t{4000}, 12 * n);
    auto const longest = (std::max)(all, arrivals_times_workers / n);
    // A step may take many gradients. One of more than are followed is not seen at all.
    auto const goes_on = [&] { return steps_ < steps_wanted && group() < longest; };
    for (auto k = std::size_t{0}; k < all || (k < longest && goes_on()); ++k) {
      if (k == before) forget();
      auto next = std::size_t{0};
      for (auto i = std::size_t{1}; i < n; ++i)
        if (workers_[i].arrives < workers_[next].arrives) next = i;
      now_ = workers_[next].arrives;
      take(next);
      give(next, now_, false);
    }
    return counted();
  }

 private:
  struct worker {
    double arrives = 0, took = 0, given = 0;
    std::uint64_t version = 0;
    timed_link up{}, down{};
    // what was counted
    double gradients = 0, weight = 0, squares = 0, periods = 0, squared_periods = 0;
    std::uint64_t in_round = 0;
    std::uint64_t table = 0;  // version of its newest gradient
    double table_given = 0;
    bool has_sent = false;
  };
  struct kept {
    std::uint64_t version;
    double weight, given;
    std::size_t from;
  };

  void give(std::size_t i, double now, bool first) {
    auto& w = workers_[i];
    w.given = now, w.version = version_;
    auto const begins = first ? 0.0 : w.down.arrival(s_->link, whole_, now, draw_);
    w.took = times_(i);
    w.arrives = w.up.arrival(s_->link, whole_, begins + w.took, draw_);
  }

  void forget() {
    from_ = now_, steps_ = gradients_ = age_seconds_ = total_ = 0;
    ages_.clear();
    for (auto& w : workers_) w.gradients = w.weight = w.squares = w.periods = w.squared_periods = 0;
    parts_ = 0;
  }

  void take(std::size_t i) {
    auto& w = workers_[i];
    gradients_ += 1;
    durations_ += w.took, arrived_ += 1;
    auto const period = now_ - w.given;
    auto const delay = version_ - w.version;
    auto const n = workers_.size();
    w.periods += period, w.squared_periods += period * period, w.gradients += 1;
    auto weight = 1.0;
    if (rule_ == server_rule::by_duration) weight = (std::min)(w.took * arrived_ / durations_, s_->weight_cap);
    if (rule_ == server_rule::buffered) weight = 1 / std::sqrt(1 + static_cast<double>(delay));
    if (rule_ == server_rule::below_threshold && delay >= 2 * n) return;
    if ((rule_ == server_rule::collected || rule_ == server_rule::one_of_each) && delay > 0) return;
    if (rule_ == server_rule::newest_of_each) {
      w.table = w.version, w.table_given = w.given;
      if (!w.has_sent) w.has_sent = true, ++have_sent_;
      w.weight += 1;
      if (have_sent_ < n) return;
      auto const apart = 1 + n / 64;  // of a long table, every so many-th entry
      for (std::size_t j = version_ % apart; j < n; j += apart)
        used(version_ - workers_[j].table, 1, workers_[j].table_given);
      return step();
    }
    ++w.in_round;
    if (w.in_round == 1) ++in_this_round_;
    kept_.push_back({w.version, weight, w.given, i});
    if (rule_ == server_rule::one_of_each ? in_this_round_ < n : kept_.size() < group()) return;
    for (auto const& k : kept_) {
      auto& of = workers_[k.from];
      auto const counts = rule_ == server_rule::one_of_each ? 1 / static_cast<double>(of.in_round) : k.weight;
      of.weight += counts, of.squares += counts * counts;
      used(version_ - k.version, counts, k.given);
    }
    kept_.clear();
    for (auto& each : workers_) each.in_round = 0;
    in_this_round_ = 0;
    step();
  }

  [[nodiscard]] auto group() const -> std::size_t {
    return rule_ == server_rule::buffered || rule_ == server_rule::collected ? size_ : 1;
  }
  void step() {
    if (steps_ == 0 && first_ == 0) first_ = now_;
    ++version_, steps_ += 1;
  }
  void used(std::uint64_t age, double weight, double given) {
    std::size_t const q = age;
    if (q >= ages_.size()) ages_.resize(q + 1);
    ages_[q] += weight, total_ += weight;
    age_seconds_ += weight * (now_ - given);
    parts_ += 1;
  }

  [[nodiscard]] auto counted() -> pace {
    auto p = pace{};
    auto const n = static_cast<double>(workers_.size());
    auto const seconds = now_ - from_;
    p.steps_per_second = steps_ / seconds;
    p.gradients_per_second = gradients_ / seconds;
    p.bytes_per_second = 2 * p.gradients_per_second * whole_.bytes * message::tries(s_->link);
    p.first_seconds = first_;
    if (steps_ == 0) return p;
    p.age_seconds = age_seconds_ / total_;
    p.ages = ages_;
    for (auto& a : p.ages) a /= total_;
    weigh(p, n);
    return p;
  }

  /// What a step moves, what each worker counts, and how far that varies.
  void weigh(pace& p, double n) {
    auto const table = rule_ == server_rule::newest_of_each;
    auto weights = 0.0, squares = 0.0, periods = 0.0;
    for (auto const& w : workers_) {
      weights += w.weight, squares += w.squares;
      periods += w.gradients > 0 ? w.periods / w.gradients : 0.0;
    }
    for (auto const& w : workers_) p.weights.push_back(table ? 1 / n : w.weight / weights);
    auto const in_rounds =
        rule_ == server_rule::collected || rule_ == server_rule::one_of_each || rule_ == server_rule::buffered;
    auto const per_step = weights / steps_;  // of all gradients in it
    auto const parts = in_rounds ? (rule_ == server_rule::one_of_each ? n : static_cast<double>(group())) : 1.0;
    p.share = table ? 1 / n : per_step / parts / (in_rounds ? 1.0 : n);
    p.noise = table ? p.steps_per_second * periods / (n * n) : squares / steps_ / (per_step * per_step);
    if (table || rule_ == server_rule::one_of_each) return;
    // Counts of a worker spread as its periods do. Weights by duration pay for the computation, whatever it took.
    for (auto const& w : workers_) {
      if (w.gradients < 2) continue;
      auto const mean = w.periods / w.gradients;
      auto spread = (std::max)(0.0, w.squared_periods / w.gradients / (mean * mean) - 1);
      if (rule_ == server_rule::by_duration) spread *= 1 - (std::min)(1.0, durations_ / arrived_ / mean);
      p.unevenness += spread * w.squares / steps_ / (per_step * per_step);
      if (!in_rounds && w.weight > 0) p.jumps += std::pow(w.squares / w.weight / n, 2) / 12;
    }
  }

  situation const* s_;
  server_rule rule_;
  message whole_;
  drawn_times times_;
  random_stream draw_;
  std::vector<worker> workers_;
  std::size_t size_;
  std::vector<kept> kept_{};
  std::size_t in_this_round_ = 0, have_sent_ = 0;
  std::uint64_t version_ = 0;
  double now_ = 0, from_ = 0, first_ = 0;
  double steps_ = 0, gradients_ = 0, durations_ = 0, arrived_ = 0, age_seconds_ = 0, total_ = 0, parts_ = 0;
  std::vector<double> ages_{};
};

}  // namespace detail

RUBATO_INLINE auto server_pace(situation const& s, server_rule rule) -> pace {
  return detail::server_clock{s, rule}.run();
}
#endif  // RUBATO_BODIES

}  // namespace rubato::planner
