// SPDX-License-Identifier: MIT
// Slow links on real threads: they behave as in the simulator.
#include <rubato/driver/threads.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <rubato/driver/simulate.hpp>
#include <rubato/wire/frame.hpp>

#include "support/catch.hpp"
#include "threads/scripted.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

constexpr auto frame = wire::header_bytes + sizeof(double);

/// A link on which a packet of one value takes this long.
auto slow_link(std::chrono::nanoseconds sending) -> environment::scenario {
  environment::scenario s;
  s.compute = environment::fixed(1ns);  // the simulator refuses 0
  s.link.bits_per_second = 8e9 * static_cast<double>(frame) / static_cast<double>(sending.count());
  s.measure_every = 5ms;
  return s;
}

auto letter(channel_id channel, std::uint64_t number, instant now) -> packet {
  packet p;
  p.from = node_id{0};
  p.to = node_id{1};
  p.channel = channel;
  p.number = iteration{number};
  p.posted_at = now;
  p.body = one_value();
  return p;
}

/// Node 0 posts `count` packets at once on each channel; node 1 asks for the gradient that ends the run when it has
/// seen the last one of each.
auto burst(std::vector<channel_id> const& lanes, std::uint64_t count) -> assembly {
  auto const post = [=](instant now, outbox& out) {
    for (std::uint64_t k = 1; k <= count; ++k)
      for (auto const channel : lanes) out.packets.push_back(letter(channel, k, now));
  };
  auto const receive = [=, last = std::size_t{0}](instant, patch const& p, outbox& out) mutable {
    if (to_count(p.number_of(0)) != count || ++last != lanes.size()) return;
    out.request = gradient_request{ticket{1}, one_value(), {}};
  };
  return scripted_run({{.at_start = post}, {.at_patch = receive}});
}

TEST_CASE("while a link is busy only the newest posted state is kept for sending, on threads as in the simulator") {
  auto const on_threads = GENERATE(true, false);
  CAPTURE(on_threads);
  auto const weather = slow_link(10ms);
  auto const end = until{.time = 5min, .gradients = 1};
  auto const result = on_threads ? run_threads(burst({channel_id::model}, 1000), weather, end)
                                 : simulate(burst({channel_id::model}, 1000), weather, end);
  CHECK(result.stopped == stop_reason::gradients);  // the newest came
  CHECK(result.ended >= 20ms);
  REQUIRE(result.edges.size() == 1);
  CHECK(result.edges[0].packets_sent == 2);
  CHECK(result.history.back().bytes_sent == 2 * frame);
  CHECK(result.edges[0].conflated == 998);
  CHECK(result.edges[0].delivered == 2);
  CHECK(result.events == 3);  // a gradient and two deliveries
}

TEST_CASE("channels that wait for one link on threads each send their newest") {
  auto const result =
      run_threads(burst({channel_id::model, channel_id::tracker}, 50), slow_link(5ms), {.time = 5min, .gradients = 1});
  CHECK(result.stopped == stop_reason::gradients);
  REQUIRE(result.edges.size() == 2);
  CHECK(result.edges[0].packets_sent == 2);  // the first found the link free
  CHECK(result.edges[1].packets_sent == 1);
  CHECK(result.edges[0].conflated == 48);
  CHECK(result.edges[1].conflated == 49);
}

TEST_CASE("events on a slow link on threads queue, and all arrive in order") {
  auto const seen = std::make_shared<std::vector<std::uint64_t>>();
  auto a = burst({channel_id::chunk}, 20);
  auto const receive = [seen](instant, patch const& p, outbox& out) {
    seen->push_back(to_count(p.number_of(0)));
    if (seen->size() == 20) out.request = gradient_request{ticket{1}, one_value(), {}};
  };
  a.nodes[1] = any_node{scripted{.at_patch = receive}};
  auto const result = run_threads(std::move(a), slow_link(1ms), {.time = 5min, .gradients = 1});
  REQUIRE(result.edges.size() == 1);
  CHECK(result.edges[0].packets_sent == 20);
  CHECK(result.edges[0].conflated == 0);
  std::vector<std::uint64_t> expected;
  for (std::uint64_t k = 1; k <= 20; ++k) expected.push_back(k);
  CHECK(*seen == expected);
}

TEST_CASE("a link on threads carries no more than its bandwidth, however often a node posts") {
  auto const sending = std::chrono::nanoseconds{2ms};
  auto const posted = std::make_shared<std::uint64_t>(0);
  auto const post = [posted](instant now, outbox& out) {
    out.packets.push_back(letter(channel_id::model, ++*posted, now));
    out.request = gradient_request{ticket{1}, one_value(), {}};
  };
  auto const result = run_threads(scripted_run({{.at_start = post, .at_gradient = post}, {}}), slow_link(sending),
                                  {.gradients = 20000});
  REQUIRE(result.edges.size() == 1);
  auto const& e = result.edges[0];
  CHECK(e.conflated > 0);
  CHECK(static_cast<std::int64_t>(e.packets_sent - 1) * sending <= result.ended);
  CHECK(e.packets_sent + e.conflated + 1 >= *posted);  // one may wait when the run ends; none vanishes
}

}  // namespace
}  // namespace rubato::test
