// SPDX-License-Identifier: MIT
// Measuring and observing while threads run, and what happens to the threads when that fails.
#include <rubato/driver/threads.hpp>

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "threads/scripted.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;

/// Computes gradients for ever.
auto busy() -> scripted {
  auto const ask = [](instant, outbox& out) { out.request = gradient_request{ticket{1}, one_value(), {}}; };
  return {.at_start = ask, .at_gradient = ask};
}

/// Asks for nothing and is told nothing: its thread sleeps.
auto idle() -> scripted { return {}; }

struct throws_when_measured {
  std::shared_ptr<std::atomic<int>> calls = std::make_shared<std::atomic<int>>(0);
  [[nodiscard]] auto dimension() const -> std::size_t { return 1; }
  [[nodiscard]] auto loss(space&, std::span<double const>) const -> double {
    if (++*calls == 2) throw std::out_of_range{"no such row"};
    return 1;
  }
  auto gradient(space&, std::span<double const>, sample_key key, std::span<double> g) const -> double {
    if (key.draw == 7) throw std::out_of_range{"no such sample"};
    g[0] = 0;
    return 1;
  }
};

/// What a run_error says, and what is nested in it.
struct sentences {
  std::string outer;
  std::string inner;
};
template<class Action>
auto failure_of(Action&& action) -> sentences {
  try {
    action();
  } catch (run_error const& e) {
    try {
      std::rethrow_if_nested(e);
    } catch (std::out_of_range const& nested) {
      return {e.what(), nested.what()};
    }
    return {e.what(), {}};
  }
  return {};
}

TEST_CASE("a problem that throws during a measurement ends the run on threads with a sentence that says so") {
  auto const failure = failure_of([] {
    run_threads(scripted_run({busy(), idle()}, {space{}, throws_when_measured{}}),
                {.compute = environment::fixed(1ms), .measure_every = 1ms}, {.time = 1h});
  });
  CHECK(says(failure.outer, "the problem threw while it was measured at"));
  CHECK(says(failure.outer, "no such row"));
  CHECK(failure.inner == "no such row");
}

TEST_CASE("an exception from a gradient on threads is nested in the run's error") {
  auto const ask = [](instant, outbox& out) {
    out.request = gradient_request{ticket{1}, one_value(), {0, node_id{0}, 7}};
  };
  auto const failure = failure_of([&] {
    run_threads(scripted_run({{.at_start = ask}, idle()}, {space{}, throws_when_measured{}}),
                {.compute = environment::fixed(0ns), .measure_every = 1h}, {.time = 1h});
  });
  CHECK(says(failure.outer, "the problem threw at node 0, gradient 1: no such sample"));
  CHECK(failure.inner == "no such sample");
}

struct recorder {
  std::vector<measurement> seen;
  std::size_t gives_up_after = 1000000;
  void operator()(look const& l) {
    CHECK(l.models.size() == 2);
    seen.push_back(l.seen);
    if (seen.size() == gives_up_after) throw std::range_error{"seen enough"};
  }
};

TEST_CASE("an observer of a run on threads sees every measurement of its history") {
  recorder watch;
  auto const result =
      run_threads(scripted_run({busy(), idle()}), {.compute = environment::fixed(1ms), .measure_every = 2ms},
                  {.gradients = 20}, {.watching = {std::ref(watch)}});
  REQUIRE(watch.seen.size() == result.history.size());
  CHECK(watch.seen.size() >= 2);
  for (std::size_t i = 0; i < watch.seen.size(); ++i) CHECK(watch.seen[i].at == result.history[i].at);
  CHECK(watch.seen.back().gradients >= 20);
}

TEST_CASE("an observer that throws ends an endless run on threads at once") {
  recorder watch;
  watch.gives_up_after = 3;
  auto const start = [&] {
    run_threads(scripted_run({busy(), idle()}), {.compute = environment::fixed(1ms), .measure_every = 1ms}, {},
                {.watching = {std::ref(watch)}});
  };
  CHECK_THROWS_AS(start(), std::range_error);
  CHECK(watch.seen.size() == 3);
}

TEST_CASE("an observer may ask an endless run on threads to stop, which ends in order") {
  auto looks = 0;
  auto const result = run_threads(
      scripted_run({busy(), idle()}), {.compute = environment::fixed(1ms), .measure_every = 1ms}, {},
      {.watching = {[](look const&) {}, [&](look const&) { return ++looks < 4 ? verdict::go_on : verdict::stop; }}});
  CHECK(result.stopped == stop_reason::observer);
  CHECK(result.history.size() == 5);  // and the last one, of all threads at rest
}

TEST_CASE("a tracker that does not balance is detected while threads run, not only at the end") {
  auto const result = run_threads(scripted_run({{.imbalance = 0.5}}), {.measure_every = 1ms}, {.time = 500ms});
  auto seen = false;
  for (std::size_t i = 0; i + 1 < result.history.size(); ++i) seen = seen || result.history[i].tracking_residual == 0.5;
  CHECK(seen);
  CHECK(result.history.back().tracking_residual == 0.5);
}

}  // namespace
}  // namespace rubato::test
