// SPDX-License-Identifier: MIT
// Paces, forecasts and the choice, on situations of which the answer is known.
#include <rubato/planner/choice.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace rubato;
using namespace rubato::planner;
using namespace std::chrono_literals;

namespace {

/// Four workers of 1, 2, 4 and 8 s a gradient, and links that cost nothing.
auto four() -> situation {
  situation s;
  s.workers = 4, s.dimension = 8;
  s.compute = environment::fixed(1s).slow(1, 2).slow(2, 4).slow(3, 8);
  return s;
}

auto seconds_of(pace const& p) -> double { return 1 / p.steps_per_second; }

}  // namespace

TEST_CASE("rounds take the time of what they wait for") {
  auto s = four();
  CHECK(seconds_of(ring_allreduce_pace(s)) == Approx(8));
  CHECK(seconds_of(byte_grad_pace(s)) == Approx(8));
  CHECK(seconds_of(m_synchronous_pace(s)) == Approx(8));
  CHECK(seconds_of(gossip_pace(s, topology::ring(4))) == Approx(8));
  s.round_size = 2;
  CHECK(seconds_of(m_synchronous_pace(s)) == Approx(2));
  s.round_size = 0, s.link.latency = 3s;
  CHECK(seconds_of(m_synchronous_pace(s)) == Approx(8 + 2 * 3));
  CHECK(seconds_of(byte_grad_pace(s)) == Approx(8 + 2 * 3));
  CHECK(seconds_of(gossip_pace(s, topology::ring(4))) == Approx(8));  // models travel while gradients are computed
  auto even = s;
  even.compute = environment::fixed(1s);
  CHECK(seconds_of(ring_allreduce_pace(even)) == Approx(1 + 6 * 3));  // 2 (n-1) hops
  s.link.latency = 12s;
  CHECK(seconds_of(gossip_pace(s, topology::ring(4))) == Approx(12));
}

TEST_CASE("servers take gradients as fast as workers and links make them, at a mean age of n - 1 steps") {
  auto s = four();
  auto const once = server_pace(s, server_rule::at_once);
  CHECK(once.steps_per_second == Approx(1.875).epsilon(0.01));
  CHECK(once.mean_age() == Approx(3).margin(0.05));
  CHECK(once.share == Approx(0.25));
  CHECK(once.weights[0] == Approx(1 / 1.875).epsilon(0.01));
  CHECK(once.weights[3] == Approx(0.125 / 1.875).epsilon(0.01));
  auto const paid = server_pace(s, server_rule::by_duration);
  for (auto const w : paid.weights) CHECK(w == Approx(0.25).epsilon(0.02));
  s.buffer = 4;
  auto const four_at_once = server_pace(s, server_rule::buffered);
  CHECK(four_at_once.steps_per_second == Approx(0.46875).epsilon(0.01));
  s.link.latency = 1s;
  CHECK(server_pace(s, server_rule::at_once).steps_per_second ==
        Approx(1 / 3.0 + 1 / 4.0 + 1 / 6.0 + 1 / 10.0).epsilon(0.01));
}

TEST_CASE("a link that loses sends again, and a busy one sets the pace") {
  auto s = four();
  s.link.loss = 0.2;
  auto const body = static_cast<double>(s.dimension * s.value_bytes + wire::header_bytes);
  CHECK(ring_allreduce_pace(s).bytes_per_second ==
        Approx(24 * (body - 3 * 8.0) / 0.8 / 8).epsilon(0.01));  // 2 (n-1) n messages of a quarter of the values
  CHECK(server_pace(s, server_rule::at_once).bytes_per_second == Approx(2 * 1.875 * body / 0.8).epsilon(0.01));
  s.link = {.bits_per_second = 8 * body / 20};  // a model takes 20 s
  CHECK(seconds_of(gossip_pace(s, topology::ring(4))) == Approx(20).epsilon(0.01));
  CHECK(seconds_of(m_synchronous_pace(s)) == Approx(48).epsilon(0.01));
}

TEST_CASE("the largest step of a server is that of delayed steps, and rounds bear 2 over the curvature") {
  situation s;
  s.workers = 8, s.compute = environment::fixed(1s), s.steepest = 2;
  CHECK(largest_step(s, m_synchronous_pace(s)) == Approx(2 / s.steepest).epsilon(1e-3));
  auto const limit = 8 * 2 * std::sin(3.14159265358979 / (2 * 15)) / s.steepest;  // of h = step/8 x curvature, delay 7
  CHECK(largest_step(s, server_pace(s, server_rule::at_once)) == Approx(limit).epsilon(0.03));
}

