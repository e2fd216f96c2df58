// SPDX-License-Identifier: MIT
// Each rule of gradient tracking is broken on purpose, in a small wrong node, and the checks must notice. (Sessions:
// tests/property/sessions.cpp; plain float sums: tests/property/long_conservation.cpp.)
#include <cmath>
#include <cstdio>
#include <memory>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/conservation_checker.hpp"
#include "support/dense.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using honest = r_fast<backend::host<double>>;

/// Passes everything on to an honest node; the wrong ones override one handler each.
struct forwarding {
  explicit forwarding(std::unique_ptr<any_node> n) : inner{std::move(n)} {}
  void start(instant now, outbox& out) { inner->start(now, out); }
  void on_patch(instant now, patch const& p, outbox& out) { inner->on_patch(now, p, out); }
  void on_gradient(instant now, gradient g, outbox& out) { inner->on_gradient(now, std::move(g), out); }
  void on_wakeup(instant now, wakeup w, outbox& out) { inner->on_wakeup(now, w, out); }
  void on_neighbours(instant now, neighbour_change const& c, outbox& out) { inner->on_neighbours(now, c, out); }
  [[nodiscard]] auto estimate() const -> shared_buffer { return inner->estimate(); }
  [[nodiscard]] auto statistics() const -> node_statistics { return inner->statistics(); }
  void audit(tracking_audit& a) const { inner->audit(a); }
  static auto channels() -> std::span<channel_spec const> { return honest::channels(); }
  std::unique_ptr<any_node> inner;
};

/// Forgets which sample its stored gradient came from: z <- z - (g redrawn) + g_new.
struct redrawing : forwarding {
  using forwarding::forwarding;
  void on_gradient(instant now, gradient g, outbox& out) {
    auto const fresh = test::widened(g.value);
    auto entered = fresh;
    if (!true_.empty()) {
      for (std::size_t k = 0; k < fresh.size(); ++k) entered[k] += entered_[k] - (true_[k] + 0.1 * draw_.normal());
    }
    auto body = pool_.allocate<double>(fresh.size());
    std::copy(entered.begin(), entered.end(), body.data());
    entered_ = entered;
    true_ = fresh;
    g.value = std::move(body).publish();
    inner->on_gradient(now, std::move(g), out);
  }
  void audit(tracking_audit& a) const {
    inner->audit(a);
    if (!true_.empty()) a.gradient = true_;
  }
  std::vector<double> entered_, true_;
  random_stream draw_{1};
  buffer_pool pool_;
};

/// Takes every message for the newest one.
struct numberless : forwarding {
  using forwarding::forwarding;
  void on_patch(instant now, patch p, outbox& out) {
    auto const number = iteration{++count_};
    p.numbers = {&number, 1};
    p.posted_at = now;  // a node notices numbers and times that contradict each other
    inner->on_patch(now, p, out);
  }
  std::uint64_t count_ = 0;
};

auto problem_of_controls(double noise) -> problem::quadratic {
  return problem::quadratic::random(6, 4, 17, {.spread = 1, .condition = 3, .noise = noise});
}

auto overtaking_links(std::chrono::nanoseconds latency) -> environment::scenario {
  environment::scenario s;
  s.compute = environment::lognormal(10ms, 0.3);
  s.link = {.latency = latency, .jitter = 5ms, .loss = 0.2, .duplication = 0.3, .overtaking = 0.5};
  return s;
}

struct outcome {
  test::conservation_checker checker;
  double error = 0;
};

template<class Node>
auto run(environment::scenario const& weather, std::chrono::nanoseconds time, double noise = 0.5) -> outcome {
  honest::options options{};
  options.step = 0.06;  // with this latency, where delay begins to matter
  auto made = assemble<honest>(topology::binary_tree(6), problem_of_controls(noise), options);
  if constexpr (!std::same_as<Node, honest>) {
    for (auto& n : made.nodes) n = any_node{Node{std::make_unique<any_node>(std::move(n))}};
  }
  outcome o{test::conservation_checker{made.blocks}};
  auto const best = problem_of_controls(noise).optimum();
  struct relay : simulation_trace {
    relay(outcome& to, std::vector<double> const& at) : o{to}, optimum{at} {}
    void posted(instant t, packet const& p) override { o.checker.posted(t, p); }
    void after_event(instant t, node_id i, std::span<any_node const> all) override {
      o.checker.after_event(t, i, all);
      nodes = all;
    }
    void see() const {
      o.error = 0;
      for (auto const& n : nodes) o.error = std::max(o.error, test::distance(test::widened(n.estimate()), optimum));
    }
    outcome& o;
    std::vector<double> const& optimum;
    std::span<any_node const> nodes;
  } watching{o, best};
  simulate(std::move(made), weather, {.time = time},
           {.watching = {[&](look const&) { watching.see(); }}, .trace = &watching});
  return o;
}

