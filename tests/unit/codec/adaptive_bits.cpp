// SPDX-License-Identifier: MIT
#include <rubato/codec/adaptive_bits.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<float>;
using sums = std::vector<std::int32_t>;

/// Both ends of an edge.
template<int B>
struct edge {
  codec::adaptive_bits<B> codec{};
  codec::sum_motion motion{};
  sums last{}, known{};
  space b{};

  auto message(sums const& now) -> std::vector<std::byte> {
    std::vector<std::byte> codes(codec.codes(now.size()));
    codec.encode(b, last.empty() ? nullptr : last.data(), now.data(), now.size(), motion, codes.data());
    last = now;
    return codes;
  }
  void arrives(std::vector<std::byte> const& codes, std::size_t n) {
    sums fresh(n);
    REQUIRE(codec.decode(b, codes.data(), known.empty() ? nullptr : known.data(), n, fresh.data()));
    known = fresh;
  }
  [[nodiscard]] auto off() const -> double {
    auto most = 0.0;
    for (std::size_t i = 0; i < last.size(); ++i)
      most = std::max(most, std::abs(static_cast<double>(backend::wrap_sub(last[i], known.empty() ? 0 : known[i]))));
    return most;
  }
};

/// Sums whose movements fade, under loss, never a window in a row. Returns how far the receiver is off at the end.
template<int B>
auto after_fading_moves(std::uint64_t seed, double loss) -> double {
  edge<B> e;
  auto draw = random_stream{seed, B};
  sums now(21, 0);
  auto size = 4e6;
  std::size_t in_a_row = 0;
  for (int k = 0; k < 1500; ++k, size *= 0.98) {
    for (auto& v : now) v = backend::wrap_add(v, static_cast<std::int32_t>(size * (2 * draw.uniform() - 1)));
    auto const codes = e.message(now);
    REQUIRE(codes.size() == 1 + (21 * B + 7) / 8);
    if (draw.uniform() < loss && ++in_a_row < e.codec.window) continue;
    in_a_row = 0;
    e.arrives(codes, now.size());
    auto const shift = std::to_integer<int>(codes[0]) & 63;
    if ((std::to_integer<int>(codes[0]) & 64) == 0) REQUIRE(e.off() <= std::ldexp(0.5, shift));
  }
  return e.off();
}

TEST_CASE("(A.S) a receiver is off by half a unit of the message's shift at most, and by nothing once sums rest") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    CHECK(after_fading_moves<16>(seed, 0.3) == 0);
    CHECK(after_fading_moves<8>(seed, 0.3) == 0);
    CHECK(after_fading_moves<4>(seed, 0.5) == 0);
  }
}

template<int B>
void mends() {
  edge<B> e;
  sums now(9, 0);
  for (int k = 0; k < 40; ++k) e.arrives(e.message(now), now.size());
  for (int k = 0; k < 40; ++k) {
    for (auto& v : now) v += 50'000'000 / 40;
    static_cast<void>(e.message(now));  // all are lost
  }
  CHECK(e.off() > 4e7);
  for (int k = 0; k < 2000; ++k) e.arrives(e.message(now), now.size());
  CHECK(e.off() == 0);
}
TEST_CASE("what a lost window of messages has broken is mended by those that look") {
  mends<4>();
  mends<8>();
  mends<16>();
}

TEST_CASE("a message that no sender makes is refused, and so are bad windows and sums in blocks") {
  space b;
  codec::adaptive_bits<8> c;
  sums out(3);
  std::vector<std::byte> codes(c.codes(3));
  CHECK(c.decode(b, codes.data(), nullptr, 3, out.data()));
  codes[0] = std::byte{25};  // 24 is the most for 8 of 32 bits
  CHECK_FALSE(c.decode(b, codes.data(), nullptr, 3, out.data()));
  codes[0] = std::byte{128};
  CHECK_FALSE(c.decode(b, codes.data(), nullptr, 3, out.data()));
  CHECK(says(refusal([&] { c.check(block_partition{128, 64}); }), "sums in adaptive bits travel whole"));
  c.window = 17;
  CHECK(says(refusal([&] { c.check(block_partition{128}); }), "1 to 16 messages that are lost in a row, not 17"));
}

