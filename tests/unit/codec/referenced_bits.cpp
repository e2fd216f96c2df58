// SPDX-License-Identifier: MIT
#include <rubato/codec/referenced_bits.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include <rubato/algorithm/asy_sonata.hpp>
#include <rubato/algorithm/detail/confirmed_references.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/mixing/plan.hpp>
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
template<int B>
using bits = codec::detail::bits_of_difference<B>;

/// What a receiver makes of x, from this reference.
template<int B, class T>
auto through(std::vector<T> const& x, std::vector<T> const& reference) -> std::vector<T> {
  std::vector<std::byte> codes(bits<B>::template bytes<T>(x.size()));
  bits<B>::encode(x.data(), reference.empty() ? nullptr : reference.data(), x.size(), codes.data());
  std::vector<T> y(x.size());
  REQUIRE(bits<B>::decode(codes.data(), reference.empty() ? nullptr : reference.data(), x.size(), y.data()));
  return y;
}

TEST_CASE("(D.Q) codes of a difference are as by hand, and take the bytes that they say") {
  // The sums of the 1, 2, 3 ... largest, squared, over their number: 9, 12.5, 12 ...
  CHECK(through<2, float>({2, -3, 1, 0.5F, 0.5F}, {}) == std::vector<float>{2.5F, -2.5F, 0, 0, 0});
  CHECK(through<2, float>({2, -3, 1}, {1, 1, 1}) == std::vector<float>{1, -3, 1});
  CHECK(through<2, double>({0, 0}, {7, 8}) == std::vector<double>{-0.5, 0.5});
  CHECK(through<2, double>({7, 8}, {7, 8}) == std::vector<double>{7, 8});
  CHECK(through<4, float>({7, -3.4F, 0.6F}, {}) == std::vector<float>{7, -3, 1});
  CHECK(through<8, std::int32_t>({100, -50, 3}, {90, -50, 0}) == std::vector<std::int32_t>{100, -50, 3});
  CHECK(through<2, std::int32_t>({1000, 0, -1001}, {}) == std::vector<std::int32_t>{1000, 0, -1000});
  CHECK(through<0, double>({0.1, 0.2}, {5, 5}) == std::vector<double>{0.1, 0.2});
  // A sum may pass the end of its range.
  constexpr auto top = std::int32_t{2147483647};
  CHECK(through<4, std::int32_t>({-top}, {top}) == std::vector<std::int32_t>{-top});
  CHECK(bits<2>::bytes<float>(256) == 66);
  CHECK(bits<2>::bytes<float>(257) == 66 + 3);
  CHECK(bits<4>::bytes<float>(5) == 5);
  CHECK(bits<16>::bytes<std::int32_t>(300) == 604);
  CHECK(bits<0>::bytes<double>(3) == 24);
}

/// The greatest |y' - y|^2 over |y|^2 of these draws; `rare`: 1 of 20 values is far larger than the others.
template<int B>
auto error_of(std::size_t n, bool rare) -> double {
  auto draw = random_stream{5, B};
  auto worst = 0.0;
  for (int k = 0; k < 50; ++k) {
    std::vector<float> x(n);
    for (auto& v : x) v = static_cast<float>(draw.normal()) * (rare && draw.uniform() < 0.95 ? 1e-3F : 1.0F);
    auto const y = through<B, float>(x, {});
    auto error = 0.0, size = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      error += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
      size += std::pow(static_cast<double>(x[i]), 2);
    }
    worst = std::max(worst, error / size);
  }
  return worst;
}

TEST_CASE("codes in any width are contractive: in 2 bits a normal vector loses a fifth, and a sparse one a quarter") {
  CHECK(error_of<2>(1000, false) < 0.23);
  CHECK(error_of<2>(1000, true) < 0.27);
  std::vector<float> slow(256);  // the worst: the k-th largest is as 1 / sqrt(k)
  for (std::size_t i = 0; i < 256; ++i) slow[i] = 1 / std::sqrt(static_cast<float>(i + 1));
  auto const y = through<2, float>(slow, {});
  auto error = 0.0, size = 0.0;
  for (std::size_t i = 0; i < 256; ++i) {
    error += std::pow(static_cast<double>(slow[i]) - static_cast<double>(y[i]), 2);
    size += std::pow(static_cast<double>(slow[i]), 2);
  }
  CHECK(error / size < 1 - 0.15);
  CHECK(error_of<4>(1000, false) < 0.03);
  CHECK(error_of<8>(1000, false) < 1e-4);
  CHECK(error_of<16>(1000, false) < 1e-9);
}

