// SPDX-License-Identifier: MIT
#include <rubato/algorithm/rasgp.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/alone.hpp"
#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using node_type = rasgp<space>;
using problem::quadratic;

auto networks() -> std::vector<topology::pair> {
  return {topology::binary_tree(5), topology::directed_ring(5), topology::exponential(6), topology::star(4)};
}

TEST_CASE("in lock-step it is stochastic gradient push, one message late (RG.X) (RG.A) (RG.M) (RG.Z)") {
  for (auto const& network : networks()) {
    auto const q = quadratic::random(network.nodes(), 5, 42);
    auto const a = dense_network{node_type::make_plan(network)}.a;
    matrix const kept = a.diagonal().asDiagonal();
    auto nodes = lockstep{assemble<node_type>(network, q, {.step = 0.02})};
    auto const n = index_of(q.nodes());
    matrix x = matrix::Zero(n, 5), late_x = x;
    Eigen::VectorXd w = Eigen::VectorXd::Ones(n), late_w = Eigen::VectorXd::Zero(n);
    auto worst = 0.0;
    for (int k = 0; k < 60; ++k) {
      matrix const z = w.cwiseInverse().asDiagonal() * x;
      for (std::size_t i = 0; i < q.nodes(); ++i) worst = std::max(worst, distance(nodes.point(i), row(z, i)));
      nodes.round();
      matrix const half = x - 0.02 * gradients(q, z);
      Eigen::VectorXd const before = w;
      x = kept * half + late_x;
      w = kept * before + late_w;
      late_x = (a - kept) * half;
      late_w = (a - kept) * before;
    }
    INFO(network.name());
    CHECK(worst < 1e-12);
    CHECK(x.cwiseAbs().maxCoeff() > 0.01);
  }
}

/// Nodes in any order, on links that lose, double and overtake messages, beside numbers that know of a link only what
/// was given over it and how much of that has been had.
template<class T = double>
class beside_numbers {
  using space = backend::host<T>;
  using node_type = rasgp<space>;

