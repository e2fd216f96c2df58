// SPDX-License-Identifier: MIT
// In lock-step every order must be its dense matrix form. Checks (G.D) (G.W) (G.T) (G.C) (G.A) of
// algorithm/gradient_tracking.hpp against matrices that know nothing of nodes.
#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/dsgt.hpp>
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/low_precision_d_psgd.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/ledger/floating.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using test::matrix;
using reference = backend::host<double>;

auto networks() -> std::vector<topology::pair> {
  return {topology::binary_tree(7),
          topology::star(5),
          topology::ring(6),
          topology::exponential(6),
          {topology::directed_ring(5), topology::exponential(5)},
          topology::line(2),
          topology::line(1)};
}

constexpr auto rounds = 100;

/// Runs `Node` in lock-step beside step(x), which takes the models of one round to those of the next.
template<class Node, class Make>
void compare(topology::pair const& network, Make make) {
  auto const q = problem::quadratic::random(network.nodes(), 5, 42);
  typename Node::options options{};
  options.step = 0.05;
  auto made = assemble<Node>(network, q, options);
  auto const dense = test::dense_network{Node::make_plan(network)};
  auto advance = make(dense, q, made.raw_step);
  auto nodes = test::lockstep{std::move(made)};
  matrix x = matrix::Zero(test::index_of(q.nodes()), test::index_of(q.dimension()));
  auto worst = 0.0;
  for (int k = 0; k < rounds; ++k) {
    for (std::size_t i = 0; i < q.nodes(); ++i)
      worst = std::max(worst, test::distance(nodes.point(i), test::row(x, i)));
    nodes.round();
    x = advance(x);
  }
  INFO(network.name());
  CHECK(worst < 1e-12 * (1 + x.cwiseAbs().maxCoeff()));
  CHECK(x.cwiseAbs().maxCoeff() > 0.01);
}

TEST_CASE("push_pull in lock-step is y+ = A (y + g_new - g), x+ = W (x - gamma y) (G.D) (G.W) (G.T) (G.C) (G.A)") {
  for (auto const& network : networks()) {
    compare<push_pull<reference>>(network, [](auto const& m, auto const& q, double gamma) {
      return [=, y = matrix{}, g = matrix{}](matrix const& x) mutable -> matrix {
        matrix const fresh = test::gradients(q, x);
        if (y.size() == 0) y = fresh;
        else y = m.a * (y + fresh - g);
        g = fresh;
        return m.w * (x - gamma * y);
      };
    });
  }
}

TEST_CASE("s_ab in lock-step is x+ = W x - gamma y, y+ = A y + g_new - g") {
  for (auto const& network : networks()) {
    compare<s_ab<reference>>(network, [](auto const& m, auto const& q, double gamma) {
      return [=, y = matrix{}, g = matrix{}](matrix const& x) mutable -> matrix {
        matrix const fresh = test::gradients(q, x);
        if (y.size() == 0) y = fresh;
        else y = m.a * y + fresh - g;
        g = fresh;
        return m.w * x - gamma * y;
      };
    });
  }
}

TEST_CASE("dsgt in lock-step is x+ = W (x - gamma z), z+ = W z + g_new - g (T.T) (T.D) (T.A) (T.W) (T.C)") {
  for (auto const& network : networks()) {
    compare<dsgt<reference>>(network, [](auto const& m, auto const& q, double gamma) {
      CHECK((m.w - m.w.transpose()).cwiseAbs().maxCoeff() < 1e-15);
      return [=, z = matrix{}, g = matrix{}](matrix const& x) mutable -> matrix {
        matrix const fresh = test::gradients(q, x);
        if (z.size() == 0) z = fresh;
        else z = m.w * z + fresh - g;
        g = fresh;
        return m.w * (x - gamma * z);
      };
    });
  }
}

TEST_CASE("dsgt ends at the optimum of data that differ, where d_psgd_atc does not") {
  auto const q = problem::quadratic::random(6, 5, 42);
  auto const off = [&]<class Node>(std::type_identity<Node>) {
    auto nodes = test::lockstep{assemble<Node>(topology::ring(6), q, {.step = 0.1})};
    for (int k = 0; k < 3000; ++k) nodes.round();
    auto worst = 0.0;
    for (std::size_t i = 0; i < 6; ++i) worst = std::max(worst, test::distance(nodes.point(i), q.optimum()));
    return worst;
  };
  CHECK(off(std::type_identity<dsgt<reference>>{}) < 1e-9);
  CHECK(off(std::type_identity<d_psgd_atc<reference>>{}) > 1e-3);
}

