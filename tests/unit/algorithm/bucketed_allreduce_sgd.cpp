// SPDX-License-Identifier: MIT
#include <rubato/algorithm/bucketed_allreduce_sgd.hpp>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/simulator.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/transport/in_process.hpp>

#include "support/catch.hpp"
#include "support/dense.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<double>;
using exact = bucketed_allreduce_sgd<space>;
using bytes = bucketed_allreduce_sgd<space, codec::error_feedback<codec::minmax_u8>>;
using plain = scatter_allreduce_sgd<space>;
using problem::gradient_share;
using problem::quadratic;
using vector = std::vector<double>;

/// A quadratic whose gradient is final part by part: `sizes` from the last values to the first, in equal times.
struct layered {
  quadratic of;
  std::vector<std::size_t> sizes;
  std::size_t unlucky = ~std::size_t{0};  // the part at which node 1 throws
  std::vector<range> says{};  // which values are final, instead of the parts

  [[nodiscard]] auto dimension() const -> std::size_t { return of.dimension(); }
  [[nodiscard]] auto gradient_parts() const -> std::vector<gradient_share> {
    std::vector<gradient_share> parts;
    auto end = dimension();
    for (auto const size : sizes) {
      parts.push_back({{end - size, end}, 1.0 / static_cast<double>(sizes.size())});
      end -= size;
    }
    return parts;
  }
  auto gradient(space& b, std::span<double const> x, sample_key key, std::span<double> g) const -> double {
    return gradient(b, x, key, g, [](range) {});
  }
  template<class IsFinal>
  auto gradient(space& b, std::span<double const> x, sample_key key, std::span<double> g, IsFinal const& is_final) const
      -> double {
    auto whole = vector(g.size());
    auto const loss = of.gradient(b, x, key, std::span{whole});
    std::fill(g.begin(), g.end(), 1e300);  // what is read before it is final shows
    std::size_t k = 0;
    for (auto const& part : gradient_parts()) {
      if (k++ == unlucky && key.node == node_id{1} && key.draw == 3) throw std::runtime_error{"out of luck"};
      for (auto c = part.values.begin; c < part.values.end; ++c) g[c] = whole[c];
      if (says.empty()) is_final(part.values);
    }
    for (auto const& each : says) is_final(each);
    return loss;
  }
  [[nodiscard]] auto loss(space& b, std::span<double const> x) const -> double { return of.loss(b, x); }
};

auto models_of(run_result const& r) -> std::vector<vector> {
  std::vector<vector> x;
  for (auto const& m : r.models) x.emplace_back(m.view<double>().begin(), m.view<double>().end());
  return x;
}
auto weather() -> environment::scenario {
  return {.compute = environment::lognormal(10ms, 0.6).slow(0, 3.0),
          .link = {.latency = 4ms, .jitter = 9ms, .loss = 0.2},
          .seed = 5};
}
auto rounds(std::uint64_t count, std::size_t nodes) -> until { return {.time = 5min, .gradients = count * nodes}; }

TEST_CASE("(B.M) (B.X) with machines of one node the bits are those of the all-reduce, whatever the buckets are") {
  for (auto const n : {std::size_t{1}, std::size_t{3}, std::size_t{4}}) {
    auto const p = quadratic::random(n, 23, 3, {.noise = 0.3});
    lockstep reference{assemble<plain>(topology::ring(n), p, {.step = 0.3})};
    std::vector<lockstep> runs;
    for (auto const size : {0U, 1U, 5U, 22U})
      runs.emplace_back(assemble<exact>(topology::ring(n), p, {.step = 0.3, .bucket_values = size}));
    for (int k = 0; k < 10; ++k) {
      reference.round();
      for (auto& run : runs) {
        run.round();
        for (std::size_t i = 0; i < n; ++i) REQUIRE(run.point(i) == reference.point(0));
      }
    }
  }
}

TEST_CASE("(B.U) (B.D) machines sum their nodes' gradients, and all replicas are equal bit for bit") {
  for (auto const& [n, machine] : {std::pair{6, 2}, std::pair{7, 3}, std::pair{4, 4}, std::pair{3, 8}}) {
    auto const nodes = static_cast<std::size_t>(n);
    auto const p = quadratic::random(nodes, 11, 4);
    lockstep run{assemble<exact>(topology::ring(nodes), p,
                                 {.step = 0.3, .bucket_values = 4, .machine = static_cast<std::size_t>(machine)})};
    vector x(11);
    for (int k = 0; k < 20; ++k) {
      auto g = vector(11);
      for (std::size_t i = 0; i < nodes; ++i)
        for (std::size_t c = 0; c < 11; ++c) g[c] += p.curvature(i, c) * (x[c] - p.centre(i, c)) / n;
      for (std::size_t c = 0; c < 11; ++c) x[c] -= 0.3 * g[c];
      run.round();
      for (std::size_t i = 0; i < nodes; ++i) {
        REQUIRE(run.failure() == "");
        REQUIRE(distance(run.point(i), x) < 1e-12);
        REQUIRE(run.point(i) == run.point(0));
      }
    }
  }
}