 public:
  beside_numbers(topology::pair const& network, std::uint64_t seed, double step)
      : q_{quadratic::random(network.nodes(), 1, 3, {.spread = 2, .condition = 3})},
        plan_{node_type::make_plan(network)},
        draw_{0x7267ULL, seed},
        step_{step},
        x_(network.nodes()),
        w_(network.nodes(), 1.0),
        sent_(network.nodes()),
        point_(network.nodes()),
        had_(network.nodes(), std::vector<sums>(network.nodes())),
        mail_{had_},
        asked_(network.nodes()) {
    a_ = assemble<node_type>(network, q_, {.step = step});
    space b;
    for (std::size_t i = 0; i < x_.size(); ++i) {
      x_[i] = point_[i] = start_of(i);
      start_ += x_[i];
      auto const x0 = static_cast<T>(x_[i]);
      nodes_.emplace_back(b, plan_, to_node(i), backend::copied(b, &x0, 1).publish(),
                          typename node_type::options{.step = step});
      nodes_[i].start({}, out_);
      drain(i);
    }
  }
  /// A node acts or a message comes. `slope`: whether gradients are those of the problem, or zero.
  void step(bool slope) {
    now_.since_start += 1ms;
    if (!under_way_.empty() && draw_.below(5) != 0) return arrive();
    auto const i = draw_.below(x_.size());
    auto g = a_.oracle.evaluate(*std::exchange(asked_[i], {}));
    auto const value = static_cast<T>(slope ? q_.curvature(i, 0) * (point_[i] - q_.centre(i, 0)) : 0.0);
    space b;
    g.value = backend::copied(b, &value, 1).publish();
    x_[i] -= step_ * value;
    gone_ += step_ * value;
    roundings_ += 3 + 2 * plan_.nodes[i].push_from.size();  // (RG.X) once, (RG.A) twice, (RG.M) twice each
    auto const d = static_cast<double>(plan_.nodes[i].push_to.size());
    if (w_[i] >= 1.0 / 64) {
      sent_[i].x += x_[i] / (1 + d), sent_[i].w += w_[i] / (1 + d);
      x_[i] /= 1 + d, w_[i] /= 1 + d;
    }
    for (std::size_t j = 0; j < x_.size(); ++j) {
      x_[i] += mail_[i][j].x - had_[i][j].x, w_[i] += mail_[i][j].w - had_[i][j].w;
      had_[i][j] = mail_[i][j];
    }
    largest_ = std::max(largest_, std::abs(x_[i]));
    nodes_[i].on_gradient(now_, std::move(g), out_);
    drain(i);
    point_[i] = x_[i] / w_[i];
    off_ = std::max(off_, std::abs(nodes_[i].estimate().template view<T>()[0] - point_[i]));
  }
  [[nodiscard]] auto off() const -> double { return off_; }
  /// Of all mass, at nodes and under way: weights, and numerators beside what gradients did.
  [[nodiscard]] auto law() const -> double {
    auto weight = -static_cast<double>(x_.size()), x = gone_ - start_;
    for (auto const& n : nodes_) {
      auto const m = n.balance();
      weight += m.weight, x += m.numerator[0];
    }
    return std::max(std::abs(weight), std::abs(x));
  }
  /// The largest distance of a model from the mean of the start.
  [[nodiscard]] auto apart() const -> double {
    auto worst = 0.0;
    for (auto const z : point_) worst = std::max(worst, std::abs(z - start_ / static_cast<double>(x_.size())));
    return worst;
  }
  /// The law of numerators may be off by so much, if each operation rounds a number as large as the largest.
  [[nodiscard]] auto rounding() const -> double {
    return static_cast<double>(roundings_) * largest_ * static_cast<double>(std::numeric_limits<T>::epsilon());
  }
  [[nodiscard]] auto lost() const -> int { return lost_; }
  [[nodiscard]] auto failure() const -> std::string const& { return failure_; }

 private:
  struct sums {
    double x = 0, w = 0;
    std::uint64_t number = 0;
  };
  static auto start_of(std::size_t i) -> double { return static_cast<double>(i * i) - 3; }
  void arrive() {
    auto const which = static_cast<std::ptrdiff_t>(draw_.below(under_way_.size()));
    auto const [p, s] = under_way_[static_cast<std::size_t>(which)];
    auto const fate = draw_.below(10);  // 3 of 10 are lost, and 1 comes twice
    if (fate != 9) under_way_.erase(under_way_.begin() + which);
    if (fate < 3) {
      ++lost_;
      return;
    }
    auto& kept = mail_[to_index(p.to)][to_index(p.from)];
    if (s.number > kept.number) kept = s;
    nodes_[to_index(p.to)].on_patch(now_, patch_of(p, {0, 1}), out_);
    drain(to_index(p.to));
  }
  void drain(std::size_t i) {
    if (out_.failure) failure_ = out_.failure->sentence;
    if (out_.request) asked_[i] = std::move(out_.request);
    for (auto& p : out_.packets) {
      auto const number = to_count(p.number);
      under_way_.emplace_back(std::move(p), sums{sent_[i].x, sent_[i].w, number});
    }
    out_.clear();
  }

  quadratic q_;
  mixing::plan plan_;
  assembly a_;
  random_stream draw_;
  double step_;
  std::vector<double> x_, w_;
  std::vector<sums> sent_;
  std::vector<double> point_;
  std::vector<std::vector<sums>> had_, mail_;
  std::vector<std::optional<gradient_request>> asked_;
  std::vector<node_type> nodes_;
  std::vector<std::pair<packet, sums>> under_way_;
  instant now_{};
  outbox out_;
  double off_ = 0, gone_ = 0, start_ = 0, largest_ = 0;
  std::size_t roundings_ = 0;
  int lost_ = 0;
  std::string failure_;
};