TEST_CASE("without noise a forecast of rounds is that of gradient descent") {
  situation s;
  s.workers = 4, s.compute = environment::fixed(1s), s.flattest = s.steepest = 1, s.target = 1e-4;
  auto const f = forecast_of(s, m_synchronous_pace(s), 0.1);
  CHECK(f.steps == std::ceil(std::log(1e-4) / (2 * std::log(0.9))));
  CHECK(f.seconds == Approx(f.steps).epsilon(0.01));
  CHECK(forecast_of(s, m_synchronous_pace(s), 2.5).seconds == std::numeric_limits<double>::infinity());
}

TEST_CASE("nodes that wait for nobody move when they have computed, from the model that they began at") {
  auto s = four();
  s.workers = 2, s.spread = 0;
  auto p = ad_psgd_pace(s, topology::ring(2));
  auto const mean_at = [&](double seconds) {
    auto nodes = planner::detail::coupled_nodes{s, p, 0.5, 1};
    nodes.advance(1 +
                  (seconds - p.first_seconds) * p.steps_per_second);  // the mean model's first step: at first_seconds
    return std::sqrt(nodes.squared());
  };
  p.couplings.assign(4, 0);  // gradient descent of each: one has made a step a second, the other one in 2 s
  CHECK(mean_at(1.1) == Approx((0.5 + 1) / 2));
  CHECK(mean_at(2.1) == Approx((0.25 + 0.5) / 2));
  CHECK(mean_at(4.1) == Approx((0.0625 + 0.25) / 2));
  p.couplings = {0, 2, 2, 0}, p.coupling_seconds = 0;  // together within a quarter of a second
  CHECK(mean_at(1.1) == Approx(0.75));
  CHECK(mean_at(2.1) == Approx(0.75 - (0.5 * 0.5 + 0.5 * 1) / 2));  // the slower one's gradient is at the start
}

TEST_CASE("where one machine is slow the choice waits for nobody, and says why") {
  situation s;
  s.workers = 8, s.compute = environment::fixed(10ms).slow(7, 100), s.link.latency = 1ms;
  auto const all = predictions_of(s);
  CHECK(all.size() == std::size(candidates));
  auto const taken = choose(all);
  auto const pick = std::string{all[taken.place].of.algorithm};
  CHECK(pick == "rescaled_asgd");
  CHECK(test::says(taken.reason, "comes to the target in"));
  for (auto const& p : all) CHECK(p.run.seconds >= all[taken.place].run.seconds);
}

TEST_CASE("a step of more gradients than a few thousand is followed, and one that is not seen is never chosen") {
  auto s = four();
  s.buffer = 3000;
  CHECK(server_pace(s, server_rule::buffered).steps_per_second == Approx(1.875 / 3000).epsilon(0.1));
  s.buffer = std::size_t{1} << 40;
  auto const unseen = server_pace(s, server_rule::buffered);
  CHECK(unseen.steps_per_second == 0);
  constexpr auto infinity = std::numeric_limits<double>::infinity();
  CHECK(forecast_of(s, unseen).floor == infinity);
  CHECK(forecast_of(s, unseen, 0.1).seconds == infinity);
  s.noise = 1, s.target = 1e-9;
  constexpr candidate two[] = {{"fedbuff", ""}, {"asgd", ""}};
  auto const all = predictions_of(s, two);
  auto const taken = choose(all);
  CHECK(taken.place == 1);
  CHECK(test::says(taken.reason, "none comes to the target; asgd comes nearest"));
  CHECK(all[1].run.floor > s.target);
  CHECK(test::says(choose(predictions_of(s, std::span{two, 1})).reason, "all diverge or make no step"));
}

TEST_CASE("where none comes to the target, the one is taken that noise keeps least far from it") {
  situation s;
  s.workers = 4, s.compute = environment::fixed(10ms), s.flattest = s.steepest = 1, s.noise = 1, s.target = 1e-9;
  constexpr candidate two[] = {{"asgd", ""}, {"m_synchronous_sgd", ""}};
  auto const p = m_synchronous_pace(s);
  // x <- x - step (x + noise / 2) rests at the variance step / (2 - step) / 4.
  CHECK(forecast_of(s, p, 0.5).floor == Approx(0.5 / 1.5 / 4).epsilon(0.02));
  auto const all = predictions_of(s, two);
  auto const least = all[0].run.floor < all[1].run.floor ? 0U : 1U;
  CHECK(choose(all).place == least);
  CHECK(forecast_of(s, p).floor < forecast_of(s, p, all[1].step_limit / 8).floor);
}

