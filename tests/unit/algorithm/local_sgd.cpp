// SPDX-License-Identifier: MIT
#include <rubato/algorithm/local_sgd.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/diloco.hpp>
#include <rubato/algorithm/post_local_sgd.hpp>
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/algorithm/slowmo.hpp>
#include <rubato/algorithm/sparse_loco.hpp>
#include <rubato/algorithm/streaming_diloco.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/top_k.hpp>
#include <rubato/core/snapshot.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

using host = backend::host<double>;
using problem::quadratic;
using vector = std::vector<double>;

constexpr auto gamma = 0.3;

/// What the outer step of the reference is made of.
struct outer_of {
  double rate = 1, beta = 0;
  bool nesterov = false;
};

/// The whole family as it is defined, on matrices: node i at row i of x.
struct dense_local_sgd {
  dense_local_sgd(quadratic const& problem, outer_of o) : p{problem}, outer{o} {
    x = matrix::Zero(index_of(p.nodes()), index_of(p.dimension()));
    s = m = Eigen::RowVectorXd::Zero(x.cols());
  }
  void step() { x -= gamma * gradients(p, x); }
  void merge() {
    Eigen::RowVectorXd const work = s - x.colwise().mean();
    m = outer.beta * m + work;
    s -= outer.rate * (outer.nesterov ? Eigen::RowVectorXd{work + outer.beta * m} : m);
    x.rowwise() = s;
  }
  quadratic p;
  outer_of outer;
  matrix x;
  Eigen::RowVectorXd s, m;
};

auto row(matrix const& x, std::size_t i) -> vector {
  auto const r = x.row(index_of(i));
  return {r.begin(), r.end()};
}

/// Follows a run over `steps` local steps; merge_after(t) says whether the t-th, from 1, is followed by a merge.
template<class Node, class MergeAfter>
void follows_the_reference(typename Node::options o, outer_of outer, int steps, MergeAfter const& merge_after) {
  for (auto const n : {std::size_t{1}, std::size_t{2}, std::size_t{5}}) {
    auto const p = quadratic::random(n, 7, 3);
    o.step = gamma;
    lockstep run{assemble<Node>(topology::ring(n), p, o)};
    dense_local_sgd dense{p, outer};
    for (int t = 1; t <= steps; ++t) {
      run.round();
      dense.step();
      auto const merged = merge_after(t);
      if (merged) dense.merge();
      CAPTURE(n, t);
      for (std::size_t i = 0; i < n; ++i) {
        REQUIRE(distance(run.point(i), row(dense.x, i)) < 1e-12);
        if (merged) REQUIRE(run.point(i) == run.point(0));  // bit for bit
      }
    }
  }
}

auto every(int k) {
  return [k](int t) { return t % k == 0; };
}

TEST_CASE("(L.S) (L.D) (L.O) local_sgd takes k steps each, and then the mean of the models") {
  for (auto const k : {1, 3, 4})
    follows_the_reference<local_sgd<host>>({.rhythm = {.local_steps = static_cast<std::uint64_t>(k)}}, {}, 40,
                                           every(k));
}

// In (L.O) of these.
TEST_CASE("post_local_sgd merges after each step of the warm-up, then after every k") {
  follows_the_reference<post_local_sgd<host>>({.rhythm = {.local_steps = 3, .warm_up = 5}}, {}, 40,
                                              [](int t) { return t <= 5 || (t - 5) % 3 == 0; });
}
TEST_CASE("slowmo has heavy-ball momentum over merges, diloco Nesterov's") {
  follows_the_reference<slowmo<host>>(
      {.rhythm = {.local_steps = 3}, .outer = {.rate = 0.8, .rule = step::momentum{0.6}}}, {.rate = 0.8, .beta = 0.6},
      60, every(3));
  follows_the_reference<diloco<host>>({.rhythm = {.local_steps = 2}}, {.rate = 0.7, .beta = 0.9, .nesterov = true}, 60,
                                      every(2));
}