TEST_CASE("whatever is lost, doubled or overtaken, nodes are their numbers and no mass is lost (RG.A) (RG.M)") {
  for (auto const& network : networks()) {
    auto run = beside_numbers{network, 5, 0.02};
    auto law = 0.0;
    for (int k = 0; k < 8000; ++k) {
      run.step(true);
      law = std::max(law, run.law());
    }
    INFO(network.name() << run.failure());
    CHECK(run.failure().empty());
    CHECK(run.off() < 1e-11);
    CHECK(law < 1e-11);
    CHECK(run.lost() > 200);
  }
}

TEST_CASE("of floats too, no more mass is lost than the numerator rounds away (RG.A) (RG.M)") {
  for (auto const& network : networks()) {
    auto run = beside_numbers<float>{network, 5, 1.0 / 64};  // a step that is a float
    for (int k = 0; k < 8000; ++k) run.step(true);
    INFO(network.name() << run.failure());
    CHECK(run.failure().empty());
    CHECK(run.law() > 1e-9);
    CHECK(run.law() < run.rounding());
    CHECK(run.lost() > 200);
  }
}

TEST_CASE("without gradients all models come to the exact mean of the start although 30 % is lost (RG.Z)") {
  for (auto const& network : networks()) {
    auto run = beside_numbers{network, 8, 0.02};
    CHECK(run.apart() > 1);
    for (int k = 0; k < 16000; ++k) run.step(false);
    INFO(network.name());
    CHECK(run.apart() < 1e-9);
    CHECK(run.off() < 1e-11);  // sums grow to some hundreds
  }
}

TEST_CASE("alone it is SGD to the bit (RG.X)") { is_sgd_alone<node_type>(); }

/// The mean model after a run on links that lose 20 % of all blocks.
auto end_of(quadratic const& q, std::vector<double> const& slower) -> std::vector<double> {
  auto compute = environment::fixed(10ms);
  for (std::uint32_t i = 0; i < 4; ++i) compute = compute.slow(i, slower[i]);
  auto const scenario = environment::scenario{.compute = compute, .link = {.latency = 1ms, .loss = 0.2}, .seed = 2};
  auto const r =
      simulate<node_type>(topology::ring(4), q, {.step = 0.002, .block_values = 64}, scenario, {.time = 80s});
  std::vector<double> mean(q.dimension(), 0.0);
  for (auto const& m : r.models)
    for (std::size_t k = 0; k < mean.size(); ++k) mean[k] += m.view<double>()[k] / 4;
  return mean;
}

TEST_CASE("at even speeds it ends near the optimum, and at uneven ones where sum r_i grad f_i = 0 (RG.X)") {
  auto const q = quadratic::random(4, 130, 11, {.spread = 1, .condition = 4});  // three blocks
  std::vector<double> const slower{1, 2, 1, 8};
  auto const weighted = optimum_by_speed(q, slower);
  auto const miss = distance(weighted, q.optimum());
  CHECK(miss > 0.1);
  CHECK(distance(end_of(q, {1, 1, 1, 1}), q.optimum()) < 0.1 * miss);
  CHECK(distance(end_of(q, slower), weighted) < 0.1 * miss);
}