TEST_CASE("a round of more gradients than workers ends for rennala_sgd, and never for m_synchronous_sgd") {
  auto s = four();
  s.round_size = 6;
  CHECK(server_pace(s, server_rule::collected).steps_per_second > 0);
  constexpr candidate two[] = {{"m_synchronous_sgd", ""}, {"rennala_sgd", ""}};
  auto const all = predictions_of(s, two);
  REQUIRE(all.size() == 1);
  CHECK(all[0].of.algorithm == "rennala_sgd");
  auto const said = test::refusal([&] { static_cast<void>(predictions_of(s, std::span{two, 1})); });
  CHECK(test::says(said, "cannot take 6 gradients from 4 workers: it would never end"));
}

TEST_CASE("nodes that never hear of each other in time do not come to a common model") {
  situation s;
  s.workers = 8, s.compute = environment::fixed(10ms), s.link.latency = 60s;
  auto const p = ad_psgd_pace(s, topology::exponential(8));
  CHECK(p.shared_seconds == Approx(120));
  CHECK(p.couplings[1] > 0);
  CHECK(p.couplings[1] < 1 / 120.0);
  CHECK(forecast_of(s, p).seconds == Approx(120));
  s.link.latency = 1ms;
  CHECK(ad_psgd_pace(s, topology::exponential(8)).shared_seconds == Approx(0.002));
}

TEST_CASE("a network that has two names is planned once") {
  situation s;
  s.workers = 2, s.compute = environment::fixed(10ms);
  auto const all = predictions_of(s);
  CHECK(all.size() == std::size(candidates) - 2);  // d_psgd on exponential and on complete
  s.workers = 4;
  CHECK(predictions_of(s).size() == std::size(candidates));
}

TEST_CASE("a situation that cannot be is refused by a sentence") {
  using test::refusal, test::says;
  auto const refused = [](auto change) {
    situation s;
    change(s);
    return refusal([&] { s.check(); });
  };
  CHECK(refused([](situation&) {}).empty());
  CHECK(says(refused([](auto& s) { s.workers = 0; }), "at least two workers, not 0"));
  CHECK(says(refused([](auto& s) { s.workers = 1; }), "at least two workers, not 1"));
  CHECK(says(refused([](auto& s) { s.workers = 513; }), "at most 512 of them, not 513"));
  CHECK(says(refused([](auto& s) { s.link.bursts = {.begin = 1, .end = 1e-20, .loss = 1}; }), "at most 0.99"));
  CHECK(refused([](auto& s) { s.link.loss = 0.99, s.round_size = 9; }).empty());
  CHECK(says(refused([](auto& s) { s.weight_cap = 0.5; }), "at least 1, which is the mean weight"));
  CHECK(says(refused([](auto& s) { s.flattest = 2; }), "at least the least one"));
  CHECK(says(refused([](auto& s) { s.curvature_spread = 0.6; }), "0 to 0.577"));
  CHECK(says(refused([](auto& s) { s.flattest = 1e-300; }), "at least 1e-30, and they"));
  CHECK(says(refused([](auto& s) { s.spread = 1e300; }), "at most 1e30, not 1e+300"));
  CHECK(says(refused([](auto& s) { s.target = 1; }), "above 0 and below 1"));
  CHECK(says(refused([](auto& s) { s.noise = -1; }), "noise of a gradient"));
  CHECK(says(refused([](auto& s) { s.link.loss = 1; }), "loss of a link"));
  CHECK(says(refused([](auto& s) { s.compute = environment::fixed(0s); }), "more than no time"));
  auto const fast = environment::fixed(1ms);
  CHECK(says(refused([&](auto& s) { s.compute = fast, s.link.latency = 10min; }), "a message takes as long as 6e+05"));
  CHECK(refused([&](auto& s) { s.compute = fast, s.link.latency = 100s; }).empty());
  CHECK(says(refused([&](auto& s) { s.compute = environment::fixed(1ms).slow(1, 1e6); }),
             "a gradient of the slowest worker takes as long as 1e+06"));
  CHECK(says(refused([](auto& s) { s.step = 1e-12; }), "largest curvature must be at least 1e-04, not 1e-12"));
  CHECK(says(refused([](auto& s) { s.value_bytes = 3; }), "4 or 8 bytes"));
  CHECK(says(refusal([] { static_cast<void>(pace_of(situation{}, {"matcha", ""})); }), "no model of matcha"));
}
