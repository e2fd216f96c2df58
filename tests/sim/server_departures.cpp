// SPDX-License-Identifier: MIT
// Workers that join late, leave and come back, or die, under every method with a server: who goes on, who waits and who
// ends is what the table of DESIGN.md says.
#include <chrono>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "../../examples/support/catalogue.hpp"
#include "support/catalogue_instances.hpp"
#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using host = backend::host<double>;

/// Four workers that agree. Worker 2 joins after a second, worker 1 is away from 3 s to 4 s, worker 3 dies at 5 s.
template<class Node>
auto after(std::chrono::nanoseconds time, typename Node::options const& o) -> run_result {
  auto const p =
      problem::quadratic{std::vector<std::vector<double>>(4, {1, 2}), std::vector<std::vector<double>>(4, {4, -3})};
  auto const s = environment::scenario{.compute = environment::lognormal(10ms, 0.3),
                                       .link = {.latency = 1ms},
                                       .restarts = {{node_id{2}, 1ms, 1s}, {node_id{1}, 3s, 1s}, {node_id{3}, 5s, 1h}}};
  return simulate(assemble<Node>(topology::star(4), p, o), s, {.time = time});
}

struct counts {
  std::uint64_t before, without_1, with_1, without_3, late;  // steps between these events, of half a second or more
};
template<class Node>
auto steps_of(typename Node::options const& o) -> counts {
  auto const at = [&](std::chrono::nanoseconds time) { return after<Node>(time, o).nodes.back().iterations; };
  return {at(2900ms) - at(2s), at(3900ms) - at(3100ms), at(4900ms) - at(4100ms), at(5900ms) - at(5100ms),
          at(9s) - at(6s)};
}

auto waits(std::string const& name) -> bool { return name == "malenia_sgd" || name == "ringleader_asgd"; }

TEST_CASE("with a worker that joins late, one that is away and one that dies, every server does what its table says") {
  auto servers = 0;
  examples::for_each_algorithm<host>([&]<class Node>(examples::catalogue_row<Node> const& row) {
    auto const name = std::string{row.name};
    auto const in_rounds = name == "m_synchronous_sgd" || name == "quorum_diloco";
    if constexpr (requires { requires Node::server_has_the_model; } || requires(typename Node::options o) { o.m; }) {
      CAPTURE(name);
      ++servers;
      typename Node::options o;
      o.step = 0.01;
      if (in_rounds) {
        auto const ended = failure([&] { after<Node>(9s, o); });
        CHECK(says(ended, "node 2 left a run that needs it every round"));
        if constexpr (requires { o.m; }) o.m = 2;
      }
      auto const n = steps_of<Node>(o);
      CHECK(n.before > 0);
      CHECK(n.with_1 > 0);  // it is given the current model
      if (waits(name)) {
        CHECK(n.without_1 <= 1);
        CHECK(n.without_3 <= 1);
        CHECK(n.late == 0);
      } else {
        CHECK(n.without_1 > n.before / 3);
        CHECK(n.without_3 > n.before / 3);
        CHECK(n.late > n.before);
      }
    }
  });
  CHECK(servers == 21);
}

}  // namespace
}  // namespace rubato::test