TEST_CASE("diloco with an outer step of 1 without momentum is local_sgd, bit for bit") {
  auto const p = quadratic::random(4, 9, 6, {.noise = 0.2});
  auto const k = rhythm::steady{3};
  auto const plain = step::momentum{0, step::momentum_form::nesterov};
  lockstep local{assemble<local_sgd<host>>(topology::ring(4), p, {.step = gamma, .rhythm = k})};
  lockstep outer{
      assemble<diloco<host>>(topology::ring(4), p, {.step = gamma, .rhythm = k, .outer = {.rate = 1, .rule = plain}})};
  for (int t = 0; t < 30; ++t) {
    local.round(), outer.round();
    REQUIRE(local.point(1) == outer.point(1));
  }
}

TEST_CASE("local_sgd with one local step is the all-reduce of gradients") {
  auto const p = quadratic::random(5, 11, 4, {.noise = 0.3});
  lockstep local{assemble<local_sgd<host>>(topology::ring(5), p, {.step = gamma, .rhythm = {.local_steps = 1}})};
  lockstep gradients{assemble<scatter_allreduce_sgd<host>>(topology::ring(5), p, {.step = gamma})};
  for (int t = 0; t < 50; ++t) {
    local.round(), gradients.round();
    REQUIRE(distance(local.point(2), gradients.point(2)) < 1e-13);
  }
}

TEST_CASE(
    "k local steps end where they add up to zero, whatever the outer step: off the optimum where curvatures differ") {
  auto const p = quadratic::random(4, 6, 8, {.spread = 2, .condition = 6});
  for (auto const k : {1, 2, 8}) {
    vector expected;
    for (std::size_t c = 0; c < 6; ++c) {
      auto above = 0.0, below = 0.0;
      for (std::size_t i = 0; i < 4; ++i) {
        auto const q = 1 - std::pow(1 - 0.05 * p.curvature(i, c), k);
        above += q * p.centre(i, c), below += q;
      }
      expected.push_back(above / below);
    }
    auto const steps = rhythm::steady{static_cast<std::uint64_t>(k)};
    auto const ends_there = [&]<class Node>(std::type_identity<Node>) {
      lockstep run{assemble<Node>(topology::ring(4), p, {.step = 0.05, .rhythm = steps})};
      for (int t = 0; t < 1500 * k; ++t) run.round();
      CHECK(distance(run.point(0), expected) < 1e-12);
      CHECK((distance(run.point(0), p.optimum()) < 1e-12) == (k == 1));
    };
    ends_there(std::type_identity<local_sgd<host>>{});
    ends_there(std::type_identity<slowmo<host>>{});
    ends_there(std::type_identity<diloco<host>>{});
  }
}

TEST_CASE("a step rule keeps its state over merges") {
  using node = local_sgd<host, outer::mean, rhythm::steady, codec::identity, step::momentum>;
  auto const p = quadratic::random(1, 3, 2);
  lockstep run{assemble<node>(topology::line(1), p, {.step = 0.1, .rhythm = {.local_steps = 2}})};
  vector x(3, 0.0), m(3, 0.0);
  for (int t = 0; t < 9; ++t) {
    run.round();
    for (std::size_t c = 0; c < 3; ++c) {
      m[c] = 0.9 * m[c] + p.curvature(0, c) * (x[c] - p.centre(0, c));
      x[c] -= 0.1 * m[c];
    }
    REQUIRE(distance(run.point(0), x) < 1e-13);
  }
}

/// Steps along the same direction everywhere.
struct slope {
  [[nodiscard]] auto dimension() const -> std::size_t { return 2; }
  template<class Backend>
  auto gradient(Backend&, std::span<double const>, sample_key, std::span<double> g) const -> double {
    g[0] = g[1] = 2;
    return 0;
  }
};

TEST_CASE("(L.X) two fragments in turn take the steps of the fixture of torchft, less 1") {
  using node = local_sgd<host, outer::mean, rhythm::in_fragments>;
  auto const trace = [](double a) {
    lockstep run{assemble<node>(topology::ring(3), slope{},
                                {.step = 1,
                                 .scale = step_scale::raw,
                                 .rhythm = {.local_steps = 6, .parts = 2, .delay = 0, .share_kept = a},
                                 .outer = {.rate = 2}})};
    std::vector<vector> of(2);
    for (int t = 0; t < 6; ++t) {
      run.round();
      for (std::size_t c = 0; c < 2; ++c) of[c].push_back(run.point(1)[c]);
    }
    return of;
  };
  CHECK(trace(0) == std::vector<vector>{{-2, -4, -12, -14, -16, -18}, {-2, -4, -6, -8, -10, -24}});
  CHECK(trace(0.5) == std::vector<vector>{{-2, -4, -9, -11, -13, -15}, {-2, -4, -6, -8, -10, -18}});
}

