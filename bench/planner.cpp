// SPDX-License-Identifier: MIT
// What the planner predicts, beside what the simulator shows.
//   bench_planner rates [SITUATIONS] [FIRST_SEED]             steps, gradients and bytes a second of every candidate
//   bench_planner forecasts [SITUATIONS] [FIRST_SEED] [RUNS]  seconds to the target of every candidate with the
//                                                             planner's step
//   bench_planner pick [SITUATIONS] [FIRST_SEED] [RUNS]       is the candidate that it takes among the best two?
// Situations are drawn at random (support/planner_trials.hpp). The models were built on seeds from 1 on; figures are of
// seeds from 100001 on. Of a candidate and a step the median of RUNS runs counts (an odd number; 3 if it is not given):
// they share machines, links and problem, and differ in everything that is drawn on the way. For the pick each
// candidate runs with the step that the planner gives it, half and twice that, and its best step counts. All times are
// virtual. Status 1 if a goal is missed.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/rubato.hpp>

#include "support/jobs.hpp"
#include "support/planner_trials.hpp"

namespace {

using namespace bench;
using space = backend::host<double>;

template<class Node>
auto made(topology::pair const& network, problem::quadratic const& p, double step, planner::situation const& s)
    -> assembly {
  auto o = typename Node::options{};
  o.step = step, o.seed = s.seed;
  return assemble<Node>(network, p, o);
}

auto assembled(planner::candidate const& c, topology::pair const& network, problem::quadratic const& p, double step,
               planner::situation const& s) -> assembly {
  using make = auto (*)(topology::pair const&, problem::quadratic const&, double, planner::situation const&)->assembly;
  static std::map<std::string_view, make> const all{{"ring_allreduce_sgd", &made<ring_allreduce_sgd<space>>},
                                                    {"byte_grad", &made<byte_grad<space>>},
                                                    {"m_synchronous_sgd", &made<m_synchronous_sgd<space>>},
                                                    {"d_psgd", &made<d_psgd<space>>},
                                                    {"asgd", &made<asgd<space>>},
                                                    {"rescaled_asgd", &made<rescaled_asgd<space>>},
                                                    {"ringmaster_asgd", &made<ringmaster_asgd<space>>},
                                                    {"rennala_sgd", &made<rennala_sgd<space>>},
                                                    {"malenia_sgd", &made<malenia_sgd<space>>},
                                                    {"fedbuff", &made<fedbuff<space>>},
                                                    {"dude_asgd", &made<dude_asgd<space>>},
                                                    {"ad_psgd", &made<ad_psgd<space>>},
                                                    {"r_fast", &made<r_fast<space>>}};
  return all.at(c.algorithm)(network, p, step, s);
}

/// The largest deviations of predictions, candidate by candidate.
auto check_rates(std::size_t situations, std::uint64_t first) -> bool {
  constexpr auto count = std::size(planner::candidates);
  struct ratios {
    double steps, gradients, bytes;
  };
  std::vector<std::vector<ratios>> found(situations, std::vector<ratios>(count));
  for_all_jobs(situations, [&](std::size_t k) {
    auto const s = random_situation(first + k);
    for (auto c = std::size_t{0}; c < count; ++c) {
      auto const says = planner::pace_of(s, planner::candidates[c]);
      auto const length = 600 / says.steps_per_second * (planner::candidates[c].network == "star" ? 4 : 1) +
                          (says.steps_per_second > 400 ? 10 : 0);
      auto const shows = measured(s, planner::candidates[c], length, &assembled);
      found[k][c] = {says.steps_per_second / shows.steps, says.gradients_per_second / shows.gradients,
                     says.bytes_per_second / shows.bytes};
    }
  });
  auto holds = true;
  std::printf("predicted / simulated, least and largest of %zu situations\n", situations);
  for (auto c = std::size_t{0}; c < count; ++c) {
    auto const print = [&](char const* what, double ratios::* which) {
      auto least = 1e9, most = 0.0;
      auto outside = 0;
      for (auto const& each : found) {
        auto const r = each[c].*which;
        least = std::fmin(least, r), most = std::fmax(most, r);
        outside += r >= 0.9 && r <= 1.1 ? 0 : 1;
      }
      std::printf("  %s %.3f to %.3f%s", what, least, most, outside > 0 ? "" : ";");
      if (outside > 0) std::printf(" (%d outside of 10 %%);", outside);
      holds = holds && outside == 0;
    };
    std::printf("%-26s", planner::title(planner::candidates[c]).c_str());
    auto const by_node = planner::candidates[c].algorithm == "ad_psgd" || planner::candidates[c].algorithm == "r_fast";
    if (!by_node) print("steps", &ratios::steps);
    print("gradients", &ratios::gradients), print("bytes", &ratios::bytes);
    std::printf("\n");
  }
  return holds;
}

/// The two fastest candidates but the pick, and the pick: seconds to the target, each the best of its steps.
struct ranking {
  double own = never, best = never, second = never;
  static constexpr auto never = std::numeric_limits<double>::infinity();
  void add(double time) {
    if (time < best) second = best, best = time;
    else second = std::fmin(second, time);
  }
  /// Whether a candidate of that time is at least second.
  [[nodiscard]] auto is_among_two(double time) const -> bool { return std::isfinite(time) && time <= second; }
  [[nodiscard]] auto is_first() const -> bool { return is_among_two(own) && own <= best; }
};

/// What became of one situation.
struct verdict {
  std::string picked, first;
  double says = 0, shows = 0;  // seconds of the pick with the planner's step
  ranking any, stable;  // of all three steps, and of those that are not above the planner's limit
  ranking single;  // of all three steps, the first run of each alone
  std::vector<std::string> best_two{};  // who are, the pick or not
  double step = 0, limit = 0;
  bool none = false;
};

/// The best of three steps, of those of them that are stable, and of the first runs.
struct best_times {
  double any = ranking::never, stable = ranking::never, single = ranking::never;
};
auto best_of(planner::situation const& s, planner::prediction const& p, double longest, trials const& how)
    -> best_times {
  auto found = best_times{};
  for (auto const factor : {1.0, 2.0, 0.5}) {
    auto const step = factor * step_to_try(p);
    auto const bound = std::fmin(longest, std::fmax(found.stable, found.single));
    auto const time = seconds_to_target(s, p.of, step, bound, how);
    found.any = std::fmin(found.any, time.median), found.single = std::fmin(found.single, time.first);
    if (step <= p.step_limit) found.stable = std::fmin(found.stable, time.median);
  }
  return found;
}

/// No candidate is followed for longer than the second fastest so far, so that who is not among the best two costs
/// little.
auto judged(planner::situation const& s, trials const& how) -> verdict {
  auto const all = planner::predictions_of(s);
  auto const pick = planner::choose(all).place;
  verdict v;
  v.picked = planner::title(all[pick].of);
  v.says = all[pick].run.seconds, v.step = all[pick].run.step, v.limit = all[pick].step_limit;
  if (!std::isfinite(v.says)) {
    v.none = true;
    return v;
  }
  auto const horizon = std::fmax(60.0, 3 * v.says);
  auto const allowed = std::fmin(20 * v.says + 1, horizon);
  v.shows = seconds_to_target(s, all[pick].of, all[pick].run.step, allowed, how).median;
  auto const own = best_of(s, all[pick], allowed, how);
  v.any.own = own.any, v.stable.own = own.stable, v.single.own = own.single;
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return all[a].run.seconds < all[b].run.seconds; });
  std::vector<std::pair<double, std::string>> times{{own.any, v.picked}};
  for (auto const k : order) {
    if (k == pick || !(all[k].run.step > 0)) continue;
    auto const bound = std::fmax(v.stable.second, v.single.second);
    auto const its = best_of(s, all[k], std::fmin(bound, allowed), how);
    v.any.add(its.any), v.stable.add(its.stable), v.single.add(its.single);
    if (std::isfinite(its.any)) times.emplace_back(its.any, planner::title(all[k].of));
  }
  std::stable_sort(times.begin(), times.end(), [](auto const& a, auto const& b) { return a.first < b.first; });
  v.first = times[0].second;
  for (auto k = std::size_t{0}; k < times.size() && (k < 2 || times[k].first == times[1].first); ++k)
    if (std::isfinite(times[k].first)) v.best_two.push_back(times[k].second);
  return v;
}

