// SPDX-License-Identifier: MIT
// A node that posts huge but finite models, or none that are numbers: with a rule of admission the others end where
// their own models and the run's sum have them end, without it they do not; and a rule that refuses nothing changes no
// bit.
#include <rubato/run/admission.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/async_dgd_atc.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/dsgt.hpp>
#include <rubato/algorithm/gossip.hpp>
#include <rubato/algorithm/matcha.hpp>
#include <rubato/algorithm/noloco.hpp>
#include <rubato/algorithm/push_diging.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lying_node.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

using namespace std::chrono_literals;
using host_of_doubles = backend::host<double>;
constexpr std::size_t nodes = 5, liar = 2, dimension = 6;
constexpr double huge = 1e8;

auto problem_of_liars() -> problem::quadratic {
  return problem::quadratic::random(nodes, dimension, 14, {.spread = 1, .condition = 4, .noise = 0});
}
auto unequal_speeds() -> environment::scenario {
  environment::scenario s;
  s.compute = environment::lognormal(10ms, 0.2).slow(3, 3.0);
  s.link = {.latency = 3ms, .loss = 0.1};
  s.seed = 3;
  s.measure_every = 1h;
  return s;
}

/// The honest nodes alone: what they compute, and their weights of each other.
auto problem_of_honest(problem::quadratic const& q) -> problem::quadratic {
  problem::quadratic::rows curvatures, centres;
  for (std::size_t i = 0; i < q.nodes(); ++i) {
    if (i == liar) continue;
    auto& h = curvatures.emplace_back();
    auto& b = centres.emplace_back();
    for (std::size_t k = 0; k < q.dimension(); ++k) h.push_back(q.curvature(i, k)), b.push_back(q.centre(i, k));
  }
  return {curvatures, centres};
}
auto weights_of_honest(matrix const& w) -> matrix {
  matrix part(index_of(nodes - 1), index_of(nodes - 1));
  auto const old = [](Eigen::Index i) { return i < index_of(liar) ? i : i + 1; };
  for (Eigen::Index i = 0; i < part.rows(); ++i)
    for (Eigen::Index j = 0; j < part.cols(); ++j) part(i, j) = w(old(i), old(j));
  return part;
}

/// The largest distance, in one value, of an honest node's model from `right`, which has a row for each of them.
auto farthest_honest(run_result const& r, matrix const& right) -> double {
  auto worst = 0.0;
  for (std::size_t i = 0, row = 0; i < nodes; ++i) {
    if (i == liar) continue;
    auto const x = r.models[i].view<double>();
    for (std::size_t k = 0; k < dimension; ++k)
      worst = std::max(worst, std::abs(x[k] - right(index_of(row), index_of(k))));
    ++row;
  }
  return worst;
}

/// With their own weights in place of those of the liar, where M of gossip_fixed_point is as the algorithm has it.
auto ends_of_gossip(assembly const& a, bool combines_last) -> matrix {
  auto const w = weights_of_honest(dense_network{mixing::gossip_plan(topology::ring(nodes))}.w);
  matrix with_own = w;
  for (Eigen::Index i = 0; i < w.rows(); ++i) with_own(i, i) += 1 - w.row(i).sum();
  matrix const m = combines_last ? w : matrix::Identity(w.rows(), w.cols());
  return gossip_fixed_point(problem_of_honest(problem_of_liars()), with_own, a.raw_step, m);
}

auto says_of_liar(run_result const& r) -> bool {
  return std::any_of(r.warnings.begin(), r.warnings.end(),
                     [](auto const& w) { return says(w, "of node 2 did not pass the rule of admission of 2 nodes"); });
}
auto refused_in(run_result const& r, std::size_t from) -> std::uint64_t {
  std::uint64_t all = 0;
  for (auto const& e : r.edges)
    if (to_index(e.from) == from) all += e.refused;
  return all;
}

