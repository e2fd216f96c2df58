// SPDX-License-Identifier: MIT
// Staleness weighting inside the pull: what is withheld from an old value goes to the node itself. Checks (G.W).
#include <rubato/algorithm/r_fast.hpp>

#include <cmath>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/weighting/drop_older_than.hpp>
#include <rubato/weighting/exponential.hpp>
#include <rubato/weighting/hinge.hpp>
#include <rubato/weighting/polynomial.hpp>

#include "support/catch.hpp"
#include "support/contract.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using weighted = r_fast<backend::host<double>, step::sgd, weighting::polynomial>;

/// The same gradient for ever, from a first model of one's own.
struct constant_slope {
  double slope;
  double first;
  [[nodiscard]] auto dimension() const -> std::size_t { return 2; }
  [[nodiscard]] auto initial() const -> std::vector<double> { return {first, -first}; }
  template<backend::array_backend Backend>
  auto gradient(Backend&, std::span<typename Backend::scalar const>, sample_key,
                std::span<typename Backend::scalar> g) const -> double {
    for (auto& v : g) v = slope;
    return 0;
  }
};

auto number_of(double value) -> shared_buffer {
  backend::host<double> b;
  auto x = b.allocate<double>(2);
  x.data()[0] = x.data()[1] = value;
  return std::move(x).publish();
}

TEST_CASE("the weight withheld from an old value goes to the node itself (G.W)") {
  weighted::options options{};
  options.step = 0.1;
  options.scale = step_scale::raw;
  options.weighting = weighting::polynomial{0.5};
  auto made = assemble<weighted>(topology::both(topology::ring(2)), constant_slope{3.0, 1.0}, options);
  auto& node = made.nodes[0];
  outbox out;
  node.start({}, out);
  auto x = 1.0, z = 3.0;
  auto const iterate = [&](double received, double age) {
    auto const request = std::exchange(out.request, std::nullopt);
    node.on_gradient({}, made.oracle.evaluate(*request), out);
    auto const weight = 0.5 / std::sqrt(1 + age);
    x = (1 - weight) * (x - 0.1 * z) + weight * received;
    CHECK(node.estimate().view<double>()[0] == Approx(x).epsilon(1e-14));
    z /= 2;  // what is pushed leaves, and the gradient does not change
  };
  iterate(1.0, 1);  // the common first model, one local iteration old
  z = 1.5;
  iterate(1.0, 2);
  packet p;
  p.from = node_id{1};
  p.channel = channel_id::model;
  p.number = iteration{9};
  p.body = number_of(7.0);
  test::hand_over(node, p, 1, out);
  iterate(7.0, 0);
  iterate(7.0, 1);
  iterate(7.0, 2);
}

TEST_CASE("with equal models and no gradient, weighting moves nothing, whatever is lost or late (G.W)") {
  weighted::options options{};
  options.weighting = weighting::polynomial{1.0};
  environment::scenario weather;
  weather.compute = environment::lognormal(10ms, 0.5).slow(2, 10.0);
  weather.link = {.latency = 5ms, .jitter = 20ms, .loss = 0.5};
  auto const r =
      simulate(assemble<weighted>(topology::exponential(6), constant_slope{0.0, 0.7}, options), weather, {.time = 5s});
  CHECK(r.models.size() == 6);
  for (auto const& x : r.models) CHECK(x.view<double>()[0] == Approx(0.7).epsilon(1e-12));
}

TEST_CASE("a polynomial weighting falls from one and refuses a negative exponent") {
  CHECK(weighting::polynomial{2.0}(0) == 1.0);
  CHECK(weighting::polynomial{2.0}(3) == Approx(1.0 / 16));
  CHECK(weighting::polynomial{0.0}(1000) == 1.0);
  CHECK(test::says(test::refusal([] { weighting::polynomial{-1.0}; }), "exponent of a polynomial weighting"));
  CHECK(test::says(test::refusal([] { weighting::polynomial{std::nan("")}; }), "exponent of a polynomial weighting"));
}

TEST_CASE("an exponential weighting is exp(-rate age), falls from one and never reaches zero") {
  auto const w = weighting::exponential{0.25};
  CHECK(w(0) == 1.0);
  CHECK(w(1) == Approx(0.7788007830714049).epsilon(1e-15));
  CHECK(w(8) == Approx(0.1353352832366127).epsilon(1e-15));
  CHECK(w(1'000'000) > 0.0);
  CHECK(w(1'000'000) < 1e-300);
  CHECK(weighting::exponential{0.0}(1000) == 1.0);
  CHECK(test::says(test::refusal([] { weighting::exponential{-1.0}; }), "rate of an exponential weighting"));
  CHECK(test::says(test::refusal([] { weighting::exponential{INFINITY}; }), "rate of an exponential weighting"));
}