/// streaming_diloco on matrices: what was measured `delay` steps ago is taken now.
TEST_CASE("(L.D) (L.X) streaming_diloco measures a fragment, goes on, and takes the mean later") {
  constexpr std::size_t n = 4, d = 7;
  for (auto const when : {rhythm::in_fragments{6, 2, 1, 0.5}, rhythm::in_fragments{12, 3, 3, 0.25},
                          rhythm::in_fragments{3, 1, 0, 0}, rhythm::in_fragments{4, 1, 3, 0}}) {
    auto const p = quadratic::random(n, d, 3);
    lockstep run{assemble<streaming_diloco<host>>(topology::ring(n), p, {.step = gamma, .rhythm = when})};
    matrix x = matrix::Zero(n, d);
    Eigen::RowVectorXd s = Eigen::RowVectorXd::Zero(d), m = s, work = s;
    auto const apart = static_cast<int>(when.local_steps / when.parts), late = static_cast<int>(when.delay);
    for (int t = 1; t <= 60; ++t) {
      run.round();
      x -= gamma * gradients(p, x);
      if (t % apart == 0) work = s - x.colwise().mean();
      auto const since = t - late;
      if (since > 0 && since % apart == 0) {
        auto const f = static_cast<std::size_t>(since / apart - 1) % when.parts;
        for (auto c = index_of(f * d / when.parts); c < index_of((f + 1) * d / when.parts); ++c) {
          m(c) = 0.9 * m(c) + work(c);
          s(c) -= 0.7 * (work(c) + 0.9 * m(c));
          for (auto i = 0; i < index_of(n); ++i) x(i, c) = (1 - when.share_kept) * s(c) + when.share_kept * x(i, c);
        }
      }
      CAPTURE(t, when.local_steps);
      for (std::size_t i = 0; i < n; ++i) REQUIRE(distance(run.point(i), row(x, i)) < 1e-12);
    }
  }
}

TEST_CASE("streaming_diloco with one fragment and no delay is diloco, bit for bit, and otherwise ends where it says") {
  auto const p = quadratic::random(3, 6, 8, {.spread = 2, .condition = 4});
  lockstep whole{assemble<diloco<host>>(topology::ring(3), p, {.step = gamma, .rhythm = {.local_steps = 3}})};
  lockstep streamed{assemble<streaming_diloco<host>>(
      topology::ring(3), p, {.step = gamma, .rhythm = {.local_steps = 3, .parts = 1, .delay = 0, .share_kept = 0}})};
  for (int t = 0; t < 30; ++t) {
    whole.round(), streamed.round();
    REQUIRE(whole.point(1) == streamed.point(1));
  }
  for (auto const when : {rhythm::in_fragments{6, 2, 2, 0}, rhythm::in_fragments{6, 2, 1, 0.5}}) {
    lockstep run{assemble<streaming_diloco<host>>(topology::ring(3), p, {.step = 0.05, .rhythm = when})};
    auto const k = static_cast<double>(when.local_steps), late = static_cast<double>(when.delay), a = when.share_kept;
    for (auto t = 0; t < 6000 + static_cast<int>(when.delay); ++t) run.round();
    for (std::size_t c = 0; c < 6; ++c) {
      for (auto t = 0; c % 3 == 0 && t < 3; ++t) run.round();  // now this fragment's result was just taken
      auto above = 0.0, below = 0.0;
      for (std::size_t i = 0; i < 3; ++i) {
        auto const r = 1 - 0.05 * p.curvature(i, c);
        auto const q = 1 - (1 - a) * std::pow(r, k - late) / (1 - a * std::pow(r, k));
        above += q * p.centre(i, c), below += q;
      }
      auto const kept = a * std::pow(1 - 0.05 * p.curvature(0, c), k), centre = p.centre(0, c);
      auto const common = centre + (run.point(0)[c] - centre) * (1 - kept) / (1 - a);  // s, of what node 0 has of it
      CHECK(common == Approx(above / below).margin(1e-11));
    }
  }
}

