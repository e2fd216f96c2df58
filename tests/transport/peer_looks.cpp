// SPDX-License-Identifier: MIT
// Measuring a node in a process of its own: its history, observers, and measurements that take long.
#include <rubato/driver/peer.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/status_watch.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "transport/peers.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

TEST_CASE("a process has the history of its own node, with losses if requested") {
  auto const p = quadratic::random(2, 4, 8);
  for (auto const with_loss : {false, true}) {
    tcp_doors doors{2};
    auto const fates =
        run_all(2, line_of(2, p), over_tcp(doors),
                {rounds(600), {.look_every = 5ms, .compute = environment::fixed(work), .measure_loss = with_loss}});
    for (auto const& f : fates) {
      INFO(f.sentence);
      REQUIRE(f.sentence.empty());
      auto const& h = f.result.result.history;
      REQUIRE(h.size() == f.result.looks.size());
      for (std::size_t k = 0; k < h.size(); ++k) {
        CHECK(h[k].at == f.result.looks[k].at);
        CHECK(h[k].gradients == f.result.looks[k].gradients);
        CHECK(h[k].bytes_sent == f.result.looks[k].bytes_sent);
        CHECK(std::isnan(h[k].loss) == !with_loss);
      }
      CHECK(h.back().gradients >= 600);
      std::uint64_t sent = 0;
      for (auto const& e : f.result.result.edges) sent += e.bytes_sent;
      CHECK(h.back().bytes_sent > h.front().bytes_sent);
      CHECK(h.back().bytes_sent <= sent);
      if (with_loss) CHECK(h.back().loss < h.front().loss);
    }
  }
}

TEST_CASE("an observer of one node may end it, and an exception from it ends the node and is reported to neighbours") {
  auto const p = quadratic::random(2, 4, 8);
  for (auto const throws : {false, true}) {
    auto const room = transport::in_process::room{2};
    std::vector<std::string> said(2);
    std::vector<peer_result> results(2);
    std::vector<std::shared_ptr<status_board>> boards{std::make_shared<status_board>(),
                                                      std::make_shared<status_board>()};
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        auto a = line_of(2, p)(i);
        auto const me = identity_of(a, to_node(i));
        transport::in_process wires{room, me};
        auto o = peer_options{.linger = 20ms, .look_every = 1ms, .status = boards[i]};
        o.watching = {[&, seen = 0](look const& l) mutable {
          if (l.models.size() != 1 || ++seen < 100 || (throws && i == 1)) return verdict::go_on;
          if (throws) throw std::domain_error{"seen enough"};
          return verdict::stop;
        }};
        try {
          results[i] = run_peer(a, me, wires, {.time = 30s}, o);
        } catch (std::exception const& e) {
          said[i] = e.what();
        }
      });
    }
    threads.clear();
    for (std::size_t i = 0; i < 2; ++i) {
      auto const shown = boards[i]->newest();
      CHECK(shown->at == node_status::phase::ended);
      CHECK(shown->ran > 0s);
      if (throws) CHECK(shown->said.back() == said[i]);
    }
    if (throws) {
      CHECK(says(said[0], "seen enough"));
      CHECK(says(said[1], "node 0"));
      continue;
    }
    for (std::size_t i = 0; i < 2; ++i) {
      INFO(said[i]);
      CHECK(said[i].empty());
      CHECK(results[i].result.stopped == stop_reason::observer);
      CHECK(results[i].result.history.size() >= 5);
    }
  }
}

/// A loss that is not known before all nodes together have computed so many gradients.
struct gated {
  static constexpr int most = 60;
  quadratic inner;
  std::atomic<int>* done;
  [[nodiscard]] auto dimension() const -> std::size_t { return inner.dimension(); }
  auto gradient(space& b, std::span<double const> x, sample_key key, std::span<double> g) const -> double {
    ++*done;
    return inner.gradient(b, x, key, g);
  }
  [[nodiscard]] auto loss(space&, std::span<double const>) const -> double {
    while (*done < most) std::this_thread::yield();
    return 0;
  }
};