TEST_CASE("the checker accepts a correct node") {
  auto const o = run<honest>(overtaking_links(10ms), 5s);
  CHECK(o.checker.complaints().empty());
  CHECK(o.checker.events() > 5000);
}

TEST_CASE("the checker detects a sample that is drawn again") {
  auto const o = run<redrawing>(overtaking_links(10ms), 1s);
  CHECK(o.checker.complains_of("the tracking law is off"));
  CHECK(o.checker.worst() > 1e-3);
}

/// Rounds what stays as well as what leaves: half a unit may appear or vanish at every push.
struct twice_rounding : ledger::fixed_point {
  template<class T>
  struct arithmetic : ledger::fixed_point::arithmetic<T> {
    auto kept(std::int32_t z, T self_weight, std::int32_t) const -> std::int32_t {
      return static_cast<std::int32_t>(std::lrint(self_weight * static_cast<T>(z)));
    }
  };
  template<class T>
  [[nodiscard]] auto arithmetic_for(std::size_t block) const -> arithmetic<T> {
    return {ledger::fixed_point::arithmetic_for<T>(block)};
  }
};

template<class Ledger>
auto run_in_fixed_point(mixing::plan const& believed) -> test::conservation_checker {
  using node_type = r_fast<backend::host<float>, step::sgd, weighting::constant, Ledger>;
  auto made = assemble<node_type>(topology::exponential(6), problem_of_controls(0.5), {.step = 0.06});
  test::conservation_checker checker{made.blocks};
  checker.knows(believed);
  simulate(std::move(made), overtaking_links(10ms), {.time = 1s}, {.trace = &checker});
  return checker;
}

TEST_CASE("the checker detects a fixed-point ledger that rounds the kept part as well as the shares") {
  auto const plan = mixing::tracking_plan(topology::exponential(6));
  auto const right = run_in_fixed_point<ledger::fixed_point>(plan);
  CHECK(right.complaints().empty());
  CHECK(right.worst() == 0.0);
  CHECK(right.columns_checked() > 100);
  auto const wrong = run_in_fixed_point<twice_rounding>(plan);
  CHECK(wrong.complains_of("the tracking law is off"));
  CHECK(wrong.worst() >= 1.0);
}

TEST_CASE("the checker detects weights that are not stochastic, and pushes with weights that differ from the plan") {
  auto plan = mixing::tracking_plan(topology::exponential(6));
  plan.nodes[2].pull_self += 0.01;
  CHECK(run_in_fixed_point<ledger::fixed_point>(plan).complains_of("row of W of node 2 is not stochastic"));
  plan = mixing::tracking_plan(topology::exponential(6));
  plan.nodes[3].push_self += 0.01;
  plan.nodes[3].push_to[0].weight -= 0.01;
  auto const found = run_in_fixed_point<ledger::fixed_point>(plan);
  CHECK_FALSE(found.complains_of("stochastic"));
  CHECK(found.complains_of("push 3 -> 1 is not its column of A"));
}

TEST_CASE("without iteration numbers the law still holds, but the checker sees older values consumed") {
  auto const o = run<numberless>(overtaking_links(40ms), 5s);
  CHECK(o.checker.complains_of("older than before"));
  CHECK_FALSE(o.checker.complains_of("the tracking law is off"));
  CHECK(o.checker.worst() < 1e-10);
}

TEST_CASE("without iteration numbers values are older, and the run converges more slowly") {
  auto const right = run<honest>(overtaking_links(40ms), 8s, 0.0);
  auto const wrong = run<numberless>(overtaking_links(40ms), 8s, 0.0);
  std::printf("error %.2g with iteration numbers, %.2g without\n", right.error, wrong.error);
  CHECK(wrong.error > 100 * right.error);
}

}  // namespace
