// SPDX-License-Identifier: MIT
// C-GT and BEER: gradient tracking on compressed models and trackers.
#include <rubato/algorithm/c_gt.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/beer.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/qsgd.hpp>
#include <rubato/codec/sign_scale.hpp>
#include <rubato/codec/top_k.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/alone.hpp"
#include "support/catch.hpp"
#include "support/compressed.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using problem::quadratic;

/// C-GT as matrices, in the order of the paper: H and its mean of models and of trackers.
struct dense_tracking {
  double eta, c, a;
  matrix w, x, y, g, hx, wx, hy, wy;
  dense_tracking(double step, double consensus, double share, matrix weights, quadratic const& p)
      : eta{step}, c{consensus}, a{share}, w{std::move(weights)} {
    x = matrix::Zero(w.rows(), index_of(p.dimension()));
    hx = wx = hy = wy = x;
    y = g = gradients(p, x);
  }
  template<class Codec>
  auto apart(Codec const& codec, matrix const& v, matrix& h, matrix& mean) const -> matrix {
    matrix const q = coded(codec, v - h);
    matrix const said = h + q, mixed = mean + w * q;
    h = (1 - a) * h + a * said;
    mean = (1 - a) * mean + a * mixed;
    return said - mixed;
  }
  template<class Codec>
  void round(Codec const& codec, quadratic const& p, bool sends_tracker = true) {
    matrix const off_x = apart(codec, x, hx, wx);
    matrix const off_y = sends_tracker ? apart(codec, y, hy, wy) : matrix::Zero(y.rows(), y.cols());
    x = (x - c * off_x - eta * y).eval();
    matrix const fresh = gradients(p, x);
    y = (y - c * off_y + fresh - g).eval();
    g = fresh;
  }
};

template<class Node, class Codec>
void equals_its_dense_form(topology::pair const& network, Codec const& codec, double share) {
  auto const n = network.pull().nodes();
  auto const p = quadratic::random(n, 7, 3);
  typename Node::options o;
  o.step = 0.05, o.consensus = 0.3, o.codec = codec;
  if constexpr (requires { o.share; }) o.share = share;
  together<Node> run{network, p, o};
  auto const plan = Node::make_plan(network);
  dense_tracking dense{0.05 / plan.gain, 0.3, share, dense_network{plan}.w, p};
  for (int k = 0; k < 40; ++k) {
    for (std::size_t i = 0; i < n; ++i) REQUIRE(distance(run.point(i), row(dense.x, i)) < 1e-12);
    run.round();
    // The node's tracker is that of the model at which the gradient of this round was.
    auto const held = run.nodes[0].tracker();
    REQUIRE(distance(std::vector(held.begin(), held.end()), row(dense.y, 0)) < 1e-12);
    dense.round(codec, p, k > 0 || std::is_same_v<Node, c_gt<space, Codec>>);
  }
}

TEST_CASE("(CG.Y) (CG.X) (CG.Q) (CG.H) rounds of C-GT and BEER in lock-step are those of the dense form") {
  equals_its_dense_form<c_gt<space, fifteen_levels>>(topology::ring(5), fifteen_levels{}, 0.5);
  equals_its_dense_form<c_gt<space, codec::top_k>>(topology::star(4), codec::top_k{.k = 3}, 1);
  equals_its_dense_form<beer<space, codec::top_k>>(topology::ring(5), codec::top_k{.k = 3}, 1);
  equals_its_dense_form<beer<space, codec::sign_scale>>(topology::star(4), codec::sign_scale{}, 1);
}

template<class Node>
void ends_at(typename Node::options const& o, std::vector<double> const& x, std::vector<double> const& tracker,
             int rounds) {
  together<Node> run{topology::ring(4), golden_problem{}, o};
  run.round();
  run.round();
  CHECK(distance(run.point(0), x) < 1e-12);
  run.round();  // with the gradient at x
  auto const held = run.nodes[0].tracker();
  CHECK(distance(std::vector(held.begin(), held.end()), tracker) < 1e-12);
  for (int k = 3; k < rounds; ++k) run.round();
  for (std::size_t i = 0; i < 4; ++i) CHECK(distance(run.point(i), golden_problem::optimum()) < 1e-12);
}