TEST_CASE("a measurement that takes longer than its interval delays the next one, but no message") {
  auto const p = quadratic::random(2, 4, 8);
  std::atomic<int> done = 0;
  auto const made = [&] { return assemble<line_node>(topology::line(2), gated{p, &done}, {.step = 0.1}); };
  auto const room = transport::in_process::room{2};
  std::vector<peer_result> results(2);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        auto a = made();
        auto const me = identity_of(a, to_node(i));
        transport::in_process wires{room, me};
        results[i] = run_peer(a, me, wires, {.gradients = 200},
                              {.look_every = 1ms, .compute = environment::fixed(1ms), .measure_loss = true});
      });
    }
  }
  auto meanwhile = std::uint64_t{0};
  for (auto const& r : results) {
    auto const& h = r.result.history;
    REQUIRE(h.size() >= 3);
    CHECK(h[0].at == 0ns);
    CHECK(h[0].gradients == 0);
    CHECK(h[1].at > 1ms);
    meanwhile += h[1].gradients;
    for (auto const& e : r.result.edges) CHECK(e.packets_sent + e.delivered > 20);
  }
  CHECK(meanwhile > gated::most / 2);  // no look before that, and gradients and messages all the time
}

TEST_CASE("a process publishes how its node stands, and at the end what its result has") {
  auto const p = quadratic::random(3, 4, 8);
  tcp_doors doors{3};
  std::vector<std::shared_ptr<status_board>> boards(3);
  for (auto& b : boards) b = std::make_shared<status_board>();
  auto const begun = boards[1]->newest();
  CHECK(begun->of == 0);
  std::atomic<bool> seen_running[3]{};
  auto const fates = run_each(3, line_of(3, p), over_tcp(doors), [&](std::size_t i) {
    auto o = peer_options{.look_every = 5ms, .compute = environment::fixed(work), .status = boards[i]};
    o.watching = {status_watch{boards[i], problem::any_oracle{space{}, p}}, [&, i](look const&) {
                    auto const s = boards[i]->newest();
                    if (s->at == node_status::phase::running && s->iterations > 0) seen_running[i] = true;
                    auto const all = std::all_of(std::begin(seen_running), std::end(seen_running), std::identity{});
                    return all && s->history.size() > 2 ? verdict::stop : verdict::go_on;
                  }};
    return std::pair{until{.time = 60s}, o};
  });
  CHECK(std::all_of(std::begin(seen_running), std::end(seen_running), std::identity{}));
  for (std::size_t i = 0; i < 3; ++i) {
    INFO(fates[i].sentence);
    REQUIRE(fates[i].sentence.empty());
    auto const& r = fates[i].result.result;
    auto const s = boards[i]->newest();
    CHECK(to_index(s->id) == i);
    CHECK(s->of == 3);
    CHECK(s->at == node_status::phase::ended);
    CHECK(s->algorithm == r.algorithm);
    CHECK(s->network == r.network);
    CHECK(s->ran == r.ended);
    CHECK(s->iterations == r.nodes[0].iterations);
    CHECK(s->tracks);
    CHECK(s->neighbours.size() == (i == 1 ? 2U : 1U));
    std::uint64_t sent = 0;
    for (auto const& e : r.edges) sent += e.bytes_sent;
    CHECK(s->bytes_sent() == sent);
    for (auto const& n : s->neighbours) {
      CHECK(n.is == standing::left);
      CHECK(n.sends);
      CHECK(n.age.uses > 0);
      CHECK(n.delivered > 0);
    }
    CHECK(s->history.size() > 2);
    CHECK(newest_loss(*s) < s->history.front().loss);
    CHECK(std::abs(s->history.back().tracking_residual) < 1e-9);
  }
}

TEST_CASE("a process that waited in vain has ended, and says who has not come") {
  auto const p = quadratic::random(2, 4, 8);
  tcp_doors doors{2};
  auto const board = std::make_shared<status_board>();
  auto a = line_of(2, p)(0);
  auto const me = identity_of(a, to_node(0), &wire::xxh3_of);
  auto wires = over_tcp(doors, {.arrival = 300ms})(0, me);
  CHECK_THROWS_AS(run_peer(a, me, *wires, {.time = 1s}, {.linger = 10ms, .status = board}), peer_error);
  auto const s = board->newest();
  CHECK(s->at == node_status::phase::ended);
  CHECK(s->of == 2);
  REQUIRE(s->said.size() == 1);
  CHECK(s->said[0].find("node 1") != std::string::npos);
  REQUIRE(s->neighbours.size() == 1);
  CHECK(s->neighbours[0].is == standing::awaited);
}

}  // namespace
}  // namespace rubato::test
