// SPDX-License-Identifier: MIT
#include <rubato/algorithm/ad_psgd.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node_type = ad_psgd<backend::host<double>>;

/// Asks the neighbour with the largest id, or, every so often, the one with the smallest: settings, and a state of its
/// own that holds them.
struct mostly_last {
  std::size_t period = 3;
  static void visit_options(auto& self, auto&& visit) { visit("period", self.period); }
  struct state;
};
struct mostly_last::state {
  state(mostly_last const& p, node_id) : settings{p} {}
  static void visit_state(auto& self, auto&& visit) { visit("calls", self.calls); }
  auto operator()(std::span<node_id const> open, random_stream&) -> std::size_t {
    return ++calls % settings.period == 0 ? 0 : open.size() - 1;
  }
  mostly_last settings;
  std::size_t calls = 0;
};
using problem::quadratic;

/// Any packet that is first on its edge or any gradient may be next; beside it the same events on plain matrices, which
/// know of an answer under way only the half difference that it will bring.
template<class Node>
class scripted {
 public:
  scripted(topology::pair const& network, std::uint64_t seed)
      : q_{quadratic::random(network.nodes(), 4, 5)},
        a_{assemble<Node>(network, q_, {.step = 0.1, .seed = seed})},
        draw_{0x73637269ULL, seed},
        requests_(network.nodes()) {
    x_ = snapshot_ = matrix::Zero(index_of(q_.nodes()), index_of(q_.dimension()));
    expected_ = x_.colwise().sum();
    for (std::size_t i = 0; i < a_.nodes.size(); ++i) {
      a_.nodes[i].start({}, out_);
      drain(i);
    }
  }

  void step() {
    auto const which = draw_.below(edges_.size() + 1 + requests_.size());
    if (which < edges_.size()) {
      auto const edge = std::next(edges_.begin(), static_cast<std::ptrdiff_t>(which));
      if (!edge->second.empty()) arrive(edge->second);
    } else {
      answer(draw_.below(requests_.size()));
    }
  }

  /// The largest difference between nodes and matrices.
  [[nodiscard]] auto off() const -> double {
    auto worst = 0.0;
    for (std::size_t i = 0; i < a_.nodes.size(); ++i) {
      std::vector<double> model;
      rubato::detail::widen(a_.nodes[i].estimate(), model);
      worst = std::max(worst, distance(model, row(x_, i)));
    }
    return worst;
  }
  /// The largest value of: models + what is under way - what gradients made of the start.
  [[nodiscard]] auto law() const -> double {
    Eigen::RowVectorXd sum = -expected_;
    for (std::size_t i = 0; i < a_.nodes.size(); ++i) {
      auto const model = a_.nodes[i].estimate();
      for (Eigen::Index k = 0; k < sum.cols(); ++k) sum(k) += model.view<double>()[static_cast<std::size_t>(k)];
    }
    for (auto const& [asker, half] : under_way_) sum += half;
    return sum.cwiseAbs().maxCoeff();
  }
  [[nodiscard]] auto averages() const -> int { return averages_; }
  [[nodiscard]] auto spread() const -> double { return (x_.rowwise() - x_.colwise().mean()).cwiseAbs().maxCoeff(); }

 private:
  void arrive(std::deque<packet>& edge) {
    auto const p = edge.front();
    edge.pop_front();
    auto const to = index_of(p.to);
    if (p.based_on == iteration{}) {
      Eigen::RowVectorXd const half = 0.5 * (asked_.at(p.from) - x_.row(to));
      x_.row(to) += half;
      under_way_[p.from] = -half;
      ++averages_;
    } else {
      x_.row(to) += under_way_.at(p.to);
      under_way_.erase(p.to);
    }
    hand_over(a_.nodes[to_index(p.to)], p, 1, out_);
    drain(to_index(p.to));
  }

