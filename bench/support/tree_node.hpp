// SPDX-License-Identifier: MIT
// An interior node of a binary tree, alone: its parent and its children are bodies made in advance, fed through the
// public node API, so that only the node's own local iteration is timed.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>

namespace bench {

using clock = std::chrono::steady_clock;

/// As rubato/algorithm/r_fast.hpp states it, by reference: reads 4 + dw + 2 da + db, writes 3 + db vectors.
struct degrees {
  std::size_t pull_in = 1;   // dw
  std::size_t push_in = 2;   // da
  std::size_t push_out = 1;  // db
  [[nodiscard]] constexpr auto vectors() const -> std::size_t {
    return (4 + pull_in + 2 * push_in + push_out) + (3 + push_out);
  }
};

/// Node 0; models come from nodes 1 .. dw, sums from nodes 101 .. 100 + da, sums go to 201 .. 200 + db. The interior
/// node of a binary tree is dw = 1, da = 2, db = 1; it has two readers, who cost no arithmetic.
inline auto plan_of(degrees d) -> rubato::mixing::plan {
  rubato::mixing::neighbourhood n;
  n.nodes = 7;
  auto const pull = 1.0 / static_cast<double>(d.pull_in + 1);
  auto const push = 1.0 / static_cast<double>(d.push_out + 1);
  n.pull_self = pull;
  n.push_self = push;
  for (std::size_t i = 0; i < d.pull_in; ++i) n.pull_from.push_back({rubato::to_node(1 + i), pull});
  for (std::size_t i = 0; i < d.push_in; ++i) n.push_from.push_back(rubato::to_node(101 + i));
  for (std::size_t i = 0; i < d.push_out; ++i) n.push_to.push_back({rubato::to_node(201 + i), push});
  n.pull_to = {rubato::to_node(101), rubato::to_node(102)};
  return {{n}, 1.0, "one interior node"};
}

template<class Backend, class Ledger>
class tree_node {
 public:
  using node_type = rubato::r_fast<Backend, rubato::step::sgd, rubato::weighting::constant, Ledger>;
  using value = typename node_type::value;

  tree_node(Backend backend, degrees d, std::size_t n)
      : degrees_{d}, backend_{backend}, node_{backend, plan_of(d), rubato::node_id{0}, body<float>(n, 0), options()} {
    for (std::size_t k = 0; k < 2; ++k) {
      for (std::size_t j = 0; j < d.pull_in; ++j) models_[k].push_back(body<float>(n, 1 + j));
      for (std::size_t j = 0; j < d.push_in; ++j) sums_[k].push_back(body<value>(n, 11 + j));
      gradients_[k] = body<float>(n, 21 + k);
    }
    node_.start({}, out_);
    for (int i = 0; i < 4; ++i) step();
  }

  /// One local iteration; returns the time of on_gradient, in which all of its arithmetic happens.
  auto step() -> std::chrono::nanoseconds {
    feed();
    rubato::gradient g{out_.request->id, gradients_[round_ % 2], 0, {}};
    out_.clear();
    auto const begin = clock::now();
    node_.on_gradient({}, std::move(g), out_);
    auto const end = clock::now();
    ++round_;
    if (out_.failure) throw rubato::run_error{out_.failure->sentence};
    return end - begin;
  }

  [[nodiscard]] auto degree() const -> degrees { return degrees_; }

 private:
  static auto options() -> typename node_type::options {
    typename node_type::options o;
    o.step = 0.01;
    o.scale = rubato::step_scale::raw;
    if constexpr (Ledger::exact) o.ledger.exponents = {16};
    return o;
  }

  template<class U>
  auto body(std::size_t n, std::uint64_t salt) -> rubato::shared_buffer {
    auto b = backend_.pool().host_side().template allocate<U>(n);
    for (std::size_t i = 0; i < n; ++i) {
      auto const h = (i * 2654435761ULL + salt * 40503ULL) >> 7U & 1023U;
      if constexpr (std::is_same_v<U, std::int32_t>) b.data()[i] = static_cast<std::int32_t>(h);
      else b.data()[i] = static_cast<U>(h) / U(1024) - U(0.5);
    }
    return backend_.pool().bring_in(std::move(b).publish());
  }

  void feed() {
    auto const number = rubato::iteration{round_ + 1};
    auto const hand_in = [&](std::size_t from, rubato::channel_id channel, rubato::shared_buffer const& body) {
      rubato::patch p;
      p.from = rubato::to_node(from);
      p.channel = channel;
      p.blocks = {0, 1};
      p.numbers = {&number, 1};
      p.body = body;
      node_.on_patch({}, p, out_);
    };
    for (std::size_t j = 0; j < degrees_.pull_in; ++j)
      hand_in(1 + j, rubato::channel_id::model, models_[round_ % 2][j]);
    for (std::size_t j = 0; j < degrees_.push_in; ++j)
      hand_in(101 + j, rubato::channel_id::tracker, sums_[round_ % 2][j]);
  }

  degrees degrees_;
  Backend backend_;
  node_type node_;
  rubato::outbox out_;
  std::array<std::vector<rubato::shared_buffer>, 2> models_, sums_;
  std::array<rubato::shared_buffer, 2> gradients_;
  std::uint64_t round_ = 0;
};

}  // namespace bench
