// SPDX-License-Identifier: MIT
// What the planner says, beside the simulator, in situations of bench/planner.cpp and with few algorithms: steps,
// gradients and bytes a second within 10 % in three, and its choice among the best two of eight in one.
#include <rubato/planner/choice.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>

#include "../../bench/support/planner_trials.hpp"
#include "support/catch.hpp"

namespace {

using namespace rubato;
using space = backend::host<double>;

constexpr planner::candidate few[] = {{"ring_allreduce_sgd", ""}, {"d_psgd", "ring"}, {"d_psgd", "exponential"},
                                      {"d_psgd", "complete"},     {"asgd", ""},       {"ad_psgd", "ring"},
                                      {"ad_psgd", "exponential"}, {"r_fast", "star"}};

template<class Node>
auto made(topology::pair const& network, problem::quadratic const& p, double step) -> assembly {
  auto o = typename Node::options{};
  o.step = step;
  return assemble<Node>(network, p, o);
}
auto assembled(planner::candidate const& c, topology::pair const& network, problem::quadratic const& p, double step,
               planner::situation const&) -> assembly {
  if (c.algorithm == "ring_allreduce_sgd") return made<ring_allreduce_sgd<space>>(network, p, step);
  if (c.algorithm == "d_psgd") return made<d_psgd<space>>(network, p, step);
  if (c.algorithm == "asgd") return made<asgd<space>>(network, p, step);
  if (c.algorithm == "ad_psgd") return made<ad_psgd<space>>(network, p, step);
  return made<r_fast<space>>(network, p, step);
}

}  // namespace

TEST_CASE("the planner's rates are those of the simulator within 10 %") {
  for (auto const seed : {100'201U, 100'202U, 100'203U}) {
    auto const s = bench::random_situation(seed);
    for (auto const& c : few) {
      auto const says = planner::pace_of(s, c);
      auto const shows =
          bench::measured(s, c, 200 / says.gradients_per_second * static_cast<double>(s.workers), &assembled);
      INFO(seed << ", " << c.algorithm << " " << c.network);
      if (c.algorithm != "ad_psgd" && c.algorithm != "r_fast")
        CHECK(says.steps_per_second == Approx(shows.steps).epsilon(0.1));
      CHECK(says.gradients_per_second == Approx(shows.gradients).epsilon(0.1));
      CHECK(says.bytes_per_second == Approx(shows.bytes).epsilon(0.1));
    }
  }
}

TEST_CASE("the planner's choice is among the best two of eight in the simulator") {
  for (auto const seed : {100'201U}) {
    auto const s = bench::random_situation(seed);
    auto const all = planner::predictions_of(s, few);
    auto const pick = planner::choose(all).place;
    auto const best_of = [&](planner::prediction const& p, double longest) {
      for (auto const factor : {1.0, 2.0, 0.5}) {
        auto const took = bench::seconds_to_target(s, p.of, factor * bench::step_to_try(p), longest, {&assembled});
        longest = std::fmin(longest, took.median);
      }
      return longest;
    };
    auto const bound = 10 * all[pick].run.seconds + 1;
    auto const own = best_of(all[pick], bound);
    REQUIRE(own < bound);
    auto sooner = 0;
    for (auto k = std::size_t{0}; k < all.size(); ++k) sooner += k != pick && best_of(all[k], own) < own ? 1 : 0;
    INFO(seed << ", " << all[pick].of.algorithm << " " << all[pick].of.network);
    CHECK(sooner <= 1);
  }
}
