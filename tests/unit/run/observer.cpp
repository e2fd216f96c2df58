// SPDX-License-Identifier: MIT
// Observers and stop tokens by themselves, and under the simulator; the ready ones; and the bridge from signals.
#include <rubato/run/observer.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/report/csv.hpp>
#include <rubato/report/progress.hpp>
#include <rubato/run/stop_on_signals.hpp>
#include <rubato/run/stop_when_flat.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/full_disk.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node_type = r_fast<backend::host<double>>;

auto calm() -> environment::scenario {
  return {.compute = environment::fixed(10ms), .link = {.latency = 1ms}, .measure_every = 100ms};
}
auto run_with(simulate_options const& by, until const& end = {.time = 10s}) -> run_result {
  return simulate<node_type>(topology::both(topology::ring(3)), problem::quadratic::random(3, 4, 5), {.step = 0.05},
                             calm(), end, by);
}
auto seen_at(std::chrono::nanoseconds at, double loss) -> look { return {{.at = at, .loss = loss}, {}}; }

TEST_CASE("a measurement contains the entry of the history and every node's model, shared and not copied") {
  std::vector<measurement> seen;
  std::vector<shared_buffer> kept;
  auto const result = run_with({.watching = {[&](look const& l) {
                                  seen.push_back(l.seen);
                                  kept.assign(l.models.begin(), l.models.end());
                                  return seen.size() == 9 ? verdict::stop : verdict::go_on;
                                }}});
  REQUIRE(seen.size() == result.history.size());
  for (std::size_t k = 0; k < seen.size(); ++k) {
    CHECK(seen[k].at == result.history[k].at);
    CHECK(seen[k].loss == result.history[k].loss);
  }
  REQUIRE(kept.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(kept[i].view<double>().data() == result.models[i].view<double>().data());
}

TEST_CASE("the bytes of a look are those sent up to it, and those of the last look are the sum over all edges") {
  auto weather = calm();
  weather.link.loss = 0.3;
  auto const result = simulate<node_type>(topology::both(topology::ring(3)), problem::quadratic::random(3, 4, 5),
                                          {.step = 0.05}, weather, {.time = 1005ms});
  REQUIRE(result.history.size() == 12);
  CHECK(result.history.front().bytes_sent == 0);
  for (std::size_t k = 1; k < result.history.size(); ++k)
    CHECK(result.history[k].bytes_sent > result.history[k - 1].bytes_sent);
  std::uint64_t sum = 0;
  for (auto const& e : result.edges) sum += e.bytes_sent;
  CHECK(result.history.back().bytes_sent == sum);
}

TEST_CASE("an observer can end the run at a measurement, in order, and each of several observers sees it") {
  auto first = 0, second = 0;
  auto const result = run_with({.watching = {[&](look const&) { return ++first == 5 ? verdict::stop : verdict::go_on; },
                                             [&](look const&) { ++second; }}});
  CHECK(result.stopped == stop_reason::observer);
  CHECK(name_of(result.stopped) == "observer");
  CHECK(result.ended == 400ms);
  CHECK(result.history.size() == 5);
  CHECK(first == 5);
  CHECK(second == 5);
  CHECK(result.models.size() == 3);

  auto const at_once = run_with({.watching = {[](look const&) { return verdict::stop; }}});
  CHECK(at_once.stopped == stop_reason::observer);
  CHECK(at_once.ended == 0ms);
}

TEST_CASE("an observer's exception passes through, and measuring does not change a run") {
  CHECK_THROWS_AS(run_with({.watching = {[](look const&) { throw std::range_error{"enough"}; }}}), std::range_error);
  CHECK(run_with({.watching = {[](look const&) {}}}).history.back().loss == run_with({}).history.back().loss);
}

TEST_CASE("a stop token ends a run from outside, and an unused token ends none") {
  stop_source source;
  CHECK(run_with({.stop = source.get_token()}, {.time = 1s}).stopped == stop_reason::time);
  auto const result = run_with({.watching = {[&](look const& l) {
                                  if (l.seen.at >= 300ms) source.request_stop();
                                }},
                                .stop = source.get_token()});
  CHECK(result.stopped == stop_reason::interrupted);
  CHECK(result.ended == 300ms);
}

/// Its loss is not a number once so many looks have seen it.
struct forgetful {
  problem::quadratic inner;
  std::shared_ptr<int> looks = std::make_shared<int>(0);
  [[nodiscard]] auto dimension() const -> std::size_t { return inner.dimension(); }
  auto gradient(backend::host<double>& b, std::span<double const> x, sample_key key, std::span<double> g) const
      -> double {
    return inner.gradient(b, x, key, g);
  }
  [[nodiscard]] auto loss(backend::host<double>&, std::span<double const>) const -> double {
    return ++*looks > 3 ? std::numeric_limits<double>::quiet_NaN() : 1.0;
  }
};

TEST_CASE("a run that only a target loss can end does not go on for ever once its loss is not a number") {
  auto const made = [] {
    return assemble<node_type>(topology::both(topology::ring(3)), forgetful{problem::quadratic::random(3, 4, 5)},
                               {.step = 0.05});
  };
  auto const by_loss = until{.target_loss = 0.5};
  auto const words = [](auto&& run) {
    try {
      run();
    } catch (run_error const& e) {
      return std::string{e.what()};
    }
    return std::string{};
  };
  CHECK(says(words([&] { simulate(made(), calm(), by_loss); }), "the loss is not a number at 0.3 s"));
  CHECK(says(words([&] { run_threads(made(), {.measure_every = 1ms}, by_loss); }), "give it a time too"));
  CHECK(simulate(made(), calm(), {.time = 2s, .target_loss = 0.5}).stopped == stop_reason::time);
}

TEST_CASE("stop_when_flat waits for its patience after the last fall that counts") {
  auto const nan = std::numeric_limits<double>::quiet_NaN();
  auto flat = stop_when_flat{3s, 0.1};
  CHECK(flat(seen_at(0s, 10)) == verdict::go_on);
  CHECK(flat(seen_at(2s, 8)) == verdict::go_on);    // a fifth less
  CHECK(flat(seen_at(4s, 7.3)) == verdict::go_on);  // too little
  CHECK(flat(seen_at(4500ms, nan)) == verdict::go_on);
  CHECK(flat(seen_at(4900ms, 100)) == verdict::go_on);
  CHECK(flat(seen_at(5s, 7.25)) == verdict::stop);
  CHECK(flat(seen_at(6s, 7.1)) == verdict::go_on);  // less than 8 by more than a tenth
  auto from_infinity = stop_when_flat{3s, 0.1};
  CHECK(from_infinity(seen_at(0s, std::numeric_limits<double>::infinity())) == verdict::go_on);
  CHECK(from_infinity(seen_at(2s, 10)) == verdict::go_on);
  CHECK(from_infinity(seen_at(4s, 10)) == verdict::go_on);  // two seconds after it fell
  CHECK(says(refusal([] { stop_when_flat{0s}; }), "a patience above 0"));
  CHECK(says(refusal([&] { stop_when_flat(1s, nan); }), "a tolerance that is a number from 0 up"));

  auto const result = run_with({.watching = {stop_when_flat{1s, 1e-6}}}, {.time = 1h});
  CHECK(result.stopped == stop_reason::observer);
  auto const& h = result.history;
  REQUIRE(h.size() > 11);
  CHECK(h[h.size() - 12].loss - h.back().loss < 1e-5 * h.front().loss);
}

TEST_CASE("a history is written as it grows, and is what history_csv writes in the end") {
  scratch_folder const folder{"observer"};
  auto const path = (folder.path() / "history.csv").string();
  auto rows = std::vector<std::size_t>{};
  auto const result = run_with({.watching = {report::history_to_csv{path, "r, fast"},
                                             [&](look const&) { rows.push_back(content_of(path).size()); }}},
                               {.time = 500ms});
  for (std::size_t k = 1; k < rows.size(); ++k) CHECK(rows[k] > rows[k - 1]);
  auto named = result;
  named.algorithm = "r, fast";
  CHECK(content_of(path) == report::history_csv(std::vector{named}));
  CHECK(
      says(refusal([&] { report::history_to_csv{(folder.path() / "no" / "x").string(), "a"}; }), "cannot be written"));
  auto const full = [&] {
    auto const writer = report::history_to_csv{(folder.path() / "full").string(), "a"};
    full_disk const disk{100};
    for (auto k = 0; k < 10; ++k) writer(seen_at(1s, 1));
  };
  CHECK_THROWS_AS(full(), run_error);
}

TEST_CASE("progress draws how far a run has come by the nearer of its ends") {
  auto* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  {
    auto const bar = report::progress{{.time = 100s, .gradients = 200}, "mine", report::progress_mode::always, file};
    auto const drawn = std::chrono::steady_clock::now() + report::progress_bar::pause;
    while (std::chrono::steady_clock::now() <= drawn) std::this_thread::yield();
    bar({{.at = 25s, .gradients = 100}, {}});
  }
  std::rewind(file);
  char text[400] = {};
  CHECK(std::fread(text, 1, sizeof text - 1, file) > 0);
  CHECK(std::string{text}.find("mine ") != std::string::npos);
  CHECK(std::string{text}.find(" 50 %") != std::string::npos);
  std::fclose(file);
}

TEST_CASE("the first signal requests a stop, one handler at a time, and the earlier handlers are restored") {
  struct sigaction before{}, after{};
  ::sigaction(SIGTERM, nullptr, &before);
  {
    stop_on_signals const signals;
    auto const token = signals.token();
    CHECK(!token.stop_requested());
    CHECK(!signals.heard());
    CHECK_THROWS_AS(stop_on_signals{}, run_error);
    detail::signal_bridge::once_ns = std::numeric_limits<std::int64_t>::max();  // at once, however slow the machine is
    ::raise(SIGTERM);
    ::raise(SIGINT);  // the same word
    CHECK(signals.heard());
    auto const deadline = std::chrono::steady_clock::now() + 10s;
    while (!token.stop_requested() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    CHECK(token.stop_requested());
  }
  ::sigaction(SIGTERM, nullptr, &after);
  CHECK(after.sa_handler == before.sa_handler);
  stop_on_signals const another;
  CHECK(!another.heard());
}

TEST_CASE("a second signal ends the program as usual") {
  auto const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    stop_on_signals const signals;
    ::raise(SIGTERM);
    detail::signal_bridge::once_ns = 0;  // half a second has passed
    ::raise(SIGTERM);
    ::_exit(0);
  }
  auto status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGTERM);
}

}  // namespace
}  // namespace rubato::test
