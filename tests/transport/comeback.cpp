// SPDX-License-Identifier: MIT
// R-FAST where a process stops for longer than the allowed silence and then goes on: it returns in a new session of its
// edges, the law of each node holds (law 11), and all end at the optimum of the sum.
#include <rubato/driver/peer.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "transport/worlds.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;

/// What the nodes of one run know of the one that stops.
struct stop {
  node_id who{};
  std::atomic<int> taken_for_dead{0};  // by so many of its peers
};

/// A transport whose owner, if it is the node that stops, does nothing from its 200th message until its peers lost it.
template<class T>
class stopping : public T {
 public:
  template<class Options>
  stopping(transport::identity const& me, Options o, stop& s)
      : T{me, std::move(o)}, self_{me.self}, peers_{static_cast<int>(me.peers.size())}, stop_{&s} {}

  void poll(transport::clock::time_point until, std::vector<incoming>& in) {
    if (self_ == stop_->who && heard_ > 200) {
      for (auto n = 0; (n = stop_->taken_for_dead) < peers_;) stop_->taken_for_dead.wait(n);
    }
    auto const before = in.size();
    T::poll(until, in);
    for (auto k = before; k < in.size(); ++k) {
      if (in[k].kind == what::message) ++heard_;
      if (in[k].kind != what::closed || in[k].peer != stop_->who) continue;
      ++stop_->taken_for_dead;
      stop_->taken_for_dead.notify_all();
    }
  }

 private:
  node_id self_;
  int peers_;
  stop* stop_;
  std::size_t heard_ = 0;
};

template<class Transport, class Doors>
struct way {
  using transport = Transport;
  using doors = Doors;
};
using ways = std::tuple<way<transport::tcp, tcp_doors>, way<transport::shared_memory, shared_memory_doors>,
                        way<transport::udp, udp_doors>>;

TEMPLATE_LIST_TEST_CASE(
    "who was stopped for longer than it may be silent is taken back, and all end at the optimum of the sum", "", ways) {
  auto const p = problem::quadratic::random(3, 50, 4);
  typename TestType::doors doors{3};
  stop stopped{.who = node_id{1}};
  std::vector<peer_result> parts(3);
  std::vector<std::string> sentences(3);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        try {
          auto a = assemble<r_fast<space>>(topology::complete(3), p, {.step = 0.1});
          auto const me = identity_of(a, to_node(i), &wire::xxh3_of);
          auto o = doors.options(i);
          o.silence = 300ms;
          stopping<typename TestType::transport> wires{me, std::move(o), stopped};
          auto const end = until{.gradients = i == 1 ? 4000U : 5000U};
          parts[i] = run_peer(a, me, wires, end, {.lost = when_lost::goes_on, .compute = environment::fixed(300us)});
        } catch (std::exception const& e) {
          sentences[i] = e.what();
          stopped.taken_for_dead += 2;  // so that nobody waits for this one
          stopped.taken_for_dead.notify_all();
        }
      });
    }
  }
  for (std::size_t i = 0; i < 3; ++i) {
    INFO("node " << i << ": " << sentences[i]);
    REQUIRE(sentences[i].empty());
    REQUIRE(parts[i].lost.size() >= (i == 1 ? 2 : 1));
    CHECK(parts[i].looks.back().residual < 1e-9);
    auto const x = parts[i].result.models[0].template view<double>();
    for (std::size_t k = 0; k < x.size(); ++k) REQUIRE(std::abs(x[k] - p.optimum()[k]) < 1e-4);
  }
  CHECK(std::any_of(parts[0].lost.begin(), parts[0].lost.end(), [](auto const& s) { return s.find("node 1 ") == 0; }));
}

}  // namespace
}  // namespace rubato::test