TEST_CASE("the optimum of the sum is where it rests, in buckets of bytes between machines too") {
  auto const p = quadratic::random(6, 20, 11);
  lockstep run{assemble<bytes>(topology::ring(6), p, {.step = 0.5, .bucket_values = 8, .machine = 2})};
  for (int k = 0; k < 400; ++k) run.round();
  CHECK(distance(run.point(0), p.optimum()) < 2e-2);
  for (std::size_t i = 1; i < 6; ++i) CHECK(run.point(i) == run.point(0));
}

/// What was posted before the node had its gradient, and bodies by channel.
struct counting : simulation_trace {
  void posted(instant at, packet const& p) override {
    ++packets;
    first = std::min(first, at.since_start);
    if (p.channel == channel_id::chunk) between += p.body.size_bytes();
  }
  std::size_t packets = 0, between = 0;
  std::chrono::nanoseconds first = 24h;
};

TEST_CASE("when buckets begin, in which parts a gradient comes and who runs the nodes changes no bit") {
  auto const q = quadratic::random(6, 40, 9, {.noise = 0.2});
  auto const end = rounds(6, 6);
  for (auto const machine : {std::size_t{1}, std::size_t{3}}) {
    auto options = exact::options{.step = 0.3, .bucket_values = 7, .machine = machine};
    auto const expected = models_of(simulate(assemble<exact>(topology::ring(6), q, options), weather(), end));
    for (auto const& sizes : std::vector<std::vector<std::size_t>>{{40}, {3, 37}, {10, 1, 9, 20}, {7, 7, 6, 7, 7, 6}}) {
      for (auto const at_once : {0U, 1U, 2U}) {
        auto const p = layered{q, sizes};
        options.under_way = at_once;
        CAPTURE(machine, sizes.size(), at_once);
        counting watch;
        CHECK(models_of(simulate(assemble<exact>(topology::ring(6), p, options), weather(), end, {.trace = &watch})) ==
              expected);
        if (sizes.size() > 2) CHECK(watch.first < 10ms);
        if (at_once == 1)
          CHECK(models_of(run_threads(assemble<exact>(topology::ring(6), p, options),
                                      {.compute = environment::fixed(1ms)}, end)) == expected);
      }
    }
  }
}

TEST_CASE("communication of a bucket overlaps with the rest of the gradient: the time of a round on a virtual clock") {
  // Four parts of 10 ms each; a bucket takes 2 hops of 3 ms. The last one begins when the gradient is there.
  auto const p = layered{quadratic::random(4, 32, 9), {8, 8, 8, 8}};
  auto const took = [&](exact::options const& o, environment::link_model const& link) {
    counting watch;
    auto const r =
        simulate(assemble<exact>(topology::ring(4), p, o), {.compute = environment::fixed(40ms), .link = link},
                 {.time = 1h, .gradients = 40}, {.trace = &watch});
    CHECK(watch.packets == 10 * 12 * 2 * (o.bucket_values == 0 ? 1 : 4));
    CHECK(watch.between == 10 * 4 * 2 * 3 * 8 * sizeof(double));
    return r.ended;
  };
  auto const after = bucket_start::after_gradient;
  auto const latency = environment::link_model{.latency = 3ms};
  CHECK(took({.bucket_values = 0}, latency) == 10 * 46ms);
  CHECK(took({.bucket_values = 8}, latency) == 10 * 46ms);
  CHECK(took({.bucket_values = 8, .begin = after, .under_way = 1}, latency) == 10 * (40ms + 4 * 6ms));
  CHECK(took({.bucket_values = 8, .under_way = 1}, latency) == 10 * 46ms);
  // Where bytes are what takes time, what does not overlap is the last bucket's.
  auto const thin = environment::link_model{.bits_per_second = 1e5};
  auto const plainly = took({.bucket_values = 8, .begin = after}, thin);
  CHECK(took({.bucket_values = 8}, thin) < plainly - 100ms);
}