auto check_picks(std::size_t situations, std::uint64_t first, trials const& how) -> bool {
  std::vector<verdict> found(situations);
  for_all_jobs(situations, [&](std::size_t k) {
    found[k] = judged(random_situation(first + k), how);
    auto const& v = found[k];
    std::fprintf(stderr, "%llu: %s, says %.3g s, shows %.3g s, step %.3g of %.3g, n %zu target %.2g%s\n",
                 static_cast<unsigned long long>(first + k), v.picked.c_str(), v.says, v.shows, v.step, v.limit,
                 random_situation(first + k).workers, random_situation(first + k).target,
                 v.none ? ", none comes there"
                 : v.any.is_first()
                     ? ""
                     : (", " + std::to_string(v.any.own / v.any.best) + " of the time of " + v.first).c_str());
  });
  std::size_t best = 0, two = 0, strict = 0, stable = 0, single = 0, judged = 0, within = 0;
  std::map<std::string, int> picks, among_two;
  std::vector<double> over, right;
  for (auto const& v : found) {
    if (v.none) continue;
    ++judged, ++picks[v.picked];
    best += v.any.is_first(), two += v.any.is_among_two(v.any.own), strict += v.any.is_among_two(v.shows);
    stable += v.stable.is_among_two(v.stable.own), single += v.single.is_among_two(v.single.own);
    over.push_back((std::max)(1.0, v.any.own / v.any.best)), right.push_back(v.says / v.shows);
    within += over.back() <= 1.1;
    for (auto const& each : v.best_two) ++among_two[each];
  }
  std::sort(over.begin(), over.end()), std::sort(right.begin(), right.end());
  auto const share = [&](std::size_t of) { return 100.0 * static_cast<double>(of) / static_cast<double>(judged); };
  std::printf("%zu situations, %zu with a candidate that comes to the target, %zu candidates\n", situations, judged,
              std::size(planner::candidates));
  std::printf(
      "the pick is first in %.1f %%, among the best two in %.1f %% (goal: 90 %%); with the planner's own step "
      "beside the best of three of all others in %.1f %%; without steps above the stability limit in %.1f %%; by one "
      "run of each in %.1f %%\n",
      share(best), share(two), share(strict), share(stable), share(single));
  std::printf("within 10 %% of the best in %.1f %%; over the best: median %.3f, 90 %% %.3f, worst %.3f\n",
              share(within), over[over.size() / 2], over[over.size() * 9 / 10], over.back());
  std::printf("predicted / simulated seconds of the pick: 10 %% %.3f, median %.3f, 90 %% %.3f\n",
              right[right.size() / 10], right[right.size() / 2], right[right.size() * 9 / 10]);
  std::printf("taken, and among the best two: what always taking that one would come to\n");
  for (auto const& [name, count] : among_two)
    std::printf("  %-26s %3d times, %5.1f %%\n", name.c_str(), picks.contains(name) ? picks[name] : 0,
                share(static_cast<std::size_t>(count)));
  return share(two) >= 90;
}

