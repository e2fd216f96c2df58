// SPDX-License-Identifier: MIT
#include <rubato/planner/useful_workers.hpp>

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace rubato;
using namespace rubato::planner;

namespace {

/// The rate of decay per step of x_{k+1} = x_k - h x_{k-q} from x = 1, as the recursion shows it.
auto run_of(double h, std::size_t q) -> double {
  std::vector<double> past(q + 1, 1.0);  // past[k % (q+1)] is x_{k-q} until it is overwritten
  auto x = 1.0, peak = 0.0, peak_early = 0.0;
  constexpr auto early = std::size_t{2000}, late = std::size_t{4000}, window = std::size_t{400};
  for (auto k = std::size_t{0}; k < late + window; ++k) {
    auto const old = past[k % (q + 1)];
    past[k % (q + 1)] = x -= h * old;
    if (k >= early && k < early + window) peak_early = std::fmax(peak_early, std::abs(x));
    if (k >= late) peak = std::fmax(peak, std::abs(x));
  }
  return std::log(peak_early / peak) / static_cast<double>(late - early);
}

}  // namespace

TEST_CASE("a delayed step is stable up to 2 sin(pi/(2(2q+1)))") {
  CHECK(stability_limit(0) == Approx(2));
  CHECK(stability_limit(1) == Approx(1));
  CHECK(stability_limit(2) == Approx(0.61803).epsilon(1e-5));
  CHECK(stability_limit(5) == Approx(0.28463).epsilon(1e-5));
  CHECK(stability_limit(10) == Approx(0.14946).epsilon(1e-4));
  CHECK(stability_limit(20) == Approx(0.07661).epsilon(1e-4));
}

TEST_CASE("with fixed times the rate is that of the slowest root, and of the recursion itself") {
  constexpr std::size_t n[] = {1, 2, 4, 6, 8, 9, 12, 19, 30};
  constexpr double rates[] = {0.0512932944, 0.1084613232, 0.2485480034, 0.4552565512, 1.0550823563,
                              0.9579020481, 0.7300010088, 0.3824118702, 0.0453937274};
  for (auto k = std::size_t{0}; k < std::size(n); ++k)
    CHECK(decay_rate(0.05, n[k], 0) == Approx(rates[k]).epsilon(1e-9));
  CHECK(decay_rate(0.05, 32, 0) < 0);
  CHECK(decay_rate(0.02, 78, 0) > 0);
  for (auto const workers : {19, 30})
    CHECK(workers * run_of(0.05, static_cast<std::size_t>(workers) - 1) ==
          Approx(decay_rate(0.05, static_cast<std::size_t>(workers), 0)).epsilon(0.02));
}

TEST_CASE("the useful number of workers is 8.4 and 19.4, and divergence is near 32 and 79.5, with fixed times") {
  auto const large = useful_workers(0.05, 0);
  CHECK(large.best == Approx(8.4).margin(0.05));
  CHECK(large.diverges_near == Approx(32.4).margin(0.05));
  CHECK(large.workers == 8);
  CHECK(large.rate == Approx(1.0550823563).epsilon(1e-9));
  CHECK(large.stable_to == 31);
  auto const small_step = useful_workers(0.02, 0);
  CHECK(small_step.best == Approx(19.4).margin(0.05));
  CHECK(small_step.diverges_near == Approx(79.5).margin(0.05));
  CHECK(small_step.workers == 19);
  CHECK(small_step.rate == Approx(1.0234219029).epsilon(1e-9));
  CHECK(small_step.stable_to == 79);
  CHECK(useful_workers(3, 0).stable_to == 0);
}

TEST_CASE("with memoryless times more workers neither help nor hurt beyond 1/(4h)") {
  auto const found = useful_workers(0.05, 1);
  CHECK(found.best == Approx(5));
  CHECK(found.workers == 5);
  CHECK(found.rate == Approx(0.5).epsilon(1e-6));
  CHECK(found.diverges_near == std::numeric_limits<double>::infinity());
  CHECK(found.stable_to == useful_number::any);
  CHECK(decay_rate(0.05, 4, 1) == Approx(0.2763932023).epsilon(1e-9));
  CHECK(decay_rate(0.05, 1000, 1) == Approx(0.5));
  CHECK(useful_workers(0.02, 1).best == Approx(12.5));
}

TEST_CASE("with times between fixed and memoryless, the useful number is between theirs") {
  auto const four = useful_workers(0.05, 0.5);  // shape 4
  CHECK(four.workers == 7);
  CHECK(four.rate == Approx(0.7787318738).epsilon(1e-9));
  CHECK(four.stable_to == 45);
  auto const sixteen = useful_workers(0.05, 0.25);
  CHECK(sixteen.workers == 8);
  CHECK(sixteen.rate == Approx(0.877490853).epsilon(1e-9));
  CHECK(sixteen.stable_to == 34);
}

TEST_CASE("a mode that hardly moves bears as many workers as can be counted") {
  constexpr auto any = useful_number::any;
  for (auto const variation : {0.0, 0.5}) {
    auto const found = useful_workers(1e-25, variation);
    CHECK(found.best > 1e23);
    CHECK(found.stable_to == any);
    CHECK(found.workers == any);
    CHECK(found.rate == Approx(1e-25 * static_cast<double>(any)).epsilon(1e-5));  // h n, while that is far below 1
  }
  CHECK(useful_workers(1e-310, 0).stable_to == any);
  CHECK(decay_rate(2e-9, 99'999'999, 0) == Approx(decay_rate(2e-9, 100'000'001, 0)).epsilon(1e-6));  // both forms
  CHECK(decay_rate(1e-8, 99'999'999, 0) == Approx(decay_rate(1e-8, 100'000'001, 0)).epsilon(1e-6));
  CHECK(useful_workers(1e-12, 0).rate == Approx(1).epsilon(1e-6));
}

TEST_CASE("noise makes more workers useful, slow ones least") {
  std::vector<double> const equal(16, 1.0), mixed{1, 1, 1, 1, 50};
  CHECK(useful_workers_in_noise(equal, 0) == 1);
  CHECK(useful_workers_in_noise(equal, 3) == 16);
  CHECK(useful_workers_in_noise(mixed, 0) == 1);
  CHECK(useful_workers_in_noise(mixed, 10) == 4);
  CHECK(useful_workers_in_noise(mixed, 1000) == 5);
}

TEST_CASE("modes and times that are none are refused by a sentence") {
  using test::refusal, test::says;
  CHECK(says(refusal([] { static_cast<void>(useful_workers(-0.1, 0)); }), "positive number, not -0.1"));
  CHECK(says(refusal([] { static_cast<void>(useful_workers(0.1, -1)); }), "spread of gradient times"));
  CHECK(says(refusal([] { static_cast<void>(decay_rate(0.1, 0, 0)); }), "without workers"));
  CHECK(says(refusal([] { static_cast<void>(useful_workers_in_noise({}, 1)); }), "at least one"));
  std::vector<double> const falling{2, 1};
  CHECK(says(refusal([&] { static_cast<void>(useful_workers_in_noise(falling, 1)); }), "worker 1 has 1 after 2"));
}
