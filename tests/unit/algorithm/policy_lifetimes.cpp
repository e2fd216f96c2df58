// SPDX-License-Identifier: MIT
// A policy's state may point to its policy or hold a copy: the policy lives as long as the state and keeps its address,
// however often nodes move. The archetypes here keep a list of all living policies.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/apply_at_once.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;

/// A value that is on a list as long as it lives.
class listed {
 public:
  listed() { living().insert(this); }
  listed(listed const&) : listed{} {}
  auto operator=(listed const&) -> listed& { return *this; }
  ~listed() { living().erase(this); }
  [[nodiscard]] static auto lives(listed const* who) -> bool { return living().contains(who); }

 private:
  static auto living() -> std::set<listed const*>& {
    static std::set<listed const*> all;
    return all;
  }
};

struct pointed_step : listed {
  static constexpr bool is_linear = true;
  double factor = 1;
  static void visit_options(auto& self, auto&& visit) { visit("factor", self.factor); }
  template<class Backend>
  struct state;  // it holds a whole pointed_step, which is complete below only
};
template<class Backend>
struct pointed_step::state {
  using rule = typename step::sgd::state<Backend>::rule;
  state(pointed_step const& s, Backend& b, std::size_t n) : its{&s}, copy{s}, inner{step::sgd{}, b, n} {}
  static void visit_state(auto&, auto&&) {}
  auto next(double gamma) -> rule { return present(gamma); }
  auto present(double gamma) -> rule {
    REQUIRE(listed::lives(its));
    REQUIRE(its->factor == copy.factor);
    return inner.next(its->factor * gamma);
  }
  pointed_step const* its;
  pointed_step copy;
  step::sgd::state<Backend> inner;
};

struct pointed_weight : listed {
  double factor = 1;
  static void visit_options(auto& self, auto&& visit) { visit("factor", self.factor); }
  void resolve_options(std::size_t) {}
  struct state;  // it holds a whole pointed_weight, which is complete below only
};
struct pointed_weight::state {
  state(pointed_weight const& w, std::size_t) : its{&w}, copy{w} {}
  static void visit_state(auto&, auto&&) {}
  auto operator()(server::received_gradient const&) const -> server::weight {
    REQUIRE(listed::lives(its));
    REQUIRE(its->factor == copy.factor);
    return {its->factor, 0};
  }
  pointed_weight const* its;
  pointed_weight copy;
};

struct pointed_aggregation : listed {
  void resolve_options(std::size_t) const {}
  template<class Backend>
  struct state {
    state(pointed_aggregation const& a, std::size_t n) : its{&a}, inner{server::apply_at_once{}, n} {}
    static void visit_state(auto&, auto&&) {}
    auto take(Backend& b, shared_buffer const& g, double weight, server::received_gradient const& a)
        -> std::optional<server::direction<typename Backend::scalar>> {
      REQUIRE(listed::lives(its));
      return inner.take(b, g, weight, a);
    }
    pointed_aggregation const* its;
    server::apply_at_once::state<Backend> inner;
  };
};

struct pointed_partner : listed {
  std::size_t place = 0;
  static void visit_options(auto& self, auto&& visit) { visit("place", self.place); }
  struct state {
    state(pointed_partner const& p, node_id) : its{&p} {}
    static void visit_state(auto&, auto&&) {}
    auto operator()(std::span<node_id const> open, random_stream&) const -> std::size_t {
      REQUIRE(listed::lives(its));
      return (std::min)(its->place, open.size() - 1);
    }
    pointed_partner const* its;
  };
};

template<class Node>
auto run(typename Node::options o) -> std::vector<double> {
  auto a = assemble<Node>(topology::ring(4), problem::quadratic::random(4, 3, 1), std::move(o));
  std::vector<any_node> moved;
  for (auto& n : a.nodes) moved.push_back(std::move(n));
  a.nodes = std::move(moved);
  auto const scenario = environment::scenario{.compute = environment::lognormal(10ms, 0.5), .link = {.latency = 2ms}};
  auto const result = simulate(std::move(a), scenario, {.time = 1s});
  std::vector<double> all;
  for (auto const& m : result.models) {
    auto const values = m.template view<double>();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

TEST_CASE("a step's state may point to its step and use its settings") {
  auto twice = pointed_step{};
  twice.factor = 2;
  using pointed = r_fast<space, pointed_step>;
  CHECK(run<pointed>({.step = 0.01}) == run<r_fast<space>>({.step = 0.01}));
  CHECK(run<pointed>({.step = 0.01, .step_rule = twice}) == run<r_fast<space>>({.step = 0.02}));
}

TEST_CASE("the states of a server's weight and aggregation, and of a partner, may point to their policies") {
  auto half = pointed_weight{};
  half.factor = 0.5;
  using server_of = server_sgd<space, server::accept_all, pointed_weight, pointed_aggregation>;
  CHECK(run<server_of>({.step = 0.02}) == run<server_sgd<space>>({.step = 0.02}));
  CHECK(run<server_of>({.step = 0.02, .weight = half}) == run<server_sgd<space>>({.step = 0.01}));
  CHECK_FALSE(run<ad_psgd<space, step::sgd, pointed_partner>>({.step = 0.02}).empty());
}

TEST_CASE("a node that was moved on its own still knows its policies") {
  using pointed = r_fast<space, pointed_step>;
  auto const plan = pointed::make_plan(topology::line(1));
  auto b = space{};
  auto x = b.allocate<double>(2);
  std::fill(x.view().begin(), x.view().end(), 1.0);
  std::vector<pointed> nodes;
  {
    auto const options = pointed::options{.step = 0.5};
    nodes.push_back(pointed{b, plan, node_id{0}, std::move(x).publish(), options});
  }
  auto elsewhere = std::move(nodes[0]);
  nodes.clear();
  auto last = any_node{std::move(elsewhere)};
  outbox out;
  last.start({}, out);
  auto g = b.allocate<double>(2);
  std::fill(g.view().begin(), g.view().end(), 2.0);
  last.on_gradient({}, {out.request->id, std::move(g).publish(), 0, {}}, out);
  CHECK(last.estimate().view<double>()[0] == 0.0);
}

}  // namespace
}  // namespace rubato::test