/// Predicted over simulated seconds to the target of every candidate, each with the planner's step: shares of where the
/// planner is too hopeful or too timid.
auto show_forecasts(std::size_t situations, std::uint64_t first, trials const& how) -> bool {
  constexpr auto count = std::size(planner::candidates);
  std::vector<std::vector<double>> found(situations, std::vector<double>(count));
  for_all_jobs(situations, [&](std::size_t k) {
    auto const s = random_situation(first + k);
    auto const all = planner::predictions_of(s, planner::candidates);
    for (auto const& p : all) {
      auto const c = static_cast<std::size_t>(
          std::find_if(std::begin(planner::candidates), std::end(planner::candidates),
                       [&](auto const& x) { return planner::title(x) == planner::title(p.of); }) -
          std::begin(planner::candidates));
      if (!std::isfinite(p.run.seconds) || p.run.seconds > 60) continue;
      found[k][c] = p.run.seconds / seconds_to_target(s, p.of, p.run.step, 6 * p.run.seconds + 0.1, how).median;
    }
  });
  std::printf("predicted / simulated seconds to the target, with the planner's step; 0: it does not come there\n");
  for (auto c = std::size_t{0}; c < count; ++c) {
    auto ratios = std::vector<double>{};
    for (auto const& each : found)
      if (each[c] > 0) ratios.push_back(each[c]);
    auto const missed = std::count_if(found.begin(), found.end(), [&](auto const& each) { return each[c] == 0; });
    std::sort(ratios.begin(), ratios.end());
    if (ratios.empty()) continue;
    std::printf("  %-26s %3zu: 10 %% %.3f, median %.3f, 90 %% %.3f (%td neither or too long)\n",
                planner::title(planner::candidates[c]).c_str(), ratios.size(), ratios[ratios.size() / 10],
                ratios[ratios.size() / 2], ratios[ratios.size() * 9 / 10], missed);
  }
  return true;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  auto const what = argc > 1 ? std::string{argv[1]} : std::string{};
  auto const count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : (what == "rates" ? 40ULL : 200ULL);
  auto const first = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 100'001ULL;
  auto const how = trials{&assembled, argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 3U};
  try {
    if (how.runs % 2 == 0) throw config_error{"RUNS must be an odd number, so that there is a median"};
    if (what == "rates") return check_rates(count, first) ? 0 : 1;
    if (what == "pick") return check_picks(count, first, how) ? 0 : 1;
    if (what == "forecasts") return show_forecasts(count, first, how) ? 0 : 1;
    std::fprintf(stderr, "usage: bench_planner rates|pick|forecasts [SITUATIONS] [FIRST_SEED] [RUNS]\n");
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_planner: %s\n", e.what());
  }
  return 2;
}
