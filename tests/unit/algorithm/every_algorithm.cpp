// SPDX-License-Identifier: MIT
// Promises that all algorithms make: no number of a peer is believed beyond its bounds, what is not finite is found
// where it begins, a loss that is not known is no failure, and a number of gradients is what it says.
#include "support/every_algorithm.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <rubato/core/shared_buffer.hpp>
#include <rubato/core/snapshot.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/lockstep.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using maker = std::function<assembly()>;
constexpr auto nan = std::numeric_limits<double>::quiet_NaN();

/// Pulls every value towards the number of the node. A gradient of node 3 may contain
/// a bad value; losses may be unknown.
struct pull {
  double bad = 0;
  double loss = 0;
  [[nodiscard]] auto dimension() const -> std::size_t { return 6; }
  template<class Backend>
  auto gradient(Backend&, std::span<double const> x, sample_key key, std::span<double> g) const -> double {
    for (std::size_t k = 0; k < x.size(); ++k) g[k] = x[k] - static_cast<double>(to_index(key.node));
    if (bad != 0 && key.node == node_id{3} && key.draw == 5) g[2] = bad;
    return loss;
  }
};

auto steady() -> environment::scenario { return {.compute = environment::fixed(10ms), .link = {.latency = 1ms}}; }

/// What the nodes of a run post first on each edge and channel, in lock-step; after(node) is called after each event.
template<class After>
auto first_packets(assembly a, After const& after) -> std::vector<packet> {
  std::map<std::tuple<node_id, node_id, channel_id>, packet> first;
  std::vector<std::optional<gradient_request>> asked(a.nodes.size());
  std::vector<packet> under_way;
  std::vector<std::pair<std::size_t, wakeup>> wakeups;
  outbox out;
  auto const drain = [&](std::size_t i) {
    after(a.nodes[i]);
    if (out.request) asked[i] = std::move(out.request);
    for (auto const& w : out.wakeups) wakeups.emplace_back(i, w);
    for (auto& p : out.packets) {
      first.try_emplace({p.from, p.to, p.channel}, p);
      under_way.push_back(std::move(p));
    }
    out.clear();
  };
  for (std::size_t i = 0; i < a.nodes.size(); ++i) {
    a.nodes[i].start({}, out);
    drain(i);
  }
  for (int round = 0; round < 6; ++round) {
    for (std::size_t i = 0; i < a.nodes.size(); ++i) {
      if (auto const r = std::exchange(asked[i], std::nullopt)) {
        a.nodes[i].on_gradient({}, a.oracle.evaluate(*r), out);
        drain(i);
      }
    }
    for (auto const& [i, w] : std::exchange(wakeups, {})) {
      a.nodes[i].on_wakeup(w.at, w, out);
      drain(i);
    }
    for (auto const& p : std::exchange(under_way, {})) {
      hand_over(a.nodes[to_index(p.to)], p, a.blocks.blocks(), out);
      drain(to_index(p.to));
    }
  }
  std::vector<packet> all;
  for (auto const& [key, p] : first) all.push_back(p);
  return all;
}
auto first_packets(assembly a) -> std::vector<packet> {
  return first_packets(std::move(a), [](any_node&) {});
}

/// Memory of which every byte begins with the same value.
struct filled_memory final : memory_source {
  explicit filled_memory(unsigned char value) : byte{value} {}
  auto allocate(std::size_t bytes) -> std::byte* override {
    auto* const at = heap.allocate(bytes);
    std::fill_n(at, bytes, std::byte{byte});
    return at;
  }
  void release(std::byte* at, std::size_t bytes) noexcept override { heap.release(at, bytes); }
  heap_memory heap;
  unsigned char byte;
};