TEST_CASE("a scale that no sender of sums makes is refused; a model is looked at where it is used") {
  std::vector<std::byte> codes(bits<2>::bytes<float>(4));
  codes[0] = std::byte{200};
  codes[1] = std::byte{25};
  std::vector<std::int32_t> sums(4);
  std::vector<float> model(4);
  CHECK_FALSE(bits<2>::decode<std::int32_t>(codes.data(), nullptr, 4, sums.data()));
  CHECK(bits<2>::decode<float>(codes.data(), nullptr, 4, model.data()));
}

/// A node of a line of two, with its ends of the edge.
template<int B>
struct end_of_edge {
  using codec_type = codec::referenced_bits<B>;
  node_id self;
  detail::confirmed_references<space, std::int32_t, codec_type> links;
  std::uint64_t number = 0;

  end_of_edge(node_id me, space const& b, std::size_t n)
      : self{me},
        links{b, mixing::tracking_plan(topology::pair{topology::ring(2)}).nodes[to_index(me)], block_partition{n}, {}} {
  }
};

template<class T>
auto body_of(space& b, std::vector<T> const& x) -> shared_buffer {
  auto w = b.allocate<T>(x.size());
  std::copy(x.begin(), x.end(), w.data());
  return std::move(w).publish();
}

template<class T>
auto values_in(shared_buffer const& b) -> std::vector<T> {
  return {b.view<T>().begin(), b.view<T>().end()};
}

/// Two nodes whose sums and models move less and less over links that lose, double and delay by up to `late` messages.
/// Returns how far each receiver is from its sender at the end: sums in units, models in size.
template<int B>
auto after_fading_moves(std::uint64_t seed, double loss, std::uint64_t late) -> std::pair<double, double> {
  constexpr std::size_t n = 300;
  space b;
  auto draw = random_stream{seed, B};
  std::vector<float> x0(n, 3);
  std::array ends{end_of_edge<B>{node_id{0}, b, n}, end_of_edge<B>{node_id{1}, b, n}};
  std::array models{x0, x0}, known_models{std::vector<float>(n), std::vector<float>(n)};
  std::array<std::vector<std::int32_t>, 2> sums, known_sums;
  for (auto* s : {&sums, &known_sums}) s->fill(std::vector<std::int32_t>(n, 0));
  std::multimap<std::uint64_t, packet> under_way;
  std::array<std::array<iteration, 2>, 2> newest{};
  auto const rounds = 600 + 80 * late;
  for (std::uint64_t k = 1; k <= rounds; ++k) {
    auto const moves = k < rounds / 3 ? std::pow(1e-7, 3.0 * static_cast<double>(k) / static_cast<double>(rounds)) : 0;
    for (std::size_t i = 0; i < 2; ++i) {
      for (auto& v : models[i]) v += static_cast<float>(moves * draw.normal());
      for (auto& v : sums[i]) v = backend::wrap_add(v, static_cast<std::int32_t>(1e7 * moves * draw.normal()));
      for (auto const channel : {channel_id::tracker, channel_id::model}) {
        packet p{};
        p.from = node_id{static_cast<std::uint32_t>(i)};
        p.to = node_id{static_cast<std::uint32_t>(1 - i)};
        p.channel = channel;
        p.number = iteration{k};
        auto const whole = channel == channel_id::model ? body_of(b, models[i]) : body_of(b, sums[i]);
        p.body = ends[i].links.encode(channel, p.to, p.number, whole, {});
        for (int copy = 0; copy < 2; ++copy) {
          if (draw.uniform() >= (copy == 0 ? loss : 0.9)) under_way.emplace(k + draw.below(late + 1), p);
        }
      }
    }
    while (!under_way.empty() && under_way.begin()->first <= k) {
      auto const p = under_way.extract(under_way.begin()).mapped();
      auto const to = to_index(p.to);
      auto const got = ends[to].links.decode(patch_of(p, {0, 1}), {});
      REQUIRE(got.valid);
      auto& last = newest[to][p.channel == channel_id::model ? 0 : 1];
      if (!got.vector || p.number <= last) continue;
      last = p.number;
      if (p.channel == channel_id::model) known_models[to] = values_in<float>(got.vector);
      else known_sums[to] = values_in<std::int32_t>(got.vector);
    }
  }
  std::pair<double, double> off{};
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t v = 0; v < n; ++v) {
      auto const units = backend::wrap_sub(sums[i][v], known_sums[1 - i][v]);
      off.first = std::max(off.first, std::abs(static_cast<double>(units)));
      off.second = std::max(off.second, std::abs(static_cast<double>(models[i][v] - known_models[1 - i][v])));
    }
  }
  return off;
}

