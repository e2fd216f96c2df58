// SPDX-License-Identifier: MIT
// A sweep over networks and steps for little time: networks in turn with one step, then steps in turn on the two best
// networks, then the best two of all with a second seed. One run at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "support/tuning.hpp"

namespace bench {

struct turns {
  std::vector<std::string> networks{"star", "binary-tree", "ring", "exponential", "complete"};
  double first_step = 0.0625;
  std::vector<double> further_steps{0.03125, 0.125, 0.015625, 0.25};
  std::uint64_t seed = 101, second_seed = 102;
};

/// A trial with one seed; a refused one has the sentence.
struct tried {
  trial what;
  finish with;
  std::string refused{};
};

/// race's default weather, looked at half as often and for two thirds of the time as in race.
inline void set_turns(race_options& o) {
  o.measure_every = std::chrono::milliseconds{500};
  o.until = std::chrono::seconds{40};
}

/// What all trials of one algorithm showed.
class in_turns {
 public:
  in_turns(competitor c, turns how, race_problem const& problem, race_problem const& second)
      : c_{std::move(c)}, how_{std::move(how)} {
    for (auto const& n : how_.networks) try_once(problem, how_.seed, {how_.first_step, n});
    auto by_network = all_;
    std::stable_sort(by_network.begin(), by_network.end(), sooner);
    for (std::size_t k = 0; k < 2 && k < by_network.size(); ++k)
      for (auto const s : how_.further_steps) {
        if (by_network[k].refused.empty()) try_once(problem, how_.seed, {s, by_network[k].what.network});
      }
    auto best = all_;
    std::stable_sort(best.begin(), best.end(), sooner);
    best_ = best[0].what;
    if (best.size() < 2 || !best[1].refused.empty()) return;
    try_once(second, how_.second_seed, best[0].what);
    try_once(second, how_.second_seed, best[1].what);
    auto const& a = all_[all_.size() - 2].with;
    auto const& b = all_.back().with;
    auto const both_arrive = a.reached && b.reached && best[0].with.reached && best[1].with.reached;
    if (both_arrive ? best[1].with.seconds + b.seconds < best[0].with.seconds + a.seconds : b.reached && !a.reached)
      best_ = best[1].what;
  }

  [[nodiscard]] auto best() const -> trial const& { return best_; }
  /// One row of a table: networks with the first step, further steps on the two best networks, the second seed.
  [[nodiscard]] auto row() const -> std::string {
    auto text = "| " + c_.label + " |";
    for (auto const& t : all_) text += " " + where(t) + cell(t) + " |";
    return text + " " + report::shortest(best_.step) + " on " + best_.network + " |\n";
  }

 private:
  static auto sooner(tried const& a, tried const& b) -> bool { return beats(a.with, b.with); }
  static auto where(tried const& t) -> std::string {
    return t.what.network + " " + report::shortest(t.what.step) + ": ";
  }
  static auto cell(tried const& t) -> std::string {
    if (!t.refused.empty()) return "refused";
    if (t.with.reached) return report::fixed(t.with.seconds, 1) + " s";
    return std::isfinite(t.with.loss) ? "- (" + report::fixed(t.with.loss, 3) + ")" : "diverges";
  }

  /// With the first seed a trial ends when it is later than the best one so far.
  void try_once(race_problem const& problem, std::uint64_t seed, trial t) {
    auto longest = std::chrono::nanoseconds::max();
    for (auto const& done : all_)
      if (seed == how_.seed && done.with.reached)
        longest = std::min(longest, std::chrono::nanoseconds{std::llround(done.with.seconds * 1e9)});
    auto& made = all_.emplace_back(tried{std::move(t), {}});
    try {
      made.with = run_trial(plan_for(c_, made.what, {"default", &set_turns}, seed, problem), problem, longest);
    } catch (config_error const& e) {
      made.refused = e.what();
    }
    std::fprintf(stderr, "%s, seed %d, %s%s\n", c_.label.c_str(), static_cast<int>(seed), where(made).c_str(),
                 (made.refused.empty() ? cell(made) : made.refused).c_str());
  }

  competitor c_;
  turns how_;
  std::vector<tried> all_;
  trial best_;
};

}  // namespace bench