TEST_CASE("a hinge weighting is one up to its grace and 1 / (slope (age - grace) + 1) beyond it") {
  auto const w = weighting::hinge{0.5, 4};
  for (auto const age : {0U, 3U, 4U}) CHECK(w(age) == 1.0);
  CHECK(w(5) == Approx(1 / 1.5));
  CHECK(w(6) == 0.5);
  CHECK(w(12) == 0.2);
  CHECK(weighting::hinge{0.0, 0}(1000) == 1.0);
  CHECK(test::says(test::refusal([] { weighting::hinge{-1.0}; }), "slope of a hinge weighting"));
  CHECK(test::says(test::refusal([] { weighting::hinge{std::nan("")}; }), "slope of a hinge weighting"));
}

TEST_CASE("a value older than the limit of drop_older_than does not count, one of that age counts fully") {
  auto const w = weighting::drop_older_than{3};
  for (auto const age : {0U, 1U, 3U}) CHECK(w(age) == 1.0);
  for (auto const age : {4U, 1000U}) CHECK(w(age) == 0.0);
}

/// Answers what it is made to, at one age.
struct any_factor {
  static constexpr bool can_cut = false;
  static constexpr bool depends_on_age = true;
  double factor = 1;
  std::uint64_t at = 2;
  [[nodiscard]] auto operator()(std::uint64_t age) const -> double { return age == at ? factor : 1; }
};

TEST_CASE("a factor below 0, above 1 or NaN breaks a contract when it is used") {
  using node_type = r_fast<backend::host<double>, step::sgd, any_factor>;
  auto const broken = [](double factor) {
    node_type::options options{};
    options.weighting = any_factor{factor};
    auto made = assemble<node_type>(topology::both(topology::ring(2)), constant_slope{1.0, 1.0}, options);
    outbox out;
    made.nodes[0].start({}, out);
    for (auto k = 0; k < 2; ++k) {
      auto const request = *std::exchange(out.request, {});
      if (auto why = test::broken_by([&] { made.nodes[0].on_gradient({}, made.oracle.evaluate(request), out); });
          !why.empty())
        return why;
    }
    return std::string{};
  };
  for (auto const factor : {-1e-9, 1.0 + 1e-9, std::nan("")}) CHECK(test::says(broken(factor), "factor of 0 to 1"));
  for (auto const factor : {0.0, 0.5, 1.0}) CHECK(broken(factor).empty());
}

/// README's own weighting.
struct half_life {
  static constexpr bool can_cut = false;
  static constexpr bool depends_on_age = true;
  double iterations = 10;
  static void visit_options(auto& self, auto&& visit) { visit("iterations", self.iterations); }
  auto operator()(std::uint64_t age) const -> double { return std::exp2(-static_cast<double>(age) / iterations); }
};

TEST_CASE("settings with which a weighting gives an invalid factor are refused before the run, with factor and age") {
  using node_type = r_fast<backend::host<double>, step::sgd, half_life>;
  auto const refused = [](double iterations) {
    return test::refusal([&] {
      static_cast<void>(assemble<node_type>(topology::both(topology::ring(3)), constant_slope{1, 0},
                                            {.weighting = {.iterations = iterations}}));
    });
  };
  CHECK(test::says(refused(-1), "and this one gives 2 at age 1"));
  CHECK(test::says(refused(0), "and this one gives -nan at age 0") +
            test::says(refused(0), "and this one gives nan at age 0") ==
        1);
  CHECK(refused(20).empty());
}

TEST_CASE("a weighting that may cut the only in-edge of a node is refused, naming the node") {
  using node_type = r_fast<backend::host<double>, step::sgd, weighting::drop_older_than>;
  auto const refused = [](topology::pair const& network) {
    return test::refusal([&] { static_cast<void>(assemble<node_type>(network, constant_slope{1, 0}, {})); });
  };
  CHECK(test::says(refused(topology::binary_tree(4)), "node 1 has a single in-edge"));
  CHECK(refused(topology::ring(4)).empty());
}

}  // namespace