  void answer(std::size_t i) {
    auto const asked = std::exchange(requests_[i], {});
    Eigen::RowVectorXd const g = gradients(q_, snapshot_).row(index_of(i));
    x_.row(index_of(i)) -= 0.1 * g;
    expected_ -= 0.1 * g;
    a_.nodes[i].on_gradient({}, a_.oracle.evaluate(asked), out_);
    drain(i);
  }

  void drain(std::size_t i) {
    if (out_.request) {
      requests_[i] = std::move(*out_.request);
      snapshot_.row(index_of(i)) = x_.row(index_of(i));
    }
    for (auto& p : out_.packets) {
      if (p.based_on == iteration{}) asked_[p.from] = x_.row(index_of(p.from));
      edges_[{p.from, p.to}].push_back(std::move(p));
    }
    out_.clear();
  }

  quadratic q_;
  assembly a_;
  random_stream draw_;
  std::vector<gradient_request> requests_;
  outbox out_;
  std::map<std::pair<node_id, node_id>, std::deque<packet>> edges_;
  matrix x_, snapshot_;
  Eigen::RowVectorXd expected_;
  std::map<node_id, Eigen::RowVectorXd> asked_, under_way_;  // by who asked
  int averages_ = 0;
};

TEMPLATE_TEST_CASE("in any order of events ad_psgd is its dense form and conserves the sum (AD.G) (AD.A) (AD.P) (AD.I)",
                   "", node_type, (ad_psgd<backend::host<double>, step::sgd, partner::round_robin>),
                   (ad_psgd<backend::host<double>, step::sgd, mostly_last>)) {
  std::vector<topology::pair> const networks{topology::ring(5), topology::star(5),          topology::complete(4),
                                             topology::line(2), topology::directed_ring(3), topology::line(1)};
  for (auto const& network : networks) {
    auto run = scripted<TestType>{network, 9};
    auto off = 0.0, law = 0.0;
    for (int k = 0; k < 4000; ++k) {
      run.step();
      off = std::max(off, run.off());
      law = std::max(law, run.law());
    }
    INFO(network.name());
    CHECK(off < 1e-11);
    CHECK(law < 1e-11);
    CHECK((run.averages() > 100) == (network.nodes() > 1));
    CHECK(run.spread() < 3);
  }
}

/// Whom node 0 asks in so many questions, each of which is answered.
template<class Node>
auto partners(topology::pair const& network, typename Node::options o, int questions) -> std::vector<std::size_t> {
  std::vector<std::size_t> asked;
  o.step = 0.01;
  auto a = assemble<Node>(network, quadratic::random(network.nodes(), 2, 1), o);
  outbox out;
  a.nodes[0].start({}, out);
  for (int k = 0; k < questions; ++k) {
    REQUIRE(out.packets.size() == 1);
    auto const question = out.packets[0];
    auto const request = *out.request;
    asked.push_back(to_index(question.to));
    auto reply = question;
    std::swap(reply.from, reply.to);
    reply.based_on = question.number;
    out.clear();
    hand_over(a.nodes[0], reply, 1, out);
    CHECK(out.packets.empty());
    a.nodes[0].on_gradient({}, a.oracle.evaluate(request), out);
  }
  return asked;
}

TEST_CASE("ad_psgd by default draws the neighbour to ask from seed, node and question") {
  std::vector<std::size_t> drawn;
  for (std::uint64_t k = 0; k < 50; ++k) drawn.push_back(1 + random_stream{{0x70616972ULL, 3, 0, k}}.below(4));
  CHECK(partners<node_type>(topology::star(5), {.seed = 3}, 50) == drawn);
}

TEST_CASE("round robin asks the neighbours in turn, and skips one that has left") {
  using in_turn = ad_psgd<backend::host<double>, step::sgd, partner::round_robin>;
  CHECK(partners<in_turn>(topology::star(4), {}, 7) == std::vector<std::size_t>{1, 2, 3, 1, 2, 3, 1});
  partner::round_robin::state of_node_2{{}, node_id{2}};
  auto unused = random_stream{{1, 2}};
  std::vector const all{node_id{0}, node_id{1}, node_id{3}}, without_0{node_id{1}, node_id{3}};
  CHECK(of_node_2(all, unused) == 2);
  CHECK(of_node_2(all, unused) == 0);
  CHECK(of_node_2(without_0, unused) == 0);
  CHECK(of_node_2(without_0, unused) == 1);
  CHECK(of_node_2(without_0, unused) == 0);
}