/// Keeps what nodes say, from whichever thread.
struct listener {
  [[nodiscard]] auto speaker() -> admission::speaker {
    return [this](std::string_view s) {
      std::lock_guard const hold{one_at_a_time};
      heard.emplace_back(s);
    };
  }
  std::mutex one_at_a_time{};
  std::vector<std::string> heard{};
};

template<class Node>
void check_gossip(bool combines_last) {
  auto const make = [] { return assemble<Node>(topology::ring(nodes), problem_of_liars(), {.step = 0.1}); };
  auto const right = ends_of_gossip(make(), combines_last);
  auto guarded = make();
  make_lie(guarded, liar, huge);
  listener all;
  admit(guarded, admission::within{100}, all.speaker());
  auto const r = simulate(std::move(guarded), unequal_speeds(), {.time = 60s});
  CHECK(farthest_honest(r, right) < 1e-6);
  CHECK(says_of_liar(r));
  CHECK(refused_in(r, liar) > 100);
  CHECK(refused_in(r, 0) == 0);
  REQUIRE(all.heard.size() == 2);  // its two neighbours, once each
  CHECK(says(all.heard[0], "refuses a model of node 2"));

  auto open = make();
  make_lie(open, liar, huge);
  CHECK(farthest_honest(simulate(std::move(open), unequal_speeds(), {.time = 60s}), right) > 1000);
}

TEST_CASE("in rounds huge models of one node do not move the others where a rule of admission keeps them out") {
  check_gossip<d_psgd<host_of_doubles>>(false);
}
TEST_CASE("in free gossip huge models of one node do not move the others where a rule keeps them out") {
  check_gossip<async_dgd_atc<host_of_doubles>>(true);
}

TEST_CASE("a node that comes back from a restart is guarded as before") {
  auto a = assemble<async_dgd_atc<host_of_doubles>>(topology::ring(nodes), problem_of_liars(), {.step = 0.1});
  auto const right = ends_of_gossip(a, true);
  make_lie(a, liar, huge);
  admit(a, admission::within{100});
  auto s = unequal_speeds();
  s.restarts = {{.node = node_id{1}, .at = 5s, .down = 100ms}};
  CHECK(farthest_honest(simulate(std::move(a), s, {.time = 60s}), right) < 1e-6);
}

TEST_CASE("r_fast ends at the optimum of the sum though one node posts huge models, if these are not let in") {
  auto const p = problem_of_liars();
  matrix right(index_of(nodes - 1), index_of(dimension));
  for (std::size_t k = 0; k < dimension; ++k) right.col(index_of(k)).setConstant(p.optimum()[k]);
  auto const make = [&] {
    auto a = assemble<r_fast<host_of_doubles>>(topology::ring(nodes), p, {.step = 0.1});
    make_lie(a, liar, huge);
    return a;
  };
  auto guarded = make();
  admit(guarded, admission::within{100});
  auto const r = simulate(std::move(guarded), unequal_speeds(), {.time = 120s});
  CHECK(farthest_honest(r, right) < 1e-8);
  CHECK(says_of_liar(r));
  for (auto const& m : r.history) CHECK(m.tracking_residual < 1e-9);  // sums pass, so the law holds
  CHECK(farthest_honest(simulate(make(), unequal_speeds(), {.time = 120s}), right) > 1000);
}

TEST_CASE("a node that is too far from all its neighbours says so, and the result names it") {
  auto a = assemble<r_fast<host_of_doubles>>(topology::ring(nodes), problem_of_liars(), {.step = 0.1});
  auto far = buffer_pool{}.allocate<double>(dimension);
  std::fill_n(far.data(), dimension, 10.0);
  a.nodes[liar] = a.factory.make(liar, std::move(far).publish(), 0);
  listener all;
  admit(a, admission::within{2}, all.speaker());
  auto const r = simulate(std::move(a), unequal_speeds(), {.time = 60s});
  auto const of_all = [](std::string const& s) { return says(s, "the newest models of all its neighbours"); };
  REQUIRE(std::count_if(all.heard.begin(), all.heard.end(), of_all) == 1);
  CHECK(says(*std::find_if(all.heard.begin(), all.heard.end(), of_all), "node 2 refuses"));
  REQUIRE(std::count_if(r.warnings.begin(), r.warnings.end(), of_all) == 1);
  CHECK(says(*std::find_if(r.warnings.begin(), r.warnings.end(), of_all), "node 2 refused"));
}