TEST_CASE("the state of a node never holds what its memory held before, so that a replay can compare it") {
  std::map<std::string, std::vector<std::uint64_t>> before;
  for (auto const byte : {0x11, 0x22}) {
    auto const pool = [byte] { return buffer_pool{std::make_shared<filled_memory>(static_cast<unsigned char>(byte))}; };
    for_every_algorithm(
        topology::binary_tree(4), pull{},
        [&](std::string const& name, maker const& make) {
          std::vector<std::uint64_t> digests;
          rubato::detail::state_digest digest;
          first_packets(make(), [&](any_node& n) { digests.push_back(digest.of(n)); });
          auto const [first, is_new] = before.try_emplace(name, digests);
          CAPTURE(name);
          if (!is_new) CHECK((digests.size() > 4 && digests == first->second));
        },
        pool);
  }
}

TEST_CASE("a message number that no run reaches ends the run in every algorithm, naming the sender") {
  for_every_algorithm(topology::binary_tree(4), pull{}, [](std::string const& name, maker const& make) {
    auto const sent = first_packets(make());
    REQUIRE_FALSE(sent.empty());
    for (auto const& good : sent) {
      for (auto const number :
           {~std::uint64_t{0}, std::uint64_t{1} << 63, (std::uint64_t{1} << 48) + 1, std::uint64_t{0}}) {
        CAPTURE(name, to_index(good.from), to_index(good.to), name_of(good.channel), number);
        auto a = make();
        auto& n = a.nodes[to_index(good.to)];
        outbox out;
        n.start({}, out);
        out.clear();
        auto p = good;
        p.number = iteration{number};
        hand_over(n, p, a.blocks.blocks(), out);
        REQUIRE(out.failure);
        CHECK(says(out.failure->sentence, ("node " + std::to_string(to_index(good.from))).c_str()));
      }
    }
  });
}

TEST_CASE("a message of the wrong size or type ends the run in every algorithm, naming the sender") {
  for_every_algorithm(topology::binary_tree(4), pull{}, [](std::string const& name, maker const& make) {
    for (auto const& good : first_packets(make())) {
      if (good.body.size() == 0) continue;
      for (auto const more : {false, true}) {
        CAPTURE(name, to_index(good.from), to_index(good.to), name_of(good.channel), more);
        auto a = make();
        auto p = good;
        p.body = more ? a.pool.allocate<std::byte>(good.body.size() + 1).publish()
                      : a.pool.allocate<std::int64_t>(good.body.size()).publish();
        outbox out;
        a.nodes[to_index(p.to)].start({}, out);
        out.clear();
        hand_over(a.nodes[to_index(p.to)], p, a.blocks.blocks(), out);
        REQUIRE(out.failure);
        CHECK(says(out.failure->sentence, ("node " + std::to_string(to_index(good.from)) + " sent ").c_str()));
      }
    }
  });
}

TEST_CASE("a message of another session changes nothing in any algorithm, and the next valid one is still taken") {
  for_every_algorithm(topology::binary_tree(4), pull{}, [](std::string const& name, maker const& make) {
    for (auto const& good : first_packets(make())) {
      CAPTURE(name, to_index(good.from), to_index(good.to), name_of(good.channel));
      auto a = make();
      auto& n = a.nodes[to_index(good.to)];
      outbox out;
      n.start({}, out);
      auto const before = n.estimate();
      auto foreign = good;
      foreign.session = {3, 4};
      out.clear();
      hand_over(n, foreign, a.blocks.blocks(), out);
      CHECK((!out.failure && out.packets.empty() && !out.request && !out.cancel));
      CHECK(n.estimate() == before);
      hand_over(n, good, a.blocks.blocks(), out);
      CHECK_FALSE(out.failure);
    }
  });
}