TEST_CASE("(D.S) (D.R) (D.C) both ends hold one reference under loss, doubles and delays, so nothing is off at rest") {
  auto const nothing = [](std::pair<double, double> off) {
    CHECK(off.first == 0);
    CHECK(off.second < 1e-6);
  };
  nothing(after_fading_moves<2>(1, 0.3, 5));
  nothing(after_fading_moves<2>(2, 0.7, 0));
  nothing(after_fading_moves<2>(3, 0.3, 60));  // far more messages than a sender remembers
  nothing(after_fading_moves<4>(4, 0.3, 20));
  nothing(after_fading_moves<8>(5, 0.3, 20));
}

template<template<class, class, class, class, class> class Node, class Codec>
void reaches_the_optimum(topology::digraph const& network, bool restarts) {
  using node = Node<space, step::sgd, weighting::constant, ledger::fixed_point, Codec>;
  auto const q = problem::quadratic::random(network.nodes(), 6, 8, {.spread = 1, .condition = 4});
  environment::scenario weather{.compute = environment::lognormal(10ms, 0.5).slow(2, 4.0),
                                .link = {.latency = 5ms, .jitter = 5ms, .loss = 0.3},
                                .seed = 3,
                                .measure_every = 100ms};
  if (restarts) weather.restarts = {{node_id{1}, 5s, 2s}, {node_id{3}, 20s, 1s, environment::first_model::own}};
  auto const r = simulate(assemble<node>(topology::pair{network}, q, {.step = 0.05}), weather, {.time = 150s});
  for (auto const& look : r.history) REQUIRE(look.tracking_residual == 0);
  for (auto const& m : r.models) {
    std::vector<double> x;
    rubato::detail::widen(m, x);
    CHECK(distance(x, q.optimum()) < 1e-5);
  }
}

TEST_CASE("sums and models in 2 bits conserve exactly and end where whole ones end, through loss and a restart") {
  reaches_the_optimum<r_fast, codec::referenced_bits<2>>(topology::ring(6), true);
  reaches_the_optimum<r_fast, codec::referenced_bits<2>>(topology::binary_tree(6), true);
  reaches_the_optimum<r_fast, codec::referenced_bits<2, 0>>(topology::complete(4), false);
  reaches_the_optimum<asy_sonata, codec::referenced_bits<2>>(topology::ring(6), false);
}

TEST_CASE("a message whose stride or scale no sender makes ends the run with a sentence that names it") {
  using node = r_fast<space, step::sgd, weighting::constant, ledger::fixed_point, codec::referenced_bits<>>;
  auto a = assemble<node>(topology::pair{topology::ring(2)}, problem::quadratic::random(2, 5, 1), {.step = 0.1});
  auto const said = [&](std::size_t at, std::byte value) {
    space b;
    std::vector<std::byte> bytes(20 + bits<2>::bytes<std::int32_t>(5), std::byte{0});
    bytes[8] = std::byte{1};  // the stride of a first message
    bytes[at] = value;
    packet p{};
    p.from = node_id{1};
    p.channel = channel_id::tracker;
    p.number = iteration{3};
    p.body = body_of(b, bytes);
    outbox out;
    a.nodes[0].on_patch({}, patch_of(p, {0, 1}), out);
    return out.failure ? out.failure->sentence : std::string{};
  };
  CHECK(said(8, std::byte{1}).empty());
  CHECK(says(said(8, std::byte{3}), "tracker message 3 of node 1 holds no codes of a difference"));
  CHECK(says(said(21, std::byte{25}), "tracker message 3 of node 1 holds no codes of a difference"));
}

TEST_CASE("networks on which nothing can be confirmed are refused, and so are blocks and bad memories") {
  using node = r_fast<space, step::sgd, weighting::constant, ledger::fixed_point, codec::referenced_bits<>>;
  auto const q = problem::quadratic::random(3, 200, 1);
  auto const made = [&](topology::digraph const& g, auto const& set) {
    node::options o{.step = 0.1};
    set(o);
    return refusal([&] { static_cast<void>(assemble<node>(topology::pair{g}, q, o)); });
  };
  CHECK(says(made(topology::directed_ring(3), [](auto&) {}), "need neighbours that hear each other"));
  CHECK(says(made(topology::ring(3), [](auto& o) { o.block_values = 64; }), "leave block-values at 0"));
  CHECK(says(made(topology::ring(3), [](auto& o) { o.sum_codec.remembered = 1; }), "2 to 256 messages, not of 1"));
  CHECK(made(topology::ring(3), [](auto&) {}).empty());
}

}  // namespace
}  // namespace rubato::test
