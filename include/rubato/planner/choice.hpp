// SPDX-License-Identifier: MIT
// All algorithms that a planner has a model of, on the networks where they are worth it, and which of them it takes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/planner/forecast.hpp>
#include <rubato/planner/pace.hpp>
#include <rubato/planner/peers.hpp>
#include <rubato/planner/rounds.hpp>
#include <rubato/planner/servers.hpp>
#include <rubato/planner/situation.hpp>
#include <rubato/topology/builders.hpp>

namespace rubato::planner {

/// An algorithm, by its name in README's table, on a network, by the name that topology::by_name takes ("": its own).
struct candidate {
  std::string_view algorithm;
  std::string_view network;
};
/// "d_psgd on ring".
[[nodiscard]] auto title(candidate const& c) -> std::string;

inline constexpr candidate candidates[] = {{"ring_allreduce_sgd", ""},
                                           {"byte_grad", ""},
                                           {"m_synchronous_sgd", ""},
                                           {"d_psgd", "ring"},
                                           {"d_psgd", "exponential"},
                                           {"d_psgd", "complete"},
                                           {"asgd", ""},
                                           {"rescaled_asgd", ""},
                                           {"ringmaster_asgd", ""},
                                           {"rennala_sgd", ""},
                                           {"malenia_sgd", ""},
                                           {"fedbuff", ""},
                                           {"dude_asgd", ""},
                                           {"ad_psgd", "exponential"},
                                           {"r_fast", "star"}};

struct prediction {
  candidate of;
  pace moves;
  double step_limit = 0;  ///< the largest stable step, as the option `step`
  forecast run;
};

/// Throws config_error if there is no model of this algorithm, or if it cannot run with so many workers.
[[nodiscard]] auto pace_of(situation const& s, candidate const& c) -> pace;
/// Of these candidates, in the given order; among several, m_synchronous_sgd is left out if a round has more
/// gradients than there are workers, and a network that is an earlier one by another name (of two nodes, ring,
/// exponential and complete are one). Throws config_error as situation::check and pace_of.
[[nodiscard]] auto predictions_of(situation const& s, std::span<candidate const> of = candidates)
    -> std::vector<prediction>;

/// Which one the planner takes, by its place, and why.
struct choice {
  std::size_t place = 0;
  std::string reason;
};
/// The one that is first at the target, or if none comes there the one that comes nearest; *requires* one at least.
[[nodiscard]] auto choose(std::span<prediction const> from) -> choice;

#if RUBATO_BODIES
RUBATO_INLINE auto title(candidate const& c) -> std::string {
  return std::string{c.algorithm} + (c.network.empty() ? "" : " on " + std::string{c.network});
}

namespace detail {

RUBATO_INLINE auto comes_before(prediction const& a, prediction const& b) -> bool {
  if (a.run.seconds != b.run.seconds) return a.run.seconds < b.run.seconds;
  return a.run.floor < b.run.floor;
}

RUBATO_INLINE auto reason_for(prediction const& best, prediction const* second) -> std::string {
  if (!(best.run.floor < std::numeric_limits<double>::infinity()))
    return "none comes to the target, and none nearer to it: all diverge or make no step";
  if (!(best.run.seconds < std::numeric_limits<double>::infinity()))
    return "none comes to the target; " + title(best.of) + " comes nearest: noise and bias alone leave " +
           with_digits(best.run.floor, 3) + " of the first loss";
  auto text = title(best.of) + " comes to the target in " + with_digits(best.run.seconds, 3) + " s, after " +
              with_digits(best.run.steps, 3) + " steps";
  if (second != nullptr && second->run.seconds < std::numeric_limits<double>::infinity()) {
    auto const steps = second->run.steps / best.run.steps;
    auto const rate = best.moves.steps_per_second / second->moves.steps_per_second;
    auto const times = second->run.seconds / best.run.seconds;
    text += "; next is " + title(second->of);
    text += times < 1.005
                ? std::string{", as fast"}
                : ", in " + with_digits(times, 3) + " times that, since it makes " + with_digits(1 / rate, 3) +
                      " times as many steps a second and needs " + with_digits(steps, 3) + " times as many";
  } else if (second != nullptr) {
    text += "; no other comes there";
  }
  auto const age = best.moves.mean_age();
  if (age > 0.5) text += "; its gradients are " + with_digits(age, 3) + " steps old on average";
  return text;
}

}  // namespace detail

RUBATO_INLINE auto pace_of(situation const& s, candidate const& c) -> pace {
  auto const graph = [&] { return topology::by_name(c.network, s.workers); };
  if (c.algorithm == "ring_allreduce_sgd") return ring_allreduce_pace(s);
  if (c.algorithm == "byte_grad") return byte_grad_pace(s);
  if (c.algorithm == "m_synchronous_sgd") return m_synchronous_pace(s);
  if (c.algorithm == "d_psgd") return gossip_pace(s, graph());
  if (c.algorithm == "ad_psgd") return ad_psgd_pace(s, graph());
  if (c.algorithm == "r_fast" && c.network == "star") return r_fast_on_star_pace(s);
  constexpr std::pair<std::string_view, server_rule> servers[] = {{"asgd", server_rule::at_once},
                                                                  {"rescaled_asgd", server_rule::by_duration},
                                                                  {"ringmaster_asgd", server_rule::below_threshold},
                                                                  {"rennala_sgd", server_rule::collected},
                                                                  {"malenia_sgd", server_rule::one_of_each},
                                                                  {"fedbuff", server_rule::buffered},
                                                                  {"dude_asgd", server_rule::newest_of_each}};
  for (auto const& [name, rule] : servers)
    if (c.algorithm == name) return server_pace(s, rule);
  throw config_error{"the planner has no model of " + title(c)};
}

RUBATO_INLINE auto predictions_of(situation const& s, std::span<candidate const> of) -> std::vector<prediction> {
  s.check();
  auto all = std::vector<prediction>{};
  auto const is_there = [&](candidate const& c) {
    return std::any_of(all.begin(), all.end(), [&](prediction const& p) {
      return !c.network.empty() && p.of.algorithm == c.algorithm &&
             topology::by_name(p.of.network, s.workers) == topology::by_name(c.network, s.workers);
    });
  };
  for (auto const& c : of) {
    if (c.algorithm == "m_synchronous_sgd" && s.round_size > s.workers && of.size() > 1) continue;
    if (is_there(c)) continue;
    auto p = prediction{.of = c, .moves = pace_of(s, c), .run = {}};
    p.step_limit = largest_step(s, p.moves);
    p.run = forecast_of(s, p.moves);
    all.push_back(std::move(p));
  }
  return all;
}

RUBATO_INLINE auto choose(std::span<prediction const> from) -> choice {
  RUBATO_EXPECTS(!from.empty(), "a planner chooses among one candidate or more");
  auto order = std::vector<prediction const*>{};
  for (auto const& p : from) order.push_back(&p);
  std::sort(order.begin(), order.end(), [](auto const* a, auto const* b) {
    return detail::comes_before(*a, *b) || (!detail::comes_before(*b, *a) && std::less{}(a, b));  // as given
  });
  return {static_cast<std::size_t>(order[0] - from.data()),
          detail::reason_for(*order[0], order.size() > 1 ? order[1] : nullptr)};
}
#endif  // RUBATO_BODIES

}  // namespace rubato::planner