TEST_CASE("a neighbour that leaves or restarts ends the run in algorithms that need all neighbours, and in no other") {
  auto const needs_all = [](std::string const& name) {
    for (auto const* one : {"extra",
                            "push_diging",
                            "osgp",
                            "sgp",
                            "rasgp",
                            "choco_sgd",
                            "low_precision_d_psgd",
                            "dcd_sgd",
                            "deepsqueeze",
                            "lead",
                            "beer",
                            "c_gt",
                            "ring_allreduce_sgd",
                            "non_blocking_allreduce",
                            "scatter_allreduce_sgd",
                            "bucketed_allreduce_sgd",
                            "byte_grad",
                            "qadam",
                            "power_sgd",
                            "local_sgd",
                            "post_local_sgd",
                            "slowmo",
                            "diloco",
                            "streaming_diloco",
                            "sparse_loco",
                            "async_model_average"}) {
      if (name == one) return true;
    }
    return false;
  };
  for_every_algorithm(topology::binary_tree(4), pull{}, [&](std::string const& name, maker const& make) {
    if (name == "m_synchronous_sgd" || name == "quorum_diloco")
      return;  // its server needs m workers; its own test says when
    for (auto const what : {neighbour_change::edge::closes, neighbour_change::edge::opens}) {
      CAPTURE(name, static_cast<int>(what));
      auto a = make();
      auto& n = a.nodes.back();  // a neighbour of node 1, or the server
      outbox out;
      n.start({}, out);
      out.clear();
      n.on_neighbours({}, {node_id{1}, what, {1, 0}, {0, 1}}, out);
      CHECK(out.failure.has_value() == needs_all(name));
      if (out.failure)
        CHECK(says(out.failure->sentence, what == neighbour_change::edge::opens ? "node 1 began anew" : "node 1 left"));
    }
  });
}

TEST_CASE("a gradient that is not finite is found in every algorithm, naming its node, whatever the loss is") {
  for (auto const bad : {nan, -std::numeric_limits<double>::infinity()}) {
    for_every_algorithm(topology::binary_tree(5), pull{bad, 0}, [](std::string const& name, maker const& make) {
      CAPTURE(name);
      auto const said = failure([&] { simulate(make(), steady(), {.time = 2s}); });
      CAPTURE(said);
      CHECK(says(said, "node 3 "));
      CHECK(says(said, "not finite at value"));
    });
  }
}

TEST_CASE("a gradient that is not finite is found on threads too") {
  auto const at_full_speed = environment::scenario{.compute = environment::fixed(0ms)};
  auto const said = failure([&] {
    run_threads(assemble<d_psgd<backend::host<double>>>(topology::ring(4), pull{nan, 0}, {.step = 0.02}), at_full_speed,
                {.time = 5min});
  });
  CHECK(says(said, "the gradient that node 3 computed is not finite at value 2"));
}

/// Node 1 of a run, which spoils what it sends from some time on.
struct liar {
  any_node inner;
  void start(instant now, outbox& out) { inner.start(now, out); }
  void on_patch(instant now, patch const& p, outbox& out) {
    inner.on_patch(now, p, out);
    spoil(now, out);
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    inner.on_gradient(now, std::move(g), out);
    spoil(now, out);
  }
  void on_wakeup(instant now, wakeup w, outbox& out) {
    inner.on_wakeup(now, w, out);
    spoil(now, out);
  }
  void on_neighbours(instant now, neighbour_change const& c, outbox& out) { inner.on_neighbours(now, c, out); }
  [[nodiscard]] auto estimate() const -> shared_buffer { return inner.estimate(); }
  [[nodiscard]] auto statistics() const -> node_statistics { return inner.statistics(); }
  void audit(tracking_audit& a) const { inner.audit(a); }
  [[nodiscard]] auto channels() const -> std::span<channel_spec const> { return inner.channels(); }

  template<class T>
  static auto changed(buffer_pool& pool, shared_buffer const& body, std::size_t at, T value) -> shared_buffer {
    auto copy = pool.allocate<T>(body.size());
    std::copy_n(body.view<T>().begin(), copy.size(), copy.data());
    copy.data()[at] = value;
    return std::move(copy).publish();
  }
  static void spoil(instant now, outbox& out) {
    if (now.since_start < 50ms) return;
    buffer_pool pool;
    for (auto& p : out.packets) {
      if (p.body.size() == 0) continue;
      if (p.body.kind() == element::f64) p.body = changed<double>(pool, p.body, 0, nan);
      if (p.body.kind() == element::u8)  // a step or a scale below 0, or a place beyond the vector
        p.body = changed<std::byte>(pool, p.body, p.body.size() > 15 ? 15 : 7, std::byte{0xbf});
    }
  }
};