TEST_CASE("a run that is cut in the middle of a gradient goes on with the bits of one that was not") {
  auto const p = layered{quadratic::random(4, 20, 9, {.noise = 0.2}), {6, 3, 5, 6}};
  auto const make = [&] {
    return assemble<bytes>(topology::ring(4), p, {.step = 0.3, .bucket_values = 5, .machine = 2});
  };
  auto const end = until{.time = 150ms};
  auto const whole = models_of(simulate(make(), weather(), end));
  for (auto cut = 1ms; cut < 90ms; cut += 11ms) {
    simulator first{make(), weather()};
    first.run({.time = cut});
    auto const saved = first.state();
    simulator second{make(), weather()};
    second.resume(saved);
    REQUIRE(models_of(second.run(end)) == whole);
  }
}

/// A driver each, as processes have.
auto over_room(std::size_t n, layered const& p, exact::options const& o, std::uint64_t gradients)
    -> std::vector<vector> {
  auto const room = transport::in_process::room{n};
  std::vector<vector> x(n);
  std::vector<std::jthread> peers;
  for (std::size_t i = 0; i < n; ++i) {
    peers.emplace_back([&, i] {
      auto a = assemble<exact>(topology::ring(n), p, o);
      auto const me = identity_of(a, to_node(i));
      transport::in_process wires{room, me};
      auto const r = run_peer(a, me, wires, {.gradients = gradients}, {.compute = environment::fixed(1ms)});
      auto const v = r.result.models[0].view<double>();
      x[i] = {v.begin(), v.end()};
    });
  }
  peers.clear();
  return x;
}

TEST_CASE("drivers of one process each give parts too, and the bits of the simulator") {
  auto const p = layered{quadratic::random(4, 40, 9, {.noise = 0.2}), {10, 5, 5, 20}};
  auto const options = exact::options{.step = 0.3, .bucket_values = 10, .machine = 2};
  CHECK(over_room(4, p, options, 6) ==
        models_of(simulate(assemble<exact>(topology::ring(4), p, options), weather(), rounds(6, 4))));
}

TEST_CASE("a problem that throws between two parts, or says wrong parts, is named") {
  auto const q = quadratic::random(3, 12, 9);
  auto const options = exact::options{.bucket_values = 4};
  auto const p = layered{q, {4, 4, 4}, 1};
  CHECK(says(failure([&] {
               run_threads(assemble<exact>(topology::ring(3), p, options), {.compute = environment::fixed(0ms)},
                           {.time = 5min});
             }),
             "the problem threw at node 1, gradient 4"));
  CHECK(says(refusal([&] { assemble<exact>(topology::ring(3), layered{q, {4, 4}}, options); }),
             "share out all values, each once, but the values 0 to 4 are in none"));
  CHECK(says(refusal([&] { assemble<exact>(topology::ring(3), layered{q, {4, 4, 2}}, options); }),
             "but the values 0 to 2 are in none"));
}

/// Parts of 10 values in halves of the time.
struct two_parts {
  std::vector<gradient_share> parts;
  [[nodiscard]] auto dimension() const -> std::size_t { return 10; }
  [[nodiscard]] auto gradient_parts() const -> std::vector<gradient_share> { return parts; }
  auto gradient(space&, std::span<double const>, sample_key, std::span<double>) const -> double { return 0; }
  auto gradient(space&, std::span<double const>, sample_key, std::span<double>, auto const&) const -> double {
    return 0;
  }
};

TEST_CASE("parts hold each value once, and a gradient says of each in its turn that it is final") {
  auto const refused = [](range a, range b, double time = 0.5) {
    return refusal([&] { problem::any_oracle{space{}, two_parts{{{a, 0.5}, {b, time}}}}; });
  };
  CHECK(refused({5, 10}, {0, 5}).empty());
  CHECK(says(refused({0, 5}, {0, 5}), "the values 0 to 5 are in two"));
  CHECK(says(refused({4, 10}, {0, 6}), "the values 4 to 6 are in two"));
  CHECK(says(refused({6, 10}, {0, 5}), "the values 5 to 6 are in none"));
  CHECK(says(refused({0, 5}, {5, 9}), "have 9 of 10 values, and their times sum to 1"));
  CHECK(says(refused({0, 5}, {5, 10}, 0.25), "have 10 of 10 values, and their times sum to 0.75"));
  CHECK(says(refused({0, 5}, {5, 11}), "the values 5 to 11 of 10"));

  struct counter final : problem::part_receiver {
    void take_part(gradient_part) override { ++parts; }
    int parts = 0;
  };
  auto const q = quadratic::random(1, 10, 9);
  auto const said = [&](std::vector<range> const& finals, int taken) {
    auto b = space{};
    auto x = b.allocate<double>(10);
    std::fill(x.data(), x.data() + 10, 0.0);
    auto to = counter{};
    auto const oracle = problem::any_oracle{b, layered{q, {4, 6}, ~std::size_t{0}, finals}};
    auto const request = gradient_request{ticket{1}, std::move(x).publish(), {1, node_id{0}, 0}};
    auto sentence = failure([&] { static_cast<void>(oracle.evaluate(request, to)); });
    CHECK(to.parts == taken);
    return sentence;
  };
  CHECK(said({{6, 10}, {0, 6}}, 1).empty());
  CHECK(said({{8, 1000000}}, 0) ==
        "a gradient said that the values 8 to 1000000 are final, but its next part is the values 6 to 10");
  CHECK(says(said({{0, 6}, {6, 10}}, 0), "its next part is the values 6 to 10"));
  CHECK(says(said({{6, 10}, {6, 10}}, 1), "its next part is the values 0 to 6"));
  CHECK(says(said({{6, 10}, {0, 6}, {0, 6}}, 1), "but all its 2 parts were so before"));
  CHECK(said({{6, 10}}, 1) == "a gradient has ended, but said of 1 of its 2 parts that they are final");
}