TEST_CASE("dsgt refuses a plan that pushes with other weights than it pulls with") {
  auto const q = problem::quadratic::random(7, 5, 42);
  auto const plan = mixing::tracking_plan(topology::binary_tree(7));
  CHECK(
      test::says(test::refusal([&] { static_cast<void>(assemble<dsgt<reference>>(plan, q, {})); }), "one symmetric W"));
}

TEST_CASE("d_psgd in lock-step is x+ = W x - gamma g(x)") {
  for (auto const& network : networks()) {
    compare<d_psgd<reference>>(network, [](auto const& m, auto const& q, double gamma) {
      return [=](matrix const& x) -> matrix { return m.w * x - gamma * test::gradients(q, x); };
    });
  }
}

TEST_CASE("d_psgd_atc in lock-step is x+ = W (x - gamma g(x))") {
  for (auto const& network : networks()) {
    compare<d_psgd_atc<reference>>(network, [](auto const& m, auto const& q, double gamma) {
      return [=](matrix const& x) -> matrix { return m.w * (x - gamma * test::gradients(q, x)); };
    });
  }
}

/// R-FAST with all nodes acting at the same instants: messages of one round are there in the next.
/// `early`: v is posted before the gradient, so it is one round fresher than the late one.
struct dense_r_fast {
  test::dense_network m;
  problem::quadratic q;
  double gamma;
  bool early;
  matrix z{}, g{}, v{}, posted_v{}, arrived_v{}, rho{}, consumed{}, arrived_rho{};

  auto operator()(matrix const& x) -> matrix {
    matrix const fresh = test::gradients(q, x);
    auto const others_w = matrix(m.w - matrix(m.w.diagonal().asDiagonal()));
    auto const others_a = matrix(m.a - matrix(m.a.diagonal().asDiagonal()));
    if (z.size() == 0) {
      z = fresh;
      v = arrived_v = posted_v = x;
      rho = consumed = arrived_rho = matrix::Zero(x.rows(), x.cols());
    } else {
      z = z - g + fresh;                                                       // (G.T)
      z += arrived_rho - consumed;                                             // (G.C), summed over in-edges
      consumed = arrived_rho;
      rho += others_a * z;                                                     // (G.A)
      z = m.a.diagonal().asDiagonal() * z;
      if (!early) posted_v = v;
    }
    g = fresh;
    v = x - gamma * z;                                                         // (G.D)
    matrix const next = m.w.diagonal().asDiagonal() * v + others_w * arrived_v;  // (G.W)
    if (early) posted_v = v;
    arrived_v = posted_v;
    arrived_rho = rho;
    return next;
  }
};

TEST_CASE("r_fast in lock-step is its dense form with v posted before the gradient (G.D) (G.W) (G.T) (G.C) (G.A)") {
  for (auto const& network : networks()) {
    compare<r_fast<reference>>(
        network, [](auto const& m, auto const& q, double gamma) { return dense_r_fast{m, q, gamma, true}; });
  }
}

TEST_CASE("late_post in lock-step is the same with v posted together with rho") {
  for (auto const& network : networks()) {
    compare<gradient_tracking<reference, order::late_post>>(
        network, [](auto const& m, auto const& q, double gamma) { return dense_r_fast{m, q, gamma, false}; });
  }
}

/// Gradient descent in the arithmetic of T.
template<class T>
void compare_with_sgd() {
  using node_type = r_fast<backend::host<T>, step::sgd, weighting::constant, ledger::floating>;
  auto const q = problem::quadratic::random(1, 9, 5, {.spread = 3, .condition = 10, .noise = 0.3});
  typename node_type::options options{};
  options.step = 0.37;
  options.seed = 11;
  auto made = assemble<node_type>(topology::line(1), q, options);
  auto const gamma = static_cast<T>(made.raw_step);
  auto nodes = test::lockstep{std::move(made)};
  std::vector<T> x(q.dimension(), T{0}), g(q.dimension());
  backend::host<T> b;
  for (std::uint64_t k = 0; k < 500; ++k) {
    auto const point = nodes.body(0).template view<T>();
    REQUIRE(std::equal(point.begin(), point.end(), x.begin()));
    q.gradient(b, std::span<T const>{x}, {11, node_id{0}, k}, std::span<T>{g});
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] - gamma * g[i];
    nodes.round();
  }
}