TEST_CASE("a model that is not a number is refused like any other, and ends no run") {
  auto a = assemble<r_fast<host_of_doubles>>(topology::ring(nodes), problem_of_liars(), {.step = 0.1});
  make_lie(a, liar, std::numeric_limits<double>::quiet_NaN());
  admit(a, admission::within{100});
  auto const r = simulate(std::move(a), unequal_speeds(), {.time = 5s});
  CHECK(says_of_liar(r));
  CHECK(std::isfinite(r.models[0].view<double>()[0]));
}

void check_blocks(double claims) {
  auto const p = problem::quadratic::random(nodes, 200, 14, {.spread = 1, .condition = 4, .noise = 0});
  auto a = assemble<r_fast<host_of_doubles>>(topology::ring(nodes), p, {.step = 0.1, .block_values = 64});
  make_lie(a, liar, claims);
  admit(a, admission::within{100});
  auto s = unequal_speeds();
  s.split = environment::delivery::blocks;
  auto const r = simulate(std::move(a), s, {.time = 60s});
  CHECK(says_of_liar(r));
  for (std::size_t i = 0; i < nodes; ++i) {
    if (i == liar) continue;
    auto const x = r.models[i].view<double>();
    for (std::size_t k = 0; k < x.size(); ++k) CHECK(std::abs(x[k] - p.optimum()[k]) < 1e-8);
  }
}
TEST_CASE("models that travel in blocks are looked at block by block") { check_blocks(huge); }
TEST_CASE("a block has its share of the radius, since a model of blocks that are all within it is farther") {
  check_blocks(10);  // the distance of a block of 64 values is 80
}

template<class Node>
void check_same_bits() {
  auto const bits = [](auto const& guard) {
    auto a = assemble<Node>(topology::ring(nodes), problem_of_liars(), {.step = 0.1});
    guard(a);
    return simulate(std::move(a), unequal_speeds(), {.time = 2s});
  };
  auto const plain = bits([](assembly&) {});
  auto const guarded = bits([](assembly& a) { admit(a, admission::within{1e6}); });
  auto const open = bits([](assembly& a) { admit(a, admission::any{}); });
  CHECK(plain.events == guarded.events);
  CHECK(refused_in(guarded, liar) == 0);
  for (std::size_t i = 0; i < nodes; ++i) {
    auto const want = plain.models[i].bytes();
    for (auto const* const r : {&guarded, &open}) {
      auto const got = r->models[i].bytes();
      CHECK(std::equal(want.begin(), want.end(), got.begin(), got.end()));
    }
  }
}
TEST_CASE("a rule that refuses nothing changes no bit") {
  check_same_bits<r_fast<backend::host<float>>>();
  check_same_bits<d_psgd<host_of_doubles>>();
}

/// Refuses all that it looks at.
struct nothing {
  template<class T>
  auto operator()(std::span<T const>, std::span<T const>, double) const -> bool {
    return false;
  }
};

/// All nodes have one minimum, and begin there.
struct problem_at_rest : problem::quadratic {
  using problem::quadratic::quadratic;
  [[nodiscard]] auto initial() const -> std::vector<double> { return optimum(); }
};