TEST_CASE("messages that cannot be are refused, naming their sender") {
  auto const q = quadratic::random(4, 12, 9);
  auto const said = [&](node_id from, channel_id channel, std::uint64_t number, std::uint64_t based_on,
                        std::size_t values) {
    auto a = assemble<exact>(topology::ring(4), q, {.bucket_values = 4, .machine = 2});
    outbox out;
    packet p;
    p.from = from;
    p.to = node_id{0};
    p.channel = channel;
    p.number = iteration{number};
    p.based_on = iteration{based_on};
    p.body = a.pool.allocate<double>(values).publish();
    hand_over(a.nodes[0], p, 1, out);
    return out.failure ? out.failure->sentence : "";
  };
  CHECK(said(node_id{1}, channel_id::gradient, 1, 1, 4) == "");
  CHECK(said(node_id{3}, channel_id::gradient, 1, 1, 4) == "");  // of another machine: not for this node
  CHECK(says(said(node_id{1}, channel_id::gradient, 2, 1, 4), "message 2 of node 1 came where message 1 was next"));
  CHECK(says(said(node_id{1}, channel_id::gradient, 1, 4, 4), "of a bucket that node 1 cannot have come to"));
  CHECK(says(said(node_id{1}, channel_id::gradient, 1, 0, 4), "does not say of which bucket"));
  CHECK(says(said(node_id{1}, channel_id::gradient, 1, 2, 5), "node 1 sent 5 values in one message, where 4"));
  CHECK(said(node_id{2}, channel_id::chunk, 1, 1, 2) == "");
  CHECK(says(said(node_id{2}, channel_id::chunk, 1, 4, 2), "message 2 of node 2 came where message 1 was next"));
  CHECK(says(said(node_id{2}, channel_id::chunk, 1, 1, 3), "node 2 sent 3 values in one message, where 2"));
  CHECK(says(refusal([&] { assemble<exact>(topology::ring(4), q, {.machine = 0}); }), "at least one node, not 0"));
  // Node `to`, in its first round, gets bucket b of its machine's other node twice.
  auto const twice = [&](node_id to, node_id from, std::uint64_t b) {
    auto a = assemble<exact>(topology::ring(4), q, {.bucket_values = 4, .machine = 2});
    auto& it = a.nodes[to_index(to)];
    outbox out;
    it.start({}, out);
    auto g = a.oracle.evaluate(*out.request);
    out.clear();
    it.on_gradient({}, std::move(g), out);
    packet p;
    p.from = from, p.to = to, p.channel = channel_id::gradient;
    p.based_on = iteration{b + 1};
    p.body = a.pool.allocate<double>(4).publish();
    for (std::uint64_t number = 1; number <= 2; ++number) {
      CHECK(!out.failure);
      out.clear();
      p.number = iteration{number};
      hand_over(it, p, 1, out);
    }
    return out.failure ? out.failure->sentence : "";
  };
  CHECK(says(twice(node_id{1}, node_id{0}, 2), "message 2 of node 0"));  // a mean that was applied
  CHECK(says(twice(node_id{1}, node_id{0}, 2), "of a bucket that node 0 cannot have come to"));
  CHECK(says(twice(node_id{0}, node_id{1}, 2), "of a bucket that node 1 cannot have come to"));  // is in the sum
}

}  // namespace
}  // namespace rubato::test
