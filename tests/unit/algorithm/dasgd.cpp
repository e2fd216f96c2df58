// SPDX-License-Identifier: MIT
#include <rubato/algorithm/dasgd.hpp>
#include <rubato/step/lazily_projected.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/backend/lanes.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/server_scenes.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using host = backend::host<double>;
using step::delay_growth, step::lazily_projected;

/// x of f = x^2 / 2 on [-2, 2] from 2, with gradients that are min(k, floor(k^0.9)) steps old and steps 3 s(k + 2).
auto with_growing_delays(delay_growth delays, double first_step, std::size_t steps) -> std::vector<double> {
  lazily_projected const its{2, delays, 2};
  auto space = host{};
  lazily_projected::state<host> state{its, space, 1};
  std::vector<double> x{2};
  for (std::size_t k = 0; k < steps; ++k) {
    auto const delay = std::min(k, static_cast<std::size_t>(std::pow(static_cast<double>(k), 0.9)));
    backend::scalar_lanes<double> at{0};
    x.push_back(state.next(first_step)(at, x[k], x[k - delay]));
  }
  return x;
}

TEST_CASE("(Dl.Y) with delays that grow, steps of 1/k swing, and those of 1/(k ln k) converge: golden values") {
  auto const largest_from = [](std::vector<double> const& x, std::size_t k) {
    auto largest = 0.0;
    for (; k < x.size(); ++k) largest = std::max(largest, std::abs(x[k]));
    return largest;
  };
  auto const fast = with_growing_delays(delay_growth::bounded, 1.5, 200000);
  CHECK(fast[100000] == Approx(-0.0205).margin(5e-5));
  CHECK(largest_from(fast, 100001) == Approx(0.679).margin(5e-4));
  auto const slow = with_growing_delays(delay_growth::linear, 3 / (2 * std::log(2.0)), 200000);
  CHECK(slow[100000] == Approx(-0.00472).margin(5e-6));
  CHECK(largest_from(slow, 100001) == Approx(0.00472).margin(5e-6));
}

TEST_CASE("sizes of lazily projected steps begin at 1 and fall as they say, and bad settings are refused") {
  CHECK(lazily_projected{1, delay_growth::bounded, 10}.factor(0) == 1);
  CHECK(lazily_projected{1, delay_growth::bounded, 10}.factor(10) == Approx(0.5));
  auto const s = [](double t) { return 1 / (t * std::log(t) * std::log(std::log(t))); };
  CHECK(lazily_projected{1, delay_growth::polynomial, 16}.factor(84) == Approx(s(100) / s(16)));
  CHECK(says(refusal([] { lazily_projected{0}; }), "bound of lazily projected steps"));
  CHECK(says(refusal([] { lazily_projected{1, delay_growth::linear, 1}; }), "at least 2"));
  CHECK(says(refusal([] { lazily_projected{1, delay_growth::polynomial, 8}; }), "at least 16"));
}

TEST_CASE("dasgd comes to the frequency-weighted optimum without a remainder of the step, or to the end of its box") {
  dasgd<host>::options o;
  o.step = 0.05;
  o.scale = step_scale::raw;
  o.step_rule = lazily_projected{100, delay_growth::bounded, 1000};
  auto const at = [&] { return watched<dasgd<host>>(four_workers(), four_times(), o, 40000s).x[0]; };
  CHECK(at() == Approx(2.1).margin(0.02));  // one gradient moves it by 0.016 there
  asgd<host>::options constant;
  constant.step = 0.05;
  constant.scale = step_scale::raw;
  CHECK(std::abs(watched<asgd<host>>(four_workers(), four_times(), constant, 40000s).x[0] - 2.1) > 0.1);
  o.step_rule = lazily_projected{1.5, delay_growth::bounded, 1000};
  CHECK(at() == 1.5);
}

}  // namespace
}  // namespace rubato::test