/// Node 0 of a ring of three, with vectors of two blocks.
struct receiver {
  assembly a = assemble<node_type>(topology::ring(3), quadratic::random(3, 128, 1), {.step = 0.1, .block_values = 64});
  outbox out{};
  receiver() { a.nodes[0].start({}, out); }
  /// Posted at `number` ms, from node 1; all values are `value`.
  auto hears(range blocks, std::uint64_t number, double weight, double value = 1) -> std::string {
    space b;
    std::vector<double> const v(64 * blocks.size(), value);
    packet p;
    p.from = node_id{1};
    p.channel = channel_id::tracker;
    p.number = iteration{number};
    p.posted_at.since_start = std::chrono::milliseconds{number};
    p.extra.set(scalar_slot::push_sum_weight, weight);
    a.nodes[0].on_patch({}, patch_of(p, blocks, backend::copied(b, v.data(), v.size()).publish()), out);
    return out.failure ? out.failure->sentence : "";
  }
  /// The model after one more iteration without a slope.
  auto goes_on() -> std::vector<double> {
    auto g = a.oracle.evaluate(*std::exchange(out.request, {}));
    space b;
    auto const zeros = backend::zeros<double>(b, 128);
    g.value = backend::copied(b, zeros.data(), 128).publish();
    out.packets.clear();
    a.nodes[0].on_gradient({}, std::move(g), out);
    posted = out.packets.size();
    auto const m = a.nodes[0].estimate();
    return {m.view<double>().begin(), m.view<double>().end()};
  }
  std::size_t posted = 0;
};

TEST_CASE("a message counts once all its parts have come, with its own weight (RG.M)") {
  receiver r;
  CHECK(r.hears({0, 1}, 1, 0.25).empty());
  CHECK(r.goes_on() == std::vector<double>(128, 0.0));
  CHECK(r.hears({1, 2}, 2, 0.5).empty());  // of a newer message: the part before is void
  CHECK(r.hears({1, 2}, 1, 0.25).empty());
  CHECK(r.goes_on() == std::vector<double>(128, 0.0));
  CHECK(r.hears({0, 1}, 2, 0.5).empty());
  auto const w = 1.0 / 3 / 3 / 3 + 0.5;
  for (auto const z : r.goes_on()) CHECK(z == Approx(1 / w).epsilon(1e-14));
  CHECK(r.hears({0, 2}, 1, 0.25, 9).empty());  // overtaken
  for (auto const z : r.goes_on()) CHECK(z == Approx(1 / w).epsilon(1e-14));
  CHECK(r.a.nodes[0].statistics().edges[0].accepted == 1);
}

TEST_CASE("a node that hears nothing keeps its mass once its weight is below 1/64, and gives again when mass comes") {
  receiver r;
  std::size_t gave = 0;
  for (int k = 0; k < 2000; ++k) {
    static_cast<void>(r.goes_on());
    gave += r.posted > 0 ? 1 : 0;
  }
  CHECK(gave == 4);  // (1/3)^4 is below 1/64
  CHECK(r.hears({0, 2}, 1, 0.5).empty());
  static_cast<void>(r.goes_on());
  static_cast<void>(r.goes_on());
  CHECK(r.posted == 2);
}

TEST_CASE("weights that cannot be end the run with their sender, and so does a node that leaves") {
  auto const said = [](auto&&... messages) {
    receiver r;
    std::string last;
    (messages(r, last), ...);
    return last;
  };
  auto const hear = [](range blocks, std::uint64_t number, double weight) {
    return [=](receiver& r, std::string& last) { last = r.hears(blocks, number, weight); };
  };
  CHECK(says(said(hear({0, 2}, 2, 7)),
             "message 2 of node 1 carries a sum of push-sum weights of 7, where it must lie "
             "in 0 to 6"));
  CHECK(says(said(hear({0, 2}, 2, std::nan(""))), "where it must lie in 0 to 6"));
  CHECK(says(said(hear({0, 2}, 1, 1), hear({0, 2}, 2, 0.5)), "weights of 0.5, less than one before it"));
  CHECK(says(said(hear({0, 1}, 1, 1), hear({1, 2}, 1, 0.5)), "and another part of it another one"));
  receiver r;
  r.a.nodes[0].on_neighbours({}, {node_id{1}, neighbour_change::edge::closes, {1, 1}, {1, 1}}, r.out);
  REQUIRE(r.out.failure);
  CHECK(says(r.out.failure->sentence, "node 1 left a run of push-sum and took its mass with it"));
}

}  // namespace
}  // namespace rubato::test