TEST_CASE("a custom partner policy is used, its settings are options, and its state is kept") {
  using own = ad_psgd<backend::host<double>, step::sgd, mostly_last>;
  CHECK(partners<own>(topology::star(4), {}, 6) == std::vector<std::size_t>{3, 3, 1, 3, 3, 1});
  CHECK(partners<own>(topology::star(4), {.partner = {2}}, 4) == std::vector<std::size_t>{3, 1, 3, 1});
  auto const made = assemble<own>(topology::star(4), quadratic::random(4, 2, 1), {.partner = {5}});
  CHECK(made.agreed.text().find("partner period=5\n") != std::string::npos);
}

TEST_CASE("every neighbour is asked equally often, by a key that does not depend on the order of events") {
  std::map<std::size_t, int> asked;
  for (auto const peer : partners<node_type>(topology::star(5), {.seed = 3}, 2000)) ++asked[peer];
  CHECK(asked.size() == 4);
  for (auto const& [peer, times] : asked) CHECK(std::abs(times - 500) < 100);  // five standard deviations
}

TEST_CASE("a node with an unanswered question goes on, and a neighbour that has left is not asked") {
  auto a = assemble<node_type>(topology::line(2), quadratic::random(2, 2, 1), {.step = 0.01});
  outbox out;
  a.nodes[0].start({}, out);
  REQUIRE(out.packets.size() == 1);
  auto const request = *out.request;
  out.clear();
  a.nodes[0].on_gradient({}, a.oracle.evaluate(request), out);
  CHECK(out.packets.empty());
  auto const second = out.request;
  REQUIRE(second);
  out.clear();
  a.nodes[0].on_neighbours({}, {node_id{1}, neighbour_change::edge::closes, {1, 1}, {1, 1}}, out);
  a.nodes[0].on_gradient({}, a.oracle.evaluate(*second), out);
  CHECK(out.packets.empty());
  auto const third = out.request;
  REQUIRE(third);
  out.clear();
  a.nodes[0].on_neighbours({}, {node_id{1}, neighbour_change::edge::opens, {2, 2}, {2, 2}}, out);
  a.nodes[0].on_gradient({}, a.oracle.evaluate(*third), out);
  REQUIRE(out.packets.size() == 1);
  CHECK(out.packets[0].session == session_id{2, 2});
  CHECK(a.nodes[0].statistics().gradients == 3);
}

TEST_CASE("at unequal speeds ad_psgd ends where sum r_i grad f_i = 0, off the optimum by the predicted distance") {
  auto const q = quadratic::random(4, 3, 11, {.spread = 1, .condition = 4});
  std::vector<double> const slower{1, 2, 1, 8};
  auto compute = environment::fixed(10ms);
  for (std::uint32_t i = 0; i < 4; ++i) compute = compute.slow(i, slower[i]);
  auto const scenario = environment::scenario{.compute = compute, .link = {.latency = 1ms, .loss = 0.2}, .seed = 2};
  auto const result = simulate<node_type>(topology::ring(4), q, {.step = 0.002}, scenario, {.time = 100s});
  std::vector<double> mean(q.dimension(), 0.0);
  for (std::size_t k = 0; k < q.dimension(); ++k) {
    for (auto const& model : result.models) mean[k] += model.view<double>()[k] / 4;
  }
  auto const predicted = optimum_by_speed(q, slower);
  auto const miss = distance(predicted, q.optimum());
  std::printf("ad_psgd misses the optimum by %.4f, predicted %.4f\n", distance(mean, q.optimum()), miss);
  CHECK(miss > 0.1);
  CHECK(distance(mean, predicted) < 0.1 * miss);
}

}  // namespace
}  // namespace rubato::test
