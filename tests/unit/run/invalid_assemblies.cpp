// SPDX-License-Identifier: MIT
// An assembly may be empty, used or moved from, and options may be NaN: each gives one sentence.
#include <chrono>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/transport/in_process.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node_type = d_psgd<backend::host<double>>;

auto made(double step = 0.1) -> assembly {
  return assemble<node_type>(topology::ring(3), problem::quadratic::random(3, 4, 1), {.step = step});
}
auto brief() -> environment::scenario { return {.compute = environment::fixed(1ms)}; }
auto simulated(assembly a) -> std::string {
  return refusal([&] { simulate(std::move(a), brief(), {.time = 5ms}); });
}
auto on_threads(assembly a) -> std::string {
  return refusal([&] { run_threads(std::move(a), brief(), {.time = 5ms}); });
}

TEST_CASE("an assembly that is empty, moved from or used is refused by every driver in one sentence") {
  for (auto const run : {&simulated, &on_threads}) {
    CHECK(says(run(assembly{}), "has no nodes to run"));
    auto a = made();
    CHECK(run(std::move(a)).empty());
    CHECK(says(run(std::move(a)), "was moved into a run before"));  // NOLINT: moved from on purpose
    auto used = made();
    outbox out;
    used.nodes[1].start({}, out);
    CHECK(says(run(std::move(used)), "have run before"));
    auto gone = made();
    auto const other = std::move(gone.nodes[2]);
    CHECK(says(run(std::move(gone)), "has no nodes to run"));
  }
}

TEST_CASE("a process runs its node of an assembly once") {
  auto a = assemble<node_type>(topology::line(1), problem::quadratic::random(1, 4, 1), {});
  auto const run = [&a](transport::identity const& me) {
    auto wires = transport::in_process{transport::in_process::room{1}, me};
    return refusal([&] { run_peer(a, me, wires, {.time = 1ms}); });
  };
  auto const me = identity_of(a, node_id{0});
  CHECK(run(me).empty());
  CHECK(says(run(me), "have run before"));
  auto const elsewhere = std::move(a);
  CHECK(says(run(me), "no node 0"));
}

struct nothing {
  [[nodiscard]] auto dimension() const -> std::size_t { return 0; }
  template<class Backend>
  auto gradient(Backend&, std::span<double const>, sample_key, std::span<double>) const -> double {
    return 0;
  }
};
struct begins_badly : problem::quadratic {
  using problem::quadratic::quadratic;
  explicit begins_badly(problem::quadratic q) : problem::quadratic{std::move(q)} {}
  [[nodiscard]] auto initial() const -> std::vector<double> {
    return {0, 0, std::numeric_limits<double>::infinity(), 0};
  }
};

TEST_CASE("no dimension, a first model or step of NaN, and an invalid end give one sentence each") {
  CHECK(says(refusal([] { assemble<node_type>(topology::ring(3), nothing{}, {}); }), "its dimension is 0"));
  CHECK(says(
      refusal([] { assemble<node_type>(topology::ring(3), begins_badly{problem::quadratic::random(3, 4, 1)}, {}); }),
      "initial model is not finite at value 2"));
  for (auto const step :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 0.0, -1.0}) {
    CHECK(says(refusal([step] { made(step); }), "the step must be a positive number"));
  }
  CHECK(says(refusal([] { simulate(made(), brief(), {}); }), "nothing ends this run"));
  for (auto const& [end, part] :
       {std::pair{until{.time = -1ns}, "a time below 0"},
        std::pair{until{.target_loss = std::numeric_limits<double>::quiet_NaN()}, "a target loss must be a number"}}) {
    auto const& last = end;
    CHECK(says(refusal([&] { simulate(made(), brief(), last); }), part));
    CHECK(says(refusal([&] { run_threads(made(), brief(), last); }), part));
  }
}

}  // namespace
}  // namespace rubato::test