TEST_CASE("for a message that is not finite, or codes that no encoder writes, the sender is named") {
  for_every_algorithm(topology::ring(4), pull{}, [](std::string const& name, maker const& make) {
    auto a = make();
    auto const values = a.nodes[1].channels()[0].values;
    if (values != element::f64 && values != element::u8) return;  // sums: any can be right
    if (name == "r_fast_referenced") return;  // and so can nearly all codes of a difference
    CAPTURE(name);
    a.nodes[1] = any_node{liar{std::move(a.nodes[1])}};
    auto const said = failure([&] { simulate(std::move(a), steady(), {.time = 2s}); });
    CAPTURE(said);
    CHECK(says(said, "that node 1 sent to node "));
    CHECK(says(said, "not finite at value 0"));
  });
}

TEST_CASE("a loss of NaN counts as unknown: every algorithm goes on") {
  for_every_algorithm(topology::binary_tree(4), pull{0, nan}, [](std::string const& name, maker const& make) {
    CAPTURE(name);
    auto const r = simulate(make(), steady(), {.time = 2s});
    CHECK(r.stopped == stop_reason::time);
    CHECK(r.models[0].view<double>()[0] == Approx(1.5).margin(0.6));
  });
  CHECK(says(failure([] {
               simulate(assemble<d_psgd<backend::host<double>>>(topology::ring(3),
                                                                pull{0, std::numeric_limits<double>::infinity()}, {}),
                        steady(), {.time = 1s});
             }),
             "the run diverges: the loss at node"));
}

/// The gradients of a node in a round, where nodes go in lock-step. (On threads, only an all-reduce makes them equal at
/// any instant: neighbours may be a round apart.)
auto lock_step_of(std::string const& name) -> std::uint64_t {
  for (auto const* one : {"extra", "d_psgd", "d_psgd_atc", "choco_sgd", "low_precision_d_psgd", "dcd_sgd",
                          "deepsqueeze", "lead", "beer", "c_gt", "ring_allreduce_sgd", "scatter_allreduce_sgd",
                          "bucketed_allreduce_sgd", "byte_grad", "power_sgd", "qadam"}) {
    if (name == one) return 1;
  }
  return name == "non_blocking_d_psgd" || name == "non_blocking_allreduce" ? 2 : 0;
}

TEST_CASE("a limit of k n gradients is met exactly: k rounds, or the matching number of server steps") {
  for_every_algorithm(topology::binary_tree(4), pull{}, [](std::string const& name, maker const& make) {
    for (auto const threads : {false, true}) {
      for (auto const k : {1U, 3U, 8U}) {
        CAPTURE(name, threads, k);
        auto const end = until{.time = 5min, .gradients = k * 4};
        auto const weather = threads ? environment::scenario{.compute = environment::fixed(0ms)} : steady();
        auto const r = threads ? run_threads(make(), weather, end) : simulate(make(), weather, end);
        CHECK(r.stopped == stop_reason::gradients);
        CHECK(r.history.back().gradients == k * 4);
        auto const all_reduces = name == "ring_allreduce_sgd" || name == "scatter_allreduce_sgd" ||
                                 name == "bucketed_allreduce_sgd" || name == "byte_grad" || name == "qadam";
        if (auto const each = lock_step_of(name); each > 0 && (all_reduces || !threads)) {
          for (auto const& n : r.nodes) CHECK(n.iterations == k / each);
        }
        if (name == "m_synchronous_sgd") CHECK(r.nodes.back().iterations == k);
        if (name == "asgd" || name == "rescaled_asgd") CHECK(r.nodes.back().iterations == k * 4);
        if (name == "buffered server") CHECK(r.nodes.back().iterations == k * 2);
      }
    }
  });
}

}  // namespace
}  // namespace rubato::test