/// Node i goes along row i, wherever it is.
struct slopes {
  std::vector<vector> of;
  [[nodiscard]] auto dimension() const -> std::size_t { return of[0].size(); }
  template<class Backend>
  auto gradient(Backend&, std::span<double const>, sample_key key, std::span<double> g) const -> double {
    std::copy(of[to_index(key.node)].begin(), of[to_index(key.node)].end(), g.begin());
    return 0;
  }
};

TEST_CASE(
    "(Ga.S) (Ga.M) sparse_loco sends the largest value of each block and keeps the rest, with its golden values") {
  auto const work = slopes{{{.4, -.1, 0, .2, 1, 0, -2, .5}, {.1, .3, -.6, 0, 0, .7, .2, -.1}}};
  lockstep run{assemble<sparse_loco<host>>(topology::line(2), work,
                                           {.step = 1,
                                            .scale = step_scale::raw,
                                            .rhythm = {.local_steps = 1},
                                            .codec = {.of = {.block_values = 4, .k = 1}, .decay = 0.95}})};
  for (auto const& expected : {vector{-0.2, 0, 0.3, 0, 0, -0.35, 1, 0}, vector{-0.4, 0, 0.6, 0, 0, -0.7, 2, 0}}) {
    run.round();
    CHECK(distance(run.point(0), expected) < 1e-14);
    CHECK(run.point(1) == run.point(0));
  }
}

TEST_CASE("a mean that is gathered is that of the all-reduce, and sparse_loco ends about where local_sgd does") {
  using gathered = local_sgd<host, outer::mean, rhythm::steady, codec::identity, step::sgd, merge::all_gather>;
  follows_the_reference<gathered>({.rhythm = {.local_steps = 3}}, {}, 30, every(3));
  auto const p = quadratic::random(4, 12, 8);
  auto const end = [&](auto node, double step) {
    using type = typename decltype(node)::type;
    typename type::options o;
    o.step = step;
    if constexpr (requires { o.codec.of; }) o.codec.of = {.block_values = 6, .k = 2};
    lockstep run{assemble<type>(topology::ring(4), p, o)};
    for (int t = 0; t < static_cast<int>(80 / step); ++t) run.round();
    for (std::size_t i = 1; i < 4; ++i) CHECK(run.point(i) == run.point(0));
    return run.point(0);
  };
  auto const apart = [&](double step) {
    return distance(end(std::type_identity<sparse_loco<host>>{}, step),
                    end(std::type_identity<local_sgd<host>>{}, step));
  };
  auto const coarse = apart(0.1), fine = apart(0.01);
  CAPTURE(coarse, fine);
  CHECK(coarse > 1e-6);
  CHECK(fine < coarse / 4);
  CHECK(fine < 0.05);
}

TEST_CASE("each fragment has its own error feedback: what a run has left out stays bounded") {
  using sparse = local_sgd<host, outer::mean, rhythm::in_fragments, codec::error_feedback<codec::top_k>>;
  auto const work = slopes{{{.4, -.1, 0, .2, 1, 0, -2, .5}, {.1, .3, -.6, 0, 0, .7, .2, -.1}}};
  auto const left_out = [&](int rounds) {
    lockstep run{assemble<sparse>(topology::line(2), work,
                                  {.step = 1,
                                   .scale = step_scale::raw,
                                   .rhythm = {.local_steps = 2, .parts = 2, .delay = 0, .share_kept = 0},
                                   .codec = {.of = {.k = 1}}})};
    for (int t = 0; t < rounds; ++t) run.round();
    auto left = 0.0;
    for (std::size_t c = 0; c < 8; ++c)
      left = std::max(left, std::abs(run.point(0)[c] + rounds * (work.of[0][c] + work.of[1][c]) / 2));
    return left;
  };
  CHECK(left_out(100) < 12);  // each message brings 1 of 2 values
  CHECK(left_out(1600) < 12);
}