TEST_CASE("r_fast on one node is SGD bit for bit (G.T)") {
  compare_with_sgd<double>();
  compare_with_sgd<float>();
}

/// On a ring of four whose members push away who stands opposite: rows sum to one, and their moduli to 1.2.
auto opposed() -> mixing::matrix {
  return mixing::from_rows({{.3, .4, -.1, .4}, {.4, .3, .4, -.1}, {-.1, .4, .3, .4}, {.4, -.1, .4, .3}},
                           mixing::stochasticity::doubly, "mine", mixing::signs::any);
}

TEST_CASE("d_psgd with negative entries in W follows x+ = W x - gamma g(x), to its fixed point") {
  auto const q = problem::quadratic::random(4, 5, 42);
  auto const plan = mixing::gossip_plan(opposed());
  auto made = assemble<d_psgd<reference>>(plan, q, {.step = 0.05});
  auto const dense = test::dense_network{plan};
  CHECK(dense.w(0, 2) == -0.1);
  auto nodes = test::lockstep{std::move(made)};
  matrix x = matrix::Zero(4, 5);
  auto worst = 0.0;
  for (int k = 0; k < 2000; ++k) {
    for (std::size_t i = 0; i < 4; ++i) worst = std::max(worst, test::distance(nodes.point(i), test::row(x, i)));
    nodes.round();
    x = dense.w * x - 0.05 * test::gradients(q, x);
  }
  CHECK(worst < 1e-12 * (1 + x.cwiseAbs().maxCoeff()));
  auto const end = test::gossip_fixed_point(q, dense.w, 0.05, matrix::Identity(4, 4));
  CHECK((x - end).cwiseAbs().maxCoeff() < 1e-9);
  CHECK(x.cwiseAbs().maxCoeff() > 0.01);
}

TEST_CASE("negative entries in W also work with loss and stragglers") {
  auto const q = problem::quadratic::random(4, 5, 42);
  auto const plan = mixing::gossip_plan(opposed());
  auto const scenario =
      environment::scenario{.compute = environment::lognormal(std::chrono::milliseconds{10}, 0.5).slow(2, 4),
                            .link = {.latency = std::chrono::milliseconds{3}, .loss = 0.2},
                            .seed = 5};
  auto const result =
      simulate(assemble<d_psgd<reference>>(plan, q, {.step = 0.05}), scenario, {.time = std::chrono::seconds{200}});
  auto const end = test::gossip_fixed_point(q, test::dense_network{plan}.w, 0.05, matrix::Identity(4, 4));
  for (std::size_t i = 0; i < 4; ++i) {
    std::vector<double> model;
    rubato::detail::widen(result.models[i], model);
    CHECK(test::distance(model, test::row(end, i)) < 1e-9);
  }
}

TEST_CASE("methods that average models of different ages, or track, refuse negative weights with the entry") {
  auto const q = problem::quadratic::random(4, 5, 42);
  auto const plan = mixing::gossip_plan(opposed());
  auto const refused = [&]<class Node>(std::type_identity<Node>) {
    return test::refusal([&] { static_cast<void>(assemble<Node>(plan, q, {})); });
  };
  CHECK(refused(std::type_identity<ad_psgd<reference>>{}) ==
        "entry (0, 2) of the pull weights is -0.1, and AD-PSGD needs weights that are not negative; D-PSGD in rounds "
        "takes others");
  CHECK(test::says(refused(std::type_identity<r_fast<reference>>{}), "entry (0, 2) of the pull weights is -0.1"));
  CHECK(test::says(refused(std::type_identity<push_pull<reference>>{}), "entry (0, 2)"));
  CHECK(refused(std::type_identity<d_psgd<reference>>{}).empty());
  CHECK(refused(std::type_identity<d_psgd_atc<reference>>{}).empty());
  CHECK(refused(std::type_identity<low_precision_d_psgd<reference>>{}).empty());
}

}  // namespace