/// Every model is the same at rest, so it must not matter whose comes in, if a node's own may stand for each. In
/// push-sum it does matter, since on a star the mass of nodes becomes unequal.
template<class Node>
void check_own_stands_for_all() {
  problem::quadratic::rows const curvatures(nodes, {1, 2, 0.5}), centres(nodes, {3, -1, 2});
  auto a = assemble<Node>(topology::star(nodes), problem_at_rest{curvatures, centres}, {.step = 0.05});
  INFO(a.algorithm);
  admit(a, nothing{});
  auto const r = simulate(std::move(a), unequal_speeds(), {.time = 3s});
  CHECK(r.nodes[0].iterations > 10);
  for (auto const& m : r.models)
    for (std::size_t k = 0; k < 3; ++k) CHECK(std::abs(m.template view<double>()[k] - centres[0][k]) < 1e-9);
}
TEST_CASE("nodes at rest stay there whatever models are refused, since the own of each may stand for them") {
  check_own_stands_for_all<r_fast<host_of_doubles>>();
  check_own_stands_for_all<dsgt<host_of_doubles>>();
  check_own_stands_for_all<push_pull<host_of_doubles>>();
  check_own_stands_for_all<s_ab<host_of_doubles>>();
  check_own_stands_for_all<d_psgd<host_of_doubles>>();
  check_own_stands_for_all<d_psgd_atc<host_of_doubles>>();
  check_own_stands_for_all<matcha<host_of_doubles>>();
  check_own_stands_for_all<noloco<host_of_doubles>>();
  check_own_stands_for_all<async_dgd_atc<host_of_doubles>>();
}

TEST_CASE("a run with a rule goes on from its state with the bits and the counts of one that was never cut") {
  auto const make = [] {
    auto a = assemble<r_fast<host_of_doubles>>(topology::ring(nodes), problem_of_liars(), {.step = 0.1});
    make_lie(a, liar, huge);
    admit(a, admission::within{100});
    return a;
  };
  simulator first{make(), unequal_speeds()};
  first.run({.time = 2s});
  auto const saved = first.state();
  auto const cut = simulate(make(), unequal_speeds(), {.time = 4s}, {.resume = &saved});
  auto const whole = simulate(make(), unequal_speeds(), {.time = 4s});
  CHECK(refused_in(whole, liar) > 10);
  CHECK(refused_in(cut, liar) == refused_in(whole, liar));
  for (std::size_t i = 0; i < nodes; ++i) {
    auto const want = whole.models[i].bytes(), got = cut.models[i].bytes();
    CHECK(std::equal(want.begin(), want.end(), got.begin(), got.end()));
  }
}

TEST_CASE(
    "a state saved under a rule of admission is refused without one, and the reverse, in a sentence that says so") {
  auto const make = [](bool has_rule) {
    auto a = assemble<r_fast<host_of_doubles>>(topology::ring(nodes), problem_of_liars(), {.step = 0.1});
    if (has_rule) admit(a, admission::within{100});
    return a;
  };
  for (auto const had_rule : {false, true}) {
    simulator first{make(had_rule), unequal_speeds()};
    first.run({.time = 2s});
    auto const saved = first.state();
    auto const why = refusal([&] { simulate(make(!had_rule), unequal_speeds(), {.time = 4s}, {.resume = &saved}); });
    CHECK(says(why, "only one of saving and resuming has a rule of admission (--admit)"));
  }
}

TEST_CASE("a rule of admission is refused where it has no meaning, in a sentence") {
  auto const p = problem_of_liars();
  auto const refused = [](assembly a, double radius) { return refusal([&] { admit(a, admission::within{radius}); }); };
  auto const whole = "for nodes that weigh whole models of their neighbours";
  CHECK(says(refused(assemble<asgd<host_of_doubles>>(topology::star(nodes), p, {.step = 0.1}), 1), whole));
  CHECK(says(refused(assemble<ad_psgd<host_of_doubles>>(topology::ring(nodes), p, {.step = 0.1}), 1), whole));
  // its message is u, and its estimate u / v
  CHECK(says(refused(assemble<push_diging<host_of_doubles>>(topology::star(nodes), p, {.step = 0.1}), 1), whole));
  for (auto const radius : {0.0, -1.0, 1e200, std::numeric_limits<double>::quiet_NaN()})
    CHECK(says(refused(assemble<d_psgd<host_of_doubles>>(topology::ring(nodes), p, {.step = 0.1}), radius),
               "within a radius above 0"));
}

}  // namespace
}  // namespace rubato::test