template<int B>
using node = r_fast<space, step::sgd, weighting::constant, ledger::fixed_point, codec::adaptive_bits<B>>;

template<int B>
void reaches_the_optimum(topology::digraph const& network, bool restarts) {
  auto const q = problem::quadratic::random(network.nodes(), 6, 8, {.spread = 1, .condition = 4});
  environment::scenario weather{.compute = environment::lognormal(10ms, 0.5).slow(2, 4.0),
                                .link = {.latency = 5ms, .jitter = 5ms, .loss = 0.3},
                                .seed = 3,
                                .measure_every = 100ms};
  if (restarts) weather.restarts = {{node_id{1}, 5s, 2s}};
  auto const r = simulate(assemble<node<B>>(topology::pair{network}, q, {.step = 0.05}), weather, {.time = 150s});
  for (auto const& look : r.history) REQUIRE(look.tracking_residual == 0);
  for (auto const& m : r.models) {
    std::vector<double> x;
    rubato::detail::widen(m, x);
    CHECK(distance(x, q.optimum()) < 1e-5);
  }
}

TEST_CASE("r_fast with sums in few bits conserves exactly and ends where whole sums end, through loss and a restart") {
  reaches_the_optimum<16>(topology::ring(6), true);
  reaches_the_optimum<8>(topology::complete(4), false);
  reaches_the_optimum<4>(topology::ring(6), true);
  reaches_the_optimum<4>(topology::binary_tree(6), true);
}

TEST_CASE("edges of one sum part when one of them opens anew, and both receivers stay within half a unit") {
  auto a = assemble<node<4>>(topology::pair{topology::ring(3)}, problem::quadratic::random(3, 5, 5), {.step = 1e-3});
  auto& sender = a.nodes[0];
  outbox out;
  space b;
  std::map<node_id, sums> known;
  int compared = 0;
  sender.start({}, out);
  auto const first = a.oracle.evaluate(*out.request);
  auto const give = [&](float share) {  // of the first gradient
    auto g = first;
    g.id = out.request->id;
    auto scaled = a.pool.writable_copy<float>(first.value);
    for (auto& v : scaled.view()) v *= share;
    g.value = std::move(scaled).publish();
    out.clear();
    sender.on_gradient({}, g, out);
    REQUIRE_FALSE(out.failure);
    tracking_audit said;
    sender.audit(said);
    for (auto const& p : out.packets) {
      if (p.channel != channel_id::tracker) continue;
      auto const codes = p.body.view<std::byte>();
      auto& newest = known[p.to];
      sums fresh(5);
      REQUIRE(
          codec::adaptive_bits<4>{}.decode(b, codes.data(), newest.empty() ? nullptr : newest.data(), 5, fresh.data()));
      newest = fresh;
      for (auto const& e : said.pushed) {
        if (e.peer != p.to) continue;
        for (std::size_t i = 0; i < 5; ++i) {
          CAPTURE(to_index(p.to), i);
          CHECK(std::abs(e.total[i] - fresh[i]) <= std::ldexp(0.5, std::to_integer<int>(codes[0]) & 63));
          ++compared;
        }
      }
    }
  };
  give(1);  // is only tracked
  give(1);  // a third goes to each neighbour, and one is left
  for (auto const what : {neighbour_change::edge::closes, neighbour_change::edge::opens})
    sender.on_neighbours({}, {node_id{1}, what, {1, 1}, {1, 1}}, out);
  known.erase(node_id{1});
  for (int k = 0; k < 5; ++k) give(2.0F / 3);  // what is left is gone, so the next push is small
  CHECK(compared == 6 * 2 * 5);
}

}  // namespace
}  // namespace rubato::test