TEST_CASE("who spoilt a mean that is there and not yet taken is part of the state") {
  using node = local_sgd<host, outer::mean, rhythm::in_fragments, codec::identity, step::sgd, merge::all_gather>;
  auto const make = [] {
    return assemble<node>(topology::ring(3), slopes{{{1, 2}, {3, 4}, {5, 6}}},
                          {.rhythm = {.local_steps = 2, .parts = 1, .delay = 1}});
  };
  auto a = make(), b = make();
  std::vector<packet> to_first;
  gradient_request last;
  outbox out;
  for (auto const i : {std::size_t{1}, std::size_t{2}, std::size_t{0}}) {
    a.nodes[i].start({}, out);
    for (int step = 0; step < 2; ++step) {
      auto const g = a.oracle.evaluate(*std::exchange(out.request, {}));
      a.nodes[i].on_gradient({}, g, out);
    }
    for (auto const& p : out.packets)
      if (p.to == node_id{0}) to_first.push_back(p);
    last = *out.request;
    out.clear();
  }
  REQUIRE(to_first.size() == 2);
  auto spoilt = a.pool.writable_copy<double>(to_first[0].body);
  spoilt.data()[1] = std::nan("");
  to_first[0].body = std::move(spoilt).publish();
  for (auto const& p : to_first) hand_over(a.nodes[0], p, 1, out);
  REQUIRE_FALSE(out.failure);
  restore(b.nodes[0], take_snapshot(a.nodes[0]), b.pool);
  for (auto* of : {&a, &b}) {
    out.clear();
    of->nodes[0].on_gradient({}, of->oracle.evaluate(last), out);
    REQUIRE(out.failure);
    CHECK(says(out.failure->sentence, "that node 1 sent to node 0"));
  }
}

template<class Node>
auto refused(typename Node::options const& o) -> std::string {
  return refusal([&] { static_cast<void>(assemble<Node>(topology::ring(3), quadratic::random(3, 4, 1), o)); });
}

TEST_CASE("bad options of local steps are refused, and so is a node that leaves") {
  CHECK(says(refused<local_sgd<host>>({.rhythm = {.local_steps = 0}}), "after 1 local step or more, not after 0"));
  CHECK(says(refused<post_local_sgd<host>>({.rhythm = {.local_steps = 0}}), "after 1 local step or more, not after 0"));
  using streamed = streaming_diloco<host>;
  CHECK(says(refused<streamed>({.rhythm = {.local_steps = 0}}), "after 1 local step or more, not after 0"));
  CHECK(says(refused<streamed>({.rhythm = {.parts = 0}}), "at least one fragment, not 0"));
  CHECK(says(refused<streamed>({.rhythm = {6, 4, 0}}), "4 fragments do not divide 6 local steps evenly"));
  for (auto const parts : {std::size_t{5}, std::size_t{1} << 60})
    CHECK(says(refused<streamed>({.rhythm = {parts, parts, 0}}), "a model of 4 values cannot be merged in"));
  CHECK(refused<streamed>({.rhythm = {4, 4, 0}}).empty());
  CHECK(says(refused<streamed>({.rhythm = {6, 2, 3}}), "than lie between two, 3, and so not for 3"));
  for (auto const share : {-0.1, 1.0, std::nan("")})
    CHECK(says(refused<streamed>({.rhythm = {.share_kept = share}}), "the share that a node keeps must lie in 0"));
  CHECK(says(refused<sparse_loco<host>>({.rhythm = {.local_steps = 0}}), "after 1 local step or more, not after 0"));
  CHECK(says(refused<sparse_loco<host>>({.codec = {.of = {.block_values = 4, .k = 5}}}), "keeps 1 to 4 values"));
  CHECK(says(refused<sparse_loco<host>>({.codec = {.decay = 1.5}}), "error feedback keeps 0 to 1 of old errors"));
  CHECK(says(refusal([] { step::momentum{1}; }), "the beta of momentum must lie in 0"));
  for (auto const rate : {0.0, -1.0, std::nan("")})
    CHECK(says(refused<local_sgd<host>>({.outer = {.rate = rate}}), "the rate of an outer step must be a positive"));
  auto a = assemble<local_sgd<host>>(topology::ring(3), quadratic::random(3, 4, 1), {});
  outbox out;
  neighbour_change change;
  change.peer = node_id{1};
  a.nodes[0].on_neighbours({}, change, out);
  REQUIRE(out.failure);
  CHECK(says(out.failure->sentence, "node 1 left the merging of local steps"));
}

}  // namespace
}  // namespace rubato::test