TEST_CASE("C-GT and BEER: golden values of two rounds, and they end at the optimum") {
  ends_at<c_gt<space, fifteen_levels>>({.step = 0.1, .scale = step_scale::raw, .consensus = 0.3, .share = 0.5},
                                       {-0.512857142857143, 0.374285714285714, 0.185714285714286},
                                       {1.789489795918367, -0.767857142857143, -1.081632653061224}, 3000);
  ends_at<beer<space, codec::top_k>>({.step = 0.05, .scale = step_scale::raw, .consensus = 0.2, .codec = {.k = 1}},
                                     {-0.2925, 0.336666666666667, 0.016666666666667}, {2.7075, -2.555, -0.275}, 3000);
}

template<class Node>
void keeps_its_laws(typename Node::options const& o) {
  auto const p = quadratic::random(5, 33, 6, {.spread = 1, .condition = 4, .noise = 0.1});
  auto const network = topology::pair{topology::ring(5)};
  together<Node> run{network, p, o};
  std::vector<std::vector<double>> before;
  for (int k = 0; k < 60; ++k) {
    std::vector<double> all(33);
    for (std::size_t i = 0; i < 5; ++i) {
      auto const g = run.oracle.evaluate(run.asked[i]);
      for (std::size_t v = 0; v < 33; ++v) all[v] += g.value.template view<double>()[v];
    }
    run.round();
    std::vector<double> held(33);
    for (auto const& n : run.nodes)
      for (std::size_t v = 0; v < 33; ++v) held[v] += n.tracker()[v];
    REQUIRE(distance(held, all) < 1e-11);
    for (std::size_t i = 0; i < 5; ++i) {
      for (std::size_t j = 0; j < 5; ++j) {
        for (auto const stream : {0U, 1U}) {
          // A node has heard all but the last message, so what it knows is older than what its neighbour knows by one.
          auto const [values, round] = run.nodes[i].replica_of(to_node(j), stream);
          if (values.empty()) continue;
          REQUIRE(round == static_cast<std::uint64_t>(k));
          if (before.size() == 10) REQUIRE(distance({values.begin(), values.end()}, before[2 * j + stream]) == 0);
        }
      }
    }
    before.clear();
    for (auto const& n : run.nodes) {
      for (auto const stream : {0U, 1U}) before.emplace_back(n.known(stream).begin(), n.known(stream).end());
    }
  }
}

TEST_CASE("trackers sum to the gradients, and references equal their replicas bit for bit") {
  keeps_its_laws<c_gt<space, codec::qsgd>>({.step = 0.05, .share = 0.5, .codec = {.bits = 4}});
  keeps_its_laws<beer<space>>({.step = 0.05});
}

template<class Node>
void bears_loss() {
  auto const p = quadratic::random(6, 9, 8, {.spread = 1, .condition = 4});
  auto const r = simulate(
      assemble<Node>(topology::ring(6), p, {.step = 0.05}),
      {.compute = environment::lognormal(10ms, 0.5).slow(2, 4.0), .link = {.latency = 2ms, .loss = 0.3}, .seed = 2},
      {.time = 60s});
  for (auto const& m : r.models) {
    std::vector<double> x;
    rubato::detail::widen(m, x);
    CHECK(distance(x, p.optimum()) < 1e-9);
  }
}

TEST_CASE("with a third of packets lost and uneven speeds both end at the optimum; alone, both are SGD bit for bit") {
  bears_loss<c_gt<space>>();
  bears_loss<beer<space>>();
  is_sgd_alone<c_gt<space>>();
  is_sgd_alone<beer<space>>();
}

TEST_CASE("a message that holds one vector only is refused, and so is a share that is not a power of two") {
  auto const p = quadratic::random(3, 4, 1);
  using plain = c_gt<space, codec::top_k>;
  auto a = assemble<plain>(topology::ring(3), p, {.codec = {.k = 1}});
  CHECK(says(complaint_of_size<std::byte>(a, node_id{1}, channel_id::model, 1, codec::top_k{.k = 1}.codes<double>(4)),
             "node 1 sent 12 values in one message, where 28 are right"));
  CHECK(says(
      refusal([&] { static_cast<void>(assemble<plain>(topology::ring(3), p, {.share = 0.6, .codec = {.k = 1}})); }),
      "references move by 1, 0.5, 0.25, ... of a difference"));
}

}  // namespace
}  // namespace rubato::test
